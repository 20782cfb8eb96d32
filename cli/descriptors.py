"""A node's file descriptors: as many as the system allows, and a word where those are few.

Connections and logs share them, and a log directory without one for its next file is a failed disk. The usual limit of
1,024 is only what a process gets unasked (a soft limit, for programs that use `select`); the JVM raises its own, too.
"""

import contextlib
import resource

DESCRIPTORS_MAX = 1 << 20
RESERVED = 250
"""For everything else: sockets to other nodes, checkpoints, the interpreter."""
FOR_THE_LOGS = 1_000
"""Segments in use, indexes, checkpoints (`log_store.open_segments`)."""


DESCRIPTORS_PER_SEGMENT = 5
"""Of one in use: its file, and the mappings of its two indexes; and what a flush of half as many logs at once holds,
three for each (`log_store.flusher`)."""

OPEN_SEGMENTS_MIN = 50
OPEN_SEGMENTS_MAX = 20_000
"""Of all directories together; about 1 KB each beside the mapped pages, and the system has limits of its own."""


def open_segments(for_connections: int, directories: int) -> int:
    """How many segments each of the log directories may keep open; `for_connections` is kept of the limit."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    limit = DESCRIPTORS_MAX if soft == resource.RLIM_INFINITY else soft
    left = (limit - for_connections - RESERVED) // DESCRIPTORS_PER_SEGMENT
    return max(OPEN_SEGMENTS_MIN, min(left, OPEN_SEGMENTS_MAX) // directories)


def raise_limit(for_connections: int) -> str | None:
    """Raise this process's limit as far as it goes; a warning where it leaves too little beside `for_connections`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if soft == resource.RLIM_INFINITY or soft >= for_connections + FOR_THE_LOGS:
        return None
    return (
        f"this process may open {soft} files; connections can use {for_connections} and leave none to the logs, which "
        f"then fail: raise the limit (ulimit -Hn, LimitNOFILE=) to {for_connections + FOR_THE_LOGS} or more"
    )
