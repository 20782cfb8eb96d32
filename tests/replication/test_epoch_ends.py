"""What a leader says of where leader epochs end, also of its own while it has no record (KIP-101, KIP-320)."""

from broker.kafka.api import Request
from broker.kafka.messages import offset_for_leader_epoch as messages
from broker.kafka.offset_for_leader_epoch import OffsetForLeaderEpoch
from broker.kafka.schema import decode, encode
from broker.replication.fetch_types import Diverging, FetchedPartition, IsolationLevel, OffsetsQuery, OffsetTarget
from kraftpy.runtime.ports import Address
from tests.kafka.fake_replicas import join
from tests.replication.cluster import TOPIC, Cluster, play

NEWEST = messages.VERSION_MAX
UNKNOWN = (-1, -1)


async def led_in_epoch_two(cluster: Cluster) -> None:
    """Broker 1 leads in its third epoch; all five records are of the first."""
    await cluster.produce(1, count=5)
    for epoch in (1, 2):
        cluster.controller.change(leader=1)
        await cluster.until(lambda epoch=epoch: cluster.replica(1).state.leader_epoch == epoch)  # type: ignore[misc]


async def ends(cluster: Cluster, *epochs: int) -> list[tuple[int, int]]:
    """(epoch, end offset) as broker 1's door answers each of `epochs`."""
    partitions = tuple(messages.OffsetForLeaderPartition(partition=0, leader_epoch=epoch) for epoch in epochs)
    asked = messages.OffsetForLeaderEpochRequest(
        topics=(messages.OffsetForLeaderTopic(topic=TOPIC, partitions=partitions),)
    )
    body = memoryview(encode(asked, NEWEST, flexible=True))
    api = OffsetForLeaderEpoch(cluster.brokers[1].replicas).api()
    answer = join(await api.handler(Request(NEWEST, 1, "c", Address("127.0.0.1", 1), body)))
    (topic,) = decode(messages.OffsetForLeaderEpochResponse, answer, NEWEST, flexible=True).topics
    assert all(each.error == 0 for each in topic.partitions)
    return [(each.leader_epoch, each.end_offset) for each in topic.partitions]


async def fetched(cluster: Cluster, offset: int, last_fetched_epoch: int, node_id: int = 1) -> FetchedPartition:
    """What a consumer is answered that has read up to `offset`."""
    query = cluster.query(offset)
    target = query.partitions[0]._replace(last_fetched_epoch=last_fetched_epoch)
    (answer,) = (await cluster.fetch(node_id, query._replace(partitions=[target]))).partitions
    return answer


def test_kip_101_a_leaders_epoch_begins_before_its_first_record() -> None:
    async def story(cluster: Cluster) -> None:
        await led_in_epoch_two(cluster)
        assert await ends(cluster, -1, 0, 1, 2, 3) == [UNKNOWN, (0, 5), (0, 5), (2, 5), UNKNOWN]
        await cluster.produce(1, count=2)
        assert await ends(cluster, -1, 0, 1, 2, 3) == [UNKNOWN, (0, 5), (0, 5), (2, 7), UNKNOWN]
        cluster.controller.change(leader=1)
        await cluster.until(lambda: cluster.replica(1).state.leader_epoch == 3)
        assert await ends(cluster, 0, 1, 2, 3, 4) == [(0, 5), (0, 5), (2, 7), (3, 7), UNKNOWN]

    play(story)


def test_where_a_log_without_records_ends() -> None:
    async def story(cluster: Cluster) -> None:
        assert await ends(cluster, -1, 0, 1) == [UNKNOWN, (0, 0), UNKNOWN]
        await led_in_epoch_two(cluster)
        await cluster.until(lambda: cluster.replica(1).high_watermark == 5)
        cluster.replica(1).delete_records(5)
        assert await ends(cluster, 0, 1, 2, 3) == [(0, 5), (1, 5), (2, 5), UNKNOWN]

    play(story)


def test_kip_320_whoever_asked_for_the_end_knows_an_epoch_without_records() -> None:
    async def story(cluster: Cluster) -> None:
        await led_in_epoch_two(cluster)
        asked = OffsetsQuery(-1, IsolationLevel.READ_UNCOMMITTED, [OffsetTarget(TOPIC, 0, 2, -1)])
        await cluster.until(lambda: cluster.replica(1).high_watermark == 5)
        (latest,) = await cluster.brokers[1].replicas.list_offsets(asked)
        assert (latest.offset, latest.leader_epoch) == (5, 2)
        assert (await fetched(cluster, 5, 2)).diverging is None
        assert (await fetched(cluster, 6, 2)).diverging == Diverging(2, 5)
        assert (await fetched(cluster, 5, 1)).diverging == Diverging(0, 5), "it read what nobody here has"
        assert (await fetched(cluster, 5, 0)).diverging is None

    play(story)


def test_a_follower_has_records_of_every_epoch_that_it_names() -> None:
    async def story(cluster: Cluster) -> None:
        await led_in_epoch_two(cluster)
        query = cluster.query(5, replica_id=3, replica_epoch=cluster.controller.image.brokers[3].epoch)
        target = query.partitions[0]._replace(last_fetched_epoch=2, current_leader_epoch=2)
        (answer,) = (await cluster.fetch(1, query._replace(partitions=[target]))).partitions
        assert answer.diverging == Diverging(0, 5)

    play(story)
