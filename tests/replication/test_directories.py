"""Several log directories: one fails alone, replicas move, and what is missing is never taken for empty."""

import asyncio
import errno
from typing import Any

import pytest

from broker.metadata.effective import log_config_fields
from broker.metadata.image import MetadataImage
from broker.metadata.records import PartitionRecord, TopicRecord, broker_resource
from broker.metadata.state import Standing
from broker.replication.config import ReplicationConfig
from kraftpy.errors import KafkaStorageError
from log_store.log import Log
from simulation.device import DiskFault
from tests.replication.cluster import TOPIC, Cluster
from tests.replication.directories import (
    FIRST,
    SECOND,
    four_partitions,
    move,
    played,
    remove,
    statuses,
    where,
)

# --- one directory fails ---------------------------------------------------------------------------------------------


def test_new_partitions_go_where_the_fewest_are() -> None:
    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        assert [where(cluster, 1, partition) for partition in range(4)].count(FIRST) == 2
        first, second = await statuses(cluster, 1)
        assert [len(first.replicas), len(second.replicas)] == [2, 2]
        assert (first.error, first.total_bytes > first.usable_bytes > 0) == ("", True)

    played(story)


def test_kip_112_one_directory_fails_alone() -> None:
    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        cluster.world.device("n1").arm(DiskFault.SYNC_FAILURE, SECOND)
        gone = [partition for partition in range(4) if where(cluster, 1, partition) == SECOND]
        kept = [partition for partition in range(4) if where(cluster, 1, partition) == FIRST]
        assert isinstance((await cluster.produce(1, gone[0], acks=1)).error, KafkaStorageError)
        await cluster.until(lambda: all(cluster.leader(partition) == 2 for partition in gone))
        await cluster.until(lambda: all(cluster.replica(2, partition).is_leader for partition in gone))
        for partition in gone:
            assert (await cluster.produce(2, partition)).error is None
        for partition in kept:
            assert (await cluster.produce(1, partition)).error is None
            assert cluster.leader(partition) == 1
        first, second = await statuses(cluster, 1)
        assert not first.error and second.error and not second.replicas
        assert [sorted(told) for _, told in cluster.controller.reports] == [
            sorted(cluster.replica(1, partition).key for partition in gone)
        ]

    played(story)


@pytest.mark.parametrize("failure", [errno.EIO, errno.EMFILE])
def test_retention_goes_on_where_one_log_does_not_let_it(monkeypatch: pytest.MonkeyPatch, failure: int) -> None:
    """A sector that cannot be read is looked into; that a descriptor lacked says nothing of the log."""
    asked: list[int] = []

    def fails(wall_ms: int, high_watermark: int) -> int:
        asked.append(wall_ms)
        raise KafkaStorageError("it could not be read") from OSError(failure, "planted")

    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        log = cluster.replica(1, 0).log
        monkeypatch.setattr(log, "enforce_retention", fails)
        suspected: list[tuple[Log, int | None]] = []
        cluster.brokers[1].replicas.on_suspicion = lambda *who: suspected.append(who)
        await cluster.until(lambda: len(asked) > 2)
        assert suspected[:1] == ([(log, None)] if failure == errno.EIO else [])
        for partition in range(4):
            assert (await cluster.produce(1, partition)).error is None

    played(story, config=ReplicationConfig(retention_check_interval_ms=1_000))


@pytest.mark.parametrize("failure", [errno.EIO, errno.EMFILE])
def test_a_reader_that_finds_a_sector_unreadable_has_it_looked_into(
    monkeypatch: pytest.MonkeyPatch, failure: int
) -> None:
    """And one for whom a descriptor lacks does not: every segment would be read again, and needs descriptors."""

    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        log = cluster.replica(1, 0).log
        suspected: list[tuple[Log, int | None]] = []
        cluster.brokers[1].replicas.on_suspicion = lambda *who: suspected.append(who)

        def fails(*_: object, **__: object) -> None:
            with log.reading("reading"):
                raise OSError(failure, "planted")

        monkeypatch.setattr(log, "read", fails)
        answer = await cluster.fetch(1, cluster.query(2))
        assert answer.partitions[0].error is KafkaStorageError
        assert suspected == ([(log, 2)] if failure == errno.EIO else [])

    played(story)


def test_a_fetch_of_what_is_offline_has_nothing_looked_into() -> None:
    """On a device that hangs, the one who reads again would hang with it."""

    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        replicas, partition = cluster.brokers[1].replicas, cluster.replica(1, 0)
        suspected: list[tuple[Log, int | None]] = []
        replicas.on_suspicion = lambda *who: suspected.append(who)
        dict(replicas.with_homes())[partition].fence.raise_for(OSError(errno.EIO, "planted"), "flushing")
        assert partition.is_offline
        answer = await cluster.fetch(1, cluster.query(2))
        assert answer.partitions[0].error is KafkaStorageError
        assert not suspected
        replicas.suspected(partition, None)  # whoever noticed before it was offline
        assert not suspected

    played(story)


@pytest.mark.parametrize("fault", [DiskFault.SYNC_FAILURE, DiskFault.FULL])
def test_kip_112_nobody_waits_for_a_follower_whose_directory_failed(fault: DiskFault) -> None:
    """It had everything when it failed, and its node lives: it looks like one that is about to join."""

    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        gone = [partition for partition in range(4) if where(cluster, 3, partition) == SECOND]
        cluster.world.device("n3").arm(fault, SECOND)
        for _ in range(40):  # until the segment needs more room
            for partition in gone:
                began_s = asyncio.get_running_loop().time()
                assert (await cluster.produce(1, partition, count=20)).error is None
                assert asyncio.get_running_loop().time() - began_s < 0.5
        assert all(cluster.in_sync(1, 2, partition=partition) for partition in gone)
        (fetcher,) = cluster.brokers[3].replicas._fetchers._fetchers.values()
        assert not {*fetcher._changed, *fetcher._unflushed} - {*fetcher._followings}
        before = fetcher._fetches_sent
        await asyncio.sleep(2)
        assert fetcher._fetches_sent - before < 20, "asked for again and again, and nobody takes what comes"

    played(story)


def test_a_setting_that_is_no_topics_costs_topics_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def fields(image: MetadataImage, topic: str, *more: Any) -> dict[str, Any]:
        made.append(topic)
        return dict(log_config_fields(image, topic, *more))

    async def story(cluster: Cluster) -> None:
        for number in range(5):
            topic_id = cluster.controller.next_id()
            cluster.controller.commit(
                TopicRecord(f"t{number}", topic_id), PartitionRecord(topic_id, 0, (1,), (1,), 1, 0, 0)
            )
        await cluster.until(lambda: len(cluster.brokers[1].replicas.describe()) == 6)  # one was there before
        del cluster.brokers[1].replicas._hosting._config_of  # the one that gives every log the test's own settings
        monkeypatch.setattr("broker.replication.hosting.log_config_fields", fields)
        cluster.controller.configure(broker_resource(1), "leader.replication.throttled.rate", "1000000")
        await asyncio.sleep(1)
        assert made == []
        cluster.controller.configure(broker_resource(1), "log.retention.ms", "77000")
        log = cluster.brokers[1].replicas._finder.by_name("t3", 0).log
        await cluster.until(lambda: log.config.retention_ms == 77_000)
        assert len(made) <= 2  # those that set nothing share theirs

    played(story)


def test_after_a_restart_the_failed_directory_serves_again() -> None:
    """A full disk that is freed: the fence comes down with the next life, after recovery."""

    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        gone = [partition for partition in range(4) if where(cluster, 1, partition) == SECOND]
        cluster.world.device("n1").arm(DiskFault.FULL, SECOND, times=3)
        for _ in range(40):  # until the segment needs more room
            if isinstance((await cluster.produce(1, gone[0], count=20)).error, KafkaStorageError):
                break
        await cluster.until(lambda: cluster.leader(gone[0]) == 2)
        cluster.world.device("n1").disarm()
        await cluster.stop(1)
        await cluster.start(1)
        await cluster.until(lambda: all(cluster.in_sync(1, 2, 3, partition=partition) for partition in range(4)))
        await cluster.until(lambda: cluster.same_logs(1, 2, 3, partition=gone[0]))

    played(story)


def test_a_directory_that_cannot_be_opened_leaves_its_replicas_offline_and_the_rest_serves() -> None:
    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        gone = [partition for partition in range(4) if where(cluster, 1, partition) == SECOND]
        await cluster.stop(1)
        cluster.controller.fence(1)
        cluster.unusable[1] = {SECOND: "Read-only file system"}
        await cluster.start(1)
        keys = [cluster.replica(2, partition).key for partition in gone]
        await cluster.until(lambda: any(told for broker, told in cluster.controller.reports if broker == 1))
        assert cluster.controller.reports[-1] == (1, dict.fromkeys(keys, Standing.OFFLINE))
        assert [each.partition for each in cluster.brokers[1].replicas.describe()] == [
            partition for partition in range(4) if partition not in gone
        ], "they are not made anew in the other directory"
        last = (await statuses(cluster, 1))[-1]
        assert (last.path, last.error, last.directory_id) == (SECOND, "Read-only file system", None)
        await cluster.stop(1)
        cluster.controller.fence(1)
        cluster.unusable.clear()
        await cluster.start(1)
        await cluster.until(lambda: all(cluster.in_sync(1, 2, 3, partition=partition) for partition in range(4)))

    played(story)


async def copied_into_the_first(cluster: Cluster) -> None:
    """Node 1 has lost its second directory, and all that was there is made anew."""
    await cluster.stop(1)
    cluster.controller.fence(1)
    cluster.log_dirs = (FIRST,)
    await cluster.start(1)
    await cluster.until(lambda: all(cluster.in_sync(1, 2, 3, partition=partition) for partition in range(4)))
    await cluster.until(lambda: all(cluster.same_logs(1, 2, 3, partition=partition) for partition in range(4)))


def test_a_directory_that_left_log_dirs_for_good_is_copied_anew_into_the_others() -> None:
    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        await copied_into_the_first(cluster)

    played(story)


def test_what_was_copied_anew_does_not_belong_to_the_directory_that_it_was_lost_with() -> None:
    """Another directory cannot be read at the next start, and could be taken for the one that is gone."""

    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        await copied_into_the_first(cluster)
        told = len(cluster.controller.reports)
        await cluster.stop(1)
        cluster.controller.fence(1)
        cluster.log_dirs = (FIRST, "/third")
        cluster.unusable[1] = {"/third": "Input/output error"}
        await cluster.start(1)
        await cluster.until(lambda: all(cluster.in_sync(1, 2, 3, partition=partition) for partition in range(4)))
        assert Standing.OFFLINE not in [
            standing for _, news in cluster.controller.reports[told:] for standing in news.values()
        ]

    played(story)


def test_a_directory_that_was_emptied_may_fail_at_once() -> None:
    """Nothing is written after the move, so no flush has the inventory written either."""

    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        partition = next(partition for partition in range(4) if where(cluster, 1, partition) == SECOND)
        await cluster.until(lambda: cluster.same_logs(1, 2, 3, partition=partition))
        await move(cluster, 1, partition, FIRST)
        await cluster.until(lambda: where(cluster, 1, partition) == FIRST)
        await cluster.until(lambda: f"{TOPIC}-{partition}" not in cluster.brokers[1].directories[1].logs)
        await cluster.stop(1)
        cluster.controller.fence(1)
        cluster.unusable[1] = {SECOND: "Input/output error"}
        await cluster.start(1)
        await cluster.until(lambda: any(told for broker, told in cluster.controller.reports if broker == 1))
        assert [each.partition for each in cluster.brokers[1].replicas.describe()].count(partition) == 1
        await cluster.until(lambda: cluster.in_sync(1, 2, 3, partition=partition))

    played(story)


# --- what is missing -------------------------------------------------------------------------------------------------


def test_an_operators_rm_rf_under_a_stopped_node_ends_in_re_replication() -> None:
    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        path = cluster.replica(1, 2).log.directory
        await cluster.stop(1)
        cluster.controller.fence(1)
        remove(cluster, 1, path)
        await cluster.start(1)
        await cluster.until(lambda: cluster.in_sync(1, 2, 3, partition=2))
        await cluster.until(lambda: cluster.same_logs(1, 2, 3, partition=2))

    played(story)


@pytest.mark.parametrize("power", [False, True])
def test_a_replica_that_is_missing_never_leads_empty_as_the_last_in_sync(power: bool) -> None:
    """All went down, 1 last; its copy was removed meanwhile. Nobody may lead before 2 or 3 is let to, uncleanly."""

    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        path = cluster.replica(1, 2).log.directory
        key = cluster.replica(1, 2).key
        for node in (3, 2):
            cluster.crash(node, power=power)
            cluster.controller.fence(node)
        cluster.crash(1, power=power)
        cluster.controller.fence(1)
        assert cluster.controller.state(2).isr == (1,)
        remove(cluster, 1, path)
        await cluster.start(1)
        await cluster.until(lambda: (1, {key: Standing.LOST}) in cluster.controller.reports)
        assert cluster.controller.state(2).isr == ()
        assert cluster.leader(2) == -1
        assert cluster.leader(0) == 1, "the others are there"
        await cluster.until(lambda: len(cluster.brokers[1].replicas.describe()) == 4)
        assert not cluster.replica(1, 2).is_leader and cluster.replica(1, 2).log.end_offset == 0

    played(story)


def test_a_partition_that_was_never_made_is_made() -> None:
    """Its broker died between the creation and the first file: there is nothing to have lost."""

    async def story(cluster: Cluster) -> None:
        cluster.crash(1)
        cluster.controller.fence(1)
        topic_id = cluster.controller.next_id()
        cluster.controller.commit(TopicRecord("late", topic_id), PartitionRecord(topic_id, 0, (1,), (1,), -1, 0, 0))
        await cluster.start(1)
        replicas = cluster.brokers[1].replicas
        await cluster.until(lambda: any(each.topic == "late" and each.is_leader for each in replicas.describe()))
        assert not cluster.controller.reports

    played(story)


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("after_ms", range(8))
def test_one_that_dies_while_its_first_record_is_on_the_way_is_not_taken_for_a_lost_one(
    after_ms: int, power: bool
) -> None:
    """The only replica: were it listed before it is on the disk, nobody could ever lead it again."""

    async def story(cluster: Cluster) -> None:
        cluster.controller.delete_topic()
        topic_id = cluster.controller.next_id()
        cluster.controller.commit(
            TopicRecord(TOPIC, topic_id),
            PartitionRecord(topic_id, 0, (1,), (1,), 1, 0, 0),
            PartitionRecord(topic_id, 1, (1,), (1,), 1, 0, 0),
        )

        def leads_both() -> bool:
            led = [each for each in cluster.brokers[1].replicas.describe() if each.is_leader]
            return [each.topic_id for each in led] == [topic_id, topic_id]

        await cluster.until(leads_both)
        assert (await cluster.produce(1, 0)).error is None
        sent = asyncio.ensure_future(cluster.produce(1, 1))
        await asyncio.sleep(after_ms / 4_000)
        cluster.crash(1, power=power)
        acknowledged = sent.done() and sent.exception() is None and sent.result().error is None
        cluster.controller.fence(1)
        await cluster.start(1)
        await cluster.until(leads_both)
        assert cluster.replica(1, 0).log.end_offset == 1
        assert cluster.replica(1, 1).log.end_offset in ((1,) if acknowledged else (0, 1))
        assert not cluster.controller.reports

    played(story)
