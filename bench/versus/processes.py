"""What processes use, from /proc: a node is its process and that one's children (our maintenance process)."""

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    children = [
        int(child) for listing in Path(f"/proc/{pid}/task").glob("*/children") for child in listing.read_text().split()
    ]
    return [pid, *(each for child in children for each in family(child))]


def processor_s(pids: Iterable[int]) -> float:
    """User and system time of these nodes so far."""
    return sum(_ticks(each) for pid in pids for each in family(pid)) / TICKS_PER_S


def rss_anon_mb(pid: int) -> float:
    """Memory of a node that no file stands behind, in 10⁶ bytes."""
    return sum(_rss_anon_kib(each) for each in family(pid)) * 1_024 / 1e6


def _ticks(pid: int) -> int:
    with contextlib.suppress(FileNotFoundError):  # a child that has ended meanwhile
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    return 0


def _rss_anon_kib(pid: int) -> int:
    with contextlib.suppress(FileNotFoundError):
        found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) if found else 0
    return 0
