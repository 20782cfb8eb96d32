"""Three brokers with real replicas, whose gRPC services are open to the SDK: on virtual time.

The brokers are those of the replication tests; the controller behind their services decides as the real one does
(`ControllerCore`), and what it decides is committed at once and reaches the brokers a little later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any, TypeVar
from uuid import UUID

from broker.config import NodeConfig
from broker.controller.commands import Command, ProducerIdBlock
from broker.controller.config import ControllerConfig
from broker.controller.core import ControllerCore
from broker.metadata.image import MetadataImage
from broker.producer_ids import ProducerIds
from broker.rpc.admin_service import AdminService
from broker.rpc.client_service import ClientService
from broker.rpc.controller_admin import ControllerAdmin
from broker.rpc.methods import merged
from broker.topic_creation import TopicCreation
from kraftpy.aio import Admin, Consumer, Producer
from kraftpy.errors import NotControllerError
from kraftpy.runtime.ports import Address, Ports
from raft.events import Epoch, NodeId, Offset, ReplicaKey, Voter, VoterSet
from raft.status import QuorumStatus, ReplicaStatus
from simulation.world import Life
from tests.replication.cluster import CALLS_PORT, Broker, Cluster
from tests.replication.cluster import play as play_replication

R = TypeVar("R")
T = TypeVar("T")
BOOTSTRAP = ",".join(f"n{node_id}:{CALLS_PORT}" for node_id in (1, 2, 3))


class DecidingController:
    """A controller whose commands are committed as soon as they are decided."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.commands: list[Command[Any]] = []
        self._random = Random("deciding")

    async def submit(self, command: Command[R]) -> R:
        self.commands.append(command)
        controller = self.cluster.controller
        core = ControllerCore(ControllerConfig(), self._random, controller.image, 1, 0)
        result = core.handle(command, 0)
        if result.records:
            controller.commit(*result.records)
        return result.response


class PlainQuorum:
    """Three voters; the leader is who it was last given to."""

    def __init__(self) -> None:
        self.leader_id = 1
        self.epoch = 1

    def status(self) -> QuorumStatus:
        keys = [ReplicaKey(NodeId(node_id), UUID(int=node_id)) for node_id in (1, 2, 3, 4)]
        voters = tuple(Voter(key, f"n{key.node_id}", CALLS_PORT) for key in keys[:3])
        replicas = tuple(
            ReplicaStatus(key, key.node_id < 4, Offset(10 - key.node_id), 5 if key.node_id > 1 else None, None)
            for key in keys
        )
        return QuorumStatus(
            keys[self.leader_id - 1],
            "Leader",
            Epoch(self.epoch),
            NodeId(self.leader_id),
            Offset(9),
            Offset(0),
            Offset(10),
            Offset(9),
            VoterSet(voters),
            replicas,
        )

    async def transfer_leadership(self, to: NodeId | None = None) -> None:
        self.leader_id = self.leader_id % 3 + 1 if to is None else to
        self.epoch += 1


class Doors:
    """One broker's services."""

    def __init__(self, bed: "Bed", broker: Broker) -> None:
        self._bed = bed
        self._broker = broker
        self.has_joined = True
        self.creation = TopicCreation(self, True, self)
        self.client = ClientService(
            self, broker.replicas, ProducerIds(self._allocate), self.creation, broker.ports.disk, "PLAINTEXT"
        )
        config = NodeConfig(node_id=broker.node_id, given={"node.id": str(broker.node_id)})
        self.admin = AdminService(self, config, self, broker.replicas, broker.ports.transport)

    async def open(self) -> None:
        methods = merged(self.client.methods(), self.admin.methods())
        await self._broker.ports.transport.serve(Address("0.0.0.0", CALLS_PORT), methods)

    # --- `ImageSource`

    @property
    def image(self) -> MetadataImage:
        return self._broker.replicas._newest

    @property
    def cluster_id(self) -> str:
        return "test"

    @property
    def controller_id(self) -> int | None:
        return self._bed.quorum.leader_id if self._bed.has_controller else None

    # --- `ControllerLink`

    async def run(self, method: str, payload: bytes, timeout_ms: int) -> bytes:
        await asyncio.sleep(0.002)
        if not self._bed.has_controller:
            raise NotControllerError("nobody leads the quorum at the moment")
        response = await self._bed.controller_admin.run(method, payload)
        committed = self._bed.cluster.controller.image.end_offset
        await self._bed.cluster.until(lambda: self.image.end_offset >= committed, every_ms=1)
        return response

    async def _allocate(self) -> ProducerIdBlock:
        self._bed.producer_ids += 10
        return ProducerIdBlock(self._bed.producer_ids, 10)


class Bed:
    """The brokers, their services, and clients of them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.has_controller = True
        self.producer_ids = 0
        self.quorum = PlainQuorum()
        self.controller = DecidingController(cluster)
        self.doors: dict[int, Doors] = {}
        self.life: Life
        self.ports: Ports
        """Of the client."""

    async def open(self) -> None:
        for node_id, broker in self.cluster.brokers.items():
            self.doors[node_id] = Doors(self, broker)
            await self.cluster.in_lane(node_id, self.doors[node_id].open())
        self.controller_admin = ControllerAdmin(self.controller, self.quorum, self.doors[1])
        self.life = self.world.open_life("client")
        self.ports = self.life.ports

    async def settled(self) -> None:
        """Every broker that lives has applied all metadata."""
        committed = self.cluster.controller.image.end_offset
        doors = [self.doors[node_id] for node_id in self.cluster.brokers]
        await self.cluster.until(lambda: all(each.image.end_offset >= committed for each in doors))

    # --- the SDK

    def producer(self, **settings: Any) -> Producer:
        return Producer(
            BOOTSTRAP, _transport=self.ports.transport, _clock=self.ports.clock, _random=Random(1), **settings
        )

    def consumer(self, *topics: str, **settings: Any) -> Consumer:
        settings.setdefault("auto_offset_reset", "earliest")
        transport, clock = self.ports.transport, self.ports.clock
        return Consumer(*topics, bootstrap=BOOTSTRAP, _transport=transport, _clock=clock, _random=Random(2), **settings)

    def admin(self, **settings: Any) -> Admin:
        return Admin(BOOTSTRAP, _transport=self.ports.transport, _clock=self.ports.clock, _random=Random(3), **settings)

    async def call(self, node_id: int, method: str, request: Any, answer: type[T], timeout_ms: int = 5_000) -> T:
        """A call past the SDK."""
        address = Address(f"n{node_id}", CALLS_PORT)
        data = await self.ports.transport.call(
            address, "/kraftpy.pb." + method, request.SerializeToString(), timeout_ms
        )
        decoded: T = answer.FromString(data)  # type: ignore[attr-defined]
        return decoded


def play(story: Callable[[Bed], Coroutine[Any, Any, None]], seed: int = 1, **settings: Any) -> str:
    """Run a client's story on three started brokers and one topic, `orders`; gives the trace's hash."""

    async def whole(cluster: Cluster) -> None:
        bed = Bed(cluster)
        await bed.open()
        await bed.world.run_in(bed.life, story(bed))

    return play_replication(whole, seed, **settings)


Story = Callable[[Bed], Awaitable[None]]
