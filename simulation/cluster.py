"""A whole cluster in a world: real brokers on simulated hosts, and the SDK's asyncio clients beside them.

Every node runs `broker.server.Server` unmodified; its data lies under `/data` of its host. The limits are small, so
that short runs roll segments and fill their indexes.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Unpack
from uuid import UUID

from broker.config import Listener, NodeConfig, VoterAddress
from broker.controller.config import ControllerConfig
from broker.coordinator.config import StateTopicsConfig
from broker.coordinator.groups.config import GroupConfig
from broker.data_plane import DataPlane
from broker.maintenance.config import CompactionConfig, ScrubConfig
from broker.metadata.delta import MetadataDelta
from broker.metadata.features import RELEASE, RELEASES
from broker.metadata.image import MetadataImage
from broker.metadata.records import GRPC_LISTENER, SupportedFeature
from broker.replication.config import ReplicationConfig
from broker.replication.health import PartitionHealth
from broker.replication.partition import Partition
from broker.replication.replicas import Replicas
from broker.server import Server
from kraftpy.aio import Admin, Consumer, Producer
from kraftpy.client.keywords import ConsumerKeywords, ProducerKeywords
from kraftpy.errors import KafkaStorageError, KraftpyError
from kraftpy.record import BatchHeader
from kraftpy.runtime.ports import Address, Ports
from log_store.file_names import QUORUM_LOG
from raft.config import RaftConfig
from simulation.checkers.replicas import Divergence, compare_replicas, headers_of
from simulation.device import Inode
from simulation.disk import SimulatedDisk
from simulation.hosts import host_of, hosts_of, node_id_of
from simulation.witness import ReplicaSeen, Witness
from simulation.world import Life, World

LOOK_INTERVAL_MS = 400
SETTLE_INTERVAL_MS = 100
CALLS_PORT = 9093
FRAMED_PORT = 9092
DATA = "/data/kraftpy"
SECOND = f"{DATA}-2"
"""Another log directory, for clusters that have two."""
SMALL_SEGMENTS: Mapping[str, str] = MappingProxyType({"segment.index.bytes": "120", "index.interval.bytes": "256"})
"""What topics take that set nothing. A full index rolls its segment, here after 3 KB or so: segments are closed, and
deleted, in runs of a minute. (`segment.bytes` cannot be so little.)"""
SMALL_SNAPSHOTS = RaftConfig(snapshot_interval_bytes=8_192)
QUICK_BALANCE = ControllerConfig(leader_imbalance_check_interval_seconds=5)


NO_COMPACTION = CompactionConfig(enable=False)
"""So that all replicas have the same batches."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """The nodes of one simulated cluster. `roles` of those that have not both."""

    nodes: int = 3
    observers: int = 0  # of `nodes`, the last ones: they do not vote
    log_dirs: tuple[str, ...] = (DATA,)
    roles: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    raft: RaftConfig = SMALL_SNAPSHOTS
    replication: ReplicationConfig = field(default_factory=ReplicationConfig)
    controller: ControllerConfig = QUICK_BALANCE
    scrub: ScrubConfig = field(default_factory=ScrubConfig)
    compaction: CompactionConfig = NO_COMPACTION
    state_topics: StateTopicsConfig = field(default_factory=StateTopicsConfig)
    groups: GroupConfig = field(default_factory=GroupConfig)


class WatchedServer(Server):
    """A node whose witness is told what it publishes and when it leads the quorum."""

    def __init__(self, config: NodeConfig, ports: Ports, life: str, witness: Witness) -> None:
        super().__init__(config, ports)
        self.life = life
        self._witness = witness

    def _publish(self, image: MetadataImage, delta: MetadataDelta) -> None:
        self._witness.published(self.life, image, delta)
        super()._publish(image, delta)

    def _lead(self, epoch: int) -> None:
        self._witness.leads(self.life, epoch)
        super()._lead(epoch)

    def say_release(self, release: str) -> None:
        """Tell the cluster that this node can work with what that release could, no more; before `start`."""
        if release != RELEASE:
            self.release = release
            self.supported_features = tuple(
                SupportedFeature(name, 1, level) for name, level in sorted(RELEASES[release].items())
            )

    def finalized_features(self) -> Mapping[str, int]:
        """The levels by which it works."""
        return self._loader.image.features

    @property
    def has_failed_directory(self) -> bool:
        replicas = self._replicas
        return replicas is not None and bool(replicas.failed_directory_ids)

    @property
    def _replicas(self) -> Replicas | None:
        """None before it is built."""
        data: DataPlane | None = getattr(self, "_data", None)
        return None if data is None else data.replicas

    @property
    def repairs_completed(self) -> int:
        """Damaged replicas here that were copied anew."""
        replicas = self._replicas
        return 0 if replicas is None else replicas.repairs.completed

    def replicas_seen(self) -> list[ReplicaSeen]:
        """Its replicas as it sees them; none while it starts. Asked for many times a virtual second, so no more."""
        return [
            ReplicaSeen(each.key.topic_id, each.key.partition, each.log.start_offset, each.high_watermark)
            for each in self._partitions()
        ]

    def describe(self) -> list[PartitionHealth]:
        """Its replicas in full; none while it starts."""
        replicas = self._replicas
        return [] if replicas is None else replicas.describe()

    def ends(self) -> dict[tuple[UUID, int], tuple[int, int]]:
        """Where each of its replicas ends, and its high watermark."""
        return {
            (each.key.topic_id, each.key.partition): (each.log.end_offset, each.high_watermark)
            for each in self._partitions()
        }

    def _partitions(self) -> Iterable[Partition]:
        replicas = self._replicas
        return () if replicas is None else replicas.partitions()

    def voter_ids(self) -> tuple[int, ...]:
        """The voters as its log names them."""
        voters = self._replica.status().voters
        return tuple(voter.key.node_id for voter in voters.voters) if voters is not None else ()


class Cluster:
    """Starts the nodes `n1`, `n2`, … of a world, has them watched, and makes clients for it."""

    def __init__(self, world: World, config: ClusterConfig | None = None) -> None:
        self.world = world
        self.config = config or ClusterConfig()
        self.hosts = hosts_of(self.config.nodes)
        self.witness = Witness(world, self.config.log_dirs, compacts=self.config.compaction.enable)
        self.releases: dict[str, str] = {}  # that the next life of a host says it is, where it is not this code's own
        self.servers: dict[str, WatchedServer] = {}  # of the present or last life of each host

    @property
    def bootstrap(self) -> str:
        return ",".join(f"{host}:{CALLS_PORT}" for host in self.hosts)

    def node_config(self, node_id: int) -> NodeConfig:
        host = host_of(node_id)
        voting = range(1, self.config.nodes - self.config.observers + 1)
        voters = [VoterAddress(number, Address(host_of(number), CALLS_PORT)) for number in voting]
        return NodeConfig(
            node_id=node_id,
            voters=tuple(voters),
            roles=self.config.roles.get(node_id, ("broker", "controller")),
            grpc=Listener(GRPC_LISTENER, Address(host, CALLS_PORT), None),
            framed=(Listener("PLAINTEXT", Address(host, FRAMED_PORT), None),),
            log_dirs=self.config.log_dirs,
            auto_create_topics=False,  # a late question for a topic that was deleted would make it anew
            host_label=host,
            insecure_listeners=True,
            raft=self.config.raft,
            replication=self.config.replication,
            state_topics=self.config.state_topics,
            groups=self.config.groups,
            scrub=self.config.scrub,
            compaction=self.config.compaction,
            controller=replace(
                self.config.controller,
                default_replication_factor=min(3, len(self.hosts)),
                topic_defaults={**SMALL_SEGMENTS, **self.config.controller.topic_defaults},
            ),
        )

    def start(self) -> None:
        """Start every node. They found the cluster among themselves."""
        for number, host in enumerate(self.hosts, 1):
            for path in self.config.log_dirs:
                make_data_directory(self.world, host, path)
            self.world.start(host, partial(self._run_node, host, self.node_config(number)))
        self.world.before_crash = lambda: self.witness.note(self._seen())
        self.world.run_in_background(self._watch())

    async def _run_node(self, host: str, config: NodeConfig, ports: Ports) -> None:
        """One life: until it is crashed, told to stop (cancelled), or its disk fails. Of two directories only the
        second one fails, and a node goes on without it (KIP-112)."""
        device = self.world.device(host)
        faults_before = sum(device.injected.values())
        life = self.world.lives[host]
        server = self.servers[host] = WatchedServer(config, ports, f"{host}.{life.number}", self.witness)
        server.say_release(self.releases.get(host, RELEASE))
        try:
            await server.start()
            await server.wait_failed()
        except asyncio.CancelledError:
            await server.stop()
        except (OSError, KafkaStorageError) as error:
            if sum(device.injected.values()) == faults_before or len(config.log_dirs) > 1:
                raise  # nothing was wrong with the disk that it needs
            self.world.loop.trace("stopped-by-its-disk", host, error)
            await server.stop()

    # --- clients -----------------------------------------------------------------------------------------------------

    def producer(self, life: Life, **settings: Unpack[ProducerKeywords]) -> Producer:
        ports = life.ports
        return Producer(
            self.bootstrap, _transport=ports.transport, _clock=ports.clock, _random=ports.random, **settings
        )

    def consumer(self, life: Life, *topics: str, **settings: Unpack[ConsumerKeywords]) -> Consumer:
        ports = life.ports
        return Consumer(
            *topics,
            bootstrap=self.bootstrap,
            _transport=ports.transport,
            _clock=ports.clock,
            _random=ports.random,
            **settings,
        )

    def admin(self, life: Life) -> Admin:
        ports = life.ports
        return Admin(self.bootstrap, _transport=ports.transport, _clock=ports.clock, _random=ports.random)

    # --- looking ---------------------------------------------------------------------------------------------------

    def replicas(self) -> dict[str, dict[str, list[BatchHeader]]]:
        """The batches of every log directory, by its name and host, as they stand on the simulated disks."""
        found: dict[str, dict[str, list[BatchHeader]]] = {}
        for host in self.hosts:
            segments: dict[str, list[bytes]] = {}
            for path, inode in self._log_files(host):
                segments.setdefault(path.split("/")[-2], []).append(inode.read(0, inode.size))
            for log, contents in segments.items():
                found.setdefault(log, {})[host] = headers_of(contents)
        return found

    def _log_files(self, host: str) -> Iterator[tuple[str, Inode]]:
        """The segments on a host, without those that wait to be removed."""
        for path, inode in self.world.device(host).files():
            directory = path.rpartition("/")[0]
            if path.startswith(DATA) and path.endswith(".log") and not directory.endswith("-delete"):
                yield path, inode

    def divergences(self) -> list[Divergence]:
        """Where replicas of one partition differ; meant for a calm cluster that has caught up."""
        starts = self.witness.log_starts()
        return [
            found
            for name, hosts in self.replicas().items()
            if not self.witness.is_compacted(name.rpartition("-")[0])
            for found in compare_replicas(name, hosts, starts.get(name, 0))
        ]

    def unsettled(self) -> list[str]:
        """What a calm cluster would not show: replicas that end apart or are not committed to their ends, logs of
        topics that are gone, and logs that are missing."""
        image = self.witness.image
        found = [f"{host} is dead" for host in self.hosts if not self.world.is_alive(host)]
        ends = {node_id_of(host): self.servers[host].ends() for host in self.hosts}
        for topic in image.topics.values():
            for index, state in enumerate(topic.partitions):
                seen = {broker_id: ends[broker_id].get((topic.topic_id, index)) for broker_id in state.replicas}
                same = next(iter(seen.values()))
                if same is None or same[0] != same[1] or any(each != same for each in seen.values()):
                    found.append(f"{topic.name}-{index}: (end, high watermark) by broker: {seen}")
        for host in self.hosts:
            lie_there = {path.split("/")[-2] for path, _ in self._log_files(host)} - {QUORUM_LOG}
            allowed, wanted = set(), set()
            for topic in image.topics.values():
                for index, state in enumerate(topic.partitions):
                    if node_id_of(host) in state.replicas:
                        allowed.add(name := f"{topic.name}-{index}")
                        if ends[node_id_of(host)].get((topic.topic_id, index)) not in (None, (0, 0)):
                            wanted.add(name)  # one that never held a record needs no file
            if not wanted <= lie_there <= allowed:
                found.append(f"{host}: {sorted(lie_there - allowed)} too many, {sorted(wanted - lie_there)} missing")
        return found

    # --- the witness -------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Have the witness compare disks and beliefs now."""
        self.witness.look(self._seen())

    def _seen(self) -> list[ReplicaSeen]:
        return [
            replica
            for host, server in self.servers.items()
            if self.world.is_alive(host)
            for replica in server.replicas_seen()
        ]

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_INTERVAL_MS / 1000)
            self.look()

    # --- waiting -----------------------------------------------------------------------------------------------------

    async def wait_settled(self, timeout_ms: int) -> list[str]:
        """Wait until a calm cluster's replicas are equal; gives what is left (see `unsettled`)."""
        left = self.unsettled()
        for _ in range(0, timeout_ms, SETTLE_INTERVAL_MS):
            if not left:
                break
            await asyncio.sleep(SETTLE_INTERVAL_MS / 1000)
            left = self.unsettled()
        return left

    async def wait_healthy(self, admin: Admin, timeout_ms: int) -> list[str]:
        """Wait until no partition is short of a replica or a leader; gives the problems that are left."""
        problems = ["no answer"]
        deadline_us = self.world.loop.now_us + timeout_ms * 1000
        while problems and self.world.loop.now_us < deadline_us:
            try:
                health = await admin.cluster_health(ask_nodes=False, timeout=5)
                problems = list(health.problems)
                if health.brokers - len(health.fenced_brokers) < len(self.hosts):
                    problems.append(f"only {health.brokers} brokers, {len(health.fenced_brokers)} of them fenced")
            except KraftpyError as error:
                problems = [f"{type(error).__name__}: {error}"]
            await asyncio.sleep(0.25)
        return problems


def make_data_directory(world: World, host: str, path: str = DATA) -> None:
    """What an operator makes, durably, before a node is started on an empty disk."""
    disk = SimulatedDisk(world.device(host))
    disk.make_directory(path)
    names: Sequence[str] = path.strip("/").split("/")
    for depth in range(len(names)):
        disk.sync_directory("/" + "/".join(names[:depth]))
