"""The coordinator of transactions: `broker.coordinator.core.Core`. Commands in, records, answers and effects out.

Durable, changed by `replay` only: what each transactional id is about. Soft: when open transactions have to end, which
commands wait for a producer id, which decisions have their markers sent. `handle` changes only the second of these.

Invariants
- Every record follows the one before it by the table of `states`.
- What is open ends: its producer ends it, or its time, or whoever takes its id over.
- A transaction is decided by one record. Its markers are sent once that is committed, by whoever leads then, until all
  partitions have them; only then the next transaction begins.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from broker.coordinator.core import Answer, BatchRoom, Moment, Producer, Result, Ticket
from broker.coordinator.transactions.commands import (
    NO_EPOCH,
    NO_PRODUCER_ID,
    NOBODY,
    AddPartitions,
    AllocateProducerId,
    Command,
    DescribeTransaction,
    Effect,
    EndTransaction,
    InitProducerId,
    ListTransactions,
    MarkersWritten,
    ProducerIdAllocated,
    ProducerIdentity,
    ProtocolVersion,
    Refusal,
    SendMarkers,
    TransactionalProducer,
    TransactionDescription,
    TransactionListing,
    VerifyPartitions,
)
from broker.coordinator.transactions.config import TransactionConfig
from broker.coordinator.transactions.deadlines import Deadlines
from broker.coordinator.transactions.ending import check_may_begin, check_may_take_part, decision
from broker.coordinator.transactions.epochs import (
    EPOCH_MAX,
    ended,
    fenced,
    is_exhausted,
    is_own,
    is_repeated,
)
from broker.coordinator.transactions.records import NO_TIME, TransactionMetadata, TransactionRecord
from broker.coordinator.transactions.states import TRANSITIONS, TransactionState
from kraftpy.errors import (
    ConcurrentTransactionsError,
    InvalidProducerIdMappingError,
    InvalidRequestError,
    InvalidTransactionTimeoutError,
    KraftpyError,
    ProducerFencedError,
    ThrottlingQuotaExceededError,
    TransactionAbortableError,
    TransactionalIdNotFoundError,
)

TransactionResult = Result[TransactionRecord]

IDS_MAX = 1_000_000
"""Transactional ids of one coordinator, some hundred bytes of memory each; one more is refused."""
BATCH_RECORDS = 500
BATCH_BYTES = 200_000
"""What one turn of time writes at most, a fifth of what a log takes (max.message.bytes)."""
BATCH_PAUSE_MS = 10
"""Between two of them for expired ids."""
RETRY_PAUSE_MS = 1_000
"""After the log refused what time wanted to be written."""
NOT_THERE = "nobody has taken this transactional id, or it was not used for long: the producer has to be initialised"


class TransactionCore:
    """See the module's docstring."""

    def __init__(self, config: TransactionConfig, coordinator_epoch: int) -> None:
        """`coordinator_epoch`: of the leadership; partitions refuse markers of one before it."""
        self._config = config
        self._coordinator_epoch = coordinator_epoch
        self._transactions: dict[str, TransactionMetadata] = {}
        self._now = Moment(0, 0)  # of the last call that told it
        self._is_active = False
        self._deadlines = Deadlines()
        self._next_look_ms = 0  # for expired ids
        self._waiting: deque[tuple[Ticket, InitProducerId | EndTransaction]] = deque()  # for a producer id each
        self._spare_ids: list[int] = []
        self._decisions: dict[str, int] = {}  # the last one of each id whose markers are being sent
        self._next_decision = 0

    # --- the log -----------------------------------------------------------------------------------------------------

    @property
    def transactions(self) -> dict[str, TransactionMetadata]:
        """All that there are, by transactional id. To be looked at."""
        return self._transactions

    def replay(self, record: TransactionRecord, producer: Producer | None) -> None:
        transactional_id, metadata = record.transactional_id, record.metadata
        if metadata is None:
            self._transactions.pop(transactional_id, None)
        else:
            self._transactions[transactional_id] = metadata
        if metadata is None or not metadata.state.is_decided:
            self._decisions.pop(transactional_id, None)
        if self._is_active:
            self._set_deadline(transactional_id, metadata)

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        """No record of this log is a part of one."""

    def loaded(self, now: Moment) -> TransactionResult:
        """Go on with what was decided; what is open has the rest of its time."""
        self._now = now
        self._is_active = True
        self._next_look_ms = now.monotonic_ms + self._config.id_expiration_check_interval_ms
        for transactional_id, metadata in self._transactions.items():
            self._set_deadline(transactional_id, metadata)
        effects = [
            self._markers(transactional_id, metadata)
            for transactional_id, metadata in self._transactions.items()
            if metadata.state.is_decided
        ]
        return Result(effects=tuple(effects))

    def _set_deadline(self, transactional_id: str, metadata: TransactionMetadata | None) -> None:
        """By the wall's clock a transaction began, on another node perhaps; a leap of that clock costs it no more than
        the time that it was given."""
        if metadata is None or metadata.state is not TransactionState.ONGOING:
            self._deadlines.clear(transactional_id)
        elif transactional_id not in self._deadlines:
            left_ms = metadata.started_ms + metadata.timeout_ms - self._now.wall_ms
            self._deadlines.set(transactional_id, self._now.monotonic_ms + min(max(left_ms, 0), metadata.timeout_ms))

    # --- commands ----------------------------------------------------------------------------------------------------

    def handle(self, ticket: Ticket, command: Command, now: Moment) -> TransactionResult:
        self._now = now
        match command:
            case InitProducerId():
                return self._init_producer_id(ticket, command)
            case EndTransaction():
                return self._end(ticket, command)
            case AddPartitions():
                return self._add_partitions(ticket, command)
            case VerifyPartitions():
                return _answered(ticket, self._verify(command))
            case DescribeTransaction(transactional_id):
                return _answered(ticket, self._describe(transactional_id))
            case ListTransactions():
                return _answered(ticket, self._list(command))
            case ProducerIdAllocated(outcome):
                return self._producer_id_allocated(ticket, outcome)
            case MarkersWritten():
                return self._markers_written(ticket, command)
            case _:
                assert_never(command)

    def refused(self, result: TransactionResult, error: KraftpyError, now: Moment) -> TransactionResult:
        """Nothing soft was changed that would have to go back; what time wanted it will want again."""
        self._now = now
        if any(record.metadata is None for record in result.records):
            self._next_look_ms = now.monotonic_ms + self._config.id_expiration_check_interval_ms
        return Result(answers=tuple(Answer(answer.ticket, error) for answer in result.answers))

    def _known(self, producer: TransactionalProducer) -> TransactionMetadata:
        """Raises `InvalidRequestError`, `InvalidProducerIdMappingError`."""
        metadata = self._transactions.get(_checked(producer.transactional_id))
        if metadata is None:
            raise InvalidProducerIdMappingError(NOT_THERE)
        return metadata

    # --- who has the id ----------------------------------------------------------------------------------------------

    def _init_producer_id(self, ticket: Ticket, command: InitProducerId) -> TransactionResult:
        transactional_id = _checked(command.producer.transactional_id)
        self._check_timeout(command.timeout_ms)
        metadata = self._transactions.get(transactional_id)
        if metadata is None:
            return self._first_producer(ticket, command)
        expected = command.producer.identity
        check_may_begin(metadata)
        if not is_own(metadata, expected):
            raise _taken_over(metadata)
        if metadata.state is TransactionState.ONGOING:
            return self._abort_for(ticket, command, metadata)
        if is_repeated(metadata, expected):
            return _answered(ticket, metadata.identity)
        if expected not in (NOBODY, metadata.identity) or expected.producer_epoch >= EPOCH_MAX:
            raise _taken_over(metadata)
        if not is_exhausted(metadata.producer_epoch):
            identity = ProducerIdentity(metadata.producer_id, metadata.producer_epoch + 1)
            return self._given(ticket, command, metadata, identity)
        if not self._spare_ids:
            return self._wait_for_id(ticket, command)
        return self._given(ticket, command, metadata, ProducerIdentity(self._spare_ids.pop(), 0))

    def _check_timeout(self, timeout_ms: int) -> None:
        if not 0 < timeout_ms <= self._config.timeout_max_ms:
            raise InvalidTransactionTimeoutError(
                f"transaction.timeout.ms is {timeout_ms}; these brokers take 1 to {self._config.timeout_max_ms} "
                f"(transaction.max.timeout.ms)"
            )

    def _first_producer(self, ticket: Ticket, command: InitProducerId) -> TransactionResult:
        """Also of one that was forgotten: what id and epoch it had nobody can check any more."""
        if len(self._transactions) >= IDS_MAX:
            raise ThrottlingQuotaExceededError("too many transactional ids are in use")
        if not self._spare_ids:
            return self._wait_for_id(ticket, command)
        metadata = TransactionMetadata(
            self._spare_ids.pop(), 0, command.timeout_ms, TransactionState.EMPTY, self._now.wall_ms
        )
        return self._written(command.producer.transactional_id, None, metadata, (Answer(ticket, metadata.identity),))

    def _given(
        self, ticket: Ticket, command: InitProducerId, metadata: TransactionMetadata, identity: ProducerIdentity
    ) -> TransactionResult:
        """`identity` is the producer's next."""
        is_another_id = identity.producer_id != metadata.producer_id
        given = TransactionMetadata(
            identity.producer_id,
            identity.producer_epoch,
            command.timeout_ms,
            TransactionState.EMPTY,
            self._now.wall_ms,
            version=metadata.version,
            previous_producer_id=metadata.producer_id if is_another_id else metadata.previous_producer_id,
            last_epoch=NO_EPOCH if command.producer.identity == NOBODY else metadata.producer_epoch,
        )
        return self._written(command.producer.transactional_id, metadata, given, (Answer(ticket, identity),))

    def _abort_for(self, ticket: Ticket, command: InitProducerId, metadata: TransactionMetadata) -> TransactionResult:
        """What is open stands in the way. Whoever asks is told to come again; by then it will be aborted."""
        if command.producer.identity == NOBODY:
            aborted = self._fenced(metadata)
        else:
            if command.producer.identity != metadata.identity:  # an old self must not abort what its successor does
                raise _taken_over(metadata)
            if is_exhausted(metadata.producer_epoch) and not self._spare_ids:
                return self._wait_for_id(ticket, command)
            aborted = self._decided(metadata, TransactionState.PREPARE_ABORT, ProtocolVersion.SECOND)
        answer = Answer(ticket, ConcurrentTransactionsError("the transaction that was open is being aborted"))
        return self._written(command.producer.transactional_id, metadata, aborted, (answer,))

    # --- which partitions take part ----------------------------------------------------------------------------------

    def _add_partitions(self, ticket: Ticket, command: AddPartitions) -> TransactionResult:
        metadata = self._known(command.producer)
        check_may_take_part(metadata, command.producer.identity)
        together = tuple(sorted({*metadata.partitions, *command.partitions}))
        is_open = metadata.state is TransactionState.ONGOING
        if not command.partitions or (is_open and len(together) == len(metadata.partitions)):
            return _answered(ticket, None)
        added = replace(
            metadata,
            state=TransactionState.ONGOING,
            partitions=together,
            updated_ms=self._now.wall_ms,
            started_ms=metadata.started_ms if is_open else self._now.wall_ms,
            version=command.version,
        )
        return self._written(command.producer.transactional_id, metadata, added, (Answer(ticket, None),))

    def _verify(self, command: VerifyPartitions) -> tuple[Refusal, ...]:
        metadata = self._known(command.producer)
        check_may_take_part(metadata, command.producer.identity)
        absent = TransactionAbortableError("the partition was not added to the transaction, or that has ended")
        known = dict.fromkeys(metadata.partitions)
        return tuple(None if each in known else absent for each in command.partitions)

    # --- how it ends -------------------------------------------------------------------------------------------------

    def _end(self, ticket: Ticket, command: EndTransaction) -> TransactionResult:
        producer, version = command.producer, command.version
        metadata = self._known(producer)
        state = decision(metadata, producer.identity, command.commit, version)
        if state is None:
            return _answered(ticket, metadata.identity)
        # Who asks by the first version goes on with the epoch that it has, whoever added its partitions.
        bumps = version is ProtocolVersion.SECOND
        if bumps and is_exhausted(metadata.producer_epoch) and not self._spare_ids:
            return self._wait_for_id(ticket, command)
        decided = self._decided(metadata, state, version)
        answer = Answer(ticket, decided.identity_after)
        return self._written(producer.transactional_id, metadata, decided, (answer,))

    def _decided(
        self, metadata: TransactionMetadata, state: TransactionState, version: ProtocolVersion
    ) -> TransactionMetadata:
        """By the producer itself, which goes on with the next epoch, or with another id where there is no next."""
        bumps = version is ProtocolVersion.SECOND
        needs_id = bumps and is_exhausted(metadata.producer_epoch)
        return replace(
            metadata,
            state=state,
            producer_epoch=ended(metadata.producer_epoch, version),
            next_producer_id=self._spare_ids.pop() if needs_id else NO_PRODUCER_ID,
            last_epoch=metadata.producer_epoch if bumps else metadata.last_epoch,
            version=version,
            updated_ms=self._now.wall_ms,
            started_ms=self._now.wall_ms if metadata.started_ms == NO_TIME else metadata.started_ms,
        )

    def _fenced(self, metadata: TransactionMetadata) -> TransactionMetadata:
        """Aborted by this coordinator; the producer will hear that it is fenced."""
        epoch, version = fenced(metadata.producer_epoch, metadata.version)
        return replace(
            metadata,
            state=TransactionState.PREPARE_ABORT,
            producer_epoch=epoch,
            version=version,
            last_epoch=NO_EPOCH,
            updated_ms=self._now.wall_ms,
        )

    def _markers_written(self, ticket: Ticket, command: MarkersWritten) -> TransactionResult:
        metadata = self._transactions.get(command.transactional_id)
        is_awaited = self._decisions.get(command.transactional_id) == command.decision
        if metadata is None or not metadata.state.is_decided or not is_awaited:
            return _answered(ticket, None)  # it was completed before
        completed = _completed(metadata, self._now.wall_ms)
        return self._written(command.transactional_id, metadata, completed, (Answer(ticket, None),))

    def _markers(self, transactional_id: str, metadata: TransactionMetadata) -> SendMarkers:
        decision = self._decisions[transactional_id] = self._next_decision
        self._next_decision += 1
        return SendMarkers(transactional_id, metadata.marker(self._coordinator_epoch), metadata.partitions, decision)

    # --- producer ids ------------------------------------------------------------------------------------------------

    def _wait_for_id(self, ticket: Ticket, command: InitProducerId | EndTransaction) -> TransactionResult:
        """The command is looked at anew when one has come."""
        self._waiting.append((ticket, command))
        return Result(effects=(AllocateProducerId(),))

    def _producer_id_allocated(self, ticket: Ticket, outcome: int | KraftpyError) -> TransactionResult:
        done = Answer(ticket, None)
        if isinstance(outcome, int):
            self._spare_ids.append(outcome)
        if not self._waiting:
            return Result(answers=(done,))
        waiting, command = self._waiting.popleft()
        if isinstance(outcome, KraftpyError):
            return Result(answers=(done, Answer(waiting, outcome)))
        try:
            result = self.handle(waiting, command, self._now)
        except KraftpyError as error:
            result = _answered(waiting, error)
        return replace(result, answers=(*result.answers, done))

    # --- looking -----------------------------------------------------------------------------------------------------

    def _describe(self, transactional_id: str) -> TransactionDescription:
        metadata = self._transactions.get(_checked(transactional_id))
        if metadata is None:
            raise TransactionalIdNotFoundError(f"there is no transactional id {transactional_id}")
        return TransactionDescription(
            transactional_id,
            metadata.state,
            metadata.identity,
            metadata.timeout_ms,
            metadata.started_ms,
            metadata.partitions,
        )

    def _list(self, command: ListTransactions) -> tuple[TransactionListing, ...]:
        def is_wanted(metadata: TransactionMetadata) -> bool:
            if command.states and metadata.state not in command.states:
                return False
            if command.producer_ids and metadata.producer_id not in command.producer_ids:
                return False
            if command.running_ms_min < 0:
                return True
            return metadata.started_ms >= 0 and self._now.wall_ms - metadata.started_ms > command.running_ms_min

        names = [name for name, metadata in self._transactions.items() if is_wanted(metadata)]
        if command.transactional_ids is not None:
            names = list(command.transactional_ids.matching(names))
        found = self._transactions
        return tuple(TransactionListing(name, found[name].producer_id, found[name].state) for name in names)

    # --- time --------------------------------------------------------------------------------------------------------

    def next_deadline_ms(self) -> int | None:
        due_ms = self._deadlines.next_ms()
        return self._next_look_ms if due_ms is None else min(due_ms, self._next_look_ms)

    def tick(self, now: Moment) -> TransactionResult:
        self._now = now
        if self._next_look_ms <= now.monotonic_ms:
            return self._forget_expired()
        return self._abort_overdue()

    def _abort_overdue(self) -> TransactionResult:
        """Tried again later, should the log refuse it; the abort itself clears the deadline."""
        steps: list[tuple[str, TransactionMetadata, TransactionMetadata]] = []
        room = BatchRoom(BATCH_RECORDS, BATCH_BYTES)
        while (transactional_id := self._deadlines.due(self._now.monotonic_ms)) is not None:
            metadata = self._transactions[transactional_id]
            topics = (each.topic for each in metadata.partitions)
            if not room.take(transactional_id, *topics, other_bytes=60 + 4 * len(metadata.partitions)):
                break
            self._deadlines.set(transactional_id, self._now.monotonic_ms + RETRY_PAUSE_MS)
            steps.append((transactional_id, metadata, self._fenced(metadata)))
        return _joined(self._written(*step) for step in steps)

    def _forget_expired(self) -> TransactionResult:
        """At most a batch of them; the others in the next turn."""
        before_ms = self._now.wall_ms - self._config.id_expiration_ms
        room = BatchRoom(BATCH_RECORDS, BATCH_BYTES)
        expired: list[TransactionRecord] = []
        pause_ms = self._config.id_expiration_check_interval_ms
        for transactional_id, metadata in self._transactions.items():
            if not metadata.state.is_at_rest or metadata.updated_ms > before_ms:
                continue
            if not room.take(transactional_id):
                pause_ms = BATCH_PAUSE_MS
                break
            expired.append(TransactionRecord(transactional_id, None))
        self._next_look_ms = self._now.monotonic_ms + pause_ms
        return Result(tuple(expired))

    # --- writing -----------------------------------------------------------------------------------------------------

    def _written(
        self,
        transactional_id: str,
        before: TransactionMetadata | None,
        after: TransactionMetadata,
        answers: tuple[Answer, ...] = (),
    ) -> TransactionResult:
        """One step of the table. A transaction without partitions has ended once that is decided."""
        _check_step(before, after)
        record = TransactionRecord(transactional_id, after)
        if not after.state.is_decided:
            return Result((record,), answers)
        if after.partitions:
            effects: tuple[Effect, ...] = (self._markers(transactional_id, after),)
            return Result((record,), answers, effects)
        completed = _completed(after, self._now.wall_ms)
        _check_step(after, completed)
        return Result((record, TransactionRecord(transactional_id, completed)), answers)


def _completed(metadata: TransactionMetadata, wall_ms: int) -> TransactionMetadata:
    commit = metadata.state is TransactionState.PREPARE_COMMIT
    after = metadata.identity_after
    is_another_id = after.producer_id != metadata.producer_id
    return replace(
        metadata,
        producer_id=after.producer_id,
        producer_epoch=after.producer_epoch,
        state=TransactionState.COMPLETE_COMMIT if commit else TransactionState.COMPLETE_ABORT,
        updated_ms=wall_ms,
        partitions=(),
        started_ms=NO_TIME,
        previous_producer_id=metadata.producer_id if is_another_id else metadata.previous_producer_id,
        next_producer_id=NO_PRODUCER_ID,
    )


def _check_step(before: TransactionMetadata | None, after: TransactionMetadata) -> None:
    """What is written next to the table, and to what an epoch may do."""
    assert 0 <= after.producer_epoch <= EPOCH_MAX, after
    if before is None:
        assert after.state is TransactionState.EMPTY, after
        return
    assert before.state in TRANSITIONS[after.state], f"{before.state.label} is not followed by {after.state.label}"
    is_same_id = before.producer_id == after.producer_id
    assert not is_same_id or after.producer_epoch >= before.producer_epoch, (before, after)


def _taken_over(metadata: TransactionMetadata) -> ProducerFencedError:
    return ProducerFencedError(
        f"another producer has taken over the transactional id: it is producer {metadata.producer_id}, epoch "
        f"{metadata.producer_epoch}"
    )


def _checked(transactional_id: str) -> str:
    if not transactional_id:
        raise InvalidRequestError("a transactional id is not empty")
    return transactional_id


def _answered(ticket: Ticket, response: object) -> TransactionResult:
    return Result(answers=(Answer(ticket, response),))


def _joined(results: Iterable[TransactionResult]) -> TransactionResult:
    parts = list(results)
    return Result(
        tuple(record for part in parts for record in part.records),
        tuple(answer for part in parts for answer in part.answers),
        tuple(effect for part in parts for effect in part.effects),
    )
