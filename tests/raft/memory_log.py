"""A dumb twin of the quorum's log: entries in a list, a durable end, snapshots in a dictionary.

Unlike a real one it knows what a crash may take: everything behind the durable end, in any length. And what a restart
may bring back: of what was dropped at the beginning, any number of entries, because a real log drops whole segments and
may forget where within one it was to start.
"""

from collections.abc import Sequence
from random import Random

from raft.events import Entry, Epoch, Offset, PersistVote, SnapshotId, VoterSet


class MemoryLog:
    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        self.start_offset = Offset(0)
        self.entries = list(entries)
        self._dropped: list[Entry] = []  # those right before `start_offset`
        self.durable_end_offset = self.end_offset
        self.snapshots: dict[SnapshotId, tuple[VoterSet, bytes]] = {}
        self.damaged: dict[SnapshotId, str] = {}
        self.vote: PersistVote | None = None

    @property
    def end_offset(self) -> Offset:
        return self.entries[-1].end_offset if self.entries else self.start_offset

    def epochs(self) -> list[tuple[Epoch, Offset]]:
        found: list[tuple[Epoch, Offset]] = []
        for entry in self.entries:
            if not found or found[-1][0] != entry.epoch:
                found.append((entry.epoch, entry.offset))
        return found

    def append(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            assert entry.offset == self.end_offset, (entry, self.end_offset)
            self.entries.append(entry)

    def index_of(self, offset: Offset) -> int:
        """The index of the entry that begins at `offset`, or the number of entries at the end."""
        low = self._first_index_from(offset)
        at = self.entries[low].offset if low < len(self.entries) else self.end_offset
        assert at == offset, f"{offset} is inside an entry, or outside the log"
        return low

    def _first_index_from(self, offset: Offset) -> int:
        low, high = 0, len(self.entries)
        while low < high:
            middle = (low + high) // 2
            if self.entries[middle].offset < offset:
                low = middle + 1
            else:
                high = middle
        return low

    def epoch_before(self, end_offset: Offset) -> Epoch | None:
        """The epoch of the entry that ends at `end_offset`: None where it is gone, -1 where none ends there."""
        if end_offset <= self.start_offset:
            return None
        index = self._first_index_from(end_offset)
        there = index > 0 and self.entries[index - 1].end_offset == end_offset
        return self.entries[index - 1].epoch if there else Epoch(-1)

    @property
    def last_epoch(self) -> Epoch | None:
        """The epoch of the last entry; None where nothing tells."""
        if self.entries:
            return self.entries[-1].epoch
        return next((each.epoch for each in self.snapshots if each.end_offset == self.start_offset), None)

    def read(self, offset: Offset, end_offset: Offset, bytes_max: int) -> list[Entry]:
        """Every entry counts as one byte."""
        first = self.index_of(offset)
        found = self.entries[first : first + max(1, bytes_max)]
        return [entry for entry in found if entry.end_offset <= end_offset]

    def flushed(self, end_offset: Offset) -> None:
        self.durable_end_offset = max(self.durable_end_offset, end_offset)

    def truncate(self, end_offset: Offset) -> None:
        del self.entries[self.index_of(end_offset) :]
        self.durable_end_offset = min(self.durable_end_offset, end_offset)

    def drop_before(self, start_offset: Offset) -> None:
        index = self.index_of(start_offset)
        self._dropped += self.entries[:index]
        del self.entries[:index]
        self.start_offset = start_offset

    def reset_to(self, snapshot: SnapshotId) -> None:
        assert snapshot in self.snapshots
        self.entries.clear()
        self._dropped.clear()
        self.start_offset = self.durable_end_offset = snapshot.end_offset

    def note_committed(self, end_offset: Offset) -> None:
        """Nothing rots here."""

    async def damage_of(self, snapshot: SnapshotId) -> str | None:
        return self.damaged.get(snapshot)

    def crash(self, random: Random) -> None:
        """Lose what was not flushed: all of it, or what comes after some point."""
        kept = [entry for entry in self.entries if entry.end_offset <= self.durable_end_offset]
        lost = self.entries[len(kept) :]
        self.entries = kept + lost[: random.randrange(len(lost) + 1)]
        self.durable_end_offset = self.end_offset

    def bring_back(self, random: Random) -> None:
        """A restart finds the log longer at its beginning than it was left."""
        index = random.randrange(len(self._dropped) + 1)
        self.entries = self._dropped[index:] + self.entries
        del self._dropped[index:]
        self.start_offset = self.entries[0].offset if self.entries else self.start_offset

    def latest_snapshot(self) -> SnapshotId | None:
        return max(self.snapshots, key=lambda snapshot: snapshot.end_offset, default=None)

    def keep_snapshot(self, snapshot: SnapshotId, voters: VoterSet, content: bytes) -> None:
        """Durable at once; the two latest stay."""
        self.snapshots[snapshot] = (voters, content)
        self.damaged.pop(snapshot, None)
        for old in sorted(self.snapshots, key=lambda each: each.end_offset)[:-2]:
            del self.snapshots[old]

    def snapshot_voters(self, snapshot: SnapshotId) -> VoterSet:
        return self.snapshots[snapshot][0]

    def snapshot_size(self, snapshot: SnapshotId) -> int | None:
        return len(self.snapshots[snapshot][1]) if snapshot in self.snapshots else None

    def read_snapshot(self, snapshot: SnapshotId, position: int, size_max: int) -> bytes:
        content = self.snapshots[snapshot][1]
        if snapshot in self.damaged:
            content = b"?" + content[1:]
        return content[position : position + size_max]

    def voters_at(self, end_offset: Offset) -> VoterSet | None:
        """The voter set in force for what lies below `end_offset`."""
        found = [entry.body for entry in self.entries if entry.end_offset <= end_offset]
        sets = [body for body in found if isinstance(body, VoterSet)]
        if sets:
            return sets[-1]
        covered = [each for each in self.snapshots if each.end_offset <= end_offset]
        return self.snapshots[max(covered)][0] if covered else None
