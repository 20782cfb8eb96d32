"""What the core must know of its log: where it starts and ends, which epochs lie where, and who votes.

The entries themselves stay with the shell. Invariants:

- `start_offset <= durable_offset <= end_offset`;
- epochs ascend strictly, their start offsets ascend, and all lie in `[start_offset, end_offset)`;
- `before` is the position at `start_offset`: the epoch of the last entry that is gone. It may be unknown after a
  restart, but only where the latest snapshot reaches further than `start_offset`;
- the voter set in force is the last one appended, committed or not (KIP-853); a truncation brings back the former.

This is bookkeeping, not a log: nothing here reads, writes or decides.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from raft.events import Entry, Epoch, LogPosition, Offset, SnapshotId, Voter, VoterSet

BEGINNING: Final = Offset(0)
UNKNOWN_EPOCH: Final = Epoch(-1)


@dataclass(frozen=True, slots=True)
class StoredLog:
    """What a replica finds on its disk when it starts; everything in it is durable."""

    start_offset: Offset = BEGINNING
    end_offset: Offset = BEGINNING
    epochs: tuple[tuple[Epoch, Offset], ...] = ()
    voter_sets: tuple[tuple[Offset, VoterSet], ...] = ()  # end offset of the entry, or of the snapshot that holds it
    snapshot: SnapshotId | None = None  # the latest; start_offset <= its end_offset <= end_offset


class LogShape:
    def __init__(self, stored: StoredLog) -> None:
        self.start_offset = stored.start_offset
        self.end_offset = stored.end_offset
        self.durable_offset = stored.end_offset
        self.snapshot = stored.snapshot
        self.before = LogPosition(_epoch_before(stored), stored.start_offset)
        self._epochs = list(stored.epochs)
        self._voter_sets = list(stored.voter_sets)

    @property
    def last(self) -> LogPosition:
        return self.position_at(self.end_offset)

    @property
    def durable(self) -> LogPosition:
        return self.position_at(self.durable_offset)

    @property
    def voters(self) -> VoterSet | None:
        return self._voter_sets[-1][1] if self._voter_sets else None

    @property
    def voters_end_offset(self) -> Offset:
        """End offset of the entry that holds the voter set in force."""
        return self._voter_sets[-1][0] if self._voter_sets else Offset(0)

    def voters_since(self, committed_offset: Offset) -> list[tuple[Voter, ...]]:
        """The voter sets that may be in force as far as is known: the last below `committed_offset`, and all after."""
        first = bisect_right(self._voter_sets, committed_offset, key=_end_offset) - 1
        return [voters.voters for _, voters in self._voter_sets[max(first, 0) :]]

    def position_at(self, end_offset: Offset) -> LogPosition:
        """The position of the prefix that ends at `end_offset`, which lies within the log."""
        assert self.start_offset <= end_offset <= self.end_offset, (self.start_offset, end_offset, self.end_offset)
        if end_offset == self.start_offset:
            return self.before
        index = bisect_left(self._epochs, end_offset, key=_start_offset) - 1
        return LogPosition(self._epochs[index][0], end_offset)

    def epoch_at(self, offset: Offset) -> Epoch:
        """The epoch of the entry that holds `offset`."""
        return self.position_at(Offset(offset + 1)).epoch

    def end_of_epoch(self, epoch: Epoch) -> LogPosition:
        """Where the greatest epoch that is not above `epoch` ends (KIP-101); `before` if all are above it."""
        index = bisect_right(self._epochs, epoch, key=_epoch)
        if index == 0:
            return self.before
        end = self._epochs[index][1] if index < len(self._epochs) else self.end_offset
        return LogPosition(self._epochs[index - 1][0], end)

    def holds(self, snapshot: SnapshotId) -> bool:
        """Whether it has the entry that `snapshot` ends with, and so all that the snapshot covers (log matching)."""
        inside = self.start_offset <= snapshot.end_offset <= self.end_offset
        return inside and self.position_at(snapshot.end_offset).epoch == snapshot.epoch

    def append(self, entry: Entry) -> None:
        assert entry.offset == self.end_offset and entry.count >= 1, (entry.offset, entry.count, self.end_offset)
        assert entry.epoch >= self.last.epoch, (entry.epoch, self.last)
        if not self._epochs or self._epochs[-1][0] < entry.epoch:
            self._epochs.append((entry.epoch, entry.offset))
        self.end_offset = entry.end_offset
        if isinstance(entry.body, VoterSet):
            self._voter_sets.append((entry.end_offset, entry.body))

    def persisted(self, end_offset: Offset) -> None:
        self.durable_offset = max(self.durable_offset, min(end_offset, self.end_offset))

    def truncate(self, end_offset: Offset) -> None:
        assert self.start_offset <= end_offset <= self.end_offset, (self.start_offset, end_offset, self.end_offset)
        self.end_offset = end_offset
        self.durable_offset = min(self.durable_offset, end_offset)
        while self._epochs and self._epochs[-1][1] >= end_offset:
            self._epochs.pop()
        while self._voter_sets and self._voter_sets[-1][0] > end_offset:
            self._voter_sets.pop()

    def drop_before(self, start_offset: Offset) -> None:
        """Forget what a snapshot covers; never more than is durable."""
        assert self.start_offset <= start_offset <= self.durable_offset
        self.before = self.position_at(start_offset)
        self.start_offset = start_offset
        while len(self._epochs) > 1 and self._epochs[1][1] <= start_offset:
            self._epochs.pop(0)
        if self._epochs:
            self._epochs[0] = (self._epochs[0][0], max(self._epochs[0][1], start_offset))
        if start_offset == self.end_offset:
            self._epochs.clear()
        while len(self._voter_sets) > 1 and self._voter_sets[1][0] <= start_offset:
            self._voter_sets.pop(0)

    def reset_to(self, snapshot: SnapshotId, voters: VoterSet) -> None:
        """The log is replaced by a snapshot: it starts and ends where that ends."""
        self.snapshot = snapshot
        self.start_offset = self.end_offset = self.durable_offset = snapshot.end_offset
        self.before = LogPosition(snapshot.epoch, snapshot.end_offset)
        self._epochs.clear()
        self._voter_sets = [(snapshot.end_offset, voters)]


def voter_sets_of(entries: Iterable[Entry]) -> list[tuple[Offset, VoterSet]]:
    """The voter sets among entries, as `StoredLog.voter_sets` wants them."""
    return [(entry.end_offset, entry.body) for entry in entries if isinstance(entry.body, VoterSet)]


def _epoch_before(stored: StoredLog) -> Epoch:
    if stored.start_offset == 0:
        return Epoch(0)
    if stored.snapshot is not None and stored.snapshot.end_offset == stored.start_offset:
        return stored.snapshot.epoch
    return UNKNOWN_EPOCH


def _end_offset(item: tuple[Offset, VoterSet]) -> Offset:
    return item[0]


def _epoch(item: tuple[Epoch, Offset]) -> Epoch:
    return item[0]


def _start_offset(item: tuple[Epoch, Offset]) -> Offset:
    return item[1]
