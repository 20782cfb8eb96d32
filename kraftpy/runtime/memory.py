"""What this process holds in memory beyond files."""

import ctypes
from collections.abc import Callable
from pathlib import Path

TRIM_THRESHOLD = -1  # parameters of mallopt(3), of <malloc.h>
MMAP_THRESHOLD = -3
KEPT_BYTES = 64 << 20
FROM_HEAP_BYTES = 32 << 20
"""The most that glibc takes for the two, and what its own guesses may come to."""

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


def keep_freed_memory() -> None:
    """Have malloc keep up to 64 MiB of what is freed for the next batches, rather than guess how much.

    Batches of a megabyte come and go. What glibc guesses from their sizes is so near to them that it may give the same
    pages to the system and take them again up to four times for each (`brk` in strace), which can cost a node more than
    writing them. Where the C library has no such call, nothing happens.
    """
    set_parameter: Callable[[int, int], int] | None = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_parameter is not None:
        set_parameter(MMAP_THRESHOLD, FROM_HEAP_BYTES)
        set_parameter(TRIM_THRESHOLD, KEPT_BYTES)


class UnusedMemory:
    """What a load leaves behind: pages that malloc keeps for the next one. A node that is idle needs none of them."""

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
