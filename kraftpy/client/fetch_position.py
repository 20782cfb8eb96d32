"""Where a consumer stands in one partition, and the answers that wait to be read. Pure.

    offset ≤ … buffered answers … ≤ fetch_offset
    ▲ next record to hand out      ▲ where the next fetch begins

Invariants: both offsets are -1 until a starting point is found; every answer carries the `generation` in which it was
asked for, and one of an older generation (before a seek, a reset, an unassignment) is dropped unread.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from kraftpy.client.cluster_view import Leader
from kraftpy.client.committed import AbortedTransaction, AbortedTransactions
from kraftpy.client.values import ConsumerRecord, TopicPartition
from kraftpy.errors import CorruptRecordError, KraftpyError
from kraftpy.record import BatchHeader, Record, check_batch, decode_records, iterate_headers

EARLIEST_MS = -2  # as ListOffsets takes them
LATEST_MS = -1


class FetchPosition:
    """One assigned partition."""

    __slots__ = (
        "attempted",
        "attempts",
        "buffered",
        "cut_to",
        "doubted_since_ms",
        "error",
        "fetch_epoch",
        "fetch_offset",
        "generation",
        "has_read",
        "high_watermark",
        "is_out_of_range",
        "is_resetting",
        "leader_epoch",
        "log_start_offset",
        "offset",
        "partition",
        "paused",
        "retry_at_ms",
        "start_ms",
        "topic",
        "topic_id",
    )

    def __init__(self, topic: str, partition: int, start_ms: int | None) -> None:
        self.topic = topic
        self.partition = partition
        self.start_ms = start_ms  # where to begin while offset is -1: EARLIEST_MS, LATEST_MS; None: nowhere (an error)
        self.offset = -1
        self.leader_epoch = -1  # of the last record before offset; an older leader cannot know this offset (KIP-320)
        self.fetch_offset = -1
        self.fetch_epoch = -1  # leader epoch of the last batch before fetch_offset (KIP-320); -1: not known
        self.has_read = False  # that batch; else the epoch is what somebody has said
        self.generation = 0
        self.buffered = 0  # answers that are not read to their end
        self.paused = False
        self.is_resetting = False  # a starting point is being looked up
        self.is_out_of_range = False  # … at fetch_offset
        self.cut_to: int | None = None  # the log was cut there, below fetch_offset, and this consumer has to follow it
        self.error: KraftpyError | None = None  # for poll() to raise once everything buffered has been read
        self.high_watermark = -1
        self.log_start_offset = -1
        self.attempts = 0  # failures in a row
        self.attempted: Leader | None = None
        self.retry_at_ms = 0
        self.topic_id = b""  # of the topic that was read from last
        self.doubted_since_ms: int | None = None  # an older leader has said since then that the offset is out of range

    @property
    def place(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)

    @property
    def is_fetchable(self) -> bool:
        return (
            self.offset >= 0
            and not self.paused
            and not self.is_out_of_range
            and self.cut_to is None
            and self.error is None
        )

    def is_of(self, topic_id: bytes) -> bool:
        """Whether `topic_id` is the topic that was read from, as far as is known."""
        return self.topic_id in (b"", topic_id)

    def is_older(self, leader: Leader, topic_id: bytes) -> bool:
        """Whether `leader` may know less than this consumer: it leads in an older epoch than what was read before.

        Epochs begin anew with a topic that was deleted and created again, as another `topic_id` shows.
        """
        return self.is_of(topic_id) and leader.epoch < max(self.leader_epoch, self.fetch_epoch)

    def is_backing_off(self, leader: Leader, now_ms: int) -> bool:
        """A leader that was not tried yet is tried at once."""
        return now_ms < self.retry_at_ms and self.attempted == leader

    def is_cut_at(self, end_offset: int) -> bool:
        """Whether a log that parts at `end_offset` from what this position has seen lacks what lies before it.

        An epoch that was said and not read may be one whose leader has written nothing: then the offset alone counts.
        """
        return self.has_read or end_offset < self.fetch_offset

    def seek(self, offset: int, leader_epoch: int = -1, fetch_epoch: int = -1) -> None:
        """Go on at `offset`, which no leader before `leader_epoch` can know, behind a record of `fetch_epoch`; -1: that
        is not known."""
        self._turn()
        self.offset = self.fetch_offset = offset
        self.leader_epoch = leader_epoch
        self.fetch_epoch = fetch_epoch

    def reset(self, start_ms: int | None) -> None:
        """Go on at the beginning or the end, wherever that is when it is looked up."""
        self._turn()
        self.offset = self.fetch_offset = self.leader_epoch = -1
        self.start_ms = start_ms

    def go_on_from(self, other: "FetchPosition") -> None:
        """Stand where `other` stood, which was given up."""
        self.start_ms, self.paused = other.start_ms, other.paused
        if other.offset >= 0:
            self.seek(other.offset, other.leader_epoch)

    def step_back(self, offset: int) -> None:
        """Hand out again what begins at `offset`: it was taken and given back unread."""
        self.offset = offset

    def fetched(self, answer: "Answer", topic_id: bytes) -> None:
        """An answer has come, to be read after the earlier ones."""
        self.buffered += 1
        self.topic_id = topic_id
        self.doubted_since_ms = None
        self.fetch_offset = answer.next_offset
        self.fetch_epoch = answer.last_epoch
        self.has_read = True
        self.attempts = 0
        self.retry_at_ms = 0

    def _turn(self) -> None:
        self.generation += 1
        self.buffered = 0
        self.fetch_epoch = -1
        self.has_read = False
        self.is_resetting = self.is_out_of_range = False
        self.cut_to = None
        self.doubted_since_ms = None
        self.error = None
        self.attempts = 0
        self.retry_at_ms = 0


class Answer:
    """Batches of one partition, decoded one at a time as they are read."""

    __slots__ = (
        "_aborted",
        "_batches",
        "_data",
        "_epoch",
        "_records",
        "generation",
        "last_epoch",
        "next_offset",
        "position",
        "size_bytes",
    )

    def __init__(
        self,
        position: FetchPosition,
        data: bytes,
        *,
        check_crcs: bool,
        aborted: Iterable[AbortedTransaction] = (),
    ) -> None:
        """`aborted`: the transactions whose records are not handed out.

        Raises `CorruptRecordError`, which names the place, for batches that fail their checks.
        """
        self.position = position
        self.generation = position.generation
        self.size_bytes = len(data)
        self.next_offset = position.fetch_offset
        self.last_epoch = position.fetch_epoch
        self._aborted = AbortedTransactions(aborted)
        self._data = memoryview(data)
        self._batches: deque[tuple[int, BatchHeader]] = deque()
        self._records: deque[Record] = deque()
        self._epoch = self.last_epoch  # of those in _records
        try:
            for at, header in iterate_headers(self._data):
                if check_crcs:
                    check_batch(self._data, at, compacted=True)
                if header.end_offset > self.next_offset:
                    self._batches.append((at, header))
                    self.next_offset = header.end_offset
                    self.last_epoch = header.leader_epoch
        except KraftpyError as error:
            if not self._batches:
                raise CorruptRecordError(f"{position.place} at offset {position.fetch_offset}: {error}") from error
            # What precedes the damage is sound: the next fetch begins at the damaged batch and meets it first.

    @classmethod
    def of_records(cls, position: FetchPosition, records: Sequence[ConsumerRecord], next_offset: int) -> "Answer":
        """Records of one leader epoch that were taken and are given back."""
        answer = cls(position, b"", check_crcs=False)
        answer._records.extend(Record(r.offset, r.timestamp, r.key, r.value, r.headers) for r in records)  # type: ignore[arg-type]
        answer._epoch = answer.last_epoch = records[0].leader_epoch
        answer.next_offset = next_offset
        return answer

    @property
    def has_batches(self) -> bool:
        return bool(self._batches)

    @property
    def is_stale(self) -> bool:
        return self.generation != self.position.generation

    def take(self, count_max: int) -> Iterator[ConsumerRecord]:
        """Up to `count_max` records; moves the position past each as it is handed out."""
        position = self.position
        topic, partition = position.topic, position.partition
        while count_max > 0 and self._advance():
            records, epoch = self._records, self._epoch
            position.leader_epoch = epoch
            while records and count_max > 0:
                record = records.popleft()
                if record.offset < position.offset:
                    continue  # an answer begins with the whole batch that holds the offset asked for
                position.offset = record.offset + 1
                count_max -= 1
                at, time_ms = record.offset, record.timestamp_ms
                yield ConsumerRecord(topic, partition, at, time_ms, record.key, record.value, record.headers, epoch)
        if self.is_exhausted():
            position.offset = max(position.offset, self.next_offset)  # past compacted gaps and control batches
            position.leader_epoch = self.last_epoch

    def is_exhausted(self) -> bool:
        return not self._records and not self._batches

    def _advance(self) -> bool:
        """Decode until there is a record to hand out; False at the end."""
        while not self._records:
            if not self._batches:
                return False
            at, header = self._batches.popleft()
            if header.producer_id >= 0 and self._aborted.leave_out(header, self._data[at : at + header.size_bytes]):
                continue
            if header.is_control:
                continue
            self._records.extend(decode_records(header, self._data, at))
            self._epoch = header.leader_epoch
        return True
