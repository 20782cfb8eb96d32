"""A whole cluster in a world: real brokers on simulated hosts, and the SDK's asyncio clients beside them.

Every node runs `broker.server.Server` unmodified; its data lies under `/data` of its host. The limits are small, so
that short runs roll segments and fill their indexes.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Unpack

from broker.config import GRPC_LISTENER, Listener, NodeConfig, VoterAddress
from broker.controller.config import ControllerConfig
from broker.server import Server
from kraftpy.aio import Admin, Consumer, Producer
from kraftpy.client.keywords import ConsumerKeywords, ProducerKeywords
from kraftpy.errors import KraftpyError
from kraftpy.record import BatchHeader
from kraftpy.runtime.ports import Address, Ports
from log_store.config import LogConfig
from simulation.checkers.replicas import Divergence, compare_replicas, headers_of
from simulation.disk import SimulatedDisk
from simulation.world import Life, World

CALLS_PORT = 9093
FRAMED_PORT = 9092
DATA = "/data/kraftpy"
SMALL_SEGMENTS = LogConfig(segment_bytes=16_384, segment_index_bytes=2_048, index_interval_bytes=512)


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """The nodes of one simulated cluster; all of them vote."""

    nodes: int = 3
    log: LogConfig = SMALL_SEGMENTS


class Cluster:
    """Starts the nodes `n1`, `n2`, … of a world and makes clients for it."""

    def __init__(self, world: World, config: ClusterConfig | None = None) -> None:
        self.world = world
        self.config = config or ClusterConfig()
        self.hosts = tuple(f"n{node_id}" for node_id in range(1, self.config.nodes + 1))

    @property
    def bootstrap(self) -> str:
        return ",".join(f"{host}:{CALLS_PORT}" for host in self.hosts)

    def node_config(self, node_id: int) -> NodeConfig:
        host = f"n{node_id}"
        voters = [VoterAddress(number, Address(f"n{number}", CALLS_PORT)) for number in range(1, len(self.hosts) + 1)]
        return replace(
            NodeConfig(),
            node_id=node_id,
            voters=tuple(voters),
            grpc=Listener(GRPC_LISTENER, Address(host, CALLS_PORT), None),
            framed=(Listener("PLAINTEXT", Address(host, FRAMED_PORT), None),),
            log_dirs=(DATA,),
            host_label=host,
            insecure_listeners=True,
            log=self.config.log,
            controller=ControllerConfig(default_replication_factor=min(3, len(self.hosts))),
        )

    def start(self) -> None:
        """Start every node. They found the cluster among themselves."""
        for number, host in enumerate(self.hosts, 1):
            _make_durable_directory(SimulatedDisk(self.world.device(host)), DATA)
            config = self.node_config(number)
            self.world.start(host, partial(_run_node, config))

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
            for path, inode in self.world.device(host).files():
                directory, _, name = path.rpartition("/")
                if path.startswith(DATA) and name.endswith(".log") and not directory.endswith("-delete"):
                    log = directory.rpartition("/")[2]
                    segments.setdefault(log, []).append(inode.read(0, inode.size))
            for log, contents in segments.items():
                found.setdefault(log, {})[host] = headers_of(contents)
        return found

    def divergences(self) -> list[Divergence]:
        """Where replicas of one partition differ; meant for a calm cluster that has caught up."""
        return [found for name, hosts in self.replicas().items() for found in compare_replicas(name, hosts)]

    # --- waiting -----------------------------------------------------------------------------------------------------

    async def wait_healthy(self, admin: Admin, timeout_ms: int) -> list[str]:
        """Wait until no partition is short of a replica or a leader; gives the problems that are left."""
        problems = ["no answer"]
        deadline_us = self.world.loop.now_us + timeout_ms * 1000
        while problems and self.world.loop.now_us < deadline_us:
            try:
                health = await admin.cluster_health(timeout=5)
                problems = list(health.problems)
                if health.brokers - len(health.fenced_brokers) < len(self.hosts):
                    problems.append(f"only {health.brokers} brokers, {len(health.fenced_brokers)} of them fenced")
            except KraftpyError as error:
                problems = [f"{type(error).__name__}: {error}"]
            await asyncio.sleep(0.25)
        return problems


async def _run_node(config: NodeConfig, ports: Ports) -> None:
    server = Server(config, ports)
    await server.start()
    await server.wait_failed()


def _make_durable_directory(disk: SimulatedDisk, path: str) -> None:
    """What an operator has made long before the first start."""
    disk.make_directory(path)
    names: Sequence[str] = path.strip("/").split("/")
    for depth in range(len(names)):
        disk.sync_directory("/" + "/".join(names[:depth]))
