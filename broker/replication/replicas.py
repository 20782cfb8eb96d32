"""All replicas on this broker: what metadata says becomes leaders, followers and files; requests find their partitions.

    metadata delta ─→ apply ─→ Partition.lead / follow / retire, Fetcher.add / remove, logs created and deleted
    produce ─→ Producing ─→ Partition.append ─→ flush ─→ watermark ─→ answer
    fetch ─→ Reading ─→ Partition.read, or parked until something moves

Invariants
- Only `apply` changes which partitions are here and which part they play. It does so at once, without waiting, so that
  no request meets half a change.
- A partition is fetched by at most one fetcher, in its present leader epoch.
- A log whose topic id metadata does not know, or which belongs elsewhere, is deleted when the first image that holds
  this broker's own registration comes: not before, because an image that still lags behind knows too little.
- A background task that fails stops the broker loudly: `failed` is set.

Not here: the wire (`broker.kafka`), who is the controller (`Control`), what is on disk (`log_store`).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from broker.metadata.delta import MetadataDelta, PartitionDelta
from broker.metadata.image import MetadataImage, delta_between
from broker.metadata.state import BrokerImage
from broker.replication.admissions import Admissions
from broker.replication.alterations import Alterations, Control
from broker.replication.availability import Availability
from broker.replication.config import ReplicationConfig
from broker.replication.directory_moves import DirectoryMoves
from broker.replication.directory_status import DirectoryStatus, directory_statuses
from broker.replication.fetch_types import (
    CurrentLeader,
    FetchAnswer,
    FetchQuery,
    FetchTarget,
    FoundOffset,
    OffsetsQuery,
)
from broker.replication.fetcher import FetchCodec, Fetcher
from broker.replication.fetchers import Fetchers
from broker.replication.health import PartitionHealth, ReplicaProgress, health_of, progress_of
from broker.replication.hosting import Hosting
from broker.replication.isr import BrokerLiveness
from broker.replication.offsets import find_offset
from broker.replication.partition import NO_EPOCH, Partition, PartitionKey
from broker.replication.producing import Batch, EndMarker, Produced, Producing
from broker.replication.purgatory import Deadlines
from broker.replication.reading import Reading
from broker.replication.repairs import Repairs
from broker.replication.selecting import RACK_AWARE
from broker.replication.sessions import Sessions
from broker.replication.throttle import Throttles
from broker.replication.verification import Transaction
from kraftpy.errors import (
    KafkaStorageError,
    KraftpyError,
    NotLeaderOrFollowerError,
    ReplicaNotAvailableError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
from kraftpy.runtime.ports import Address, Ports, TransportError
from log_store.config import LogConfig
from log_store.log import Log
from log_store.log_directory import LogDirectory
from log_store.producer_state import ProducerEntry

logger = logging.getLogger(__name__)
GRPC_LISTENER = "GRPC"
LATE_PAUSE_MS = 500
LOG_CHECKPOINT_INTERVAL_MS = 60_000
FLUSH_CHECK_INTERVAL_MS = 1_000
REPAIR_CHECK_INTERVAL_MS = 5_000
CHANGES_PER_TURN = 50
"""Partitions that metadata begins, moves or ends before others are let in: a new one costs about 1 ms of system calls,
and a thousand at once cost the quorum its leader."""


class LeadershipListener(Protocol):
    """Somebody whose work goes with the leaderships of a topic: its coordinators."""

    def led(self, partition: Partition) -> None:
        """This broker leads it: told at each change of its state, so perhaps again in the same epoch."""

    def left(self, partition: int) -> None:
        """This broker does not lead it, or not any more."""


class Replicas:
    """See the module's docstring. `start` first; `apply` whenever metadata moved; then requests."""

    def __init__(
        self,
        node_id: int,
        broker_epoch: Callable[[], int],
        ports: Ports,
        directories: Sequence[LogDirectory],
        config: ReplicationConfig,
        control: Control,
        codec: FetchCodec,
        topic_defaults: Mapping[str, str] | None = None,
        log_config: LogConfig | None = None,
        unusable_directories: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`directories` are open, with meta.properties; they stay the caller's to close. `broker_epoch()` is -1 before
        the controller has registered this life. `topic_defaults` and `log_config` are the broker's own settings, for
        topics that set nothing. `unusable_directories()`: those that could not be opened, with the reason."""
        self._node_id = node_id
        self._broker_epoch = broker_epoch
        self._ports = ports
        self._clock = ports.clock
        self._config = config
        self._control = control
        self._codec = codec
        self._image = MetadataImage.EMPTY
        self._newest = MetadataImage.EMPTY  # not acted by before this broker is registered in it
        self._is_live = False
        self._changes: deque[PartitionDelta] = deque()  # told by metadata and not acted by yet, in its order
        self._is_catching_up = False
        self._brokers: dict[int, BrokerLiveness] = {}
        self._impaired: dict[int, BrokerImage] = {}  # those that cannot serve some of their replicas
        self._moving: dict[Partition, None] = {}  # led here, and perhaps with a follower that lags or may join
        self._watermarks_moved = False
        self._deadlines = Deadlines(self._clock)
        self._alterations = Alterations(control, broker_epoch, config.alter_partition_retry_ms)
        self._hosting = Hosting(
            node_id,
            directories,
            log_config or LogConfig(),
            topic_defaults or {},
            self,
            lambda: bool(unusable_directories()),
        )
        self._unusable_directories = unusable_directories
        self._moves = DirectoryMoves(
            self._hosting,
            self._clock,
            self._spawn,
            config.alter_log_dirs_threads,
            config.alter_log_dirs_bytes_per_second,
        )
        self._fetchers = Fetchers(self._make_fetcher)
        self._repairs = Repairs(
            node_id,
            self._hosting.availability,
            self._fetchers,
            lambda: self._image,
            self._hosting.make_durable,
            self._spawn,
        )
        self.on_suspicion: Callable[[Log, int], None] = lambda log, offset: None
        """Told of logs that could not be read at an offset."""
        self._throttles = Throttles(node_id, self._clock.monotonic_ms())
        self._sessions = Sessions(ports.random, config.fetch_sessions_max)
        self._producing = Producing(
            self._find_by_name, self._hint, self._clock, self._deadlines, config.parked_requests_max
        )
        self._producing.admissions.verifies = config.transaction_partition_verification_enable
        self._reading = Reading(
            self._find,
            self._hint,
            self._sessions,
            self._clock,
            ports.disk,
            self._deadlines,
            config.parked_requests_max,
            config.high_watermark_news_delay_ms,
            self._throttles.leader,
            self._rack_of if config.replica_selector == RACK_AWARE else None,
        )
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._unreachable: dict[int, None] = {}  # brokers that are being reported
        self.failed: asyncio.Future[None] | None = None
        self.leadership_listeners: dict[str, LeadershipListener] = {}  # by topic; set before the start
        """From `start` on: gets the exception of a background task that failed. The broker cannot go on then."""

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the background tasks. The log directories have been opened before."""
        self.failed = asyncio.get_running_loop().create_future()
        config = self._config
        self._spawn(self._alterations.run)
        for interval_ms, work in (
            (config.isr_check_interval_ms, self._check_in_sync_sets),
            (config.high_watermark_checkpoint_interval_ms, self._checkpoint_watermarks),
            (config.retention_check_interval_ms, self._enforce_retention),
            (LOG_CHECKPOINT_INTERVAL_MS, self._hosting.write_checkpoints),
            (FLUSH_CHECK_INTERVAL_MS, self._flush_overdue),
            (REPAIR_CHECK_INTERVAL_MS, self._look_at_repairs),
        ):
            self._spawn(partial(self._every, interval_ms, work))

    async def stop(self) -> None:
        """Answer everybody who waits, stop copying, write the high watermarks. The log directories stay open."""
        await self._moves.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._fetchers.stop()
        self._reading.release_all()
        for partition in self._hosting.partitions.values():
            partition.retire(NotLeaderOrFollowerError(f"broker {self._node_id} is stopping"))
        self._deadlines.close()
        self._watermarks_moved = True
        await self._checkpoint_watermarks()

    def registered(self) -> None:
        """`broker_epoch` is known now: act by the metadata, if the registration is in it already."""
        self._go_live()

    @property
    def failed_directory_ids(self) -> tuple[UUID, ...]:
        """For the heartbeat: the controller moves leaderships away from them."""
        return self._hosting.failed_directory_ids

    @property
    def availability(self) -> Availability:
        """Replicas that cannot be served, for the controller: to be reported before the next heartbeat."""
        return self._hosting.availability

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.create_task(self._watch_over(work))
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None) and None)

    async def _watch_over(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Exception as error:
            logger.critical("replication cannot go on", exc_info=error)
            if self.failed is not None and not self.failed.done():
                self.failed.set_exception(error)

    # --- metadata ----------------------------------------------------------------------------------------------------

    def apply(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """Act by the next image. `delta` is what differs from the one before.

        Nothing is done before an image holds this broker's registration in its present life: what an image in the past
        of that says about our replicas is history, and acting by it could delete what belongs here.
        """
        self._newest = image
        if self._is_live:
            self._act(image, delta)
        else:
            self._go_live()

    def _go_live(self) -> None:
        own = self._newest.brokers.get(self._node_id)
        if self._is_live or own is None or own.epoch != self._broker_epoch():
            return
        self._is_live = True
        self._hosting.delete_strays(self._newest)
        self._hosting.take_stock(self._newest)
        self._act(self._newest, delta_between(MetadataImage.EMPTY, self._newest))

    def _act(self, image: MetadataImage, delta: MetadataDelta) -> None:
        self._image = image
        for broker in delta.brokers:
            self._note_broker(broker.broker_id, broker.new)
        self._changes.extend(change for topic in delta.topics for change in topic.partitions())
        if not self._is_catching_up:
            self._take_changes()
            self._repairs.look()
            if self._changes:
                self._is_catching_up = True
                self._spawn(self._catch_up)
        self._hosting.configure(image, delta.configs)
        self._throttles.configure(image, delta.configs, self._clock.monotonic_ms())
        for broker in delta.brokers:
            if broker.new is None or broker.old is None or broker.old.epoch != broker.new.epoch:
                self._fetchers.broker_changed(broker.broker_id)
        if delta.brokers:
            # Who may join now, and who is not to be waited for any more, although nothing of the partition has changed.
            for partition in list(self._moving):
                partition.consider_expansion()
                partition.evaluate()

    async def _catch_up(self) -> None:
        """Many changes at once are acted by in turns with everything else; requests for the rest are told to wait."""
        while self._changes:
            await asyncio.sleep(0)
            self._take_changes()
        self._is_catching_up = False
        self._repairs.look()

    def _take_changes(self) -> None:
        for _ in range(min(CHANGES_PER_TURN, len(self._changes))):
            self._change(self._changes.popleft())

    def _note_broker(self, broker_id: int, broker: BrokerImage | None) -> None:
        if broker is None:
            self._brokers.pop(broker_id, None)
        else:
            self._brokers[broker_id] = BrokerLiveness(broker.epoch, broker.fenced, broker.in_controlled_shutdown)
        self._impaired.pop(broker_id, None)
        if broker is not None and broker.offline:
            self._impaired[broker_id] = broker

    def _change(self, change: PartitionDelta) -> None:
        key = PartitionKey(change.topic_id, change.partition)
        state = change.new
        if state is None or self._node_id not in state.replicas:
            self._let_go(key, is_deleted=state is None)
            return
        partition = self._hosting.partitions.get(key)
        is_new = partition is None
        if partition is None:
            partition = self._hosting.host(self._image, change.topic, key, state)
            if partition is None:
                return  # it cannot be served, and the controller hears of it
            self._moves.resume(partition)
        before = partition.state
        if state.leader == self._node_id:
            self._fetchers.leave(key)
            partition.lead(state)
            self._moving[partition] = None
            self._tell_led(partition)
        else:
            self._moving.pop(partition, None)
            partition.follow(state)
            self._tell_left(partition)
            if not state.has_leader or partition.is_offline:
                self._fetchers.leave(key)
            elif self._repairs.is_cutting(partition):
                self._fetchers.leave(key)  # it will be followed once it is cut
            elif is_new or before.leader_epoch != state.leader_epoch:
                self._fetchers.follow(partition)

    def _let_go(self, key: PartitionKey, is_deleted: bool) -> None:
        partition = self._hosting.partitions.get(key)
        if partition is None:
            self._hosting.forget(key)
        else:
            self._fetchers.leave(key)
            self._moves.cancel(key)
            self._moving.pop(partition, None)
            self._repairs.forget(partition)
            self._hosting.delete(partition)
            partition.retire(
                UnknownTopicOrPartitionError(f"topic {partition.topic} was deleted")
                if is_deleted
                else NotLeaderOrFollowerError(f"broker {self._node_id} holds no replica of {partition.name} any more")
            )
            self._tell_left(partition)

    def _tell_led(self, partition: Partition) -> None:
        listener = self.leadership_listeners.get(partition.topic)
        if listener is not None:
            listener.led(partition)

    def _tell_left(self, partition: Partition) -> None:
        listener = self.leadership_listeners.get(partition.topic)
        if listener is not None:
            listener.left(partition.key.partition)

    def _make_fetcher(self, leader_id: int) -> Fetcher | None:
        broker = self._image.brokers.get(leader_id)
        if broker is None:
            return None
        wanted = self._config.listener_name
        for endpoint in broker.registration.endpoints:
            if endpoint.name == wanted or (not wanted and endpoint.name != GRPC_LISTENER):
                address = Address(endpoint.host, endpoint.port)
                framed, clock = self._ports.framed, self._clock
                return Fetcher(leader_id, broker.epoch, address, framed, clock, self._config, self._codec, self)
        logger.error("broker %d has no listener %s to fetch from", leader_id, wanted or "besides GRPC")
        return None

    # --- requests ----------------------------------------------------------------------------------------------------

    async def produce(
        self, batches: Sequence[Batch], acks: int, timeout_ms: int, transaction: Transaction | None = None
    ) -> list[Produced]:
        """Append each (topic, partition, records) and answer when `acks` is satisfied: see `producing`.

        All appends happen before the first wait, unless a `transaction` begins somewhere. `records` is written to where
        it is writable (offsets and epochs are set in place) and copied where it is not; it must stay untouched until
        the answer.
        """
        return await self._producing.produce(batches, acks, timeout_ms, transaction)

    async def write_marker(self, topic: str, partition: int, marker: EndMarker, timeout_ms: int) -> Produced:
        """End a transaction in a partition that is led here; answered once that is committed (WriteTxnMarkers)."""
        return await self._producing.write_marker(topic, partition, marker, timeout_ms)

    @property
    def admissions(self) -> Admissions:
        """Where the transaction coordinators' gate is put in."""
        return self._producing.admissions

    def describe_producers(self, topic: str, partition: int) -> list[ProducerEntry]:
        """The producers that the log of a replica here remembers, led or not (KIP-664). Raises as `partition`."""
        return list(self._find_by_name(topic, partition).log.producers.newest())

    async def fetch(self, query: FetchQuery) -> FetchAnswer:
        """Answer a consumer or a follower: see `reading`. The slices are valid until the loop runs something else that
        deletes segments, which it does not before `file.delete.delay.ms`."""
        return await self._reading.fetch(query)

    async def list_offsets(self, query: OffsetsQuery) -> list[FoundOffset]:
        """One answer for each target, in order (KIP-79, KIP-734)."""
        answers = []
        for target in query.partitions:
            try:
                partition = self._find_by_name(target.topic, target.partition)
                answers.append(find_offset(partition, target, query.replica_id, query.isolation_level))
            except KraftpyError as error:
                answers.append(FoundOffset(target, type(error)))
        return answers

    async def delete_records(self, topic: str, partition: int, before_offset: int) -> int:
        """Drop what is below `before_offset` (-1: the high watermark); returns the log's new start (KIP-107).

        Followers take over the new start with their next fetch. Raises `OffsetOutOfRangeError` above the high
        watermark, and as `partition` does.
        """
        return self._find_by_name(topic, partition).delete_records(before_offset)

    def move_replica(self, topic: str, partition: int, path: str) -> None:
        """Begin to move a replica to another directory of this broker (KIP-113); to where it is: cancel that.

        Raises `ReplicaNotAvailableError`: it is not here; `LogDirNotFoundError`, `KafkaStorageError`.
        """
        try:
            replica = self._find_by_name(topic, partition)
        except NotLeaderOrFollowerError as error:
            raise ReplicaNotAvailableError(str(error)) from None
        self._moves.move(replica, path)

    def limit_moves(self, bytes_per_second: int) -> None:
        """How fast each move between directories copies, from now on."""
        self._moves.bytes_per_second = bytes_per_second

    async def describe_directories(self, topics: Collection[str] = ()) -> list[DirectoryStatus]:
        """How the log directories stand, with the replicas of `topics` (none: of all)."""
        return await directory_statuses(self._hosting, self._moves, self._unusable_directories(), topics)

    def partition(self, topic: str, partition: int) -> Partition:
        """The replica here. Raises `UnknownTopicOrPartitionError`; `NotLeaderOrFollowerError`: it is elsewhere."""
        return self._find_by_name(topic, partition)

    def with_homes(self) -> list[tuple[Partition, LogDirectory]]:
        """Every replica here that is in use, and the directory of its log."""
        return self._hosting.with_homes()

    def describe(self) -> list[PartitionHealth]:
        """How every replica here stands, by topic and partition."""
        partitions = self._hosting.partitions.values()
        return [health_of(each) for each in sorted(partitions, key=lambda each: (each.topic, each.key.partition))]

    def progress(self, topic: str, partition: int) -> list[ReplicaProgress]:
        """How far the replicas are that are being added to a partition led here. Raises as `Partition.lead_as`."""
        found = self._find_by_name(topic, partition)
        return progress_of(found, found.lead_as(NO_EPOCH))

    def _find_by_name(self, topic: str, index: int) -> Partition:
        topic_id = self._image.topic_ids.get(topic)
        if topic_id is None:
            raise UnknownTopicOrPartitionError(f"there is no topic {topic}")
        return self._found(topic_id, index)

    def _find(self, target: FetchTarget) -> Partition:
        topic_id = target.topic_id
        if topic_id is None:
            return self._find_by_name(target.topic, target.partition)
        if topic_id not in self._image.topics:
            raise UnknownTopicIdError(f"there is no topic with id {topic_id}")
        return self._found(topic_id, target.partition)

    def _found(self, topic_id: UUID, index: int) -> Partition:
        partition = self._hosting.partitions.get(PartitionKey(topic_id, index))
        if partition is not None:
            return partition
        topic = self._image.topics[topic_id]
        if not 0 <= index < len(topic.partitions):
            raise UnknownTopicOrPartitionError(f"topic {topic.name} has no partition {index}")
        if self._changes:
            raise NotLeaderOrFollowerError(f"broker {self._node_id} is still opening what it holds")
        if self._node_id in topic.partitions[index].replicas:
            raise KafkaStorageError(f"the log of {topic.name}-{index} could not be opened here")
        raise NotLeaderOrFollowerError(f"broker {self._node_id} holds no replica of {topic.name}-{index}")

    def _hint(self, topic_id: UUID | None, topic: str, index: int) -> CurrentLeader | None:
        image = self._image.topic(topic) if topic_id is None else self._image.topic_by_id(topic_id)
        if image is None or not 0 <= index < len(image.partitions):
            return None
        state = image.partitions[index]
        return CurrentLeader(state.leader, state.leader_epoch)

    def _rack_of(self, broker_id: int) -> str | None:
        broker = self._image.brokers.get(broker_id)
        return broker.registration.rack if broker is not None and broker.is_active else None

    # --- what partitions and fetchers need ---------------------------------------------------------------------------

    @property
    def node_id(self) -> int:
        return self._node_id

    @property
    def lag_max_ms(self) -> int:
        return self._config.replica_lag_time_max_ms

    def now_ms(self) -> int:
        return self._clock.monotonic_ms()

    def wall_ms(self) -> int:
        return self._clock.wall_ms()

    def broker_epoch(self) -> int:
        return self._broker_epoch()

    def liveness(self, broker_id: int, key: PartitionKey) -> BrokerLiveness | None:
        found, impaired = self._brokers.get(broker_id), self._impaired.get(broker_id)
        if found is None or impaired is None or impaired.serves(key.topic_id, key.partition):
            return found
        return replace(found, serves=False)

    def propose(self, partition: Partition) -> None:
        self._alterations.propose(partition)

    def log_moved(self, partition: Partition) -> None:
        if partition.is_leader:
            self._moving[partition] = None
        self._hosting.flush(partition)

    def watermark_moved(self, partition: Partition) -> None:
        self._watermarks_moved = True

    def flushed(self, partition: Partition) -> None:
        """A flush of the partition's log has finished."""
        partition.flushed()
        if not partition.is_leader:
            self._fetchers.flushed(partition)

    def gone_offline(self, partition: Partition) -> None:
        """Its log directory failed."""
        self._fetchers.leave(partition.key)
        self._moving.pop(partition, None)
        self._repairs.forget(partition)
        partition.fail()
        self._tell_left(partition)

    def damaged(self, partition: Partition) -> None:
        self._repairs.note(partition)

    def suspected(self, partition: Partition, offset: int) -> None:
        self.on_suspicion(partition.log, offset)

    def log_damaged(self, log: Log) -> None:
        """Whoever read it again has noted damage in it."""
        partition = self._hosting.partition_of(log)
        if partition is not None:
            self._repairs.note(partition)

    @property
    def repairs(self) -> Repairs:
        """Replicas here that are damaged."""
        return self._repairs

    def fetched(self, partition: Partition) -> None:
        if self._repairs:
            self._repairs.fetched(partition)

    def copied(self, partition: Partition, size_bytes: int) -> None:
        if size_bytes and self._is_throttled(partition):
            self._throttles.follower.take(size_bytes, self._clock.monotonic_ms())

    def held_back_ms(self, partition: Partition) -> int:
        return self._throttles.follower.wait_ms(self._clock.monotonic_ms()) if self._is_throttled(partition) else 0

    def _is_throttled(self, partition: Partition) -> bool:
        concerned = self._throttles.follower.concerns(partition.topic, partition.key.partition, self._node_id)
        return concerned and self._node_id not in partition.state.isr

    def unreachable(self, broker_id: int, broker_epoch: int) -> None:
        if broker_id not in self._unreachable:
            self._unreachable[broker_id] = None
            self._spawn(partial(self._report_unreachable, broker_id, broker_epoch))

    async def _report_unreachable(self, broker_id: int, broker_epoch: int) -> None:
        try:
            await self._control.report_unreachable(broker_id, broker_epoch)
        except (KraftpyError, TransportError):
            pass  # the fetcher's next attempt reports it again
        finally:
            self._unreachable.pop(broker_id, None)

    # --- upkeep ------------------------------------------------------------------------------------------------------

    async def _every(self, interval_ms: int, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            due_ms = self._clock.monotonic_ms() + interval_ms
            await asyncio.sleep(interval_ms / 1000)
            if self._clock.monotonic_ms() - due_ms > interval_ms // 2:
                # The process stood still: let it read what arrived meanwhile before it judges anybody.
                await asyncio.sleep(LATE_PAUSE_MS / 1000)
            await work()

    async def _check_in_sync_sets(self) -> None:
        """Look at those that moved since they were last all in sync; a partition at rest costs nothing."""
        for partition in list(self._moving):
            leadership = partition.leadership
            if leadership is None or leadership.is_at_rest(partition.log.end_offset):
                self._moving.pop(partition, None)
            else:
                partition.consider_shrinking()
                partition.consider_expansion()

    async def _checkpoint_watermarks(self) -> None:
        if self._watermarks_moved:
            self._watermarks_moved = False
            await self._hosting.write_high_watermarks()

    async def _look_at_repairs(self) -> None:
        self._repairs.look(again=True)

    async def _flush_overdue(self) -> None:
        self._hosting.flush_overdue()

    async def _enforce_retention(self) -> None:
        for partition in list(self._hosting.partitions.values()):
            if self._hosting.partitions.get(partition.key) is partition:
                partition.enforce_retention()
                self._hosting.flush(partition)
            await asyncio.sleep(0)  # requests go first
