"""Coordinators for the `FakeCluster`: the broker's own cores and services, on logs in memory.

Everything is coordinated by one node at a time; `move` gives it to another, which reads the log, and `faults` queues
errors that the service of a method answers instead.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any
from uuid import UUID

from broker.coordinator.coordinators import Coordinators
from broker.coordinator.finding import CoordinatorKind
from broker.coordinator.groups.codec import GroupRecordCodec
from broker.coordinator.groups.commands import Command
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.core import GroupCore
from broker.coordinator.groups.records import GroupsRecord
from broker.coordinator.shard import Shard
from broker.metadata.image import MetadataImage
from broker.metadata.records import (
    GRPC_LISTENER,
    Endpoint,
    MetadataRecord,
    PartitionRecord,
    RegisterBrokerRecord,
    TopicRecord,
)
from broker.rpc.groups_service import GroupsService
from kraftpy.errors import CoordinatorNotAvailableError, KraftpyError
from kraftpy.record import encode_marker
from kraftpy.runtime.ports import Methods
from tests.client.fake_broker import FakeCluster, TestClock
from tests.coordinator.counters import MemoryLog

AT_ONCE = GroupConfig(initial_rebalance_delay_ms=0)


class FakeGroups:
    """The coordinators of one cluster."""

    def __init__(self, cluster: FakeCluster, config: GroupConfig = AT_ONCE) -> None:
        self.cluster = cluster
        self.coordinator = 0  # node; 0: nobody
        self.log = MemoryLog()
        self.faults: dict[str, deque[KraftpyError]] = {}  # by method: what the next calls are refused with
        self.calls: list[tuple[int, str]] = []
        self._config = config
        self._random = Random(5)
        self._groups: dict[int, Coordinators[Command, GroupsRecord]] = {}
        self._services: dict[int, Methods] = {}
        self._epoch = 0
        for node_id in cluster.nodes:
            self._groups[node_id] = Coordinators(
                "__consumer_offsets",
                lambda: 1,
                lambda _partition, _epoch: GroupCore(self._config, self._random),
                GroupRecordCodec,
                lambda _partition, _epoch: self.log,
                TestClock(),
                _perform,
            )
            service = GroupsService(self._groups[node_id], self._find, self.image)
            unary = {name: self._watched(node_id, name, handler) for name, handler in service.methods().unary.items()}
            self._services[node_id] = Methods(unary, {})
        cluster.services = self._services.__getitem__
        self.move(1)

    @property
    def core(self) -> GroupCore:
        _, shard = self._groups[self.coordinator]._shards[0]
        core = shard.core
        assert isinstance(core, GroupCore)
        return core

    def move(self, to: int) -> None:
        """Another node coordinates, from what the log says. 0: nobody."""
        if self.coordinator:
            self._groups[self.coordinator].left(0)
        self.coordinator = to
        self._epoch += 1
        if to:
            core = GroupCore(self._config, self._random)
            shard: Shard[Command, GroupsRecord] = Shard(core, GroupRecordCodec(), self.log, TestClock(), _perform)
            self._groups[to]._shards[0] = (self._epoch, shard)
            shard.start()

    def refuse(self, method: str, *errors: KraftpyError) -> None:
        self.faults.setdefault(method, deque()).extend(errors)

    async def submit(self, group_id: str, command: Command) -> Any:
        return await self._groups[self.coordinator].submit(group_id, command)

    def end_transaction(self, producer_id: int, commit: bool) -> None:
        """As the marker does that the coordinator of transactions writes."""
        marker = encode_marker(
            commit=commit, coordinator_epoch=0, timestamp_ms=0, producer_id=producer_id, producer_epoch=0
        )
        _, shard = self._groups[self.coordinator]._shards[0]
        shard.append_marker(marker, producer_id, commit, lambda _error: None, bumps_epoch=False)

    def stop(self) -> None:
        self.move(0)

    # --- what the service asks of a node -----------------------------------------------------------------------------

    async def _find(self, kind: CoordinatorKind, key: str) -> int:
        if not self.coordinator or self.coordinator in self.cluster.down:
            raise CoordinatorNotAvailableError("nobody coordinates")
        return self.coordinator

    def image(self) -> MetadataImage:
        records: list[MetadataRecord] = []
        for node_id, address in self.cluster.nodes.items():
            endpoint = Endpoint(GRPC_LISTENER, address.host, address.port)
            records.append(RegisterBrokerRecord(node_id, UUID(int=1), UUID(int=1), (endpoint,)))
        for name, partitions in self.cluster.topics.items():
            topic_id = UUID(bytes=self.cluster.topic_ids[name])
            records.append(TopicRecord(name, topic_id))
            records += [
                PartitionRecord(topic_id, index, replicas=(1,), isr=(1,), leader=1, leader_epoch=0, partition_epoch=0)
                for index in range(len(partitions))
            ]
        return MetadataImage.EMPTY.apply(records, len(records), 1)[0]

    def _watched(
        self, node_id: int, name: str, handler: Callable[[bytes], Awaitable[bytes]]
    ) -> Callable[[bytes], Awaitable[bytes]]:
        method = name.rpartition("/")[2]

        async def handle(data: bytes) -> bytes:
            self.calls.append((node_id, method))
            errors = self.faults.get(method)
            if errors:
                return _answer(name, errors.popleft())
            return await handler(data)

        return handle


def _answer(name: str, error: KraftpyError) -> bytes:
    from kraftpy.error_codes import code_of
    from kraftpy.pb import groups_pb2

    method = name.rpartition("/")[2]
    kinds: dict[str, Any] = {"Heartbeat": groups_pb2.GroupHeartbeatResponse}
    for changing in ("CommitOffsets", "DeleteOffsets"):
        kinds[changing] = groups_pb2.OffsetResults
    kind = kinds.get(method) or getattr(groups_pb2, method + "Response")
    data: bytes = kind(error=code_of(error), error_message=str(error)).SerializeToString()
    return data


async def _perform(shard: Any, effect: Any) -> None:
    raise AssertionError("groups have no effects")
