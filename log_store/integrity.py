"""Whether the bytes of a segment are still what was written: checksums, offsets, epochs, and what the indexes say.

Base offset and leader epoch of a batch are outside its CRC. That the offsets go on, and that each batch has the epoch
which the log remembers for its offset, is what tells a stale block or a misdirected write, whose batches are intact.

| found                                              | told by                                             |
|----------------------------------------------------|-----------------------------------------------------|
| a flipped bit                                      | the CRC; outside of it, the offset or the epoch     |
| an old block, or one that belongs elsewhere        | the CRC of the batch that it cuts, offset, epoch    |
| a sector that cannot be read                       | EIO                                                 |
| a file that is shorter than it was                 | its last batch is missing                           |
| an index that points to no batch, or to another one | its offset is not that of the batch there           |

Not looked into: records (their batch has a CRC), the index of aborted transactions, which has a check of its own when
it is read.

Behind damage the check goes on at the next batch that can be recognised: by the damaged batch's own length, else by the
offset index. Where neither leads to one, everything up to the end counts as damaged.
"""

from collections.abc import Callable, Iterator, Sequence
from struct import Struct
from typing import NamedTuple

from kraftpy.record import DAMAGED, HEADER_BYTES, BatchHeader, check_batch
from kraftpy.runtime.ports import File
from log_store.leader_epochs import NO_EPOCH, EpochStart, LeaderEpochs

WINDOW_BYTES = 1024 * 1024
_LENGTH = Struct(">8xi")
_LENGTH_OVERHEAD = 12

Spend = Callable[[int], None]
"""Told of the bytes that are about to be read; may wait."""


class Damage(NamedTuple):
    """Offsets `[start_offset, end_offset)` of one segment cannot be trusted. `position`: where that begins in the file;
    `end_position` is exclusive."""

    start_offset: int
    end_offset: int
    position: int
    end_position: int
    why: str

    def __str__(self) -> str:
        return f"offsets {self.start_offset} to {self.end_offset - 1} at byte {self.position}: {self.why}"


class Extent(NamedTuple):
    """Whole batches that one file should hold from `position` up to `end_position`, both boundaries."""

    position: int
    end_position: int
    start_offset: int | None  # of the first batch; None: whatever it says
    end_offset: int


class Checked(NamedTuple):
    """`boundaries`: (position, last offset) of every intact batch."""

    damages: tuple[Damage, ...]
    boundaries: list[tuple[int, int]]


class _Refused(Exception):
    """Why the batch at a position is not what it should be."""


class Check:
    """One walk over one file. `places`: positions of batches by the offset index, ascending, to go on behind damage."""

    def __init__(
        self,
        file: File,
        extent: Extent,
        epochs: Sequence[EpochStart],
        *,
        gaps: bool,
        places: Sequence[int] = (),
        spend: Spend | None = None,
    ) -> None:
        """`epochs`: as the log remembers them. `gaps`: offsets may be missing, for compaction."""
        self._file = file
        self._extent = extent
        self._epochs = LeaderEpochs(epochs)
        self._known_from = epochs[0].start_offset if epochs else extent.end_offset
        self._gaps = gaps
        self._places = places
        self._spend = spend or _free
        self._window = memoryview(b"")
        self._window_start = 0
        self._epoch = NO_EPOCH  # of the last intact batch
        self._position = extent.position  # of that one

    def run(self, until: int | None = None) -> Checked:
        """The whole extent, or the batches that begin before the position `until`."""
        damages: list[Damage] = []
        boundaries: list[tuple[int, int]] = []
        for found in self.walk(until):
            if isinstance(found, Damage):
                damages.append(found)
            else:
                boundaries.append((self._position, found[0].last_offset))
        return Checked(tuple(damages), boundaries)

    def walk(self, until: int | None = None) -> Iterator[Damage | tuple[BatchHeader, memoryview]]:
        """What is there, in its order: each intact batch, of which the bytes hold until the next step, and damage."""
        position, end, expected, end_offset = self._extent
        stop = end if until is None else min(until, end)
        while position < stop:
            try:
                header, data = self._batch_at(position, expected)
            except _Refused as refused:
                start = self._window_offset(position) if expected is None else expected
                damage = self._extent_of_damage(position, start, str(refused))
                yield damage
                position, expected = damage.end_position, damage.end_offset
                continue
            self._epoch, self._position = header.leader_epoch, position
            yield header, data
            position += len(data)
            expected = header.end_offset
        if position >= end and expected is not None and expected < end_offset:
            yield Damage(expected, end_offset, end, end, f"the batches end before offset {end_offset}")

    # --- one batch ---------------------------------------------------------------------------------------------------

    def _batch_at(self, position: int, expected: int | None) -> tuple[BatchHeader, memoryview]:
        head = self._read(position, HEADER_BYTES)
        size_bytes = _LENGTH.unpack_from(head)[0] + _LENGTH_OVERHEAD
        if not HEADER_BYTES <= size_bytes <= self._extent.end_position - position:
            raise _Refused(f"a batch of {size_bytes} bytes does not fit there")
        data = self._read(position, size_bytes)
        try:
            header = check_batch(data, compacted=self._gaps)
        except DAMAGED as error:
            raise _Refused(error.message) from None
        base, end_offset = header.base_offset, self._extent.end_offset
        if expected is not None and base != expected and not (self._gaps and base > expected):
            raise _Refused(f"the batch begins at offset {base}, not {expected}")
        if header.end_offset > end_offset:
            raise _Refused(f"the batch reaches to offset {header.last_offset}, behind {end_offset}")
        if header.leader_epoch < self._epoch:
            raise _Refused(f"the batch has epoch {header.leader_epoch}, behind {self._epoch}")
        known = self._epochs.epoch_at(base) if base >= self._known_from else header.leader_epoch
        # An empty batch is compaction's own: it stands for a gap, in which a later epoch may have begun.
        if header.leader_epoch > known or (header.leader_epoch < known and header.record_count):
            raise _Refused(f"the batch has epoch {header.leader_epoch}, not {known}")
        return header, data

    def _read(self, position: int, size_bytes: int) -> memoryview:
        """Exactly so much; from a window, where the device gives one."""
        at = position - self._window_start
        if not 0 <= at <= at + size_bytes <= len(self._window):
            self._fill(position, size_bytes)
            at = 0
        return self._window[at : at + size_bytes]

    def _fill(self, position: int, size_bytes: int) -> None:
        wanted = min(max(size_bytes, WINDOW_BYTES), self._extent.end_position - position)
        self._window, self._window_start = memoryview(b""), position
        self._spend(wanted)
        try:
            self._window = memoryview(self._file.read(wanted, position))
        except OSError:
            try:  # a sector of the window is bad: perhaps not one of this batch
                self._window = memoryview(self._file.read(size_bytes, position))
            except OSError as error:
                raise _Refused(f"it cannot be read: {error.strerror or error}") from error
        if len(self._window) < size_bytes:
            raise _Refused(f"the file ends at byte {position + len(self._window)}")

    # --- behind damage -----------------------------------------------------------------------------------------------

    def _extent_of_damage(self, position: int, start_offset: int, why: str) -> Damage:
        end, end_offset = self._extent.end_position, self._extent.end_offset
        for after in self._candidates(position):
            if after >= end:
                return Damage(start_offset, end_offset, position, end, why)
            try:
                header, _ = self._batch_at(after, None)
            except _Refused:
                continue
            if header.base_offset > start_offset:
                return Damage(start_offset, header.base_offset, position, after, why)
        return Damage(start_offset, end_offset, position, end, why)

    def _candidates(self, position: int) -> list[int]:
        """Where the next batch may begin."""
        found = []
        try:
            length = _LENGTH.unpack_from(self._read(position, HEADER_BYTES))[0]
            if length >= HEADER_BYTES - _LENGTH_OVERHEAD:
                found.append(position + length + _LENGTH_OVERHEAD)
        except _Refused:
            pass
        return [*(after for after in found if after <= self._extent.end_position), *self._places_after(position)]

    def _places_after(self, position: int) -> list[int]:
        return [place for place in self._places if place > position]

    def _window_offset(self, position: int) -> int:
        """The offset that a batch of which nothing is expected claims; the extent's end where it claims nothing."""
        try:
            claimed = int.from_bytes(self._read(position, 8), "big", signed=True)
        except _Refused:
            return self._extent.end_offset
        return min(max(claimed, 0), self._extent.end_offset)


def index_damage(entries: Sequence[tuple[int, int]], base_offset: int, checked: Checked) -> str | None:
    """What is wrong with an offset index of (relative last offset, position) entries; None: it agrees.

    Entries that point into damaged batches are not judged.
    """
    last_offsets = dict(checked.boundaries)
    before = (-1, -1)
    for relative, position in entries:
        if not (relative > before[0] and position > before[1]):
            return f"its entry for byte {position} does not ascend"
        before = (relative, position)
        if any(damage.position <= position < damage.end_position for damage in checked.damages):
            continue
        if position not in last_offsets:
            return f"it points to byte {position}, where no batch begins"
        if last_offsets[position] != base_offset + relative:
            return f"it says offset {base_offset + relative} of the batch that ends with {last_offsets[position]}"
    return None


def time_index_damage(entries: Sequence[tuple[int, int]], base_offset: int, end_offset: int) -> str | None:
    """What is wrong with a time index of (timestamp, relative offset) entries; None: nothing that it shows itself."""
    before = (-1, -1)
    for timestamp_ms, relative in entries:
        if not (timestamp_ms > before[0] and relative > before[1]):
            return f"its entry for {timestamp_ms} does not ascend"
        if base_offset + relative >= end_offset:
            return f"it names offset {base_offset + relative}, behind the segment's end {end_offset}"
        before = (timestamp_ms, relative)
    return None


def _free(size_bytes: int) -> None:
    """Reading costs nothing."""
