"""Brokers and the files of their replicas: made, deleted, failed, damaged, and found again after a stop."""

import asyncio
from uuid import UUID

import pytest

from broker.metadata.records import (
    PartitionChangeRecord,
    PartitionRecord,
    RemoveTopicRecord,
    TopicRecord,
)
from broker.metadata.state import PartitionKey, Standing
from broker.replication.assignments import CHANGES_PER_TURN
from kraftpy.errors import (
    KafkaStorageError,
    NotLeaderOrFollowerError,
    UnknownTopicIdError,
)
from log_store.config import LogConfig
from log_store.file_names import INVENTORY
from log_store.partition_metadata import topic_id_in
from simulation.device import CrashMode, DiskFault
from simulation.disk import SimulatedDisk
from tests.replication.cluster import TOPIC, Cluster, play


def test_a_deleted_topic_frees_its_files_also_where_a_node_was_down() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1)
        cluster.crash(3)
        parked = asyncio.create_task(cluster.fetch(1, cluster.query(1, max_wait_ms=60_000)))
        await asyncio.sleep(0.1)
        cluster.controller.delete_topic()
        answer = await parked
        assert answer.partitions[0].error is UnknownTopicIdError
        await cluster.start(3)
        await cluster.until(lambda: not any(cluster.brokers[node].directories[0].logs for node in (1, 2, 3)))
        cluster.controller.create_topic()
        await cluster.until(lambda: all(cluster.brokers[node].replicas.describe() for node in (1, 2, 3)))
        assert (await cluster.produce(1)).base_offset == 0

    play(story)


def test_many_new_partitions_are_opened_in_turns_with_everything_else() -> None:
    async def story(cluster: Cluster) -> None:
        replicas = cluster.brokers[1].replicas
        partitions = 3 * CHANGES_PER_TURN + 1
        topic_id = UUID(int=77)
        records = [PartitionRecord(topic_id, index, (1,), (1,), 1, 0, 0) for index in range(partitions)]
        image, delta = cluster.controller.image.apply([TopicRecord("many", topic_id), *records], 1_000, 1)

        async def apply() -> None:
            replicas.apply(image, delta)
            assert len(replicas.describe()) == 1 + CHANGES_PER_TURN
            with pytest.raises(NotLeaderOrFollowerError, match="still opening"):
                replicas.partition("many", partitions - 1)
            image_after, deletion = image.apply([RemoveTopicRecord(topic_id)], 1_001, 1)
            replicas.apply(image_after, deletion)  # stands behind the rest of them

        await cluster.in_lane(1, apply())
        await cluster.until(lambda: len(replicas.describe()) == 1)
        assert not any(name.startswith("many") for name in cluster.brokers[1].directories[0].logs)
        assert (await cluster.produce(1)).error is None

    play(story)


def test_a_topic_made_anew_while_a_node_was_down_does_not_get_the_old_log() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=3)
        cluster.crash(3)
        cluster.controller.fence(3)
        cluster.controller.delete_topic()
        cluster.controller.create_topic()
        await cluster.until(lambda: [each.log_end_offset for each in cluster.brokers[1].replicas.describe()] == [0])
        await cluster.start(3)
        assert (await cluster.produce(1)).base_offset == 0
        await cluster.until(lambda: cluster.in_sync(1, 2, 3))
        assert cluster.same_logs(1, 2, 3)

    play(story)


@pytest.mark.parametrize("start", [10, 8], ids=["between batches", "inside a batch"])
def test_a_follower_that_was_away_longer_than_the_log_is_kept_starts_where_the_log_starts(start: int) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=2)
        cluster.crash(3)
        cluster.controller.fence(3)
        for _ in range(3):
            await cluster.produce(1, count=4)
        await cluster.in_lane(1, cluster.brokers[1].replicas.delete_records(TOPIC, 0, start, 10_000))
        await cluster.start(3)
        await cluster.until(lambda: cluster.in_sync(1, 2, 3))
        await cluster.until(lambda: all(cluster.replica(node).log.start_offset == start for node in (1, 2, 3)))
        assert cluster.same_logs(1, 2, 3)

    play(story)


def test_a_disk_that_fails_takes_its_partitions_offline_and_nothing_is_acknowledged() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1)
        cluster.world.device("n1").arm(DiskFault.SYNC_FAILURE)
        produced = await cluster.produce(1, acks=1)
        assert isinstance(produced.error, KafkaStorageError)
        replicas = cluster.brokers[1].replicas
        assert replicas.failed_directory_ids == (UUID(int=1),)
        assert replicas.describe()[0].is_offline
        assert isinstance((await cluster.produce(1)).error, KafkaStorageError)
        assert (await cluster.fetch(1, cluster.query(0))).partitions[0].error is KafkaStorageError
        cluster.controller.fence(1)
        await cluster.until(lambda: cluster.replica(2).is_leader)
        assert (await cluster.produce(2)).error is None

    play(story)


def test_all_lose_power_and_what_was_acknowledged_is_there() -> None:
    async def story(cluster: Cluster) -> None:
        for _ in range(4):
            assert (await cluster.produce(1, count=3)).error is None
        for node in (1, 2, 3):
            cluster.world.crash(f"n{node}", power=True, disk=CrashMode.LOST)
            cluster.brokers.pop(node)
        await cluster.start(3, 2, 1)
        await cluster.until(lambda: cluster.leader() > 0 and cluster.in_sync(1, 2, 3))
        assert (await cluster.produce(cluster.leader())).base_offset == 12
        await cluster.until(lambda: cluster.same_logs(1, 2, 3))

    play(story)


def test_a_clean_stop_and_start_goes_on_where_it_was() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.produce(1, count=3)
        await cluster.until(lambda: cluster.replica(2).high_watermark == 3)
        await cluster.stop(2)
        await cluster.start(2)
        assert cluster.brokers[2].directories[0].was_clean
        assert cluster.brokers[2].directories[0].high_watermarks[f"{TOPIC}-0"] == 3
        assert (await cluster.produce(1)).error is None

    play(story)


def test_a_damaged_log_is_copied_anew_once_its_replica_is_not_in_sync() -> None:
    async def story(cluster: Cluster) -> None:
        for _ in range(40):
            await cluster.produce(1, count=3)
        assert len(cluster.replica(3).log.segments) > 2
        cluster.crash(3)
        cluster.world.device("n3").flip_bit(f"/data/{TOPIC}-0/partition.metadata", 0)
        await cluster.start(3)
        replicas = cluster.brokers[3].replicas
        assert list(cluster.brokers[3].directories[0].failed_logs) == [f"{TOPIC}-0"]
        key = cluster.replica(1).key
        await cluster.until(lambda: (3, {key: Standing.OFFLINE}) in cluster.controller.reports)
        assert (await cluster.produce(1, timeout_ms=60_000)).error is None
        await cluster.until(lambda: cluster.in_sync(1, 2, 3))
        assert (3, {key: Standing.ONLINE}) in cluster.controller.reports
        assert not replicas.availability.is_offline(key)
        assert cluster.same_logs(1, 2, 3)

    play(story, log_config=LogConfig(segment_bytes=1_500))


def test_a_damaged_log_that_is_eligible_is_given_up_where_another_leads() -> None:
    """Else a set that needs it (KIP-966) would stay too small until somebody looks."""

    async def story(cluster: Cluster) -> None:
        for _ in range(40):
            await cluster.produce(1, count=3)
        cluster.crash(3)
        cluster.controller.fence(3)
        topic_id = cluster.controller.image.topic_ids[TOPIC]
        cluster.controller.commit(PartitionChangeRecord(topic_id, 0, isr=(1,), eligible_replicas=(2, 3)))
        cluster.world.device("n3").flip_bit(f"/data/{TOPIC}-0/partition.metadata", 0)
        await cluster.start(3)
        key = cluster.replica(1).key
        await cluster.until(lambda: (3, {key: Standing.LOST}) in cluster.controller.reports)
        await cluster.until(lambda: cluster.in_sync(1, 2, 3))
        assert cluster.same_logs(1, 2, 3)

    play(story, log_config=LogConfig(segment_bytes=1_500))


async def alone_on_3(cluster: Cluster) -> str:
    """Two partitions that only broker 3 holds, with a record each; the directory of the first."""
    cluster.controller.delete_topic()
    cluster.controller.create_topic(partitions=2, replicas=(3,), min_isr=1)
    await led_by_3(cluster, 0, 1)
    for partition in (0, 1):
        assert (await cluster.produce(3, partition)).error is None
    return f"/data/{TOPIC}-0"


async def led_by_3(cluster: Cluster, *partitions: int) -> None:
    topic_id = cluster.controller.image.topic_ids[TOPIC]

    def leads_them() -> bool:
        held = {each.key: each for each in cluster.brokers[3].replicas.partitions()}
        return all((each := held.get(PartitionKey(topic_id, number))) and each.is_leader for number in partitions)

    await cluster.until(leads_them)


@pytest.mark.parametrize("is_away", [False, True])
@pytest.mark.parametrize("file", ["partition.metadata", "00000000000000000000.log"])
def test_a_damaged_log_goes_with_its_topic_and_is_not_that_of_the_next_one(file: str, is_away: bool) -> None:
    """The only replica: for its last records an operator may look, but not once nobody wants them."""

    async def story(cluster: Cluster) -> None:
        controller = cluster.controller
        path = await alone_on_3(cluster)
        key = cluster.replica(3).key
        cluster.crash(3)
        if file == "partition.metadata":
            cluster.world.device("n3").flip_bit(f"{path}/{file}", 0)  # whose it is cannot be read, either
        else:
            cluster.world.device("n3").arm(DiskFault.READ_ERROR, f"{path}/{file}")
        if is_away:
            controller.delete_topic()
            controller.create_topic(replicas=(3,), min_isr=1)
        await cluster.start(3)
        if not is_away:
            await cluster.until(lambda: (3, {key: Standing.OFFLINE}) in controller.reports)
            assert list(cluster.brokers[3].directories[0].failed_logs) == [f"{TOPIC}-0"]
            controller.delete_topic()
            await cluster.until(lambda: not cluster.brokers[3].directories[0].failed_logs)
            controller.create_topic(replicas=(3,), min_isr=1)
        await led_by_3(cluster, 0)
        produced = await cluster.produce(3)
        assert (produced.error, produced.base_offset) == (None, 0)

    play(story)


@pytest.mark.parametrize("stop", ["clean", "kill", "power"])
@pytest.mark.parametrize("is_missing", [False, True])
def test_a_log_whose_id_is_lost_is_its_topics_where_the_inventory_says_so(is_missing: bool, stop: str) -> None:
    """The only replica. A new log of which nothing ever counted may look like it, and nothing of that is kept."""

    async def story(cluster: Cluster) -> None:
        metadata = f"{await alone_on_3(cluster)}/partition.metadata"
        topic_id = cluster.controller.image.topic_ids[TOPIC]
        if stop == "clean":
            await cluster.stop(3)
        else:
            cluster.crash(3, power=stop == "power")
        disk = SimulatedDisk(cluster.world.device("n3"))
        if is_missing:
            disk.remove(metadata)
        else:
            disk.open(metadata).truncate(0)
        await cluster.start(3)
        await led_by_3(cluster, 0)
        produced = await cluster.produce(3)
        assert (produced.error, produced.base_offset) == (None, 1)
        assert topic_id_in(disk, f"/data/{TOPIC}-0") == topic_id

    play(story)


def test_a_damaged_log_of_which_nothing_tells_whose_it_is_stays_for_an_operator() -> None:
    """Neither its id can be read nor the inventory, which is written anew: the next life knows of it, too."""

    async def story(cluster: Cluster) -> None:
        path = await alone_on_3(cluster)
        key = cluster.replica(3).key
        cluster.crash(3)
        cluster.world.device("n3").flip_bit(f"{path}/partition.metadata", 0)
        cluster.world.device("n3").flip_bit(f"/data/{INVENTORY}", 0)
        for _ in range(2):
            cluster.controller.reports.clear()
            await cluster.start(3)
            await cluster.until(lambda: (3, {key: Standing.OFFLINE}) in cluster.controller.reports)
            assert list(cluster.brokers[3].directories[0].failed_logs) == [f"{TOPIC}-0"]
            await led_by_3(cluster, 1)
            assert (await cluster.produce(3, 1)).error is None
            cluster.crash(3)
        assert any(name.startswith(path) for name, _ in cluster.world.device("n3").files())

    play(story)
