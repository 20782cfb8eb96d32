"""A node's file descriptors: as many as the system allows, and a word where those are few.

Connections and logs share them, and a log directory without one for its next file is a failed disk. The usual limit of
1,024 is only what a process gets unasked (a soft limit, for programs that use `select`); the JVM raises its own, too.
"""

import contextlib
import resource

DESCRIPTORS_MAX = 1 << 20
FOR_THE_LOGS = 1_000
"""Segments in use, indexes, checkpoints (`log_store.open_segments`)."""


def raise_limit(connections_max: int) -> str | None:
    """Raise this process's limit as far as it goes; a warning where connections could use everything up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if soft == resource.RLIM_INFINITY or soft >= connections_max + FOR_THE_LOGS:
        return None
    return (
        f"this process may open {soft} files, and {connections_max} connections could leave none to the logs, which "
        f"then fail: raise the limit (ulimit -Hn, LimitNOFILE=) to {connections_max + FOR_THE_LOGS} or more"
    )
