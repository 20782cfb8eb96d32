"""An open log as those see it who do not change it: how far it goes, what is durable, what it holds, what of it is bad.

    start_offset <= end_offset                          what is readable
    recovery_point <= flushed_offset <= end_offset      what is durable; what may be counted; what is appended
    flushed_start_offset <= start_offset                below which nothing comes back; and nothing is readable

`flushed_offset` is the one to build a high watermark on: it equals `recovery_point`, or, where `flush_messages` relaxes
that, `end_offset`.

Invariants:
- No record is given that was noted as damaged: a read ends before it, and one that would begin in it is refused.
- A read that fails for the sake of one sector leaves the directory alone; any other failure of the disk puts up its
  fence.

Not here: everything that happens to a log (`log.Log`), and looking for damage (`inspection`).
"""

from collections.abc import Callable, Sequence
from uuid import UUID

from kraftpy.errors import CorruptRecordError, OffsetOutOfRangeError
from kraftpy.record import BatchHeader
from kraftpy.runtime.ports import Disk
from log_store.config import LogConfig
from log_store.damages import Damages
from log_store.durability import Durability
from log_store.fence import Fence, Guard
from log_store.integrity import Damage
from log_store.leader_epochs import LeaderEpochs
from log_store.opened_log import OpenedLog, Recovery
from log_store.producer_state import ProducerState
from log_store.reading import FoundTime, LogRead, Prefetch, find_time, read_ahead, read_segment
from log_store.scrub import NEVER_SCRUBBED
from log_store.segment import Segment
from log_store.segments import Segments
from log_store.transaction_index import Aborted, find_aborted
from log_store.warming import warm_for_time


class ReadableLog:
    """The part of a `Log` that only tells; who changes it is `Log`."""

    def __init__(
        self,
        directory: str,
        config: LogConfig,
        opened: OpenedLog,
        topic_id: UUID | None,
        fence: Fence,
        segments: Segments,
        durability: Durability,
    ) -> None:
        self.directory = directory
        self.name = directory.rpartition("/")[2]
        self.config = config
        self.topic_id = topic_id
        self.epochs: LeaderEpochs = opened.epochs
        self.producers: ProducerState = opened.producers
        self.recovery: Recovery = opened.recovery
        self.scrubbed = NEVER_SCRUBBED
        self.damages = Damages()
        """What cannot be trusted, as far as somebody looked: refused to readers."""
        self.start_offset = opened.start_offset
        self.end_offset = opened.segments[-1].end_offset
        self._fence = fence
        self._segments = segments
        self._durability = durability
        self._may_have_gaps = opened.may_have_gaps
        self._closed = False

    def __repr__(self) -> str:
        return f"Log({self.name!r}, [{self.start_offset}, {self.end_offset}), flushed {self.flushed_offset})"

    @property
    def size_bytes(self) -> int:
        return self._segments.size_bytes

    @property
    def segments(self) -> Sequence[Segment]:
        return self._segments.all

    @property
    def is_closed(self) -> bool:
        return self._closed

    @property
    def may_have_gaps(self) -> bool:
        """Whether offsets may be missing: it is or was compacted, or copied from a log that was."""
        return self._may_have_gaps

    # --- what is durable ---------------------------------------------------------------------------------------------

    @property
    def recovery_point(self) -> int:
        """Everything below is durable."""
        return self._durability.recovery_point

    @property
    def flushed_offset(self) -> int:
        """Everything below may be counted."""
        return self._durability.flushed_offset

    @property
    def flushed_start_offset(self) -> int:
        """Nothing below comes back, whatever happens."""
        return self._durability.start_offset

    @property
    def needs_flush(self) -> bool:
        """Whether a flush would make anything durable, or clean anything up."""
        return self.recovery_point < self.end_offset or self.has_loose_ends

    @property
    def flush_is_due(self) -> bool:
        """As `needs_flush`, but where appended counts as flushed, records wait until there are `flush_messages`."""
        unflushed = self.end_offset - self.recovery_point
        return self.has_loose_ends or unflushed >= self.config.flush_messages

    @property
    def has_loose_ends(self) -> bool:
        """Whether a flush is wanted for more than the records: a cut, epochs, sealed segments, names, leftovers."""
        return self._durability.has_loose_ends

    # --- reading -----------------------------------------------------------------------------------------------------

    def read(self, offset: int, bytes_max: int, end_offset: int, *, minimum_one: bool = True) -> LogRead:
        """Whole batches of one segment, from the one that holds `offset`, below `end_offset`, up to `bytes_max` bytes.

        `minimum_one`: the first batch is given even where it is larger. May wait for the device: ask `prefetch` first.
        Raises `OffsetOutOfRangeError` outside `[start_offset, end_offset of the log]`, `KafkaStorageError`,
        `CorruptRecordError`.
        """
        if not self.start_offset <= offset <= self.end_offset:
            raise OffsetOutOfRangeError(
                f"offset {offset} of {self.name} lies outside [{self.start_offset}, {self.end_offset}]"
            )
        if offset >= end_offset or offset == self.end_offset:
            return LogRead(offset, [], 0, offset)
        if self.damages:
            end_offset = self.damages.readable_end(offset, end_offset)
        with self.reading("reading"):
            for segment in self._segments.from_offset(offset):
                found = read_segment(segment, offset, bytes_max, end_offset, minimum_one=minimum_one)
                if found is not None:
                    return found
                if self._is_lost_in(segment, offset):
                    raise CorruptRecordError(f"no batch of {self.name} reaches offset {offset}, where others follow")
        return LogRead(offset, [], 0, offset)

    def _is_lost_in(self, segment: Segment, offset: int) -> bool:
        """Whether the segment should have batches that reach there. The last one ends where its batches do."""
        is_closed = segment is not self._segments.last and offset < segment.end_offset
        return is_closed and (not self._may_have_gaps or segment.size_bytes == 0)

    def reading(self, doing: str) -> Guard:
        """Around whatever touches the disk for a reader: raises `KafkaStorageError` for its `OSError`."""
        return self._fence.reading(f"{doing} {self.name}")

    def read_bytes(self, offset: int, bytes_max: int, end_offset: int, *, minimum_one: bool = True) -> bytes:
        """As `read`, but the bytes themselves."""
        found = self.read(offset, bytes_max, end_offset, minimum_one=minimum_one)
        with self.reading("reading"):
            return b"".join(piece.file.read(piece.length, piece.position) for piece in found.slices)

    def prefetch(
        self, offset: int, bytes_max: int, *, cached_too: bool = False, newest_too: bool = False
    ) -> Prefetch | None:
        """None where a read would find everything in memory; else what a disk thread has to do first.

        What it gives belongs into `note_found`. `cached_too`, `newest_too`: check also what is in memory, or was just
        appended (`Segment.unread`). Raises `KafkaStorageError`.
        """
        if not self.start_offset <= offset < self.end_offset:
            return None
        segment = self._segments.from_offset(offset)[0]
        with self.reading("reading"):
            unread = segment.unread(offset, bytes_max, cached_too=cached_too, newest_too=newest_too)
        if unread is None:
            return None
        return read_ahead(*unread, segment, self.epochs.entries, self._durability.cuts, gaps=self._may_have_gaps)

    def stable_end(self, high_watermark: int) -> int:
        """The last stable offset: below it everything is committed, and every transaction decided (KIP-98).

        Not below the start: a reader who begins where it may read would be out of range there.
        """
        return min(max(self.producers.transactions.stable_end(high_watermark), self.start_offset), high_watermark)

    def aborted_in(self, offset: int, end_offset: int) -> list[Aborted]:
        """The aborted transactions that a committed reader of `[offset, end_offset)` must skip. Raises as `read`."""
        with self.reading("reading"):
            return find_aborted(self._segments.from_offset(offset), offset, end_offset)

    def warm_for_time(self, disk: Disk, timestamp_ms: int | None) -> Callable[[], None] | None:
        """Blocking work for a disk thread before a search by time (None: for the youngest record) that does not stall
        the loop; None: everything that it needs is in memory."""
        if len(self._segments.all) == 1 and self._segments.last.max_timestamp_ms is not None:
            return None
        return warm_for_time(disk, self._segments.all, timestamp_ms)

    def offset_for_time(self, timestamp_ms: int, end_offset: int) -> FoundTime | None:
        """The first record below `end_offset` that is not older than `timestamp_ms`.

        Opens one batch. Raises `KafkaStorageError`, `CorruptRecordError`.
        """
        with self.reading("searching"):
            return find_time(self._segments.all, timestamp_ms, self.start_offset, end_offset)

    def youngest_record(self, end_offset: int) -> FoundTime | None:
        """The first record with the youngest timestamp (ListOffsets with −3), below `end_offset`. Raises as above."""
        with self.reading("searching"):
            youngest_ms = max(segment.youngest_ms() for segment in self._segments.all)
        return None if youngest_ms < 0 else self.offset_for_time(youngest_ms, end_offset)

    # --- producers and damage ----------------------------------------------------------------------------------------

    def knows(self, header: BatchHeader) -> bool:
        """Whether the batch is one that is remembered: a retry of it changes nothing."""
        return self.producers.remembers(
            header.producer_id, header.producer_epoch, header.base_sequence, header.last_sequence
        )

    def is_in_transaction(self, header: BatchHeader) -> bool:
        """Whether the batch's producer has a transaction open here, in the same epoch: it needs no other proof then."""
        return self.producers.is_in_transaction(header.producer_id, header.producer_epoch)

    def note_damage(self, damages: Sequence[Damage]) -> bool:
        """Keep readers from what was found. False: nothing new, or it is not part of the log any more."""
        inside = [
            each for each in damages if self.start_offset < each.end_offset and each.start_offset < self.end_offset
        ]
        return self.damages.note(inside)

    def note_found(self, prefetch: Prefetch, damages: Sequence[Damage]) -> bool:
        """As `note_damage`, of what `prefetch` gave. False also where the log was closed, or cut, or the segment
        replaced since: it may have met batches of before and of after that."""
        is_same = not self._closed and prefetch.cuts == self._durability.cuts and prefetch.segment in self._segments.all
        return is_same and self.note_damage(damages)
