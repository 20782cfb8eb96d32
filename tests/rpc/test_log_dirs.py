"""DescribeLogDirs and AlterReplicaLogDirs on the wire, and the SDK that asks each broker for itself."""

import asyncio
from collections.abc import Collection
from random import Random
from typing import cast
from uuid import UUID

import pytest

from broker.replication.directory_status import DirectoryStatus, ReplicaInDirectory
from broker.rpc.limits import ITEMS_MAX
from broker.rpc.log_dirs import LogDirs
from broker.rpc.methods import full_name, unary
from broker.rpc.ports import Replicas
from kraftpy.aio import Admin
from kraftpy.client.admin_values import LogDirReplica
from kraftpy.error_codes import code_of
from kraftpy.errors import BrokerNotAvailableError, KafkaStorageError, LogDirNotFoundError
from kraftpy.pb import admin_pb2 as pb
from kraftpy.pb.client_pb2 import BrokerInfo
from kraftpy.runtime.clock import SystemClock
from kraftpy.runtime.ports import Address, BadRequest, Transport, Unreachable

WELL = DirectoryStatus(
    "/a", UUID(int=1), "", 100, 40, (ReplicaInDirectory("t", 0, 7, 0), ReplicaInDirectory("t", 1, 3, 2, True))
)
BROKEN = DirectoryStatus("/b", None, "Read-only file system")


class Broker:
    """One broker's directories; it moves nothing to where it has none."""

    def __init__(self, node_id: int) -> None:
        self.moved: list[tuple[str, int, str]] = []
        self.asked_for: list[list[str]] = []
        service = LogDirs(node_id, cast(Replicas, self))
        self.methods = unary(
            "Admin",
            {
                "DescribeLogDirs": (pb.DescribeLogDirsRequest, service.describe),
                "AlterReplicaLogDirs": (pb.AlterReplicaLogDirsRequest, service.alter),
            },
        )

    async def describe_directories(self, topics: Collection[str] = ()) -> list[DirectoryStatus]:
        self.asked_for.append(list(topics))
        return [WELL, BROKEN]

    def move_replica(self, topic: str, partition: int, path: str) -> None:
        if path != WELL.path:
            raise LogDirNotFoundError(f"{path} is not among this broker's log.dirs")
        self.moved.append((topic, partition, path))


class Brokers:
    """Three of them behind one transport; 3 is fenced and does not answer."""

    def __init__(self) -> None:
        self.brokers = {1: Broker(1), 2: Broker(2)}

    async def call(self, address: Address, method: str, request: bytes, timeout_ms: int) -> bytes:
        if method == full_name("Admin", "DescribeCluster"):
            nodes = [BrokerInfo(id=number, host=f"n{number}", port=1, fenced=number == 3) for number in (1, 2, 3)]
            return pb.DescribeClusterResponse(cluster_id="c", controller_id=1, brokers=nodes).SerializeToString()
        number = int(address.host[1:])
        if number not in self.brokers:
            raise Unreachable(f"{address}: refused")
        return await self.brokers[number].methods[method](request)

    async def close(self) -> None:
        pass

    def admin(self) -> Admin:
        return Admin("n1:1", _transport=cast(Transport, self), _clock=SystemClock(), _random=Random(1))


def test_every_broker_in_service_is_asked_about_its_own() -> None:
    async def story() -> None:
        brokers = Brokers()
        async with brokers.admin() as admin:
            found = await admin.describe_log_dirs(topics=["t"])
            assert [(each.broker_id, each.path) for each in found] == [(1, "/a"), (1, "/b"), (2, "/a"), (2, "/b")]
            well, broken = found[:2]
            assert (well.error, well.total_bytes, well.usable_bytes, well.size_bytes) == ("", 100, 40, 10)
            assert well.replicas == (LogDirReplica("t", 0, 7, 0, False), LogDirReplica("t", 1, 3, 2, True))
            assert (broken.error, broken.directory_id) == ("Read-only file system", "")
            assert (broken.total_bytes, broken.usable_bytes, broken.replicas) == (None, None, ())
            assert brokers.brokers[2].asked_for == [["t"]]
            assert {each.broker_id for each in await admin.describe_log_dirs([2])} == {2}

    asyncio.run(story())


def test_a_broker_that_does_not_answer_is_named() -> None:
    async def story() -> None:
        async with Brokers().admin() as admin:
            for broker, said in ((3, "broker 3: "), (9, "there is no broker 9")):
                with pytest.raises(Exception, match=said):
                    await admin.describe_log_dirs([broker])
            with pytest.raises(BrokerNotAvailableError):
                await admin.alter_replica_log_dirs({("t", 0, 9): "/a"})

    asyncio.run(story())


def test_moves_go_to_their_brokers_and_one_refusal_leaves_the_others() -> None:
    async def story() -> None:
        brokers = Brokers()
        async with brokers.admin() as admin:
            with pytest.raises(LogDirNotFoundError, match="t-1: /c is not among"):
                await admin.alter_replica_log_dirs({("t", 0, 1): "/a", ("t", 1, 1): "/c", ("t", 0, 2): "/a"})
        assert brokers.brokers[1].moved == brokers.brokers[2].moved == [("t", 0, "/a")]

    asyncio.run(story())


def test_the_wire_says_which_directory_failed_and_requests_are_bounded() -> None:
    async def story() -> None:
        service = LogDirs(1, cast(Replicas, Broker(1)))
        told = await service.describe(pb.DescribeLogDirsRequest())
        assert [each.error for each in told.directories] == [0, code_of(KafkaStorageError)]
        with pytest.raises(BadRequest):
            await service.describe(pb.DescribeLogDirsRequest(topics=["t"] * (ITEMS_MAX + 1)))

    asyncio.run(story())
