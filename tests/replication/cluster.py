"""Three brokers that have nothing but replicas, and a controller that is a plain object: on virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, TypeVar
from uuid import UUID

from broker.controller.eligible import Rules
from broker.controller.reassignment import changed, completed, reassign
from broker.kafka.api_versions import ApiVersions
from broker.kafka.fetch import Fetch
from broker.kafka.fetch_codec import FollowerFetchCodec
from broker.kafka.list_offsets import ListOffsets
from broker.kafka.router import Router
from broker.metadata.delta import MetadataDelta
from broker.metadata.image import MetadataImage
from broker.metadata.records import (
    BrokerChangeRecord,
    ConfigRecord,
    ConfigResource,
    Endpoint,
    MetadataRecord,
    OfflineReplicasRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RegisterBrokerRecord,
    RemoveTopicRecord,
    TopicRecord,
    topic_resource,
)
from broker.metadata.state import PartitionKey, PartitionState, Standing
from broker.replication.config import ReplicationConfig
from broker.replication.fetch_types import FetchAnswer, FetchQuery, FetchTarget, IsolationLevel
from broker.replication.isr import InSyncAnswer, InSyncProposal
from broker.replication.partition import Partition
from broker.replication.producing import Produced
from broker.replication.replicas import Replicas
from kraftpy.record import Record, decode_batches, encode_batch
from kraftpy.runtime.ports import Address, Ports
from log_store.checkpoints import MetaProperties
from log_store.config import LogConfig
from log_store.log_directory import LogDirectory
from simulation.world import World, WorldConfig

PORT = 9092
CALLS_PORT = 9093  # where nobody listens, unless a test of the calls does
TOPIC = "orders"
T = TypeVar("T")


class Controller:
    """Commits at once what real controllers would, and tells every broker a little later."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = Random(f"{seed}/controller")
        self.image = MetadataImage.EMPTY
        self.brokers: dict[int, Broker] = {}
        self.unreachable: list[tuple[int, int]] = []
        self.proposals: list[InSyncProposal] = []
        self.reports: list[tuple[int, dict[PartitionKey, Standing]]] = []
        self.answers = asyncio.Event()
        self.answers.set()

    def commit(self, *records: MetadataRecord) -> None:
        end_offset = self.image.end_offset + len(records)
        self.image, delta = self.image.apply(records, end_offset, 1)
        for broker in list(self.brokers.values()):
            broker.metadata.put_nowait((self.image, delta))

    async def register(self, broker: "Broker") -> int:
        await self._travel()
        epoch = self.image.end_offset
        self.brokers[broker.node_id] = broker
        broker.metadata.put_nowait((self.image, MetadataDelta()))
        host = f"n{broker.node_id}"
        endpoints = (Endpoint("PLAINTEXT", host, PORT), Endpoint("GRPC", host, CALLS_PORT))
        directory_id, rack = UUID(int=broker.node_id), f"rack-{broker.node_id}"
        registration = RegisterBrokerRecord(broker.node_id, UUID(int=epoch), directory_id, endpoints, rack)
        self.commit(registration, *self._elections(lambda state: state.leader == broker.node_id))
        self.unfence(broker.node_id)
        return epoch

    def unfence(self, broker_id: int) -> None:
        """It takes part again, and leads what has no leader and it is in sync with."""
        self.commit(BrokerChangeRecord(broker_id, self.image.brokers[broker_id].epoch, fenced=False))
        self.commit(*self._elections(lambda state: state.leader < 0))

    def _elections(self, concerns: Callable[[PartitionState], bool]) -> list[MetadataRecord]:
        """Elect an active member, else nobody."""
        return [
            PartitionChangeRecord(topic.topic_id, index, leader=leader)
            for topic in self.image.topics.values()
            for index, state in enumerate(topic.partitions)
            if concerns(state)
            for leader in [next((member for member in state.isr if self.image.is_active(member)), -1)]
            if leader >= 0 or state.leader >= 0
        ]

    async def alter_partition(self, proposals: Sequence[InSyncProposal]) -> Sequence[InSyncAnswer]:
        await self._travel()
        answers = [self._alter(proposal) for proposal in proposals]
        await self._travel()
        return answers

    def _alter(self, proposal: InSyncProposal) -> InSyncAnswer:
        self.proposals.append(proposal)
        state = self.image.topics[proposal.topic_id].partitions[proposal.partition]
        if state.leader_epoch != proposal.leader_epoch:
            return InSyncAnswer("FENCED_LEADER_EPOCH")
        if state.partition_epoch != proposal.partition_epoch:
            return InSyncAnswer("INVALID_UPDATE_VERSION")
        for member, epoch in proposal.isr:
            broker = self.image.brokers[member]
            serves = broker.serves(proposal.topic_id, proposal.partition)
            if not broker.is_active or not serves or (epoch != -1 and epoch != broker.epoch):
                return InSyncAnswer("INELIGIBLE_REPLICA")
        isr = tuple(member for member, _ in proposal.isr)
        done = completed(replace(state, isr=isr), self.image.is_active, Rules())
        if done is not None:
            record = changed(PartitionKey(proposal.topic_id, proposal.partition), state, done)
            assert record is not None
            self.commit(record)
            return InSyncAnswer("NEW_LEADER_ELECTED")
        eligible = tuple(each for each in state.eligible_replicas if each not in proposal.lacking)
        self.commit(PartitionChangeRecord(proposal.topic_id, proposal.partition, isr=isr, eligible_replicas=eligible))
        return InSyncAnswer(None, state.leader, state.leader_epoch, state.partition_epoch + 1, isr)

    async def report_replicas(self, broker_id: int, news: Mapping[PartitionKey, Standing]) -> None:
        """The broker leaves the in-sync sets; a lost replica even as the last member. First of all offline ones are
        marked."""
        await self._travel()
        self.reports.append((broker_id, dict(news)))
        news = {key: standing for key, standing in news.items() if key.topic_id in self.image.topics}
        self._mark(broker_id, news)
        for key, standing in news.items():
            state = self.image.topics[key.topic_id].partitions[key.partition]
            isr = tuple(member for member in state.isr if member != broker_id)
            if standing is not Standing.ONLINE and broker_id in state.isr:
                if not isr and standing is Standing.OFFLINE:
                    isr = state.isr
                leader = next((member for member in isr if member != broker_id and self.image.is_active(member)), -1)
                moved = leader if state.leader in (broker_id, -1) else None
                self.commit(PartitionChangeRecord(key.topic_id, key.partition, leader=moved, isr=isr))
            if standing is Standing.LOST and broker_id in state.eligible_replicas:
                left = tuple(member for member in state.eligible_replicas if member != broker_id)
                self.commit(PartitionChangeRecord(key.topic_id, key.partition, eligible_replicas=left))
        await self._travel()

    def _mark(self, broker_id: int, news: Mapping[PartitionKey, Standing]) -> None:
        broker = self.image.brokers[broker_id]
        for topic_id in dict.fromkeys(key.topic_id for key in news):
            told = {key.partition: standing for key, standing in news.items() if key.topic_id == topic_id}
            kept = [number for number in broker.offline.get(topic_id, ()) if number not in told]
            offline = sorted([*kept, *(number for number, each in told.items() if each is Standing.OFFLINE)])
            self.commit(OfflineReplicasRecord(broker_id, broker.epoch, topic_id, tuple(offline)))

    async def report_unreachable(self, broker_id: int, broker_epoch: int) -> None:
        await self._travel()
        self.unreachable.append((broker_id, broker_epoch))

    async def _travel(self) -> None:
        await asyncio.sleep(self.random.uniform(0.0002, 0.005))
        await self.answers.wait()

    # --- what a test asks for ---

    def create_topic(self, partitions: int = 1, replicas: Sequence[int] = (1, 2, 3), min_isr: int = 2) -> None:
        topic_id = UUID(int=1000 + self.image.end_offset)
        self.commit(
            TopicRecord(TOPIC, topic_id),
            ConfigRecord(topic_resource(TOPIC), "min.insync.replicas", str(min_isr)),
            *[
                PartitionRecord(topic_id, index, self._turned(replicas, index), tuple(replicas), leader, 0, 0)
                for index in range(partitions)
                for leader in [self._turned(replicas, index)[0]]
            ],
        )

    def _turned(self, replicas: Sequence[int], by: int) -> tuple[int, ...]:
        by %= len(replicas)
        return (*replicas[by:], *replicas[:by])

    def reassign(self, *target: int, partition: int = 0) -> None:
        key = PartitionKey(self.image.topic_ids[TOPIC], partition)
        record = reassign(key, self.state(partition), target, self.image.is_active, Rules(min_isr=2))
        if record is not None:
            self.commit(record)

    def configure(self, resource: ConfigResource, name: str, value: str | None) -> None:
        self.commit(ConfigRecord(resource, name, value))

    def next_id(self) -> UUID:
        return UUID(int=1000 + self.image.end_offset)

    def delete_topic(self) -> None:
        self.commit(RemoveTopicRecord(self.image.topic_ids[TOPIC]))

    def state(self, partition: int = 0) -> PartitionState:
        state = self.image.partition(TOPIC, partition)
        assert state is not None
        return state

    def change(self, partition: int = 0, leader: int | None = None, isr: tuple[int, ...] | None = None) -> None:
        self.commit(PartitionChangeRecord(self.image.topic_ids[TOPIC], partition, leader=leader, isr=isr))

    def fence(self, broker_id: int) -> None:
        """Fence a broker, take it out of every in-sync set, and elect from what is left."""
        self.commit(BrokerChangeRecord(broker_id, self.image.brokers[broker_id].epoch, fenced=True))
        self.commit(*self._elections(lambda state: state.leader == broker_id))
        for topic in self.image.topics.values():
            for index, state in enumerate(topic.partitions):
                isr = tuple(member for member in state.isr if member != broker_id)
                if isr and len(isr) < len(state.isr):
                    self.commit(PartitionChangeRecord(topic.topic_id, index, isr=isr))


class Broker:
    """One life of one broker."""

    def __init__(self, node_id: int, ports: Ports, cluster: "Cluster") -> None:
        self.node_id = node_id
        self.ports = ports
        self.cluster = cluster
        self.metadata: asyncio.Queue[tuple[MetadataImage, MetadataDelta]] = asyncio.Queue()
        self.epoch = -1
        self.replicas: Replicas
        self.directories: list[LogDirectory]
        self.started = asyncio.Event()
        self.stop_wanted = asyncio.Event()

    async def run(self) -> None:
        disk = self.ports.disk
        self.directories = [LogDirectory(disk, path) for path in self.cluster.directories(self.node_id)]
        for number, directory in enumerate(self.directories):
            if directory.read_properties() is None:
                directory_id = UUID(int=self.node_id + 1_000 * number)
                directory.write_properties(MetaProperties(directory_id, "test", self.node_id))
            await directory.open_logs(lambda name, topic_id: self.cluster.log_config, self.ports.clock.wall_ms())
        self.replicas = Replicas(
            self.node_id,
            lambda: self.epoch,
            self.ports,
            self.directories,
            self.cluster.config,
            self.cluster.controller,
            FollowerFetchCodec(),
            log_config=self.cluster.log_config,
            unusable_directories=lambda: self.cluster.unusable.get(self.node_id, {}),
        )
        # Segments of a few kilobytes, which no setting allows, so that stories roll them.
        self.replicas._hosting._config_of = lambda image, topic: self.cluster.log_config  # type: ignore[method-assign]
        await self.replicas.start()
        apis = [Fetch(self.replicas).api(), ListOffsets(self.replicas).api()]
        router = Router(apis, ApiVersions(), self.ports.clock)
        await self.ports.framed.serve(Address("0.0.0.0", PORT), router.open)
        self.epoch = await self.cluster.controller.register(self)
        self.replicas.registered()
        self.started.set()
        follow = asyncio.create_task(self._follow_metadata())
        report = asyncio.create_task(self._report_replicas())
        assert self.replicas.failed is not None
        self.replicas.failed.add_done_callback(lambda failed: failed.result())
        await self.stop_wanted.wait()
        follow.cancel()
        report.cancel()
        await self.replicas.stop()
        for directory in self.directories:
            await directory.close(broker_epoch=self.epoch)

    async def _report_replicas(self) -> None:
        while True:
            while news := self.replicas.availability.pending():
                await self.cluster.controller.report_replicas(self.node_id, news)
                self.replicas.availability.told(news)
            await asyncio.sleep(0.01)

    async def _follow_metadata(self) -> None:
        while True:
            image, delta = await self.metadata.get()
            await asyncio.sleep(self.cluster.metadata_delay_ms.get(self.node_id, 1) / 1000)
            self.replicas.apply(image, delta)


class Cluster:
    def __init__(self, world: World, seed: int, config: ReplicationConfig, log_config: LogConfig) -> None:
        self.world = world
        self.config = config
        self.log_config = log_config
        self.controller = Controller(world, seed)
        self.metadata_delay_ms: dict[int, int] = {}
        self.log_dirs: tuple[str, ...] = ("/data",)
        self.unusable: dict[int, dict[str, str]] = {}  # directories that a node cannot open, with the reason
        self.sent = 0

    def directories(self, node_id: int) -> list[str]:
        """Those that a node can open."""
        return [path for path in self.log_dirs if path not in self.unusable.get(node_id, {})]

    @property
    def brokers(self) -> dict[int, Broker]:
        return self.controller.brokers

    async def start(self, *node_ids: int) -> None:
        for node_id in node_ids:
            self.world.start(f"n{node_id}", lambda ports, node_id=node_id: Broker(node_id, ports, self).run())  # type: ignore[misc]
        await self.until(lambda: all(self.is_up(node_id) for node_id in node_ids))

    def is_up(self, node_id: int) -> bool:
        broker = self.brokers.get(node_id)
        return broker is not None and broker.started.is_set() and self.world.is_alive(f"n{node_id}")

    def crash(self, node_id: int, *, power: bool = False) -> None:
        self.brokers.pop(node_id)
        self.world.crash(f"n{node_id}", power=power)

    async def stop(self, node_id: int) -> None:
        self.brokers[node_id].stop_wanted.set()
        await self.until(lambda: not self.world.is_alive(f"n{node_id}"))
        del self.brokers[node_id]

    def leader(self, partition: int = 0) -> int:
        return self.controller.state(partition).leader

    def replica(self, node_id: int, partition: int = 0) -> Partition:
        return self.brokers[node_id].replicas.partition(TOPIC, partition)

    def log(self, node_id: int, partition: int = 0) -> list[Record]:
        log = self.replica(node_id, partition).log
        offset, records = log.start_offset, []
        while offset < log.end_offset:
            found = log.read(offset, 1 << 30, log.end_offset)
            data = b"".join(piece.file.read(piece.length, piece.position) for piece in found.slices)
            records += list(decode_batches(memoryview(data)))
            offset = found.next_offset
        return records

    def batch(self, count: int = 1, producer_id: int = -1, sequence: int = -1) -> bytearray:
        records = []
        for at in range(count):
            self.sent += 1
            records.append(Record(at, 1_000, None, b"%d" % self.sent, ()))
        epoch = 0 if producer_id >= 0 else -1
        return encode_batch(records, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence)

    async def produce(
        self, node_id: int, partition: int = 0, acks: int = -1, count: int = 1, timeout_ms: int = 5_000
    ) -> Produced:
        return await self.produce_batch(node_id, self.batch(count), partition, acks, timeout_ms)

    async def produce_batch(
        self, node_id: int, batch: bytearray, partition: int = 0, acks: int = -1, timeout_ms: int = 5_000
    ) -> Produced:
        produce = self.brokers[node_id].replicas.produce([(TOPIC, partition, batch)], acks, timeout_ms)
        produced: list[Produced] = await self.in_lane(node_id, produce)
        return produced[0]

    def in_lane(self, node_id: int, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something as that broker's own work."""
        return self.world.run_in(self.world.lives[f"n{node_id}"], work)

    async def fetch(self, node_id: int, query: FetchQuery) -> FetchAnswer:
        return await self.in_lane(node_id, self.brokers[node_id].replicas.fetch(query))

    def query(self, offset: int, partition: int = 0, **changes: object) -> FetchQuery:
        target = FetchTarget(self.controller.image.topic_ids[TOPIC], TOPIC, partition, -1, offset, -1, -1, 1 << 20)
        query = FetchQuery(-1, -1, 0, 1, 1 << 20, IsolationLevel.READ_UNCOMMITTED, [target])
        return query._replace(**changes)  # type: ignore[arg-type]

    async def until(self, holds: Callable[[], bool], within_ms: int = 30_000, every_ms: int = 5) -> None:
        left_ms = within_ms
        while not holds():
            assert left_ms > 0, "it did not happen in time"
            await asyncio.sleep(every_ms / 1000)
            left_ms -= every_ms

    def in_sync(self, *members: int, partition: int = 0) -> bool:
        return sorted(self.controller.state(partition).isr) == sorted(members)

    def same_logs(self, *node_ids: int, partition: int = 0) -> bool:
        logs = [self.log(node_id, partition) for node_id in node_ids]
        return all(log == logs[0] for log in logs)


def play(
    story: Callable[[Cluster], Awaitable[None]],
    seed: int = 1,
    config: ReplicationConfig | None = None,
    log_config: LogConfig | None = None,
    world_config: WorldConfig | None = None,
    log_dirs: tuple[str, ...] = ("/data",),
) -> str:
    """Run a story on three started brokers and one topic; gives the trace's hash."""

    async def main(world: World) -> None:
        cluster = Cluster(world, seed, config or ReplicationConfig(), log_config or LogConfig())
        cluster.log_dirs = log_dirs
        await cluster.start(1, 2, 3)
        cluster.controller.create_topic()
        await cluster.until(lambda: all(cluster.brokers[node].replicas.describe() for node in (1, 2, 3)))
        await story(cluster)

    world = World(seed, world_config)
    world.run(main)
    return world.loop.trace_hash()
