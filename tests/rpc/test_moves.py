"""Moves as users meet them: through the SDK, the services and real replicas, on virtual time."""

import asyncio
from dataclasses import replace
from itertools import product
from random import Random

import pytest

from broker.metadata.features import METADATA_VERSION, REASSIGNMENTS
from broker.metadata.records import FeatureLevelRecord
from kraftpy.aio import Admin
from kraftpy.client.admin_values import ClusterDescription, ConfigResource, TopicDescription
from kraftpy.client.balancing import PlannedMove
from kraftpy.errors import (
    BrokerIdNotRegisteredError,
    InvalidConfigError,
    InvalidRequestError,
    UnknownTopicOrPartitionError,
)
from tests.replication.cluster import CALLS_PORT, TOPIC
from tests.rpc.cluster import Bed, Doors, play


async def grow(bed: Bed) -> None:
    """A fourth broker, and the level that lets partitions move."""
    bed.cluster.controller.commit(FeatureLevelRecord(METADATA_VERSION, REASSIGNMENTS))
    await bed.cluster.start(4)
    bed.doors[4] = Doors(bed, bed.cluster.brokers[4])
    await bed.cluster.in_lane(4, bed.doors[4].open())
    await bed.settled()


def asked(bed: Bed, node_id: int) -> Admin:
    """An admin that asks this node."""
    address = f"n{node_id}:{CALLS_PORT}"
    return Admin(address, _transport=bed.ports.transport, _clock=bed.ports.clock, _random=Random(4))


async def at_rest(admin: Admin) -> None:
    """Wait until nothing moves."""
    for _ in range(1_000):
        if not await admin.list_partition_reassignments():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came to rest")


def test_a_partition_moves_and_its_progress_is_told_by_any_node() -> None:
    async def story(bed: Bed) -> None:
        await grow(bed)
        async with bed.admin() as admin, bed.producer(linger_ms=1) as producer:
            for index in range(200):
                await producer.send(TOPIC, b"%d" % index * 50, partition=0)
            await producer.flush()
            leader = bed.cluster.leader()
            before = (await admin.describe_topic(TOPIC)).partitions[0].replicas
            move = PlannedMove(TOPIC, 0, before, (4, *before[:2]))
            await admin.throttle_replication([move], 1_000)
            results = await admin.alter_partition_reassignments({(TOPIC, 0): move.after})
            assert [(each.topic, each.partition, each.error) for each in results] == [(TOPIC, 0, "")]
            await asyncio.sleep(2)
            for node_id in (1, 2, 3, 4):
                async with asked(bed, node_id) as other:
                    listed = (await other.list_partition_reassignments())[0]
                assert (listed.leader, listed.adding_replicas) == (leader, (4,))
                assert listed.original_replicas == before and listed.removing_replicas == before[2:]
                assert len(listed.progress) == 1 and listed.progress[0].node_id == 4
                assert not listed.progress[0].in_sync and listed.bytes_lag > 0 and listed.progress[0].offset_lag > 0
            described = (await admin.describe_topic(TOPIC)).partitions[0]
            assert described.adding_replicas == (4,) and not described.is_under_replicated
            await admin.unthrottle_replication()
            await at_rest(admin)
            assert (await admin.describe_topic(TOPIC)).partitions[0].replicas == move.after
            configs = await admin.describe_configs([ConfigResource.topic(TOPIC), ConfigResource.broker(1)])
            assert configs[ConfigResource.topic(TOPIC)]["leader.replication.throttled.replicas"].value == ""
            assert configs[ConfigResource.broker(1)]["leader.replication.throttled.rate"].source == "default"

    play(story)


def test_what_goes_while_moves_are_throttled_holds_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic that is deleted, a broker that is unregistered: the rates would stay, with nobody to remove them."""

    async def story(bed: Bed) -> None:
        await grow(bed)
        async with bed.admin() as admin:
            describe_cluster, describe_topics = admin.describe_cluster, admin.describe_topics

            async def with_one_that_goes(*, timeout: float) -> ClusterDescription:
                if doomed:
                    await admin.delete_topic(doomed.pop())
                found = await describe_cluster(timeout=timeout)
                return replace(found, brokers=(*found.brokers, replace(found.brokers[0], node_id=9)))

            async def with_those_that_go(*, timeout: float) -> list[TopicDescription]:
                found = await describe_topics(timeout=timeout)
                await admin.delete_topic("last")
                return found

            async def set_now() -> set[tuple[str, str]]:
                resources = [ConfigResource.topic(TOPIC), *map(ConfigResource.broker, (1, 4))]
                configs = await admin.describe_configs(resources)
                named = [(of.name, each) for of, entries in configs.items() for each in entries.values()]
                return {(of, each.name) for of, each in named if "throttled" in each.name and not each.is_default}

            doomed = ["doomed"]
            for name in ("doomed", "last"):
                await admin.create_topic(name, assignment={0: (1, 2)})
            monkeypatch.setattr(admin, "describe_cluster", with_one_that_goes)
            moves = [PlannedMove(topic, 0, (1, 2), (4, 2)) for topic in ("gone", "doomed", TOPIC)]
            await admin.throttle_replication(moves, 1_000)
            rates, lists = (
                ["leader.replication.throttled.rate", "follower.replication.throttled.rate"],
                ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"],
            )
            assert await set_now() == {*product(("1", "4"), rates), *product((TOPIC,), lists)}

            monkeypatch.setattr(admin, "describe_topics", with_those_that_go)
            await admin.unthrottle_replication()
            assert await set_now() == set()

    play(story)


def test_a_leader_that_does_not_answer_is_listed_without_progress() -> None:
    async def story(bed: Bed) -> None:
        await grow(bed)
        leader = bed.cluster.leader()
        others = tuple(node_id for node_id in (1, 2, 3) if node_id != leader)
        async with bed.admin() as admin:
            bed.cluster.crash(leader)
            await admin.alter_partition_reassignments({(TOPIC, 0): (*others, 4)})
            listed = await admin.list_partition_reassignments()
            assert [(each.leader, each.progress) for each in listed] == [(leader, ())]

    play(story)


def test_moves_are_cancelled_and_nonsense_is_refused_item_by_item() -> None:
    async def story(bed: Bed) -> None:
        await grow(bed)
        async with bed.admin() as admin:
            before = (await admin.describe_topic(TOPIC)).partitions[0].replicas
            results = await admin.alter_partition_reassignments(
                {(TOPIC, 7): (1,), ("no", 0): None, (TOPIC, 0): (9, 1)}, allow_replication_factor_change=False
            )
            assert [each.error for each in results] == [
                "UNKNOWN_TOPIC_OR_PARTITION",
                "UNKNOWN_TOPIC_OR_PARTITION",
                "INVALID_REPLICA_ASSIGNMENT",
            ]
            assert "broker 9 is not registered" in results[2].message
            factor = await admin.alter_partition_reassignments(
                {(TOPIC, 0): (1,)}, allow_replication_factor_change=False
            )
            assert factor[0].error == "INVALID_REPLICATION_FACTOR"
            nothing = await admin.alter_partition_reassignments({(TOPIC, 0): None})
            assert nothing[0].error == "NO_REASSIGNMENT_IN_PROGRESS"
            bed.cluster.crash(4)
            assert not (await admin.alter_partition_reassignments({(TOPIC, 0): (4, *before[1:])}))[0].error
            assert not (await admin.alter_partition_reassignments({(TOPIC, 0): None}))[0].error
            assert (await admin.describe_topic(TOPIC)).partitions[0].replicas == before
            with pytest.raises(UnknownTopicOrPartitionError):
                await admin.list_partition_reassignments([("no", 0)])
            assert await admin.list_partition_reassignments([]) == []
            with pytest.raises(InvalidConfigError, match=r"throttled\.rate"):
                await admin.throttle_replication([], 0)
            with pytest.raises(BrokerIdNotRegisteredError):
                await admin.unregister_broker(9)
            with pytest.raises(InvalidRequestError, match="stop it before"):
                await admin.unregister_broker(1)

    play(story)


def test_a_plan_is_made_and_carried_out() -> None:
    async def story(bed: Bed) -> None:
        await admin_creates(bed)
        await grow(bed)
        async with bed.admin() as admin:
            plan = await admin.plan_rebalance()
            assert plan.copies == 4 and all(4 in move.after for move in plan.moves if move.adding)
            await admin.alter_partition_reassignments({(move.topic, move.partition): move.after for move in plan.moves})
            await at_rest(admin)
            assert (await admin.plan_rebalance()).moves == ()

    async def admin_creates(bed: Bed) -> None:
        async with bed.admin() as admin:
            await admin.create_topic("t", partitions=5, replication_factor=3)

    play(story)
