"""What this process holds in memory beyond files."""

import ctypes
from collections.abc import Callable
from pathlib import Path

TRIM_THRESHOLD = -1  # parameters of mallopt(3), of <malloc.h>
MMAP_THRESHOLD = -3
ARENA_MAX = -8
KEPT_BYTES = 64 << 20
FROM_HEAP_BYTES = 32 << 20
"""The most that glibc takes for the two, and what its own guesses may come to."""


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
    writing them. And have all threads take from one heap: of the others malloc_trim(3) leaves alone what is free at the
    end, which after a load of gRPC's threads was 25 MB and more. Where the C library has no such call, nothing happens.
    """
    set_parameter: Callable[[int, int], int] | None = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_parameter is not None:
        set_parameter(MMAP_THRESHOLD, FROM_HEAP_BYTES)
        set_parameter(TRIM_THRESHOLD, KEPT_BYTES)
        set_parameter(ARENA_MAX, 1)


def give_back_unused_memory() -> None:
    """What a load leaves behind: pages that malloc keeps for the next one, which a node that is idle does not need.

    It takes 0.2 ms where there are none, and up to 2 ms (malloc_trim(3)). What the process holds does not tell whether
    it is worth that: what was in use the last time may have been freed since. Where the C library has no such call,
    nothing happens.
    """
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
