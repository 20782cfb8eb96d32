"""All replicas on this broker: what metadata says becomes leaders, followers and files; requests find their partitions.

    metadata delta ─→ apply ─→ Assignments ─→ Partition.lead / follow / retire, Fetcher.add / remove, logs made, deleted
    produce ─→ Producing ─→ Partition.append ─→ flush ─→ watermark ─→ answer
    fetch ─→ Reading ─→ Partition.read, or parked until something moves

Invariants
- Only `apply` changes which partitions are here and which part they play. It does so at once, without waiting, so that
  no request meets half a change.
- A partition is fetched by at most one fetcher, in its present leader epoch.
- A log whose topic id metadata does not know, or which belongs elsewhere, is deleted when the first image that holds
  this broker's own registration comes: not before, because an image that still lags behind knows too little.
- A background task that fails stops the broker loudly: `failed` is set.

The parts are put together here, and each has a file of its own. Not here: the wire (`broker.kafka`), who is the
controller (`Control`), what is on disk (`log_store`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from broker.metadata.delta import MetadataDelta
from broker.metadata.image import MetadataImage, delta_between
from broker.metadata.internal_topics import INTERNAL_TOPICS
from broker.metadata.state import BrokerImage, PartitionKey
from broker.replication.admissions import Admissions
from broker.replication.alterations import Alterations, Control
from broker.replication.assignments import Assignments, LeadershipListener
from broker.replication.availability import Availability
from broker.replication.config import RACK_AWARE, ReplicationConfig
from broker.replication.deleting import Deleting
from broker.replication.directory_moves import DirectoryMoves
from broker.replication.directory_status import DirectoryStatus, directory_statuses
from broker.replication.fetch_types import (
    FetchAnswer,
    FetchQuery,
    FoundOffset,
    OffsetsQuery,
)
from broker.replication.fetcher import FetchCodec
from broker.replication.fetcher_host import FetcherHost
from broker.replication.fetchers import Fetchers
from broker.replication.finding import PartitionFinder
from broker.replication.health import PartitionHealth, ReplicaProgress, health_of, progress_of
from broker.replication.hosting import Hosting
from broker.replication.isr import BrokerLiveness
from broker.replication.lost_leaders import LostLeaders
from broker.replication.offsets import find_offset, work_before
from broker.replication.partition import NO_EPOCH, Partition
from broker.replication.producing import Batch, EndMarker, Produced, Producing
from broker.replication.purgatory import Deadlines
from broker.replication.reading import Reading
from broker.replication.repairs import Repairs
from broker.replication.sessions import Sessions
from broker.replication.throttle import Throttles
from broker.replication.upkeep import Upkeep
from broker.replication.verification import Transaction
from kraftpy.errors import (
    InvalidTopicError,
    KraftpyError,
    NotLeaderOrFollowerError,
    ReplicaNotAvailableError,
)
from kraftpy.runtime.ports import Ports
from log_store.config import LogConfig
from log_store.log import Log
from log_store.log_directory import LogDirectory
from log_store.producer_state import ProducerEntry

logger = logging.getLogger(__name__)


async def _nobody_is_told(deserted: Collection[PartitionKey]) -> None: ...


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
        self.failed: asyncio.Future[None] | None = None
        """From `start` on: gets the exception of a background task that failed. The broker cannot go on then."""
        self.on_suspicion: Callable[[Log, int | None], None] = lambda log, offset: None
        """Told of logs that could not be read at an offset."""
        self.is_unheard: Callable[[], bool] = lambda: False
        """Whether this broker may have been fenced without hearing of it."""
        self.on_deserted: Callable[[Collection[PartitionKey]], Awaitable[None]] = _nobody_is_told
        """Told of what is led here and may be led elsewhere by now, again and again, and of none in the end."""
        self._node_id = node_id
        self._broker_epoch = broker_epoch
        self._clock = clock = ports.clock
        self._disk = ports.disk
        self._config = config
        self._newest = MetadataImage.EMPTY  # not acted by before this broker is registered in it
        self._is_live = False
        self._brokers: dict[int, BrokerLiveness] = {}
        self._impaired: dict[int, BrokerImage] = {}  # those that cannot serve some of their replicas
        self._moving: dict[Partition, None] = {}  # led here, and perhaps with a follower that lags or may join
        self._deadlines = Deadlines(clock)
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._alterations = Alterations(control, broker_epoch, config.alter_partition_retry_ms)
        self._throttles = Throttles(node_id, clock.monotonic_ms())
        self._unusable_directories = unusable_directories
        self._hosting = hosting = Hosting(
            node_id,
            directories,
            log_config or LogConfig(),
            topic_defaults or {},
            self,
            lambda: bool(unusable_directories()),
        )
        self._finder = finder = PartitionFinder(node_id, hosting.partitions)
        self._moves = DirectoryMoves(
            hosting, clock, self._spawn, config.alter_log_dirs_threads, config.alter_log_dirs_bytes_per_second
        )
        self._lost_leaders = LostLeaders(clock, self._may_lead)
        host = self._make_fetcher_host(ports, control, codec)
        self._fetchers = Fetchers(host.make_fetcher, self._lost_leaders.settled)
        self._repairs = Repairs(
            node_id,
            hosting.availability,
            self._fetchers,
            lambda: finder.image,
            hosting.make_durable,
            self._moves.cancel,
            self._spawn,
        )
        host.fetched = self._repairs.fetched
        self._assignments = Assignments(
            node_id,
            lambda: finder.image,
            hosting,
            self._moves,
            self._fetchers,
            self._repairs,
            self._moving,
            self._spawn,
        )
        finder.is_behind = self._assignments.is_behind
        self._upkeep = self._make_upkeep()
        self._producing = Producing(
            finder.by_name, finder.leader_of, clock, self._deadlines, config.parked_requests_max
        )
        self._producing.admissions.verifies = config.transaction_partition_verification_enable
        self._reading = self._make_reading(ports)
        self._deleting = Deleting(
            finder.by_name, clock, self._deadlines, lambda partition: self._moving.setdefault(partition)
        )

    def _make_fetcher_host(self, ports: Ports, control: Control, codec: FetchCodec) -> FetcherHost:
        return FetcherHost(
            self._node_id,
            self._broker_epoch,
            ports,
            self._config,
            codec,
            control,
            self._throttles.follower,
            lambda: self._finder.image,
            self._lost_leaders,
            self._hosting.flush,
            self._spawn,
        )

    def _make_reading(self, ports: Ports) -> Reading:
        config, finder = self._config, self._finder
        return Reading(
            finder.by_target,
            finder.leader_of,
            Sessions(
                ports.random,
                config.fetch_sessions_max,
                lambda: sum(len(topic.partitions) for topic in self._newest.topics.values()),
            ),
            self._clock,
            ports.disk,
            self._deadlines,
            config.parked_requests_max,
            config.high_watermark_news_delay_ms,
            self._throttles.leader,
            finder.rack_of if config.replica_selector == RACK_AWARE else None,
        )

    def _make_upkeep(self) -> Upkeep:
        return Upkeep(
            self._clock,
            self._config,
            self._hosting,
            self._repairs,
            self._moving,
            lambda: self.is_unheard(),
            lambda deserted: self.on_deserted(deserted),
        )

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the background tasks. The log directories have been opened before."""
        self.failed = asyncio.get_running_loop().create_future()
        self._spawn(self._alterations.run)
        self._upkeep.start(self._spawn)

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
        self._upkeep.watermarks_moved = True
        await self._upkeep.checkpoint_watermarks()

    def registered(self) -> None:
        """`broker_epoch` is known now: act by the metadata, if the registration is in it already."""
        self._go_live()

    @property
    def leadership_listeners(self) -> dict[str, LeadershipListener]:
        """By topic; to be set before the start."""
        return self._assignments.listeners

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
        self._finder.image = image
        for broker in delta.brokers:
            self._note_broker(broker.broker_id, broker.new)
        minimums = self._hosting.configure(image, delta.configs)
        self._assignments.take([change for topic in delta.topics for change in topic.partitions()], minimums)
        self._throttles.configure(image, delta.configs, self._clock.monotonic_ms())
        for broker in delta.brokers:
            if broker.new is None or broker.old is None or broker.old.epoch != broker.new.epoch:
                self._fetchers.broker_changed(broker.broker_id)
        if delta.brokers:
            # Who may join now, and who is not to be waited for any more, although nothing of the partition has changed.
            for partition in list(self._moving):
                partition.consider_expansion()
                partition.evaluate()

    def _may_lead(self, broker_id: int) -> bool:
        return self._finder.image.is_active(broker_id)

    def _note_broker(self, broker_id: int, broker: BrokerImage | None) -> None:
        if broker is None:
            self._brokers.pop(broker_id, None)
        else:
            self._brokers[broker_id] = BrokerLiveness(broker.epoch, broker.fenced, broker.in_controlled_shutdown)
        self._impaired.pop(broker_id, None)
        if broker is not None and broker.offline:
            self._impaired[broker_id] = broker

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

    async def wait_leaders_known(self) -> None:
        """For who is about to tell who leads: see `lost_leaders`."""
        await self._lost_leaders.wait_settled()

    async def write_marker(self, topic: str, partition: int, marker: EndMarker, timeout_ms: int) -> Produced:
        """End a transaction in a partition that is led here; answered once that is committed (WriteTxnMarkers)."""
        return await self._producing.write_marker(topic, partition, marker, timeout_ms)

    @property
    def admissions(self) -> Admissions:
        """Where the transaction coordinators' gate is put in."""
        return self._producing.admissions

    def describe_producers(self, topic: str, partition: int) -> list[ProducerEntry]:
        """The producers that the log of a replica here remembers, led or not (KIP-664). Raises as `partition`."""
        return list(self._finder.by_name(topic, partition).log.producers.newest())

    async def fetch(self, query: FetchQuery) -> FetchAnswer:
        """Answer a consumer or a follower: see `reading`. The slices are valid until the loop runs something else that
        deletes segments, which it does not before `file.delete.delay.ms`."""
        return await self._reading.fetch(query)

    async def list_offsets(self, query: OffsetsQuery) -> list[FoundOffset]:
        """One answer for each target, in order (KIP-79, KIP-734)."""
        answers = []
        for target in query.partitions:
            try:
                partition = self._finder.by_name(target.topic, target.partition)
                before = work_before(partition, target, self._disk)
                if before is not None:
                    await self._disk.run(before)
                answers.append(find_offset(partition, target, query.replica_id, query.isolation_level))
            except KraftpyError as error:
                answers.append(FoundOffset(target, type(error)))
        return answers

    async def delete_records(self, topic: str, partition: int, before_offset: int, timeout_ms: int) -> int:
        """Drop what is below `before_offset`, and wait until every replica has: see `deleting`.

        Raises `InvalidTopicError` too: what coordinators wrote down is not for others to delete.
        """
        if topic in INTERNAL_TOPICS:
            raise InvalidTopicError(f"records of internal topic {topic} cannot be deleted")
        return await self._deleting.delete(topic, partition, before_offset, timeout_ms)

    def move_replica(self, topic: str, partition: int, path: str) -> None:
        """Begin to move a replica to another directory of this broker (KIP-113); to where it is: cancel that.

        Raises `ReplicaNotAvailableError`: it is not here; `LogDirNotFoundError`, `KafkaStorageError`.
        """
        try:
            replica = self._finder.by_name(topic, partition)
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
        return self._finder.by_name(topic, partition)

    def partitions(self) -> list[Partition]:
        """Every replica here, also those that are offline."""
        return list(self._hosting.partitions.values())

    def with_homes(self) -> list[tuple[Partition, LogDirectory]]:
        """Every replica here that is in use, and the directory of its log."""
        return self._hosting.with_homes()

    def describe(self) -> list[PartitionHealth]:
        """How every replica here stands, by topic and partition."""
        partitions = self._hosting.partitions.values()
        return [health_of(each) for each in sorted(partitions, key=lambda each: (each.topic, each.key.partition))]

    def progress(self, topic: str, partition: int) -> list[ReplicaProgress]:
        """How far the replicas are that are being added to a partition led here. Raises as `Partition.lead_as`."""
        found = self._finder.by_name(topic, partition)
        return progress_of(found, found.lead_as(NO_EPOCH))

    # --- what partitions need ----------------------------------------------------------------------------------------

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
        self._upkeep.watermarks_moved = True

    def flushed(self, partition: Partition) -> None:
        """A flush of the partition's log has finished."""
        partition.flushed()
        if not partition.is_leader:
            self._fetchers.flushed(partition)

    def gone_offline(self, partition: Partition) -> None:
        """Its log directory failed."""
        self._assignments.gone_offline(partition)

    def damaged(self, partition: Partition) -> None:
        if self._is_served(partition):
            self._repairs.note(partition)

    def suspected(self, partition: Partition, offset: int | None) -> None:
        if self._is_served(partition):
            self.on_suspicion(partition.log, offset)

    def _is_served(self, partition: Partition) -> bool:
        return not partition.is_offline and self._hosting.partitions.get(partition.key) is partition

    def log_damaged(self, log: Log) -> None:
        """Whoever read it again has noted damage in it."""
        partition = self._hosting.partition_of(log)
        if partition is not None:
            self.damaged(partition)

    @property
    def repairs(self) -> Repairs:
        """Replicas here that are damaged."""
        return self._repairs
