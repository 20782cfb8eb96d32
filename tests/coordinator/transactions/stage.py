"""A core with nothing around it: its log is a list, time passes when told, and effects are noted, or done at once."""

from collections import deque
from dataclasses import replace

from broker.coordinator.core import Moment, Result
from broker.coordinator.transactions.codec import TransactionRecordCodec
from broker.coordinator.transactions.commands import (
    NOBODY,
    AddPartitions,
    AllocateProducerId,
    Command,
    EndTransaction,
    InitProducerId,
    MarkersWritten,
    ProducerIdAllocated,
    ProducerIdentity,
    ProtocolVersion,
    SendMarkers,
    TopicPartition,
    TransactionalProducer,
)
from broker.coordinator.transactions.config import TransactionConfig
from broker.coordinator.transactions.core import TransactionCore
from broker.coordinator.transactions.records import TransactionMetadata, TransactionRecord
from broker.coordinator.transactions.states import TransactionState
from kraftpy.errors import ConcurrentTransactionsError, InvalidRequestError, KraftpyError

FIRST, SECOND = ProtocolVersion.FIRST, ProtocolVersion.SECOND
A, B, C = (TopicPartition(name, 0) for name in ("a", "b", "c"))
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
MESSAGE_BYTES_MAX = 1_000_000


class Stage:
    """Drives one core after the other through what a client may ask of it."""

    def __init__(self, config: TransactionConfig | None = None) -> None:
        self.config = config or TransactionConfig()
        self.log: list[TransactionRecord] = []
        self.now = Moment(1_000, 1_700_000_000_000)
        self.leader_epoch = 4
        self.refusal: KraftpyError | None = None
        self.batches = 0  # that were to be written
        self.markers: deque[SendMarkers] = deque()  # to be sent, by the core of now
        self.next_id: int | KraftpyError = 100
        self.answers: dict[int, object] = {}
        self._next_ticket = 0
        self.fail_over()

    # --- leaderships and time ---

    def fail_over(self, length: int | None = None) -> None:
        """Another core leads; the log ends at `length` now."""
        self.log = self.log[:length]
        self.leader_epoch += 1
        self.markers.clear()
        self.core = TransactionCore(self.config, self.leader_epoch)
        for record in self.log:
            self.core.replay(replace_last_epoch(record), None)
        self._accept(self.core.loaded(self.now))

    def pass_ms(self, milliseconds: int) -> None:
        until_ms = self.now.monotonic_ms + milliseconds
        while True:
            due_ms = self.core.next_deadline_ms()
            if due_ms is None or due_ms > until_ms:
                break
            self._move(max(0, due_ms - self.now.monotonic_ms))
            self._accept(self.core.tick(self.now))
        self._move(until_ms - self.now.monotonic_ms)

    def _move(self, milliseconds: int) -> None:
        self.now = Moment(self.now.monotonic_ms + milliseconds, self.now.wall_ms + milliseconds)

    # --- commands ---

    def ask(self, command: Command) -> object:
        """The answer, or the refusal as it is raised."""
        ticket = self.begin(command)
        answer = self.answers.pop(ticket)
        if isinstance(answer, KraftpyError):
            raise answer
        return answer

    def begin(self, command: Command) -> int:
        ticket = self._next_ticket
        self._next_ticket += 1
        try:
            result = self.core.handle(ticket, command, self.now)
        except KraftpyError as error:
            self.answers[ticket] = error
        else:
            self._accept(result)
        return ticket

    def _accept(self, result: Result[TransactionRecord]) -> None:
        self.batches += 1 if result.records else 0
        refusal = self.refusal or self._refusal_for_size(result.records)
        if result.records and refusal is not None:
            result = self.core.refused(result, refusal, self.now)
            assert not result.records
        for record in result.records:
            self.log.append(record)
            self.core.replay(record, None)
        for answer in result.answers:
            assert answer.ticket not in self.answers, "answered twice"
            self.answers[answer.ticket] = answer.response
        for effect in result.effects:
            if isinstance(effect, SendMarkers):
                self.markers.append(effect)
            else:
                assert isinstance(effect, AllocateProducerId)
                self._allocate()

    def _refusal_for_size(self, records: tuple[TransactionRecord, ...]) -> KraftpyError | None:
        codec = TransactionRecordCodec(lambda: 0)
        encoded = [(key, value or b"") for key, value in map(codec.encode, records)]
        is_too_large = sum(len(key) + len(value) for key, value in encoded) > MESSAGE_BYTES_MAX
        return InvalidRequestError("it is too large for one batch") if is_too_large else None

    def _allocate(self) -> None:
        outcome = self.next_id
        if isinstance(outcome, int):
            self.next_id = outcome + 1
        self.ask(ProducerIdAllocated(outcome))

    # --- what clients do ---

    def init(
        self, transactional_id: str = "t", expected: ProducerIdentity = NOBODY, timeout_ms: int = MINUTE_MS
    ) -> TransactionalProducer:
        producer = TransactionalProducer(transactional_id, *expected)
        identity = self.ask(InitProducerId(producer, timeout_ms))
        assert isinstance(identity, ProducerIdentity)
        return TransactionalProducer(transactional_id, *identity)

    def take_over(self, transactional_id: str = "t") -> TransactionalProducer:
        """Come again until what was open is aborted."""
        try:
            return self.init(transactional_id)
        except ConcurrentTransactionsError:
            self.write_markers()
            return self.init(transactional_id)

    def add(
        self, producer: TransactionalProducer, *partitions: TopicPartition, version: ProtocolVersion = SECOND
    ) -> None:
        assert self.ask(AddPartitions(producer, partitions, version)) is None

    def end(
        self, producer: TransactionalProducer, *, commit: bool = True, version: ProtocolVersion = SECOND
    ) -> TransactionalProducer:
        identity = self.ask(EndTransaction(producer, commit, version))
        assert isinstance(identity, ProducerIdentity)
        return TransactionalProducer(producer.transactional_id, *identity)

    def write_markers(self) -> list[SendMarkers]:
        """Every partition has its markers now."""
        sent = []
        while self.markers:
            effect = self.markers.popleft()
            sent.append(effect)
            self.ask(MarkersWritten(effect.transactional_id, effect.decision))
        return sent

    # --- looking ---

    def metadata(self, transactional_id: str = "t") -> TransactionMetadata:
        return self.core.transactions[transactional_id]

    def state(self, transactional_id: str = "t") -> TransactionState:
        return self.metadata(transactional_id).state


def replace_last_epoch(record: TransactionRecord) -> TransactionRecord:
    """As it is read from the log, which has no place for this."""
    if record.metadata is None:
        return record
    return TransactionRecord(record.transactional_id, replace(record.metadata, last_epoch=-1))
