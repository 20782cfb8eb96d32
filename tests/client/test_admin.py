"""The admin: values out, Kafka's errors, patience with nodes that are down."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from kraftpy.aio import Admin
from kraftpy.client.admin_values import (
    ClusterDescription,
    ConfigResource,
    NewTopic,
    NodeDescription,
    PartitionDescription,
    TopicDescription,
)
from kraftpy.client.health import cluster_health
from kraftpy.client.values import TopicPartition
from kraftpy.error_codes import code_of
from kraftpy.errors import (
    CallTimeoutError,
    ClosedError,
    ConfigurationError,
    InvalidRequestError,
    KraftpyError,
    LeaderNotAvailableError,
    NoBrokersAvailableError,
    NotControllerError,
    RequestTimedOutError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from kraftpy.pb import admin_pb2, client_pb2, groups_pb2, transactions_pb2
from kraftpy.runtime.ports import Address
from tests.client.fake_broker import FakeCluster
from tests.client.fake_groups import FakeGroups
from tests.client.support import admin, producer, run


def test_topics_are_created_listed_described_grown_and_deleted() -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        async with admin(cluster) as client:
            created = await client.create_topic("b", partitions=2, replication_factor=3)
            assert (created.name, created.partitions, created.replication_factor) == ("b", 2, 3)
            await client.create_topics([NewTopic("a"), NewTopic("c", config={"retention.ms": "1"})])
            assert [topic.name for topic in await client.list_topics()] == ["a", "b", "c"]
            described = await client.describe_topic("b")
            assert (described.topic_id, described.replication_factor) == (created.topic_id, 3)
            assert described.partitions[1] == PartitionDescription(1, 2, 1, (1, 2, 3), (1, 2, 3), ())
            await client.create_partitions("b", 4)
            assert [len(topic.partitions) for topic in await client.describe_topics(["c", "b"])] == [1, 4]
            await client.delete_topics(["a", "c"])
            await client.delete_topic("b")
            assert await client.describe_topics() == []
            assert await client.describe_topics([]) == []

    run(story)


class Listening(FakeCluster):
    """Keeps what it is asked."""

    def __init__(self) -> None:
        super().__init__(1)
        self.heard: list[tuple[str, bytes]] = []

    async def call(self, address: Address, method: str, request: bytes, timeout_ms: int) -> bytes:
        self.heard.append((method.rpartition("/")[2], request))
        return await super().call(address, method, request, timeout_ms)


@pytest.mark.parametrize(
    ("ask", "request_type", "field"),
    [
        (lambda client: client.delete_topics("orders"), admin_pb2.DeleteTopicsRequest, "names"),
        (lambda client: client.describe_topics("orders"), client_pb2.MetadataRequest, "topics"),
        (lambda client: client.describe_log_dirs(topics="orders"), admin_pb2.DescribeLogDirsRequest, "topics"),
        (lambda client: client.delete_groups("orders"), groups_pb2.DeleteGroupsRequest, "group_ids"),
        (lambda client: client.list_groups(states="orders"), groups_pb2.ListGroupsRequest, "states"),
        (lambda client: client.list_groups(types="orders"), groups_pb2.ListGroupsRequest, "types"),
        (
            lambda client: client.list_transactions(states="orders"),
            transactions_pb2.ListTransactionsRequest,
            "states",
        ),
    ],
)
def test_a_text_is_one_name_and_not_its_letters(
    ask: Callable[[Admin], Awaitable[Any]], request_type: type[Any], field: str
) -> None:
    async def story() -> None:
        cluster = Listening()
        cluster.create("orders")
        groups = FakeGroups(cluster)
        await asyncio.sleep(0.1)
        async with admin(cluster) as client:
            with suppress(KraftpyError):  # not everything is there; what is asked for counts
                await ask(client)
        method = request_type.__name__.removesuffix("Request").replace("Metadata", "GetMetadata")
        asked = [request_type.FromString(request) for heard, request in cluster.heard if heard == method]
        assert asked and {tuple(getattr(each, field)) for each in asked} == {("orders",)}
        groups.stop()

    run(story)


def test_refusals_are_kafkas() -> None:
    async def story() -> None:
        cluster = FakeCluster(1)
        async with admin(cluster) as client:
            await client.create_topic("a")
            with pytest.raises(TopicAlreadyExistsError, match="'a' already exists"):
                await client.create_topic("a")
            for call in (client.describe_topic("x"), client.delete_topic("x"), client.create_partitions("x", 2)):
                with pytest.raises(UnknownTopicOrPartitionError):
                    await call
            with pytest.raises(UnknownTopicOrPartitionError, match="x"):
                await client.describe_configs([ConfigResource.topic("x")])
        with pytest.raises(ClosedError):
            await client.list_topics()
        await client.close()

    run(story)


def test_nodes_that_are_down_and_nodes_without_a_controller_are_passed_over() -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.down |= {1, 2}
        cluster.admin_failures.extend([NotControllerError] * 3)
        async with admin(cluster) as client:
            await client.create_topic("a")
        assert "a" in cluster.topics

    run(story)


@pytest.mark.parametrize("timeout", [0.3, 2.0, 60.0])
def test_silent_nodes_leave_time_to_ask_the_others(timeout: float) -> None:
    async def story() -> None:
        for living in (1, 2, 3):
            cluster = FakeCluster(3)
            cluster.silent = {1, 2, 3} - {living}
            async with admin(cluster) as client:
                began = asyncio.get_running_loop().time()
                assert (await client.describe_cluster(timeout=timeout)).brokers
                assert asyncio.get_running_loop().time() - began <= min(timeout, 10.0)

    run(story)


def test_a_cluster_that_is_down_is_named_in_time() -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.down |= {1, 2, 3}
        loop = asyncio.get_running_loop()
        async with admin(cluster) as client:
            started = loop.time()
            with pytest.raises(NoBrokersAvailableError, match=r"10\.0\.0\.1:9093, 10\.0\.0\.2:9093"):
                await client.list_topics(timeout=2)
            assert loop.time() - started == pytest.approx(2, abs=0.3)
            cluster.down.clear()
            cluster.admin_failures.extend([NotControllerError] * 1_000)
            with pytest.raises(NotControllerError):
                await client.create_topic("a", timeout=1)
            cluster.admin_failures.clear()
            cluster.admin_failures.extend([RequestTimedOutError] * 1_000)
            with pytest.raises(RequestTimedOutError):
                await client.create_topic("a", timeout=1)

    run(story)


def test_a_creation_that_is_only_validated_is_judged_by_its_own_answer() -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.create("a")
        cluster.silent = {1, 2}
        async with admin(cluster) as client:
            with pytest.raises(TopicAlreadyExistsError):
                await client.create_topic("a", validate_only=True)

    run(story)


def test_settings_are_described_set_and_unset() -> None:
    async def story() -> None:
        cluster = FakeCluster(1)
        async with admin(cluster) as client:
            await client.create_topic("a")
            resource = ConfigResource.topic("a")
            await client.alter_configs({resource: {"min.insync.replicas": "2", "retention.ms": "5"}})
            await client.alter_configs({resource: {"retention.ms": None}})
            entries = (await client.describe_configs([resource]))[resource]
            assert {name: (entry.value, entry.is_default) for name, entry in entries.items()} == {
                "min.insync.replicas": ("2", False)
            }
            assert ConfigResource.broker() == (4, "")
            assert ConfigResource.broker(3) == (4, "3")

    run(story)


def test_records_are_deleted_at_the_leaders_even_when_they_move() -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.create("lines", 3)
        async with producer(cluster, batch_size=1) as sender:
            for number in range(30):
                await sender.send("lines", b"x", partition=number % 3)
        async with admin(cluster) as client:
            await client.delete_records({("lines", 0): 1})
            cluster.move_leader("lines", 1, 3)
            deleted = await client.delete_records({("lines", 0): 4, ("lines", 1): 5, ("lines", 2): -1})
            assert deleted == {
                TopicPartition("lines", 0): 4,
                TopicPartition("lines", 1): 5,
                TopicPartition("lines", 2): 10,
            }
            with pytest.raises(UnknownTopicOrPartitionError):
                await client.delete_records({("missing", 0): 4})

    run(story)


def test_nothing_is_deleted_where_one_of_the_partitions_is_none() -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.create("lines", 3)
        async with producer(cluster, batch_size=1) as sender:
            await sender.send("lines", b"x", partition=0)
        asked = 0
        call = cluster.call

        async def counting(address: Address, method: str, request: bytes, timeout_ms: int) -> bytes:
            nonlocal asked
            asked += method.endswith("DeleteRecords")
            return await call(address, method, request, timeout_ms)

        cluster.call = counting  # type: ignore[method-assign]
        async with admin(cluster) as client:
            for number in (99, 3, -1):
                refused = f"topic lines has partitions 0 to 2, not {number}"
                with pytest.raises(UnknownTopicOrPartitionError, match=refused):
                    await client.delete_records({("lines", 0): -1, ("lines", number): -1})
            assert asked == 0
            await client.create_partitions("lines", 4)  # of which the admin's view knows nothing yet
            assert list(await client.delete_records({("lines", 3): -1, ("lines", 0): -1})) == [
                ("lines", 3),
                ("lines", 0),
            ]

    run(story)


@pytest.mark.parametrize("timeout", [3_000_000.0, float("inf"), float("nan")])
def test_a_time_that_no_request_can_carry_is_refused(timeout: float) -> None:
    async def story() -> None:
        async with admin(FakeCluster(1)) as client:
            for call in (
                client.create_topic("a", timeout=timeout),
                client.delete_topic("a", timeout=timeout),
                client.create_partitions("a", 2, timeout=timeout),
                client.alter_configs({}, timeout=timeout),
                client.alter_partition_reassignments({}, timeout=timeout),
                client.unregister_broker(1, timeout=timeout),
                client.elect_leaders(timeout=timeout),
                client.update_features(timeout=timeout),
                client.delete_records({("a", 0): 1}, timeout=timeout),
                client.describe_cluster(timeout=timeout),
            ):
                with pytest.raises(ConfigurationError, match=f"at most 2147483 seconds, not {timeout}"):
                    await call

    run(story)


def test_numbers_that_no_request_can_carry_are_refused() -> None:
    async def story() -> None:
        cluster = FakeCluster(1)
        cluster.create("lines", 1)
        async with admin(cluster) as client:
            for call in (
                client.delete_records({("lines", 0): 2**63}),
                client.describe_producers(("lines", 2**31)),
                client.abort_transaction(("lines", 2**31), 0),
                client.list_transactions(running_ms_min=2**63),
            ):
                with pytest.raises(InvalidRequestError, match="out of range"):
                    await call

    run(story)


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.delete_records({("lines", 0): 0}, timeout=1),
        lambda client: client.describe_producers(("lines", 0), timeout=1),
    ],
)
def test_a_topic_that_was_created_after_all_is_found(ask: Callable[[Admin], Awaitable[Any]]) -> None:
    async def story() -> None:
        cluster = FakeCluster(3)

        async def no_producers(node_id: int, data: bytes) -> bytes:
            answer = transactions_pb2.DescribeProducersResponse()
            answer.partitions.add(topic="lines", partition=0)
            return answer.SerializeToString()

        cluster._DescribeProducers = no_producers  # type: ignore[attr-defined]
        async with admin(cluster) as client, admin(cluster) as other:
            with pytest.raises(UnknownTopicOrPartitionError):
                await ask(client)
            await other.create_topic("lines")
            await asyncio.sleep(60)
            assert await ask(client) in ({TopicPartition("lines", 0): 0}, [])

    run(story)


def test_the_cluster_and_its_quorum() -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        async with admin(cluster) as client:
            described = await client.describe_cluster()
            assert (described.cluster_id, described.controller_id, len(described.brokers)) == ("fake", 1, 3)
            await client.transfer_quorum_leadership(2)
            quorum = await client.describe_quorum()
            assert (quorum.leader_id, [voter.node_id for voter in quorum.voters]) == (2, [1, 2, 3])
            assert [quorum.lag(voter) for voter in quorum.voters] == [0, 0, 0]
            assert (await client.elect_leaders([("lines", 0)]))[0].error == ""
            await client.create_topic("lines", partitions=3, replication_factor=3)
            health = await client.cluster_health()
            assert (health.healthy, health.partitions, health.brokers) == (True, 3, 3)
            cluster.down.add(2)
            health = await client.cluster_health()
            assert not health.healthy
            assert health.fenced_brokers == (2,)
            assert health.offline == ("lines-1",)
            assert health.under_replicated == ("lines-0", "lines-1", "lines-2")

    run(story)


def test_a_topic_that_is_deleted_meanwhile_does_not_hide_the_health_of_the_others() -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        for name in ("lines", "passing"):
            cluster.create(name, 2)
        call = cluster.call

        async def deleting(address: Address, method: str, request: bytes, timeout_ms: int) -> bytes:
            answer = await call(address, method, request, timeout_ms)
            if method.endswith("/GetMetadata"):
                cluster.topics.pop("passing", None)
            return answer

        cluster.call = deleting  # type: ignore[method-assign]
        async with admin(cluster) as client:
            health = await client.cluster_health()
            assert (health.healthy, health.partitions) == (True, 2)
            with pytest.raises(UnknownTopicOrPartitionError):
                await client.describe_configs([ConfigResource.topic("lines"), ConfigResource.topic("passing")])

    run(story)


class Unjoined(FakeCluster):
    """Node 1 has been restarted and waits for a quorum; the others are down."""

    def __init__(self, nodes: int = 1) -> None:
        super().__init__(nodes)
        self.down |= {*range(2, nodes + 1)}
        self.joins_at_s = float("inf")

    async def call(self, address: Address, method: str, request: bytes, timeout_ms: int) -> bytes:
        answer = await super().call(address, method, request, timeout_ms)
        if asyncio.get_running_loop().time() >= self.joins_at_s:
            return answer
        match method.rpartition("/")[2]:
            case "GetMetadata":
                return client_pb2.MetadataResponse(controller_id=-1).SerializeToString()
            case "DescribeCluster":
                return admin_pb2.DescribeClusterResponse(controller_id=-1).SerializeToString()
            case "DescribeConfigs":
                refused = admin_pb2.DescribedConfigs(error=code_of(LeaderNotAvailableError), error_message="not joined")
                return admin_pb2.DescribeConfigsResponse(resources=[refused]).SerializeToString()
        return answer


@pytest.mark.parametrize("nodes", [1, 3])
def test_a_node_that_has_not_joined_is_no_empty_cluster(nodes: int) -> None:
    async def story() -> None:
        cluster = Unjoined(nodes)
        async with admin(cluster) as client:
            for call in (
                client.describe_configs([ConfigResource.topic("lines")], timeout=2),
                client.describe_configs([ConfigResource.broker()], timeout=2),
                client.describe_log_dirs(timeout=2),
                client.describe_log_dirs([1], timeout=2),
                client.describe_metrics(timeout=2),
                client.alter_replica_log_dirs({("lines", 0, 1): "/d"}, timeout=2),
                client.describe_topics(timeout=2),
            ):
                with pytest.raises(LeaderNotAvailableError, match="not joined"):
                    await call
            health = await client.cluster_health(timeout=2)
            assert health.problems == (
                "the metadata quorum has no leader",
                "the node that answers has not joined the cluster yet",
            )

    run(story)


def test_a_node_that_joins_meanwhile_is_waited_for() -> None:
    async def story() -> None:
        cluster = Unjoined()
        cluster.create("lines")
        cluster.joins_at_s = asyncio.get_running_loop().time() + 1
        async with admin(cluster) as client:
            resource = ConfigResource.topic("lines")
            assert "min.insync.replicas" in (await client.describe_configs([resource], timeout=10))[resource]

    run(story)


def test_a_comparison_that_may_take_a_day_does_not_look_for_its_topic_that_long() -> None:
    async def story() -> None:
        began = asyncio.get_running_loop().time()
        async with admin(Unjoined()) as client:
            with pytest.raises(LeaderNotAvailableError):
                await client.verify_topic("lines")
        assert asyncio.get_running_loop().time() - began < 60

    run(story)


@pytest.mark.parametrize("down", [(), (2, 3)])
def test_what_nobody_answers_in_time_says_what_was_asked_of_whom(down: tuple[int, ...]) -> None:
    """One node has taken the call and waits for a controller; which of the others refused last says nothing."""

    async def story() -> None:
        cluster = FakeCluster(3 if down else 1)
        cluster.silent.add(1)
        cluster.down |= {*down}
        for first in range(3):
            async with admin(cluster) as client:
                client._nodes()._turn = first
                with pytest.raises(CallTimeoutError, match=r"DeleteTopics was not answered in time; asked 10\.0"):
                    await client.delete_topic("lines", timeout=2)

    run(story)


def test_an_empty_choice_is_not_everything() -> None:
    async def story() -> None:
        cluster = FakeCluster(1)
        async with admin(cluster) as client:
            assert await client.elect_leaders([], unclean=True) == []
            assert await client.elect_leaders(iter(()), unclean=True) == []
            assert not cluster.requests
            assert await client.update_features({}) == ()
        assert not cluster.requests

    run(story)


def test_health_in_sentences() -> None:
    node = NodeDescription(1, "h", 1, None, False, "h", 2)
    topic = TopicDescription(
        "t",
        "id",
        False,
        (
            PartitionDescription(0, 1, 1, (1, 2, 3), (1, 2), ()),
            PartitionDescription(1, 2, 1, (1, 2, 3), (2,), ()),
            PartitionDescription(2, -1, 1, (1, 2, 3), (), ()),
        ),
    )
    health = cluster_health(ClusterDescription("c", -1, (node,), {}, 1), [topic], {"t": 2})
    assert (health.offline, health.under_min_isr, health.at_min_isr) == (("t-2",), ("t-1", "t-2"), ("t-0",))
    assert health.not_preferred == ("t-1",)
    assert health.problems == (
        "the metadata quorum has no leader",
        "1 partitions without a leader: t-2",
        "2 partitions with fewer in-sync replicas than min.insync.replicas: t-1, t-2",
        "3 partitions with replicas out of sync: t-0, t-1, t-2",
    )
