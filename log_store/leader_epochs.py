"""Where each leader epoch starts in a log: what truncation is decided by (KIP-101, KIP-279, KIP-320).

Invariants: epochs ascend strictly; start offsets ascend strictly too, because an epoch that left no record is dropped
when the next one starts at the same offset. Pure; the log decides when the entries reach the disk.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from operator import itemgetter
from typing import NamedTuple

NO_EPOCH = -1


class EpochStart(NamedTuple):
    epoch: int
    start_offset: int


class LeaderEpochs:
    """The epochs of one log, and where each starts."""

    __slots__ = ("_entries", "changes", "latest_epoch")

    def __init__(self, entries: Iterable[EpochStart] = ()) -> None:
        self._entries = list(entries)
        self.latest_epoch = self._entries[-1].epoch if self._entries else NO_EPOCH
        self.changes = 0  # counts every change, so that a writer knows whether it wrote the latest

    @property
    def entries(self) -> tuple[EpochStart, ...]:
        return tuple(self._entries)

    def assign(self, epoch: int, start_offset: int) -> None:
        """Note that `epoch` starts at `start_offset`, unless it is known already.

        Epochs that start there or later left no record, and are dropped. Raises `ValueError` for an epoch that goes
        back.
        """
        if epoch == self.latest_epoch:
            return
        if epoch < self.latest_epoch:
            raise ValueError(f"epoch {epoch} at offset {start_offset} goes back behind epoch {self.latest_epoch}")
        while self._entries and self._entries[-1].start_offset >= start_offset:
            self._entries.pop()
        self._entries.append(EpochStart(epoch, start_offset))
        self.latest_epoch = epoch
        self.changes += 1

    def epoch_at(self, offset: int) -> int:
        """The epoch of the record at `offset`; -1 before the first known one."""
        after = bisect_right(self._entries, offset, key=itemgetter(1))
        return self._entries[after - 1].epoch if after else NO_EPOCH

    def truncate_from(self, end_offset: int) -> None:
        """Forget the epochs that start at or after `end_offset`."""
        if self._entries and self._entries[-1].start_offset >= end_offset:
            del self._entries[bisect_left(self._entries, end_offset, key=itemgetter(1)) :]
            self.latest_epoch = self._entries[-1].epoch if self._entries else NO_EPOCH
            self.changes += 1

    def truncate_to(self, start_offset: int) -> None:
        """Forget what ends at or before `start_offset`; the epoch that reaches over it now starts there."""
        reached = bisect_right(self._entries, start_offset, key=itemgetter(1)) - 1
        if reached > 0 or (reached == 0 and self._entries[0].start_offset < start_offset):
            self._entries[: reached + 1] = [EpochStart(self._entries[reached].epoch, start_offset)]
            self.changes += 1

    def clear(self) -> None:
        self._entries.clear()
        self.latest_epoch = NO_EPOCH
        self.changes += 1
