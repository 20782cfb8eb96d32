"""One replica of one partition on this broker: a log, and the part it plays in the current leader epoch.

| part | set by | does |
|---|---|---|
| leader | metadata names this broker | appends, serves reads, keeps the in-sync set and the high watermark |
| follower | metadata names another broker | is fed by a fetcher: cuts by epochs, appends, takes over watermarks |
| idle | no leader, or not started yet | refuses |
| offline | its log directory failed | refuses with KAFKA_STORAGE_ERROR until the process is replaced |

Invariants
- Every request is judged by its leader epoch first and by membership second (KAFKA-13837, KAFKA-14078).
- A position of a follower counts only after its epochs, its membership, its range and its divergence were judged.
- `high_watermark <= log.end_offset`; under one leadership it never goes back.
- No consumer is shown a high watermark below the start of the leader's epoch: it may be older than what the former
  leader has already shown.
- Whoever waits is told: of a moved watermark, a finished flush, a lost leadership.
- A leader that nobody hears may have a successor: consumers who have read all that it has are sent to look for one.

Everything here is synchronous and runs on the loop's thread. Nothing here waits; `purgatory` does. What a follower does
with what its leader sends is in `replicating`.
"""

import logging
from collections.abc import Sequence

from broker.metadata.state import PartitionKey, PartitionState
from broker.replication.fetch_types import AbortedTransaction, Diverging, FetchedPartition, FetchTarget
from broker.replication.follower import Follower
from broker.replication.isr import BrokerLiveness, InSyncAnswer, InSyncProposal
from broker.replication.leader import Leadership
from broker.replication.purgatory import OffsetWaits
from broker.replication.surroundings import Surroundings, Watcher
from broker.replication.truncation import diverging_end, led_starts
from broker.replication.verification import Verifications, transactional_header
from kraftpy.errors import (
    FencedLeaderEpochError,
    KafkaStorageError,
    KraftpyError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    OffsetNotAvailableError,
    OffsetOutOfRangeError,
    UnknownLeaderEpochError,
)
from kraftpy.runtime.ports import FileSlice
from log_store.integrity import Damage
from log_store.log import Appended, Log
from log_store.reading import Prefetch

logger = logging.getLogger(__name__)
NO_EPOCH = -1
ALL_IN_SYNC = -1
"""acks=all."""


class Partition:
    """See the module's docstring. `state` is the metadata that it acts by."""

    def __init__(
        self,
        topic: str,
        key: PartitionKey,
        log: Log,
        state: PartitionState,
        min_isr: int,
        high_watermark: int,
        surroundings: Surroundings,
    ) -> None:
        self.topic = topic
        self.key = key
        self.log = log
        self.state = state
        self.min_isr = min_isr
        self.high_watermark = max(log.start_offset, min(high_watermark, log.end_offset))
        self.leadership: Leadership | None = None
        self.is_offline = False
        self.committed_waits = OffsetWaits()
        self.durable_waits = OffsetWaits()
        self.start_waits = OffsetWaits()  # for the low watermark
        self.verifications = Verifications()
        self.watchers: dict[Watcher, None] = {}  # who is told of what moves, in the order of their coming
        self.surroundings = surroundings

    @property
    def name(self) -> str:
        return f"{self.topic}-{self.key.partition}"

    @property
    def is_leader(self) -> bool:
        return self.leadership is not None

    @property
    def last_stable_offset(self) -> int:
        """Where a committed read ends: below it everything is committed, and every transaction decided."""
        return self.log.stable_end(self.high_watermark)

    # --- parts -------------------------------------------------------------------------------------------------------

    def lead(self, state: PartitionState) -> None:
        """Metadata says that this broker leads. Those who wait go on waiting if it did before: its log stays."""
        now_ms = self.surroundings.now_ms()
        self.state = state
        if self.is_offline:
            return
        leadership = self.leadership
        if leadership is not None and leadership.leader_epoch == state.leader_epoch:
            leadership.assigned(
                state.replicas, state.isr, state.partition_epoch, now_ms, state.adding_replicas, state.eligible_replicas
            )
            self._put_out_lacking()
        else:
            self.high_watermark = min(self.high_watermark, self.log.end_offset)
            self.leadership = Leadership(
                self.surroundings.node_id,
                state.replicas,
                state.isr,
                state.leader_epoch,
                state.partition_epoch,
                self.log.end_offset,
                now_ms,
                state.adding_replicas,
                state.eligible_replicas,
            )
            if self.log.flushed_offset < self.log.end_offset:
                self.surroundings.log_moved(self)  # what was not durable here must be, before it counts
        self.tell_changed()
        self.evaluate()

    def follow(self, state: PartitionState) -> None:
        """Metadata says that another broker leads, or nobody."""
        self.state = state
        if self.leadership is not None:
            self.leadership = None
            self.verifications.clear()
            self._fail_waits(NotLeaderOrFollowerError(f"broker {state.leader} leads {self.name} now"))
        self.tell_changed()

    def retire(self, error: KraftpyError) -> None:
        """The replica is no longer here; whoever waits for it is answered with `error`."""
        self.leadership = None
        self.verifications.clear()
        self._fail_waits(error)
        self.tell_changed()

    def fail(self) -> None:
        """Its log directory failed: nothing more is served from it, nothing that waits is acknowledged."""
        self.is_offline = True
        self.retire(KafkaStorageError(f"the log directory of {self.name} failed"))

    def set_min_isr(self, min_isr: int) -> None:
        """min.insync.replicas changed: what was held back by it may move now."""
        if min_isr != self.min_isr:
            self.min_isr = min_isr
            self.evaluate()

    def _fail_waits(self, error: KraftpyError) -> None:
        self.committed_waits.fail(error)
        self.durable_waits.fail(error)
        self.start_waits.fail(error)

    # --- judging requests --------------------------------------------------------------------------------------------

    def lead_as(self, current_leader_epoch: int) -> Leadership:
        """The leadership that a request means. Epoch first (KIP-320), then whether this broker leads at all.

        Raises `FencedLeaderEpochError`, `UnknownLeaderEpochError`, `NotLeaderOrFollowerError`, `KafkaStorageError`.
        """
        self._check_epoch(current_leader_epoch)
        if self.leadership is None:
            raise NotLeaderOrFollowerError(f"broker {self.state.leader} leads {self.name}")
        return self.leadership

    def _check_epoch(self, current_leader_epoch: int) -> None:
        if self.is_offline:
            raise KafkaStorageError(f"the log directory of {self.name} failed")
        if current_leader_epoch != NO_EPOCH:
            if current_leader_epoch < self.state.leader_epoch:
                raise FencedLeaderEpochError(f"{self.name} is in leader epoch {self.state.leader_epoch}")
            if current_leader_epoch > self.state.leader_epoch:
                raise UnknownLeaderEpochError(f"{self.name} is only in leader epoch {self.state.leader_epoch} here")

    def committed_end(self, leadership: Leadership) -> int:
        """The high watermark that may be shown. Raises `OffsetNotAvailableError` while a former leader knew better."""
        if self.high_watermark < leadership.epoch_start_offset:
            raise OffsetNotAvailableError(f"the leader of {self.name} does not know yet what is committed")
        return self.high_watermark

    # --- leader: producing -------------------------------------------------------------------------------------------

    def append(
        self, records: bytearray | memoryview, acks: int, *, coordinated: bool = False, bumps_epoch: bool = False
    ) -> Appended:
        """Append a producer's batches. The caller waits for what `acks` promises.

        A batch that begins a transaction here needs a guard that was verified (`verifications`). `coordinated`: a
        coordinator of this broker writes, which may write markers, and without sequences; `bumps_epoch`: the marker's
        epoch is higher than that of the transaction which it ends. Raises
        `NotLeaderOrFollowerError`, `NotEnoughReplicasError` (before anything is written), `KafkaStorageError`, and
        whatever the log refuses batches with.
        """
        leadership = self.lead_as(NO_EPOCH)
        if acks == ALL_IN_SYNC and not leadership.has_min_isr(self.min_isr):
            needed = leadership.min_isr(self.min_isr)
            raise NotEnoughReplicasError(
                f"{self.name} has {len(leadership.in_sync.committed)} replicas in sync and needs {needed}"
            )
        transactional = transactional_header(records)
        is_marker = coordinated and transactional is not None and transactional.is_control
        appended = self.log.append(
            records,
            leadership.leader_epoch,
            self.surroundings.wall_ms(),
            markers=is_marker,
            verified=transactional is not None and not is_marker and self.verifications.vouch(self.log, transactional),
            sequenced=not coordinated,
        )
        if transactional is not None and not appended.duplicate:
            if is_marker:
                self.verifications.ended(transactional.producer_id, transactional.producer_epoch, bumps_epoch)
            else:
                self.verifications.settled(transactional.producer_id)
        if not appended.duplicate:
            self._tell_log_end_moved()
        # A repeated batch waits as the first one does: its first answer may have been lost with nothing committed.
        self.surroundings.log_moved(self)  # also where an append counts at once: some follower may stand still
        if self.log.flushed_offset >= self.log.end_offset:
            self.flushed()
        return appended

    def flushed(self) -> None:
        """The log's flushed end may have moved."""
        self.durable_waits.passed(self.log.flushed_offset)
        self.evaluate()

    def evaluate(self) -> None:
        """Look at the high watermark anew, and tell those who wait for it."""
        leadership = self.leadership
        if leadership is None:
            return
        surroundings = self.surroundings
        advanced = leadership.advanced(
            self.high_watermark,
            self.log.flushed_offset,
            self.min_isr,
            self._liveness,
            surroundings.now_ms(),
            surroundings.lag_max_ms,
        )
        if advanced > self.high_watermark:
            self.high_watermark = advanced
            surroundings.watermark_moved(self)
            for watcher in self.watchers:
                watcher.watermark_moved()
        self.settle_committed()
        self._settle_started()

    def _liveness(self, broker_id: int) -> BrokerLiveness | None:
        return self.surroundings.liveness(broker_id, self.key)

    def settle_committed(self) -> None:
        """Answer those whose records are committed; as a failure, if the in-sync set is too small by now (KIP-966)."""
        leadership = self.leadership
        if leadership is None or not len(self.committed_waits):
            return
        error = None
        if not leadership.has_min_isr(self.min_isr):
            error = NotEnoughReplicasAfterAppendError(f"replicas of {self.name} left the in-sync set meanwhile")
        self.committed_waits.passed(self.high_watermark, error)

    @property
    def low_watermark(self) -> int:
        """Below it no replica in service shows anything any more (KIP-107); the log's own where this broker follows."""
        own_start = self.log.flushed_start_offset
        return own_start if self.leadership is None else self.leadership.low_watermark(own_start, self._liveness)

    def _settle_started(self) -> None:
        """Answer those whose deletions every replica has followed."""
        if len(self.start_waits):
            self.start_waits.passed(self.low_watermark)

    # --- leader: followers -------------------------------------------------------------------------------------------

    def replica(self, replica_id: int, replica_epoch: int, target: FetchTarget) -> Follower:
        """The follower that a fetch comes from. Epoch first, then membership (KAFKA-13837, KAFKA-14078).

        Raises as `lead_as` does; `UnknownLeaderEpochError`: no replica; `NotLeaderOrFollowerError`: a former life.
        """
        follower = self.lead_as(target.current_leader_epoch).followers.get(replica_id)
        if follower is None:
            # Right in its epoch and yet no replica: one of us has not heard of a reassignment. It will ask again.
            if target.current_leader_epoch != NO_EPOCH:
                raise UnknownLeaderEpochError(f"broker {replica_id} is not known here as a replica of {self.name}")
            raise NotLeaderOrFollowerError(f"broker {replica_id} is no replica of {self.name}")
        broker = self._liveness(replica_id)
        if broker is not None and replica_epoch < broker.broker_epoch:
            raise NotLeaderOrFollowerError(f"broker {replica_id} has registered anew since epoch {replica_epoch}")
        return follower

    def note_fetch(self, replica_id: int, replica_epoch: int, target: FetchTarget) -> None:
        """A follower fetches: take its position, if it may have one. Raises as `replica` and `read` do."""
        follower = self.replica(replica_id, replica_epoch, target)
        if self._diverging(target) is not None:
            return
        self._check_range(target.offset)
        before, began_at = follower.end_offset, follower.log_start_offset
        now_ms = self.surroundings.now_ms()
        follower.fetched(target.offset, target.log_start_offset, self.log.end_offset, replica_epoch, now_ms)
        if self.lead_as(NO_EPOCH).judge(replica_id, self.high_watermark):
            # It had all of that when it counted: its disk has lost it, and whoever is in sync may be elected.
            logger.error("the replica of %s on broker %d lacks records that are committed", self.name, replica_id)
            self.surroundings.propose(self)
        self.consider_expansion()
        if before != target.offset:
            self.evaluate()
        elif began_at != target.log_start_offset:
            self._settle_started()

    def knows(self, replica_id: int, offset: int) -> bool:
        """Whether that follower has asked from there in this leadership."""
        follower = self.leadership.followers.get(replica_id) if self.leadership else None
        return follower is not None and follower.end_offset == offset

    def consider_expansion(self) -> None:
        """Propose whoever has caught up and may join."""
        leadership = self.leadership
        if leadership is None or len(leadership.in_sync.committed) == len(leadership.replicas):
            return
        for watcher in self.watchers:
            watcher.vouch()
        surroundings = self.surroundings
        if leadership.expand(self.high_watermark, self._liveness, surroundings.now_ms(), surroundings.lag_max_ms):
            surroundings.propose(self)

    def consider_shrinking(self) -> None:
        """Propose the set without those that lag."""
        leadership = self.leadership
        if leadership is not None and leadership.shrink(
            self.log.end_offset, self.surroundings.now_ms(), self.surroundings.lag_max_ms
        ):
            self.surroundings.propose(self)

    def _put_out_lacking(self) -> None:
        """Propose that nobody leads who lacks what is committed. Lag is no reason here: fetches may not be read yet."""
        if self.leadership is not None and self.leadership.put_out_lacking():
            self.surroundings.propose(self)

    def consider_desertion(self, is_unheard: bool, silence_ms: int) -> bool:
        """Whether it is led here, while others may long follow a successor: the broker `is_unheard` by the controller,
        and no other member has fetched for `silence_ms`."""
        leadership = self.leadership
        if leadership is None:
            return False
        before = leadership.is_deserted
        if is_unheard:
            for watcher in self.watchers:
                watcher.vouch()
        leadership.is_deserted = is_unheard and leadership.is_unfollowed(self.surroundings.now_ms(), silence_ms)
        if leadership.is_deserted and not before:
            self.tell_changed()
        return leadership.is_deserted

    def rested_until(self, replica_id: int, session_fetch_ms: int) -> None:
        """In its session the follower kept asking from the log's end, last at `session_fetch_ms`."""
        follower = self.leadership.followers.get(replica_id) if self.leadership else None
        if follower is not None:
            follower.fetched_again(session_fetch_ms)

    def proposal(self, broker_epoch: int) -> InSyncProposal | None:
        """What is to be sent to the controller, if it is still wanted."""
        if self.leadership is None:
            return None
        return self.leadership.proposal(self.key.topic_id, self.key.partition, broker_epoch)

    def answered(self, proposal: InSyncProposal, answer: InSyncAnswer) -> bool:
        """The controller's answer. True: send the proposal again. The watermark is looked at anew (KAFKA-13091)."""
        leadership = self.leadership
        if leadership is None or leadership.leader_epoch != proposal.leader_epoch:
            return False
        again = leadership.answered(proposal, answer, self.surroundings.now_ms())
        self.evaluate()
        if answer.error is None:
            self.consider_expansion()
            self._put_out_lacking()
        return again

    # --- leader: reading ---------------------------------------------------------------------------------------------

    def read(
        self,
        target: FetchTarget,
        is_follower: bool,
        read_committed: bool,
        bytes_max: int,
        minimum_one: bool,
        any_replica: bool = False,
    ) -> FetchedPartition:
        """What the reader of `target` gets now: up to `bytes_max`, or one whole batch where `minimum_one`.

        `any_replica`: also where another broker leads, up to the high watermark that is known here (KIP-392). Raises as
        `lead_as` does, `OffsetOutOfRangeError`, and for consumers `OffsetNotAvailableError`.
        """
        leadership = None
        if any_replica and self.leadership is None and self.state.has_leader:
            self._check_epoch(target.current_leader_epoch)
        else:
            leadership = self.lead_as(target.current_leader_epoch)
        diverging = self._diverging(target, None if is_follower else leadership)
        if diverging is not None:  # it may have less than the watermark says (KAFKA-14704)
            return self._fetched(target, diverging, shows_watermark=False)
        self._check_range(target.offset)
        if is_follower:
            end_offset = self.log.end_offset
        else:
            end_offset = self.high_watermark
            if leadership is not None and leadership.is_deserted:
                self._check_has_more(target, self.last_stable_offset if read_committed else end_offset)
            if leadership is not None and target.offset >= end_offset:
                end_offset = self.committed_end(leadership)  # else there may be more, but this much is committed
        if read_committed:
            end_offset = min(end_offset, self.last_stable_offset)
        knows = is_follower or leadership is None or self.high_watermark >= leadership.epoch_start_offset
        if target.offset >= end_offset or bytes_max <= 0:
            return self._fetched(target, shows_watermark=knows)
        read = self.log.read(target.offset, min(bytes_max, target.max_bytes), end_offset, minimum_one=minimum_one)
        listed = self.log.aborted_in(read.base_offset, read.next_offset) if read_committed and read.size_bytes else []
        return self._fetched(
            target,
            shows_watermark=knows,
            slices=read.slices,
            size_bytes=read.size_bytes,
            may_have_gaps=is_follower and self.log.may_have_gaps,
            aborted=[AbortedTransaction(each.producer_id, each.first_offset) for each in listed],
        )

    def prefetch(
        self, target: FetchTarget, bytes_max: int, any_replica: bool = False, replica_id: int = -1
    ) -> Prefetch | None:
        """What a disk thread must do before a `read` of `target` that does not stall the loop; None: nothing.

        What it gives belongs into `found_damage`. For a follower (`replica_id`) it checks also what is in the page
        cache, and where it asks again for what it was sent, even the newest batches: it may have refused them.
        """
        if self.is_offline or (self.leadership is None and not any_replica):
            return None
        follower = None if self.leadership is None else self.leadership.followers.get(replica_id)
        return self.log.prefetch(
            target.offset,
            min(bytes_max, target.max_bytes),
            cached_too=follower is not None,
            newest_too=follower is not None and follower.asks_again,
        )

    def found_damage(self, prefetch: Prefetch, damages: Sequence[Damage]) -> None:
        """Whoever read ahead met this."""
        if damages and self.log.note_found(prefetch, damages):
            logger.error("%s is damaged: %s", self.name, "; ".join(map(str, damages)))
            for damage in damages:
                self.surroundings.suspected(self, damage.start_offset)
            self.surroundings.damaged(self)

    def suspect(self, offset: int) -> None:
        """A reader could not be given what is there, for the disk's sake."""
        if not any(each.start_offset <= offset < each.end_offset for each in self.log.damages.all):
            self.surroundings.suspected(self, offset)

    def _fetched(
        self,
        target: FetchTarget,
        diverging: Diverging | None = None,
        shows_watermark: bool = True,
        slices: Sequence[FileSlice] = (),
        size_bytes: int = 0,
        may_have_gaps: bool = False,
        aborted: Sequence[AbortedTransaction] = (),
    ) -> FetchedPartition:
        return FetchedPartition(
            target=target,
            error=None,
            high_watermark=self.high_watermark if shows_watermark else -1,
            last_stable_offset=self.last_stable_offset if shows_watermark else -1,
            log_start_offset=self.log.start_offset,
            slices=slices,
            size_bytes=size_bytes,
            diverging=diverging,
            may_have_gaps=may_have_gaps,
            aborted=aborted,
        )

    def _diverging(self, target: FetchTarget, leadership: Leadership | None = None) -> Diverging | None:
        """`leadership`: a consumer asks, who may know of the leader's epoch without a record of it."""
        epoch, log = target.last_fetched_epoch, self.log
        if epoch == NO_EPOCH or (epoch == log.epochs.latest_epoch and target.offset <= log.end_offset):
            return None
        starts: Sequence[tuple[int, int]] = log.epochs.entries
        if leadership is not None:
            starts = led_starts(starts, leadership.leader_epoch, leadership.epoch_start_offset)
        end = diverging_end(starts, log.end_offset, epoch, target.offset)
        return None if end is None else Diverging(end.epoch, end.end_offset)

    def _check_range(self, offset: int) -> None:
        if not self.log.start_offset <= offset <= self.log.end_offset:
            raise OffsetOutOfRangeError(
                f"{self.name} holds offsets {self.log.start_offset} to {self.log.end_offset}, not {offset}"
            )

    def _check_has_more(self, target: FetchTarget, end_offset: int) -> None:
        if target.offset >= end_offset:
            raise NotLeaderOrFollowerError(f"nobody follows this broker in {self.name}, and no controller hears it")

    def delete_records(self, before_offset: int) -> int:
        """Drop what is below `before_offset` (-1: the high watermark); returns the offset meant.

        Raises `OffsetOutOfRangeError` above the high watermark.
        """
        leadership = self.lead_as(NO_EPOCH)
        committed = self.committed_end(leadership)
        before_offset = committed if before_offset == -1 else before_offset
        if not 0 <= before_offset <= committed:
            raise OffsetOutOfRangeError(f"{self.name} is committed up to {committed}, not {before_offset}")
        self.log.delete_records(before_offset)
        self.surroundings.log_moved(self)
        self.tell_changed()
        return before_offset

    def enforce_retention(self) -> bool:
        """Delete what the log's settings no longer keep, never past the high watermark; whether there was anything."""
        if self.is_offline or not self.log.enforce_retention(self.surroundings.wall_ms(), self.high_watermark):
            return False
        self.tell_changed()
        return True

    # --- follower (what it does by its leader's word: `replicating`) -------------------------------------------------

    @property
    def is_durable(self) -> bool:
        """Whether the log's end is on the disk, and its start: only then may a follower tell them."""
        log = self.log
        return log.flushed_offset >= log.end_offset and log.flushed_start_offset >= log.start_offset

    # --- telling -----------------------------------------------------------------------------------------------------

    def _tell_log_end_moved(self) -> None:
        for watcher in self.watchers:
            watcher.log_end_moved()

    def tell_changed(self) -> None:
        """Something else than the log's end and the high watermark: another leader, another log start."""
        for watcher in list(self.watchers):
            watcher.changed()
