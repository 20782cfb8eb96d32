"""The producers' snapshots of one log, on disk: what recovery begins from, and the proof of what is durable.

A snapshot at offset S is put in place only after everything below S was synced, with its indexes; so its mere presence
proves that (see `recovery`). Hence the two rules here: whoever cuts a log below S removes S first, durably; and a
snapshot is written under a temporary name, to be renamed by whoever knows that the log was not cut meanwhile.
"""

from bisect import insort
from collections import deque
from collections.abc import Container, Iterable
from contextlib import suppress

from kraftpy.runtime.ports import Disk
from log_store import file_names
from log_store.producer_snapshot import CorruptSnapshotError, decode_snapshot, encode_snapshot
from log_store.producer_state import ProducerEntry, ProducerState
from log_store.small_files import read_small
from log_store.unflushed import SnapshotToWrite

FORGOTTEN_MAX = 8
"""Turns in which some were superseded: a flush removes those of one turn, the turn after has synced the names."""


def newest_proof(disk: Disk, directory: str) -> int:
    """`Snapshots.newest` of a log that is not open, as recovery will find it; 0: there is none. Raises `OSError`."""
    if not disk.exists(directory):
        return 0
    found = (file_names.offset_of(name, file_names.PRODUCER_SNAPSHOT) for name in disk.list(directory))
    snapshots = Snapshots(disk, directory, [offset for offset in found if offset is not None])
    snapshots.drop_unreadable()
    return snapshots.newest


class Snapshots:
    """Those of one log. Every method that touches the disk raises `OSError`."""

    __slots__ = ("_directory", "_disk", "_forgotten", "_offsets")

    def __init__(self, disk: Disk, directory: str, offsets: Iterable[int] = ()) -> None:
        self._disk = disk
        self._directory = directory
        self._offsets = sorted(offsets)
        # Left to flushes to remove, the latest first to go last: a crash may bring them back, as proofs.
        self._forgotten: deque[list[int]] = deque(maxlen=FORGOTTEN_MAX)

    @property
    def newest(self) -> int:
        """Everything below is durable, by proof; 0 without a snapshot."""
        return self._offsets[-1] if self._offsets else 0

    def path(self, offset: int) -> str:
        return f"{self._directory}/{file_names.of_offset(offset, file_names.PRODUCER_SNAPSHOT)}"

    def to_write(self, producers: ProducerState, offset: int) -> SnapshotToWrite:
        """A snapshot of `producers`, who are as of `offset`, for the next flush."""
        return SnapshotToWrite(offset, self.path(offset), encode_snapshot(producers.entries()))

    def place(self, snapshot: SnapshotToWrite) -> None:
        """Give a written one its name."""
        self._disk.rename(snapshot.path + file_names.TEMPORARY, snapshot.path)
        self._note(snapshot.offset)

    def write(self, snapshot: SnapshotToWrite) -> None:
        """Write and place it here and now, durably; everything below its offset was synced before."""
        self._disk.write_atomically(snapshot.path, snapshot.data)
        self._note(snapshot.offset)

    def _note(self, offset: int) -> None:
        if offset not in self._offsets:
            insort(self._offsets, offset)

    def load(self, producers: ProducerState, at_most: int) -> int:
        """Set `producers` by the newest one at or below `at_most`; gives its offset. Without one: nobody, and 0."""
        for offset in reversed(self._offsets):
            if offset <= at_most:
                try:
                    producers.load(self._read(offset))
                except CorruptSnapshotError:
                    continue
                return offset
        producers.clear()
        return 0

    def open_transactions(self, at_most: int) -> tuple[int, list[tuple[int, int]]]:
        """The offset of the newest one at or below `at_most`, and (first offset, producer id) of all open there."""
        producers = ProducerState(2**31)
        offset = self.load(producers, at_most)
        entries = producers.newest()
        return offset, [(entry.transaction_start, entry.producer_id) for entry in entries if entry.in_transaction]

    def drop_unreadable(self) -> None:
        """Remove the newest ones until there is one that can be read: a damaged one proves nothing."""
        while self._offsets:
            try:
                self._read(self._offsets[-1])
                return
            except CorruptSnapshotError:
                self._disk.remove(self.path(self._offsets.pop()))

    def _read(self, offset: int) -> list[ProducerEntry]:
        return decode_snapshot(read_small(self._disk, self.path(offset), CorruptSnapshotError))

    def drop_above(self, end_offset: int) -> None:
        """Remove those that prove more than `end_offset`, durably."""
        forgotten = [offset for some in self._forgotten for offset in some if offset > end_offset]
        if forgotten or (self._offsets and self._offsets[-1] > end_offset):
            while self._offsets and self._offsets[-1] > end_offset:
                self._disk.remove(self.path(self._offsets.pop()))
            for path in map(self.path, forgotten):
                with suppress(FileNotFoundError):  # a flush may do it between the look and the removal
                    if self._disk.exists(path):
                        self._disk.remove(path)
            self._disk.sync_directory(self._directory)

    def forget_superseded(self, keep: Container[int]) -> list[str]:
        """The paths, to be removed, of all but the newest one and those at the offsets to keep."""
        return self._forget([offset for offset in self._offsets[:-1] if offset not in keep])

    def forget_below(self, base_offset: int) -> list[str]:
        """The paths, to be removed, of those of deleted segments, but never of the newest."""
        count = 0
        while count < len(self._offsets) - 1 and self._offsets[count] < base_offset:
            count += 1
        return self._forget(self._offsets[:count])

    def _forget(self, offsets: list[int]) -> list[str]:
        if offsets:
            self._forgotten.append(offsets)
        self._offsets = [offset for offset in self._offsets if offset not in offsets]
        return [self.path(offset) for offset in offsets]
