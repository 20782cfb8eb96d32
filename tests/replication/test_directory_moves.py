"""Replicas move between the log directories of a broker (KIP-113), whatever happens meanwhile."""

import asyncio
import errno
from dataclasses import replace

import pytest

from broker.metadata.records import PartitionRecord, TopicRecord
from broker.replication.config import ReplicationConfig
from broker.replication.partition import Partition
from kraftpy.errors import InvalidRequestError, LogDirNotFoundError
from kraftpy.record import Record, encode_batch
from log_store.log import Log
from log_store.log_directory import LogDirectory
from simulation.device import CrashMode
from tests.replication.cluster import TOPIC, Cluster
from tests.replication.directories import (
    FIRST,
    SECOND,
    SMALL,
    four_partitions,
    hold_flushes,
    move,
    played,
    statuses,
    where,
)


def there_and_elsewhere(cluster: Cluster) -> tuple[str, str]:
    """Where the first partition lies on the first broker, and the other directory."""
    source = where(cluster, 1, 0)
    return source, SECOND if source == FIRST else FIRST


def test_kip_113_a_replica_moves_while_it_leads_and_is_written() -> None:
    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        source, target = there_and_elsewhere(cluster)
        for _ in range(30):
            await cluster.produce(1, 0, count=20)
        cluster.brokers[1].replicas.limit_moves(100_000)  # so that it takes a while
        await move(cluster, 1, 0, target)
        sent = 0
        while where(cluster, 1, 0) == source:
            assert (await cluster.produce(1, 0, count=3)).error is None
            sent += 1
        assert sent > 1
        assert (await cluster.produce(1, 0)).error is None
        await cluster.until(lambda: cluster.same_logs(1, 2, 3))
        device = cluster.world.device("n1")
        await cluster.until(lambda: not any(path.startswith(f"{source}/{TOPIC}-0/") for path, _ in device.files()))
        assert all(not replica.is_future for status in await statuses(cluster, 1) for replica in status.replicas)

    played(story)


@pytest.mark.parametrize("start_offset", [5, 7, 15, 19, 20])
def test_a_log_that_begins_inside_a_batch_moves_and_begins_there(start_offset: int) -> None:
    """DeleteRecords leaves it so; the copy has to begin with the whole batch, and shows no more of it than the log."""

    async def story(cluster: Cluster) -> None:
        replicas = cluster.brokers[1].replicas
        await four_partitions(cluster)
        source, target = there_and_elsewhere(cluster)
        await cluster.produce(1, 0, count=10)
        await cluster.produce(1, 0, count=5)
        await cluster.in_lane(1, replicas.delete_records(TOPIC, 0, start_offset, 5_000))
        before = cluster.log(1)
        await move(cluster, 1, 0, target)
        await cluster.until(lambda: where(cluster, 1, 0) == target)
        device = cluster.world.device("n1")
        await cluster.until(lambda: not any(path.startswith(f"{source}/{TOPIC}-0/") for path, _ in device.files()))
        log = cluster.replica(1).log
        assert (log.start_offset, log.end_offset, cluster.log(1)) == (start_offset, 20, before)

        cluster.crash(1, power=True)
        await cluster.start(1)
        await cluster.until(lambda: cluster.is_up(1) and bool(cluster.brokers[1].replicas.describe()))
        log = cluster.replica(1).log
        assert (log.start_offset, log.end_offset) == (start_offset, 20)

    played(story)


def test_a_follower_moves_too_and_stays_in_sync() -> None:
    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        target = SECOND if where(cluster, 2, 0) == FIRST else FIRST
        await move(cluster, 2, 0, target)
        while where(cluster, 2, 0) != target:
            assert (await cluster.produce(1, 0, count=3)).error is None
        assert cluster.in_sync(1, 2, 3)
        await cluster.until(lambda: cluster.same_logs(1, 2, 3))

    played(story)


@pytest.mark.parametrize("ends_late", [False, True])
def test_a_follower_that_waits_for_a_slow_flush_when_it_moves_goes_on_fetching(ends_late: bool) -> None:
    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        await cluster.until(lambda: cluster.same_logs(1, 2))
        source = where(cluster, 2, 0)
        target = SECOND if source == FIRST else FIRST
        beside = next(partition for partition in range(4) if where(cluster, 2, partition) == target)
        let_go = hold_flushes(cluster, 2, source)
        assert (await cluster.produce(1, 0, acks=1)).error is None
        await cluster.until(lambda: cluster.same_logs(1, 2))  # appended, and not flushed
        await move(cluster, 2, 0, target)
        await cluster.until(lambda: where(cluster, 2, 0) == target)
        if ends_late:
            let_go()
        for partition in (0, beside):
            assert (await cluster.produce(1, partition)).error is None
            assert cluster.in_sync(1, 2, 3, partition=partition)
        let_go()

    played(story)


@pytest.mark.parametrize("acks", [1, -1])
def test_who_waits_for_a_slow_flush_of_a_leader_that_moves_is_answered(acks: int) -> None:
    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        source, target = there_and_elsewhere(cluster)
        let_go = hold_flushes(cluster, 1, source)
        sent = asyncio.ensure_future(cluster.produce(1, 0, acks=acks))
        await cluster.until(lambda: all(cluster.same_logs(1, node) for node in (2, 3)))
        await move(cluster, 1, 0, target)
        await cluster.until(lambda: where(cluster, 1, 0) == target)
        assert (await sent).error is None
        let_go()

    played(story)


def test_a_move_is_shown_and_cancelled() -> None:
    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        source, target = there_and_elsewhere(cluster)
        await cluster.produce(1, 0, count=50)
        await move(cluster, 1, 0, target)
        await cluster.until(lambda: any("-future" in path for path, _ in cluster.world.device("n1").files()))
        futures = [
            (status.path, replica.partition)
            for status in await statuses(cluster, 1)
            for replica in status.replicas
            if replica.is_future
        ]
        assert futures == [(target, 0)]
        await move(cluster, 1, 0, source)
        await cluster.until(lambda: not any("-future" in path for path, _ in cluster.world.device("n1").files()))
        assert where(cluster, 1, 0) == source
        with pytest.raises(LogDirNotFoundError):
            await move(cluster, 1, 0, "/elsewhere")

    played(story, config=ReplicationConfig(alter_log_dirs_bytes_per_second=500))


def test_a_move_that_is_called_back_when_it_is_through_leaves_the_log_in_use_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        source, target = there_and_elsewhere(cluster)
        hosting, moves = cluster.brokers[1].replicas._hosting, cluster.brokers[1].replicas._moves
        switch, called_back = hosting.switch, asyncio.Event()

        def switched(partition: Partition, home: LogDirectory, log: Log) -> LogDirectory:
            left = switch(partition, home, log)
            if not called_back.is_set():
                called_back.set()
                moves.move(partition, source)  # it has not flushed the copy yet
            return left

        monkeypatch.setattr(hosting, "switch", switched)
        await move(cluster, 1, 0, target)
        await cluster.until(called_back.is_set)
        for _ in range(20):
            assert (await cluster.produce(1, 0)).error is None
        await cluster.until(lambda: where(cluster, 1, 0) == source)
        assert (await cluster.produce(1, 0)).error is None

    played(story)


def test_a_replica_stays_where_it_is_if_the_other_directory_fails_when_its_copy_has_arrived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That directory has told of its failure before: nobody would ever hear that this replica is offline, too."""

    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        source, target = there_and_elsewhere(cluster)
        others = [partition for partition in range(4) if where(cluster, 1, partition) == target]
        home = next(each for each in cluster.brokers[1].directories if each.path == target)
        arrive, moves = home.arrive, cluster.brokers[1].replicas._moves

        async def arrived(name: str, copy: Log, wall_ms: int) -> Log:
            log = await arrive(name, copy, wall_ms)
            home.fence.raise_for(OSError(errno.EIO, "Input/output error"), "appending another")
            return log

        monkeypatch.setattr(home, "arrive", arrived)
        await move(cluster, 1, 0, target)
        await cluster.until(lambda: home.failure is not None and not moves.under_way())
        assert all(cluster.replica(1, partition).is_offline for partition in others)
        assert where(cluster, 1, 0) == source and not cluster.replica(1, 0).is_offline
        assert (await cluster.produce(1, 0)).error is None

    played(story)


def test_a_log_whose_file_is_cut_off_does_not_move_and_the_broker_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even the header of one batch and what it tells of is there: the copy has nothing to go on with."""

    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        source, target = there_and_elsewhere(cluster)
        log, moves = cluster.replica(1, 0).log, cluster.brokers[1].replicas._moves
        read = log.read_bytes
        monkeypatch.setattr(log, "read_bytes", lambda *wanted: read(*wanted)[:70])
        await move(cluster, 1, 0, target)
        await cluster.until(lambda: not moves.under_way())
        assert f"does not move to {target}: {TOPIC}-0 has no whole batch from 0" in caplog.text
        assert where(cluster, 1, 0) == source
        assert (await cluster.produce(1, 0)).error is None
        await cluster.until(lambda: not any("-future" in path for path, _ in cluster.world.device("n1").files()))

    played(story)


def test_a_name_too_long_for_a_copy_is_refused() -> None:
    async def story(cluster: Cluster) -> None:
        topic_id = cluster.controller.next_id()
        cluster.controller.commit(
            TopicRecord("t" * 230, topic_id), PartitionRecord(topic_id, 0, (1, 2, 3), (1, 2, 3), 1, 0, 0)
        )
        replicas = cluster.brokers[1].replicas
        await cluster.until(lambda: any(each.topic == "t" * 230 for each in replicas.describe()))
        for target in (FIRST, SECOND):
            with pytest.raises(InvalidRequestError, match="too long a name"):
                replicas.move_replica("t" * 230, 0, target)
        assert [status.error for status in await statuses(cluster, 1)] == ["", ""]

    played(story)


def test_a_slow_move_ends_with_its_node() -> None:
    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        await cluster.produce(1, 0, count=50)
        await move(cluster, 1, 0, SECOND if where(cluster, 1, 0) == FIRST else FIRST)
        await cluster.until(lambda: any("-future" in path for path, _ in cluster.world.device("n1").files()))
        began_s = asyncio.get_running_loop().time()
        await cluster.in_lane(1, cluster.brokers[1].replicas._moves.stop())
        assert asyncio.get_running_loop().time() - began_s < 1

    played(story, config=ReplicationConfig(alter_log_dirs_bytes_per_second=10))


def test_a_log_that_was_compacted_once_moves_with_its_gaps() -> None:
    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        for node in (2, 3):
            cluster.crash(node)
            cluster.controller.fence(node)
        log = cluster.replica(1, 0).log
        gap = encode_batch([Record(0, 1_000, b"k", b"v", ())], base_offset=log.end_offset + 7, leader_epoch=0)
        log.reconfigure(replace(SMALL, cleanup_policy="compact"))
        log.append_replicated(gap, leader_epoch=0, wall_ms=1_000)
        log.reconfigure(SMALL)  # it deletes from now on, and has a gap
        before = cluster.log(1)
        target = SECOND if where(cluster, 1, 0) == FIRST else FIRST
        await move(cluster, 1, 0, target)
        await cluster.until(lambda: where(cluster, 1, 0) == target)
        assert cluster.log(1) == before
        assert cluster.replica(1, 0).log.config == SMALL

    played(story)


def test_a_topic_that_is_deleted_in_the_middle_of_a_move_leaves_nothing() -> None:
    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        await move(cluster, 1, 0, SECOND if where(cluster, 1, 0) == FIRST else FIRST)
        await cluster.until(lambda: any("-future" in path for path, _ in cluster.world.device("n1").files()))
        cluster.controller.delete_topic()
        await cluster.until(lambda: not any(TOPIC in path for path, _ in cluster.world.device("n1").files()), 200_000)

    played(story, config=ReplicationConfig(alter_log_dirs_bytes_per_second=500))


def test_a_move_survives_a_crash_at_any_point() -> None:
    places: list[bool] = []  # whether the next life found the replica moved
    for seed in range(40):
        crash_in_a_move(seed, places)
    assert len(places) == 40 and {True, False} == {*places}, "crashes before and after the switch"


def crash_in_a_move(seed: int, places: list[bool]) -> None:
    """Alone in sync: whatever was acknowledged must be in the one log that the next life takes for the replica."""

    async def story(cluster: Cluster) -> None:
        await four_partitions(cluster)
        for node in (2, 3):
            cluster.crash(node)
            cluster.controller.fence(node)
        _, target = there_and_elsewhere(cluster)
        acknowledged = [(await cluster.produce(1, 0, count=40, acks=1)).base_offset + 40]
        cluster.world.crash_at_disk_operation("n1", 1 + seed * 4)
        replicas = cluster.brokers[1].replicas

        async def move_and_write() -> None:
            replicas.move_replica(TOPIC, 0, target)
            for _ in range(60):
                produced = (await replicas.produce([(TOPIC, 0, cluster.batch())], 1, 300))[0]
                if produced.error is None:
                    acknowledged.append(produced.base_offset + 1)

        writing = cluster.in_lane(1, move_and_write())
        await cluster.until(lambda: writing.done() or not cluster.world.is_alive("n1"))
        if cluster.world.is_alive("n1"):
            cluster.world.crash("n1", power=True, disk=CrashMode.LOST)
        cluster.brokers.pop(1)
        cluster.controller.fence(1)
        await cluster.start(1)
        await cluster.until(lambda: len(cluster.brokers[1].replicas.describe()) == 4)
        await cluster.until(lambda: cluster.replica(1, 0).is_leader)
        assert cluster.replica(1, 0).log.end_offset >= acknowledged[-1]
        assert [record.offset for record in cluster.log(1)] == list(range(cluster.replica(1, 0).log.end_offset))
        await cluster.until(lambda: sum(f"{TOPIC}-0" in each.logs for each in cluster.brokers[1].directories) == 1)
        places.append(where(cluster, 1, 0) == target)

    played(story, seed)
