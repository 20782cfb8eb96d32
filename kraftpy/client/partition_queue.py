"""The batches of one partition on their way out: what may be sent next, and what an answer means. Pure.

    unresolved                                             pending
    [ANSWERED? IN_FLIGHT | WAITING | ANSWERED …]           [CLOSED … CLOSED OPEN]
     sent at least once, in order of sequence               never sent, in order of arrival

Order (KIP-98, KIP-360). A batch is sent only when everything before it has been sent and nothing after it is on the
way; so a retry never overtakes, and is never overtaken. An outcome waits for those before it.

In a transaction (KIP-98) numbering never starts anew by itself: what cannot be delivered makes the transaction one that
can only be aborted, and the next one begins under an identity of the coordinator's.

No duplicates (KAFKA-14034). A batch is sent again under its old sequence, which brokers recognise, for as long as it
may have been written. Numbering starts anew, under the next epoch, only when every unresolved batch is known not to
have been written. Kafka's client starts anew sooner in a few cases, and may then write twice; this one rather
lets such a batch run into its delivery time-out.

A broker takes the first batch of a producer that it does not know whatever its sequence. So the first batch under an
identity travels alone until it is acknowledged: else the second could be taken when the first was refused.

Invariants: idempotent sequences of `unresolved` ascend without gaps, except after `broken` batches;
`len(unresolved) <= max_in_flight`, as many as a broker remembers; creation times ascend along both queues.
"""

from collections import deque

from kraftpy.client.batch import Batch, BatchState, ProducerIdentity
from kraftpy.client.cluster_view import Leader
from kraftpy.errors import (
    AuthorizationError,
    CorruptRecordError,
    DeliveryTimeoutError,
    DuplicateSequenceError,
    InvalidProducerEpochError,
    InvalidRecordError,
    InvalidRequestError,
    InvalidRequiredAcksError,
    InvalidTimestampError,
    InvalidTopicError,
    KraftpyError,
    NotEnoughReplicasError,
    OutOfOrderSequenceError,
    PolicyViolationError,
    RecordListTooLargeError,
    RecordTooLargeError,
    ThrottlingQuotaExceededError,
    TransactionAbortedError,
    UnknownProducerIdError,
    UnsupportedCompressionTypeError,
    UnsupportedForMessageFormatError,
)

SEQUENCE_LIMIT = 2**31  # sequences wrap to 0
EPOCH_MAX = 2**15 - 1

# A leader that answers with one of these has not appended the batch. Everything else, also NOT_LEADER_OR_FOLLOWER, may
# come after the append: a leader that is deposed while acks=all waits answers so.
NOT_WRITTEN = (
    AuthorizationError,
    CorruptRecordError,
    InvalidProducerEpochError,
    InvalidRecordError,
    InvalidRequestError,
    InvalidRequiredAcksError,
    InvalidTimestampError,
    InvalidTopicError,
    NotEnoughReplicasError,
    OutOfOrderSequenceError,
    PolicyViolationError,
    RecordListTooLargeError,
    RecordTooLargeError,
    ThrottlingQuotaExceededError,
    UnknownProducerIdError,
    UnsupportedCompressionTypeError,
    UnsupportedForMessageFormatError,
)
SEQUENCE_ERRORS = (OutOfOrderSequenceError, UnknownProducerIdError, InvalidProducerEpochError)


class PartitionQueue:
    """One partition's batches. The caller holds the producer's lock."""

    __slots__ = (
        "attempted",
        "broken",
        "confirmed",
        "idempotent",
        "identity",
        "identity_lost",
        "lost_producer_id",
        "max_in_flight",
        "next_sequence",
        "partition",
        "pending",
        "retries",
        "retry_at_ms",
        "topic",
        "transactional",
        "unresolved",
    )

    def __init__(
        self,
        topic: str,
        partition: int,
        *,
        idempotent: bool,
        max_in_flight: int,
        retries: int,
        transactional: bool = False,
    ) -> None:
        self.transactional = transactional
        self.topic = topic
        self.partition = partition
        self.idempotent = idempotent
        self.max_in_flight = max_in_flight
        self.retries = retries
        self.pending: deque[Batch] = deque()
        self.unresolved: deque[Batch] = deque()
        self.identity: ProducerIdentity | None = None
        self.confirmed = False  # whether the leader has taken a batch under `identity`
        self.next_sequence = 0  # of the next batch that is sent for the first time
        self.broken = False  # a sequence was given up: numbering must start anew before anything new is sent
        self.identity_lost = False  # … and under another producer id
        self.lost_producer_id = -1  # the one that must not be adopted again
        self.retry_at_ms = 0  # no retry before, unless the leader has changed since `attempted`
        self.attempted: Leader | None = None

    @property
    def is_empty(self) -> bool:
        return not self.pending and not self.unresolved

    def next_batch(self) -> Batch | None:
        """The batch whose turn it is, whether ripe or not; None while order forbids any."""
        waiting: Batch | None = None
        for batch in self.unresolved:
            if batch.state is BatchState.IN_FLIGHT and self.idempotent and not self.confirmed:
                return None
            if batch.state is BatchState.WAITING:
                waiting = waiting or batch
            elif waiting is not None and batch.state is BatchState.IN_FLIGHT:
                return None
        if self.broken and self.transactional:
            return None  # the transaction must be aborted, and `renew` begins the next one
        if waiting is not None:
            if self.broken and not waiting.maybe_written and self.is_certain():
                self._start_anew()
            return waiting
        if self.broken:
            if self.unresolved:
                return None
            self._start_anew()
        if len(self.unresolved) >= self.max_in_flight or not self.pending:
            return None
        return self.pending[0]

    def is_certain(self) -> bool:
        """Whether no unresolved batch may be in a log without our knowing."""
        return not any(
            batch.state is BatchState.IN_FLIGHT or (batch.state is BatchState.WAITING and batch.maybe_written)
            for batch in self.unresolved
        )

    def is_backing_off(self, leader: Leader, now_ms: int) -> bool:
        """Whether a retry has to wait. A leader that was not tried yet is tried at once."""
        return now_ms < self.retry_at_ms and self.attempted == leader

    def adopt(self, identity: ProducerIdentity) -> None:
        """Take a producer id; the numbering starts at 0."""
        self.identity = identity
        self.confirmed = False
        self.next_sequence = 0
        self._renumber()

    def renew(self, identity: ProducerIdentity | None) -> None:
        """A transaction has ended, and nothing of it is left here: another identity begins at 0."""
        assert self.is_empty
        self.broken = self.identity_lost = False
        if self.identity != identity:
            self.identity = None

    def take(self, batch: Batch, leader: Leader) -> None:
        """`batch`, which `next_batch` has named, is being sent to `leader`."""
        if batch.state is not BatchState.WAITING:
            taken = self.pending.popleft()
            assert taken is batch
            self.unresolved.append(batch)
            if self.idempotent:
                self._number(batch)
        batch.state = BatchState.IN_FLIGHT
        batch.attempts += 1
        self.attempted = leader

    def succeeded(self, batch: Batch, base_offset: int, append_time_ms: int) -> None:
        """The leader has the batch."""
        if batch.state is not BatchState.IN_FLIGHT:
            return  # given up meanwhile
        self.retry_at_ms = 0
        self.confirmed = self.confirmed or batch.identity == self.identity
        batch.succeed(base_offset, append_time_ms)

    def failed(self, batch: Batch, error: KraftpyError) -> bool:
        """An attempt failed. Decides whether that was the end of the batch's way; True if it will be tried again."""
        if batch.state is not BatchState.IN_FLIGHT:
            return False
        if isinstance(error, DuplicateSequenceError):
            batch.succeed(-1, -1)  # written by an attempt that was never answered; where is forgotten
            return False
        batch.last_failure = error
        batch.maybe_written = batch.maybe_written or not isinstance(error, NOT_WRITTEN)
        if self._may_retry(batch, error):
            batch.state = BatchState.WAITING
            return True
        self._give_up(batch, error)
        return False

    def expire(self, created_before_ms: int, timeout_ms: int) -> None:
        """Give up what was created at or before `created_before_ms`. Oldest first, so order is kept."""
        for batch in self.unresolved:
            if batch.created_ms > created_before_ms:
                return
            if batch.state is not BatchState.ANSWERED:
                if batch.state is BatchState.IN_FLIGHT:
                    batch.maybe_written = True
                self._give_up(batch, _too_late(batch, timeout_ms))
        while self.pending and self.pending[0].created_ms <= created_before_ms:
            batch = self.pending.popleft()
            batch.fail(_too_late(batch, timeout_ms))
            self.unresolved.append(batch)

    def give_up_all(self, error: KraftpyError) -> None:
        """The producer closes without waiting any longer."""
        for batch in self.unresolved:
            if batch.state is not BatchState.ANSWERED:
                self._give_up(batch, error)
        self.drop_pending(error)

    def drop_pending(self, error: KraftpyError) -> None:
        """Fail what was never sent."""
        while self.pending:
            batch = self.pending.popleft()
            batch.fail(error)
            self.unresolved.append(batch)

    def settle(self) -> list[Batch]:
        """The batches whose outcome may be told now, in order."""
        if self.broken and self.transactional:
            self._abandon()
        settled = []
        while self.unresolved and self.unresolved[0].state is BatchState.ANSWERED:
            batch = self.unresolved.popleft()
            batch.state = BatchState.DONE
            settled.append(batch)
        return settled

    def replace(self, batch: Batch, parts: list[Batch]) -> None:
        """Put the parts of a batch that was too large in its place, under the same sequences."""
        position = self.unresolved.index(batch)
        del self.unresolved[position]
        sequence = batch.base_sequence
        for offset, part in enumerate(parts):
            part.state = BatchState.WAITING
            part.created_ms = batch.created_ms
            part.attempts = batch.attempts
            part.last_failure = batch.last_failure
            part.maybe_written = batch.maybe_written
            part.identity = batch.identity
            part.base_sequence = sequence
            sequence = (sequence + part.record_count) % SEQUENCE_LIMIT if sequence >= 0 else -1
            self.unresolved.insert(position + offset, part)
        batch.split(parts)

    # --- inside

    def _may_retry(self, batch: Batch, error: KraftpyError) -> bool:
        if batch.attempts > self.retries or (self.broken and self.transactional):
            return False
        if isinstance(error, SEQUENCE_ERRORS):
            if not self.idempotent:
                return False
            if self.transactional and (isinstance(error, InvalidProducerEpochError) or self._is_certain_gap(batch)):
                return False
            self._note_gap(batch, error)
            return True
        return error.retriable

    def _abandon(self) -> None:
        """The transaction will be aborted: what is not on its way fails with what came before it."""
        error = next((batch.error for batch in self.unresolved if batch.error is not None), None)
        if error is None:
            error = TransactionAbortedError("the transaction has failed in this partition and must be aborted")
        for batch in self.unresolved:
            if batch.state is BatchState.WAITING:
                batch.fail(error)
        self.drop_pending(error)

    def _note_gap(self, batch: Batch, error: KraftpyError) -> None:
        """Out of order: expected behind a batch that failed, else the leader has lost its memory of us."""
        if self._is_certain_gap(batch):
            self.broken = True
            self.identity_lost = self.identity_lost or not isinstance(error, OutOfOrderSequenceError)

    def _is_certain_gap(self, batch: Batch) -> bool:
        """Whether nothing before the batch explains that its sequence was not expected."""
        first = next(other for other in self.unresolved if other.state is not BatchState.ANSWERED)
        return first is batch and not batch.maybe_written

    def _give_up(self, batch: Batch, error: KraftpyError) -> None:
        batch.fail(error)
        self.broken = self.idempotent

    def _start_anew(self) -> None:
        """Number from 0 under the next epoch; without one, the sender gets another producer id."""
        assert self.is_certain()
        self.broken = False
        if self.identity_lost or self.identity is None or self.identity.epoch >= EPOCH_MAX:
            self.identity_lost = False
            self.lost_producer_id = -1 if self.identity is None else self.identity.producer_id
            self.identity = None
            return
        self.adopt(ProducerIdentity(self.identity.producer_id, self.identity.epoch + 1))

    def _renumber(self) -> None:
        for batch in self.unresolved:
            if batch.state is BatchState.WAITING:
                self._number(batch)

    def _number(self, batch: Batch) -> None:
        assert self.identity is not None
        batch.identity = self.identity
        batch.base_sequence = self.next_sequence
        self.next_sequence = (self.next_sequence + batch.record_count) % SEQUENCE_LIMIT


def _too_late(batch: Batch, timeout_ms: int) -> DeliveryTimeoutError:
    place = f"{batch.topic}-{batch.partition}"
    if batch.attempts == 0:
        return DeliveryTimeoutError(f"{place}: no chance to send within {timeout_ms} ms; nothing was written")
    reason = f"; last: {batch.last_failure.name}: {batch.last_failure}" if batch.last_failure else ""
    fate = "it may have been written" if batch.maybe_written else "nothing was written"
    return DeliveryTimeoutError(f"{place}: not acknowledged within {timeout_ms} ms, {fate}{reason}")
