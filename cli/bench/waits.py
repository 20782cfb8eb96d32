"""Which records waited, and when: what a failover looks like from outside. Pure.

A record waits from when it was due until it is acknowledged, or fails. Those that wait longer than `LONG_US` make up
stretches: times in which at least one such record waited. One stretch is one interruption, whoever was interrupted.

    due        |---- 130 ms ----|                                  |-- 400 ms --|
    due            |---- 125 ms ----|
    stretches  |                    |                              |            |

Invariants: stretches are in order and do not touch each other; each long wait lies in exactly one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

LONG_US = 100_000
PENDING_MAX = 4_096


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which records waited long. Microseconds since the start."""

    start_us: int
    end_us: int
    longest_us: int
    records: int
    failed: int
    """How many of `records` were never acknowledged."""
    partitions: frozenset[int]


class Waits:
    """Notes what becomes of records, in the order in which that is told."""

    def __init__(self) -> None:
        self.longest_us = 0  # of the records that were acknowledged
        self.longest_gap_us = 0  # between two acknowledgements, or the start and the first
        self._last_us = 0
        self._stretches: list[Stretch] = []
        self._pending: list[Stretch] = []  # long waits not merged yet, at most PENDING_MAX

    def acknowledged(self, due_us: int, now_us: int, partition: int) -> None:
        self.longest_us = max(self.longest_us, now_us - due_us)
        self.longest_gap_us = max(self.longest_gap_us, now_us - self._last_us)
        self._last_us = max(self._last_us, now_us)
        self._note(due_us, now_us, partition, failed=0)

    def failed(self, due_us: int, now_us: int, partition: int) -> None:
        self._note(due_us, now_us, partition, failed=1)

    def stretches(self) -> list[Stretch]:
        """All of them so far, in order."""
        self._merge()
        return list(self._stretches)

    def _note(self, due_us: int, now_us: int, partition: int, failed: int) -> None:
        wait_us = now_us - due_us
        if wait_us <= LONG_US:
            return
        places = frozenset() if partition < 0 else frozenset((partition,))
        self._pending.append(Stretch(due_us, now_us, wait_us, 1, failed, places))
        if len(self._pending) >= PENDING_MAX:
            self._merge()

    def _merge(self) -> None:
        self._stretches = merged([*self._stretches, *self._pending])
        self._pending.clear()


def merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The same with those that overlap or touch made one."""
    found: list[Stretch] = []
    for each in sorted(stretches, key=lambda stretch: (stretch.start_us, stretch.end_us)):
        if found and each.start_us <= found[-1].end_us:
            found[-1] = _joined(found[-1], each)
        else:
            found.append(each)
    return found


def _joined(first: Stretch, second: Stretch) -> Stretch:
    return Stretch(
        first.start_us,
        max(first.end_us, second.end_us),
        max(first.longest_us, second.longest_us),
        first.records + second.records,
        first.failed + second.failed,
        first.partitions | second.partitions,
    )
