"""A follower's side: one fetcher for each leading broker, with all the partitions that are followed there.

Fetch, append, flush (one flush for everything that one answer brought), fetch again. The offset that a fetch asks from
is the follower's promise that everything below is on its disk, so it is the flushed end, always. So it is with the log
start that a fetch tells: nothing below comes back.

A session (KIP-227) keeps idle partitions out of requests and answers: a round costs by what moved. A partition that is
added while a fetch is parked at the leader does not wait for it: the next fetch of the session is sent right behind it,
which makes the leader answer the first.

Invariants
- At most two fetches are under way; answers are taken in the order of their fetches.
- An answer touches a partition only if nothing happened to that partition since its fetch was sent: the same leader
  epoch, the same position (KAFKA-13141, 13207, 14704). `Following.stale_until` says so.
- Diverging comes before everything: cut first, believe watermarks later.
- A broken connection is reported to the controller at once, for it to look by itself; then tries follow with a pause
  that doubles. So they do after whatever else goes wrong: the task ends by `stop` only.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from broker.metadata.state import PartitionKey
from broker.replication.config import ReplicationConfig
from broker.replication.fetch_types import (
    NEW_SESSION_EPOCH,
    NO_SESSION,
    FetchAnswer,
    FetchedPartition,
    FetchQuery,
    FetchTarget,
    ForgottenPartition,
    IsolationLevel,
)
from broker.replication.partition import Partition
from broker.replication.replicating import believe, replicate, restart_at, truncate
from kraftpy.errors import (
    FetchSessionIdNotFoundError,
    InvalidFetchSessionEpochError,
    KraftpyError,
    OffsetOutOfRangeError,
)
from kraftpy.runtime.ports import (
    Address,
    Buffer,
    Clock,
    FramedConnection,
    FramedTransport,
    TransportError,
    Unreachable,
)

logger = logging.getLogger(__name__)

IN_FLIGHT_MAX = 2
HOLD_MS_MAX = 1_000  # a throttle is looked at anew at least so often: it may have been lifted
REMIND_MS = 10_000  # of failures only; then a line tells of it, and again after so long


class FetchCodec(Protocol):
    """Fetch on the wire, as a follower speaks it."""

    def encode_query(self, query: FetchQuery, correlation_id: int) -> Sequence[Buffer]: ...

    def decode_answer(self, frame: memoryview, correlation_id: int) -> FetchAnswer:
        """Raises a `KraftpyError` for bytes that are no answer to that query. `slices` are empty, `records` are not."""


class FollowerHost(Protocol):
    """What a fetcher needs of the broker that it is on."""

    @property
    def node_id(self) -> int: ...

    def broker_epoch(self) -> int: ...

    def log_moved(self, partition: Partition) -> None:
        """Flush it, and call `Fetcher.flushed` when that is done."""

    def fetched(self, partition: Partition) -> None:
        """Its leader has answered, and so knows how far its log goes."""

    def copied(self, partition: Partition, size_bytes: int) -> None:
        """So much was copied of it."""

    def held_back_ms(self, partition: Partition) -> int:
        """How long not to ask for it, because its share is spent (KIP-73); 0: go on."""

    def unreachable(self, broker_id: int, broker_epoch: int) -> None:
        """Nobody listens there, or the connection broke."""

    def in_touch(self, broker_id: int) -> None:
        """It answers."""


class Following:
    """One partition in one leader epoch, as the fetcher stands with it."""

    __slots__ = ("backoff_ms", "leader_epoch", "partition", "ready_ms", "sent", "stale_until")

    def __init__(self, partition: Partition, fetches_sent: int) -> None:
        self.partition = partition
        self.leader_epoch = partition.state.leader_epoch
        self.stale_until = fetches_sent  # answers to fetches up to this number say nothing about the present position
        self.sent: FetchTarget | None = None  # as the session has it; None: it does not have it
        self.backoff_ms = 0
        self.ready_ms = 0  # not asked for before this time

    def target(self, bytes_max: int) -> FetchTarget:
        partition, log = self.partition, self.partition.log
        return FetchTarget(
            topic_id=partition.key.topic_id,
            topic=partition.topic,
            partition=partition.key.partition,
            current_leader_epoch=self.leader_epoch,
            offset=log.end_offset,
            last_fetched_epoch=log.epochs.latest_epoch,
            log_start_offset=log.flushed_start_offset,  # retention may have moved it since the last flush
            max_bytes=bytes_max,
            high_watermark=partition.high_watermark,
        )


class Fetcher:
    """Copies from one leading broker. `start` it once; `add` and `remove` at any time."""

    def __init__(
        self,
        leader_id: int,
        leader_broker_epoch: int,
        address: Address,
        framed: FramedTransport,
        clock: Clock,
        config: ReplicationConfig,
        codec: FetchCodec,
        host: FollowerHost,
    ) -> None:
        self.leader_id = leader_id
        self.leader_broker_epoch = leader_broker_epoch
        self.address = address
        self._framed = framed
        self._clock = clock
        self._config = config
        self._codec = codec
        self._host = host
        self._followings: dict[PartitionKey, Following] = {}
        self._changed: dict[PartitionKey, Following] = {}  # to be told to the session, or left out of it
        self._forgotten: dict[PartitionKey, ForgottenPartition] = {}
        self._unflushed: dict[PartitionKey, None] = {}
        self._has_newcomers = False
        self._session_id = NO_SESSION
        self._session_epoch = NEW_SESSION_EPOCH
        self._wants_session = True  # false while the leader has no room for one: then every fetch names everything
        self._fetches_sent = 0
        self._connection: FramedConnection | None = None  # while there is a conversation
        self._in_flight: deque[tuple[int, asyncio.Future[memoryview]]] = deque()
        self._over: asyncio.Future[None] | None = None  # … gets what ends it
        self._is_awake = False  # `_step` is under way, or will be called
        self._failing_since_ms: int | None = None  # without a conversation that worked for a while
        self._told_ms = 0
        self._bug_told_ms: int | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def partition_count(self) -> int:
        return len(self._followings)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"fetcher-{self._host.node_id}-{self.leader_id}")

    async def stop(self) -> None:
        """Stop fetching; what was appended stays."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass

    # --- partitions --------------------------------------------------------------------------------------------------

    def add(self, partition: Partition) -> None:
        """Follow `partition` in its present leader epoch, from its log's end. Replaces an earlier epoch's following."""
        self.remove(partition.key)
        self._followings[partition.key] = following = Following(partition, self._fetches_sent)
        self._change(following)
        self._has_newcomers = True
        if not partition.is_durable:
            # What a former leader had not flushed: it may only ask from what is on its disk.
            self._unflushed[partition.key] = None
            self._host.log_moved(partition)

    def remove(self, key: PartitionKey) -> None:
        """Do not follow it any more; an answer under way will not touch it."""
        following = self._followings.pop(key, None)
        if following is None:
            return
        self._changed.pop(key, None)
        self._unflushed.pop(key, None)
        if following.sent is not None:
            self._forget(following)
        self._wake()

    def flushed(self, partition: Partition) -> None:
        """A flush of its log has finished."""
        following = self._followings.get(partition.key)
        if following is not None and partition.is_durable:
            self._unflushed.pop(partition.key, None)
            self._change(following)  # also where only its start has moved

    def _change(self, following: Following) -> None:
        self._changed[following.partition.key] = following
        self._wake()

    def _forget(self, following: Following) -> None:
        key = following.partition.key
        self._forgotten[key] = ForgottenPartition(key.topic_id, following.partition.topic, key.partition)
        following.sent = None

    # --- conversation ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        pause_ms = self._config.fetch_backoff_ms
        while True:
            fetches_before, began_ms = self._fetches_sent, self._clock.monotonic_ms()
            try:
                connection = await self._framed.connect(self.address, self._config.connect_timeout_ms)
                try:
                    await self._converse(connection)
                finally:
                    connection.close()
            except (TransportError, KraftpyError) as error:
                if isinstance(error, Unreachable):
                    self._host.unreachable(self.leader_id, self.leader_broker_epoch)
                failure: Exception = error
            except Exception as error:
                # What it follows is followed by nobody else: this ends one conversation, not the fetcher.
                self._note_bug(error)
                failure = error
            self._start_over()
            if self._fetches_sent > fetches_before + 1:  # it did work for a while
                pause_ms = self._config.fetch_backoff_ms
                if self._clock.monotonic_ms() - began_ms >= REMIND_MS:
                    self._failing_since_ms = None
            self._note_failure(failure)
            del failure  # its traceback holds the answer that it came of, and the next conversation may last for weeks
            await asyncio.sleep(pause_ms / 1000)
            pause_ms = min(2 * pause_ms, self._config.fetch_backoff_max_ms)

    def _note_failure(self, error: Exception) -> None:
        now_ms = self._clock.monotonic_ms()
        if self._failing_since_ms is None:
            self._failing_since_ms = self._told_ms = now_ms
        elif now_ms - self._told_ms >= REMIND_MS:
            self._told_ms = now_ms
            for_s = (now_ms - self._failing_since_ms) // 1_000
            logger.warning(
                "fetching from broker %d at %s has failed for %d s: %s", self.leader_id, self.address, for_s, error
            )

    def _note_bug(self, error: Exception) -> None:
        """Told to the loop's exception handler: a node logs it, and a simulation fails."""
        now_ms = self._clock.monotonic_ms()
        if self._bug_told_ms is None or now_ms - self._bug_told_ms >= REMIND_MS:
            self._bug_told_ms = now_ms
            message = f"fetching from broker {self.leader_id} at {self.address} failed, which is a bug"
            task = asyncio.current_task()
            asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error, "task": task})

    async def _converse(self, connection: FramedConnection) -> None:
        """Until something ends it, which is raised. No task waits for answers: each is taken when it comes."""
        self._connection, self._is_awake = connection, False
        self._over = over = asyncio.get_running_loop().create_future()
        try:
            self._step()
            await over
        finally:
            self._connection = self._over = None
            while self._in_flight:
                _, asked = self._in_flight.popleft()
                asked.cancel()
                if not asked.cancelled():
                    asked.exception()  # nobody asks any more how it ended
            if over.done() and not over.cancelled():
                over.exception()  # likewise, where this is cancelled at the same moment

    def _wake(self) -> None:
        """Something has changed: look whether there is something to ask, after what else is ready."""
        if self._over is not None and not self._is_awake:
            self._is_awake = True
            asyncio.get_running_loop().call_soon(self._step)

    def _step(self, _: object = None) -> None:
        """Take the answers that are there, and ask on."""
        connection, over, in_flight = self._connection, self._over, self._in_flight
        if connection is None or over is None or over.done():
            return
        self._is_awake = True  # whatever an answer changes is asked about below
        try:
            while in_flight and in_flight[0][1].done():
                number, asked = in_flight.popleft()
                self._take(number, self._codec.decode_answer(asked.result(), number))
            self._ask(connection)
        except Exception as error:
            over.set_exception(error)
        self._is_awake = False

    def _ask(self, connection: FramedConnection) -> None:
        if self._should_send(len(self._in_flight)) and (query := self._next_query()) is not None:
            self._fetches_sent += 1
            frame = self._codec.encode_query(query, self._fetches_sent)
            timeout_ms = self._config.fetch_wait_max_ms + self._config.fetch_request_timeout_ms
            asked = connection.ask(frame, timeout_ms)
            self._in_flight.append((self._fetches_sent, asked))
            asked.add_done_callback(self._step)

    def _should_send(self, in_flight: int) -> bool:
        if self._unflushed or not self._followings:
            return False
        if in_flight == 0:
            return True
        return in_flight < IN_FLIGHT_MAX and self._has_newcomers and self._session_id != NO_SESSION

    def _start_over(self) -> None:
        """The session is lost: the next fetch names everything."""
        self._session_id = NO_SESSION
        self._session_epoch = NEW_SESSION_EPOCH
        self._wants_session = True
        self._forgotten.clear()
        for following in self._followings.values():
            following.sent = None
            following.stale_until = self._fetches_sent
            self._change(following)

    def _next_query(self) -> FetchQuery | None:
        """What to ask now; None: of nothing, everybody pauses."""
        now_ms = self._clock.monotonic_ms()
        targets: list[FetchTarget] = []
        for key, following in list(self._changed.items()):
            if following.ready_ms > now_ms or self._hold_back_if_spent(following, now_ms):
                if following.sent is not None:
                    self._forget(following)
                continue
            del self._changed[key]
            target = following.target(self._config.fetch_partition_bytes_max)
            if target != following.sent:
                following.sent = target
                self._forgotten.pop(key, None)
                targets.append(target)
        self._has_newcomers = False
        if not targets and len(self._changed) == len(self._followings):
            return None
        if self._session_epoch == NEW_SESSION_EPOCH:
            self._forgotten.clear()
        query = FetchQuery(
            replica_id=self._host.node_id,
            replica_epoch=self._host.broker_epoch(),
            # What opens a session is not to be waited for: newcomers can only be sent behind it once it stands.
            max_wait_ms=0 if self._wants_session and self._session_id == NO_SESSION else self._config.fetch_wait_max_ms,
            min_bytes=self._config.fetch_bytes_min,
            max_bytes=self._config.fetch_response_bytes_max,
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            partitions=targets,
            session_id=self._session_id,
            session_epoch=self._session_epoch,
            forgotten=list(self._forgotten.values()),
        )
        self._forgotten.clear()
        if self._session_id != NO_SESSION:
            self._session_epoch = self._session_epoch % (2**31 - 1) + 1
        return query

    # --- answers -----------------------------------------------------------------------------------------------------

    def _take(self, number: int, answer: FetchAnswer) -> None:
        self._host.in_touch(self.leader_id)
        if answer.error is not None:
            if answer.error not in (FetchSessionIdNotFoundError, InvalidFetchSessionEpochError):
                raise answer.error()
            self._start_over()
            return
        if self._session_id == NO_SESSION:
            self._open_session(answer.session_id)
        for fetched in answer.partitions:
            following = self._following(fetched.target, number)
            if following is not None:
                self._take_partition(following, fetched)

    def _open_session(self, session_id: int) -> None:
        self._session_id = session_id
        self._wants_session = session_id != NO_SESSION
        if self._wants_session:
            self._session_epoch = 1
            return
        for following in self._followings.values():
            following.sent = None
            self._change(following)

    def _following(self, target: FetchTarget, number: int) -> Following | None:
        assert target.topic_id is not None
        following = self._followings.get(PartitionKey(target.topic_id, target.partition))
        if following is None or number <= following.stale_until:
            return None
        if following.partition.state.leader_epoch != following.leader_epoch or following.partition.is_offline:
            return None
        return following

    def _take_partition(self, following: Following, fetched: FetchedPartition) -> None:
        partition = following.partition
        before = (partition.log.end_offset, partition.log.epochs.latest_epoch)
        try:
            self._bring(following, fetched)
            following.backoff_ms = 0
        except KraftpyError:
            self._pause(following)
        if self._followings.get(partition.key) is not following:
            return  # its directory has failed in this moment
        self._change(following)
        self._host.copied(partition, len(fetched.records))
        if not partition.is_durable:
            self._unflushed[partition.key] = None
        if (partition.log.end_offset, partition.log.epochs.latest_epoch) != before:
            following.stale_until = self._fetches_sent
        elif fetched.diverging is not None or len(fetched.records):
            self._pause(following)  # it did not help, and asking at once again would not either

    def _bring(self, following: Following, fetched: FetchedPartition) -> None:
        """Let the partition do what the leader says. Raises a `KraftpyError` where it has to be asked again later."""
        partition = following.partition
        if fetched.error is not None:
            is_empty = partition.log.start_offset == partition.log.end_offset
            is_behind = partition.log.end_offset < fetched.log_start_offset
            if fetched.error is OffsetOutOfRangeError and fetched.log_start_offset >= 0 and (is_behind or is_empty):
                restart_at(partition, fetched.log_start_offset)
                return
            raise fetched.error()
        if fetched.diverging is not None:
            truncate(partition, fetched.diverging)
            return
        if len(fetched.records):
            replicate(partition, fetched.records, following.leader_epoch, may_have_gaps=fetched.may_have_gaps)
        believe(partition, fetched.high_watermark, fetched.log_start_offset)
        self._host.fetched(partition)

    def _hold_back_if_spent(self, following: Following, now_ms: int) -> bool:
        """Let it rest where it has used up what copying may take for now; whether it does."""
        wait_ms = min(self._host.held_back_ms(following.partition), HOLD_MS_MAX)
        if wait_ms:
            following.ready_ms = now_ms + wait_ms
            self._come_back_in(wait_ms)
        return wait_ms > 0

    def _pause(self, following: Following) -> None:
        config = self._config
        following.backoff_ms = min(max(config.fetch_backoff_ms, 2 * following.backoff_ms), config.fetch_backoff_max_ms)
        following.ready_ms = self._clock.monotonic_ms() + following.backoff_ms
        self._come_back_in(following.backoff_ms)

    def _come_back_in(self, wait_ms: int) -> None:
        asyncio.get_running_loop().call_later(wait_ms / 1000 + 0.001, self._come_back)

    def _come_back(self) -> None:
        """A partition's pause is over. The session does not have it meanwhile, so it comes like a new one: else it
        would wait for a parked fetch of the others, and with it everybody who waits for this replica."""
        self._has_newcomers = True
        self._wake()
