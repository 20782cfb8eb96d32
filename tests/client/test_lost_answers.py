"""An administrator's change that was made while its answer was lost: asked for again, it is found done."""

from collections import deque
from collections.abc import Callable

import pytest

from kraftpy.client.admin_values import CreatedTopic
from kraftpy.error_codes import code_of
from kraftpy.errors import (
    BrokerIdNotRegisteredError,
    CoordinatorNotAvailableError,
    ElectionNotNeededError,
    GroupIdNotFoundError,
    InvalidPartitionsError,
    InvalidReplicaAssignmentError,
    NoReassignmentInProgressError,
    RequestTimedOutError,
)
from kraftpy.pb import admin_pb2, groups_pb2
from kraftpy.runtime.ports import Address, TransportTimeout, Unreachable
from tests.client.fake_broker import FakeCluster
from tests.client.membership import cluster_with
from tests.client.support import admin, run


def timed_out(answer: bytes) -> bytes:
    """As where the controller dies after a node has forwarded the call to it (`ActiveController.run`)."""
    code = code_of(RequestTimedOutError)
    results = admin_pb2.TopicResults.FromString(answer)
    if not results.topics:
        return admin_pb2.UnregisterBrokerResponse(error=code).SerializeToString()
    refused = admin_pb2.TopicResults()
    for result in results.topics:
        refused.topics.add(name=result.name, error=code)
    return refused.SerializeToString()


def silent(answer: bytes) -> bytes:
    raise TransportTimeout("the answer was lost")


def broken(answer: bytes) -> bytes:
    raise Unreachable("the connection broke")


def losing(cluster: FakeCluster, fault: Callable[[bytes], bytes], *methods: str) -> list[str]:
    """Do what the first call of each of these methods asks, and lose the answer; the names of all calls."""
    call = cluster.call
    asked: list[str] = []

    async def lose(address: Address, method: str, request: bytes, timeout_ms: int) -> bytes:
        answer = await call(address, method, request, timeout_ms)
        name = method.rpartition("/")[2]
        asked.append(name)
        return fault(answer) if name in methods and asked.count(name) == 1 else answer

    cluster.call = lose  # type: ignore[method-assign]
    return asked


LOSSES = pytest.mark.parametrize("loss", [silent, broken, timed_out])


@LOSSES
def test_a_creation_whose_answer_was_lost_is_not_a_failure(loss: Callable[[bytes], bytes]) -> None:
    """And it says what was made, as the lost answer did."""

    async def story() -> None:
        cluster = FakeCluster(3)
        asked = losing(cluster, loss, "CreateTopics", "DeleteTopics")
        async with admin(cluster) as client:
            created = await client.create_topic("a", partitions=2)
            assert created == CreatedTopic("a", (await client.describe_topic("a")).topic_id, 2, 3)
            await client.delete_topic("a")
        assert (asked.count("CreateTopics"), asked.count("DeleteTopics")) == (2, 2)

    run(story)


@LOSSES
def test_a_growth_whose_answer_was_lost_is_not_a_failure(loss: Callable[[bytes], bytes]) -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.create("a", 2)
        async with admin(cluster) as client:
            for wrong in (1, 2):  # nothing was lost: what is so before is refused
                with pytest.raises(InvalidPartitionsError):
                    await client.create_partitions("a", wrong)
            losing(cluster, loss, "CreatePartitions")
            await client.create_partitions("a", 5)
            assert len((await client.describe_topic("a")).partitions) == 5
        losing(cluster, loss, "CreatePartitions")
        async with admin(cluster) as client:
            with pytest.raises(InvalidPartitionsError):  # it was never that
                await client.create_partitions("a", 3)

    run(story)


@LOSSES
def test_a_farewell_to_a_broker_whose_answer_was_lost_is_not_a_failure(loss: Callable[[bytes], bytes]) -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        registered = [3]

        async def unregister(node_id: int, data: bytes) -> bytes:
            broker_id = admin_pb2.UnregisterBrokerRequest.FromString(data).broker_id
            if broker_id in registered:
                registered.remove(broker_id)
                return admin_pb2.UnregisterBrokerResponse().SerializeToString()
            code = code_of(BrokerIdNotRegisteredError)
            return admin_pb2.UnregisterBrokerResponse(error=code).SerializeToString()

        cluster._UnregisterBroker = unregister  # type: ignore[attr-defined]
        async with admin(cluster) as client:
            with pytest.raises(BrokerIdNotRegisteredError):
                await client.unregister_broker(4)
            losing(cluster, loss, "UnregisterBroker")
            await client.unregister_broker(3)
        assert registered == []

    run(story)


@LOSSES
def test_a_cancellation_of_a_move_whose_answer_was_lost_is_not_a_failure(loss: Callable[[bytes], bytes]) -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        moving = [("a", 0), ("a", 1)]

        async def reassign(node_id: int, data: bytes) -> bytes:
            answer = admin_pb2.AlterPartitionReassignmentsResponse()
            for wanted in admin_pb2.AlterPartitionReassignmentsRequest.FromString(data).partitions:
                place = (wanted.topic, wanted.partition)
                part = answer.partitions.add(topic=wanted.topic, partition=wanted.partition)
                if not wanted.cancel:
                    part.error, part.error_message = code_of(InvalidReplicaAssignmentError), "no"
                elif place in moving:
                    moving.remove(place)
                else:
                    part.error, part.error_message = code_of(NoReassignmentInProgressError), "nothing moves"
            return answer.SerializeToString()

        cluster._AlterPartitionReassignments = reassign  # type: ignore[attr-defined]
        async with admin(cluster) as client:
            assert [each.error for each in await client.alter_partition_reassignments({("a", 2): None})] == [
                "NO_REASSIGNMENT_IN_PROGRESS"
            ]
            losing(cluster, loss, "AlterPartitionReassignments")
            wanted = {("a", 0): None, ("b", 0): [1, 2], ("a", 1): None}
            results = await client.alter_partition_reassignments(wanted)
        assert [(each.error, each.message) for each in results] == [
            ("", ""),
            ("INVALID_REPLICA_ASSIGNMENT", "no"),
            ("", ""),
        ]
        assert not moving

    run(story)


@LOSSES
def test_an_election_whose_answer_was_lost_is_not_a_failure(loss: Callable[[bytes], bytes]) -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        displaced = [0]

        async def elect(node_id: int, data: bytes) -> bytes:
            answer = admin_pb2.ElectLeadersResponse()
            for wanted in admin_pb2.ElectLeadersRequest.FromString(data).partitions:
                part = answer.partitions.add(topic=wanted.topic, partition=wanted.partition)
                if wanted.partition in displaced:
                    displaced.remove(wanted.partition)
                else:
                    part.error, part.error_message = code_of(ElectionNotNeededError), "the preferred leader leads"
            return answer.SerializeToString()

        cluster._ElectLeaders = elect  # type: ignore[method-assign]
        async with admin(cluster) as client:
            assert [each.error for each in await client.elect_leaders([("a", 1)])] == ["ELECTION_NOT_NEEDED"]
            losing(cluster, loss, "ElectLeaders")
            assert [(each.error, each.message) for each in await client.elect_leaders([("a", 0)])] == [("", "")]
        assert not displaced

    run(story)


def said_to_be_in_doubt(answer: bytes) -> bytes:
    doubtful = groups_pb2.DeleteGroupsResponse.FromString(answer)
    doubtful.groups[0].error = code_of(CoordinatorNotAvailableError)  # not committed in time, and later after all
    return doubtful.SerializeToString()


def lost(answer: bytes) -> bytes:
    raise TransportTimeout("the answer was lost")


@pytest.mark.parametrize("fault", [lost, said_to_be_in_doubt])
def test_a_deletion_of_a_group_whose_answer_was_lost_is_not_a_failure(fault: Callable[[bytes], bytes]) -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        call = cluster.call
        faults = deque([fault])

        async def faulty(address: Address, method: str, request: bytes, timeout_ms: int) -> bytes:
            answer = await call(address, method, request, timeout_ms)
            return faults.popleft()(answer) if method.endswith("DeleteGroups") and faults else answer

        cluster.call = faulty  # type: ignore[method-assign]
        async with admin(cluster) as client:
            await client.alter_group_offsets("g", {("lines", 0): 0})
            await client.delete_groups(["g"])
            assert not faults and await client.list_groups() == []
            with pytest.raises(GroupIdNotFoundError):
                await client.delete_groups(["g"])
            groups.move(2)  # where nothing is in doubt: the old coordinator says that it is none
            with pytest.raises(GroupIdNotFoundError):
                await client.delete_groups(["g"])
        groups.stop()

    run(story)
