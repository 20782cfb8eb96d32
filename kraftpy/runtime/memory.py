"""What this process holds in memory beyond files."""

import ctypes
from collections.abc import Callable
from pathlib import Path

WORTH_BYTES = 4_000_000
"""Grown by less since memory was last given back: not worth the milliseconds that it takes."""


def anonymous_bytes() -> int | None:
    """RssAnon; None where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return None


class UnusedMemory:
    """What a load leaves behind: pages that the C library's malloc keeps for the next one.

    Batches of a megabyte come and go, and glibc takes the size of what is freed for a hint: from then on it keeps up to
    64 MiB for itself (mallopt(3), M_MMAP_THRESHOLD). A node that is idle again needs none of it.
    """

    def __init__(self) -> None:
        self._kept_bytes = 0  # after pages were given back
        self._trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def give_back(self) -> None:
        """To the system, if it is worth it (malloc_trim(3)). Where the C library has no such call, nothing happens."""
        if self._trim is None:
            return
        held_bytes = anonymous_bytes()
        if held_bytes is not None and held_bytes - self._kept_bytes >= WORTH_BYTES:
            self._trim(0)
            self._kept_bytes = anonymous_bytes() or held_bytes
