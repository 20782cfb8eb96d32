"""Consumers that are sent to a replica in their rack, and what that replica shows them (KIP-392)."""

import pytest

from broker.replication.config import RACK_AWARE, ReplicationConfig
from broker.replication.fetch_types import FetchAnswer, FetchedPartition, FetchQuery, FetchTarget, IsolationLevel
from broker.replication.leader import Leadership
from broker.replication.selecting import nearer_replica
from kraftpy.errors import NotLeaderOrFollowerError, OffsetOutOfRangeError, UnknownLeaderEpochError
from tests.replication.cluster import TOPIC, Cluster, play

NEARBY = ReplicationConfig(replica_selector=RACK_AWARE)


def asked(cluster: Cluster, offset: int, rack: str, epoch: int = -1, max_wait_ms: int = 0) -> FetchQuery:
    target = FetchTarget(cluster.controller.image.topic_ids[TOPIC], TOPIC, 0, epoch, offset, -1, -1, 1 << 20)
    return FetchQuery(
        -1, -1, max_wait_ms, 1, 1 << 20, IsolationLevel.READ_UNCOMMITTED, [target], rack=rack, any_replica=True
    )


def only(answer: FetchAnswer) -> FetchedPartition:
    (found,) = answer.partitions
    return found


def test_a_consumer_is_sent_to_its_rack_and_served_there() -> None:
    async def story(cluster: Cluster) -> None:
        for _ in range(3):
            assert (await cluster.produce(1)).error is None
        await cluster.until(lambda: cluster.replica(2).high_watermark == 3)
        sent = only(await cluster.fetch(1, asked(cluster, 1, "rack-2")))
        assert (sent.preferred_read_replica, sent.size_bytes, sent.error) == (2, 0, None)
        there = only(await cluster.fetch(2, asked(cluster, 1, "rack-2")))
        assert there.size_bytes > 0 and there.high_watermark == 3 and there.preferred_read_replica == -1
        for rack in ("rack-1", "rack-9", ""):
            here = only(await cluster.fetch(1, asked(cluster, 1, rack)))
            assert here.size_bytes > 0 and here.preferred_read_replica == -1, rack

    play(story, config=NEARBY)


def test_without_a_selector_leaders_serve_everybody_but_a_follower_that_is_asked_answers() -> None:
    async def story(cluster: Cluster) -> None:
        assert (await cluster.produce(1)).error is None
        await cluster.until(lambda: cluster.replica(2).high_watermark == 1)
        assert only(await cluster.fetch(1, asked(cluster, 0, "rack-2"))).preferred_read_replica == -1
        assert only(await cluster.fetch(2, asked(cluster, 0, "rack-2"))).size_bytes > 0
        old = asked(cluster, 0, "")._replace(any_replica=False)
        assert only(await cluster.fetch(2, old)).error is NotLeaderOrFollowerError

    play(story)


def test_a_follower_wakes_those_who_wait_and_shows_only_what_is_committed() -> None:
    async def story(cluster: Cluster) -> None:
        waiting = cluster.in_lane(2, cluster.brokers[2].replicas.fetch(asked(cluster, 0, "rack-2", 0, 30_000)))
        assert (await cluster.produce(1)).error is None
        found = only(await waiting)
        assert found.size_bytes > 0 and found.high_watermark == 1
        assert cluster.world.loop.time() < 20
        beyond = only(await cluster.fetch(2, asked(cluster, 7, "rack-2")))
        assert beyond.error is OffsetOutOfRangeError, "its reader goes back to the leader"
        assert only(await cluster.fetch(2, asked(cluster, 0, "rack-2", 9))).error is UnknownLeaderEpochError

    play(story, config=NEARBY)


@pytest.mark.parametrize(
    "offset, rack, isr, chosen",
    [
        (5, "b", (1, 2, 3), 3),  # the one of two in the rack that has more
        (5, "b", (1, 2), 2),  # the other is out of sync
        (9, "b", (1, 2, 3), 3),
        (11, "b", (1, 2, 3), None),  # nobody has it yet
        (1, "b", (1, 2, 3), 2),  # only one still has it
        (5, "a", (1, 2, 3), None),  # the leader's own rack
        (5, "c", (1, 2, 3), None),
        (5, "", (1, 2, 3), None),
    ],
)
def test_the_choice(offset: int, rack: str, isr: tuple[int, ...], chosen: int | None) -> None:
    leadership = Leadership(1, (1, 2, 3), isr, 0, 0, 0, 0)
    leadership.followers[2].fetched(8, 0, 10, 1, 0)
    leadership.followers[3].fetched(10, 4, 10, 1, 0)
    racks = {1: "a", 2: "b", 3: "b"}
    assert nearer_replica(leadership, offset, rack, racks.get) == chosen
