"""Disks that change what they hold, one replica of three at a time, with the scrub at work.

python -m simulation.run --scenario bit-rot --seed 1 --seeds 100
"""

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from broker.maintenance.config import ScrubConfig
from broker.metadata.state import PartitionState
from kraftpy.aio import Admin, Consumer
from kraftpy.client.values import TopicPartition
from kraftpy.errors import CorruptRecordError
from kraftpy.record import Record, decode_batches, encode_batch
from simulation import rot
from simulation.checkers.replicas import written
from simulation.cluster import DATA, Cluster, ClusterConfig
from simulation.device import SECTOR_BYTES, Device
from simulation.disk import SimulatedDisk
from simulation.rot import Damaged
from simulation.scenario import run_scenario
from simulation.scenarios.compaction import COMPACTING, SETTINGS, CompactedCluster
from simulation.world import Life, World, WorldConfig


@pytest.mark.parametrize("seed", [6])
def test_nothing_is_lost_and_everything_is_whole_in_the_end(seed: int) -> None:
    report = run_scenario("bit-rot", seed)
    assert report.ok, str(report)
    assert "damaged: nothing" not in report.summary


def test_a_bad_sector_cannot_be_read_until_it_is_written() -> None:
    device = Device(Random(1))
    disk = SimulatedDisk(device)
    file = disk.open("/f", create=True)
    file.write([bytes(4 * SECTOR_BYTES)], 0)
    assert device.spoil("/f", SECTOR_BYTES + 7) == SECTOR_BYTES
    assert len(file.read(SECTOR_BYTES, 0)) == SECTOR_BYTES
    with pytest.raises(OSError, match="Input/output"):
        file.read(2, SECTOR_BYTES - 1)
    with pytest.raises(OSError, match="Input/output"):
        disk.read_bytes("/f")
    file.write([bytes(SECTOR_BYTES)], SECTOR_BYTES)
    assert len(disk.read_bytes("/f")) == 4 * SECTOR_BYTES


def test_a_file_that_is_cut_before_a_bad_sector_has_it_no_more() -> None:
    """As a segment that gives back the room behind its batches."""
    device = Device(Random(1))
    disk = SimulatedDisk(device)
    disk.open("/f", create=True).write([bytes(10 * SECTOR_BYTES)], 0)
    device.spoil("/f", 9 * SECTOR_BYTES)
    device.spoil("/f", SECTOR_BYTES)
    disk.open("/f").truncate(2 * SECTOR_BYTES)
    assert list(device.file("/f").spoilt) == [1]


def test_a_block_is_put_where_it_does_not_belong_and_survives_a_crash() -> None:
    device = Device(Random(1))
    disk = SimulatedDisk(device)
    file = disk.open("/f", create=True)
    file.write([bytes(1000)], 0)
    device.replace_block("/f", 900, b"x" * SECTOR_BYTES)
    assert file.read(2000, 0) == bytes(900) + b"x" * 100, "the length stays"
    assert bytes(device.file("/f").durable) == bytes(900) + b"x" * 100


def test_disks_rot_in_clusters_of_any_shape_beside_everything_else() -> None:
    """What the operator of `kraftpy simulate` lets rot is mended, and only one replica of three at a time is hurt."""
    report = run_scenario("simulate:nodes=3,minutes=1,workload=log,faults=flipped-bit+stale-block+pause,rate=40", 7)
    assert report.ok, str(report)
    assert report.fault_kinds["flipped-bit"] + report.fault_kinds["stale-block"] >= 2


def test_reads_of_closed_segments_fail_and_nothing_else_does() -> None:
    """What the operator spoils is another's, too, and is copied anew: nothing that only one replica has, no log of a
    coordinator, and not the quorum's."""
    report = run_scenario("simulate:nodes=3,minutes=1,workload=log,faults=failing-read,rate=40", 9_100, keep_trace=True)
    assert report.ok, str(report)
    assert report.fault_kinds["failing-read"] >= 2 and report.situations["read-failed"] > 0
    failed = [line for line in report.trace if "disk-fault" in line and "READ_ERROR" in line]
    assert failed and all("/lines-" in line and ".log" in line for line in failed)


def test_a_segment_is_mended_when_it_holds_what_it_held() -> None:
    """Its checksum does not cover a batch's leader epoch, nor whose batch it is."""
    device = Device(Random(1))
    batches = [bytes(encode_batch([Record(offset, 0, None, b"v" * 30)], base_offset=offset)) for offset in (0, 1)]
    data = b"".join(batches)
    SimulatedDisk(device).make_directory("/t-0")
    file = SimulatedDisk(device).open("/t-0/00000000000000000000.log", create=True)
    file.write([data], 0)
    before = Damaged("/t-0/00000000000000000000.log", bytes(data))
    assert before.is_mended(device)
    for position in (14, 30, len(data) - 1):  # of the leader epoch; of what the checksum covers
        device.flip_bit(before.path, position)
        assert not before.is_mended(device)
        file.write([data], 0)
    file.write([bytes(len(data))], 0)
    assert not before.is_mended(device), "it is all zeros"
    file.truncate(len(batches[0]))
    file.write([batches[0]], 0)
    assert before.is_mended(device), "it is fetched anew, as far as it goes"
    SimulatedDisk(device).open("/t-0/00000000000000000002.log", create=True)
    assert not before.is_mended(device), "the next segment begins at 2, and nothing stands at 1"


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(600):
        if is_so():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("not within a minute")


def test_the_last_replica_in_sync_serves_what_is_whole_and_another_takes_over() -> None:
    """Promised in docs/operations.md: it leads on, readers of what is damaged are refused, everything else goes on, the
    operator is told; and once another replica is in sync that leads, and this one copies anew what was damaged."""
    world = World(3, WorldConfig(time_limit_ms=600_000))

    async def main(world: World) -> None:
        cluster = Cluster(world, ClusterConfig(nodes=5, scrub=ScrubConfig(interval_ms=1_000)))
        cluster.start()
        life = world.open_life("client")
        await world.run_in(life, story(cluster, life))

    async def story(cluster: Cluster, life: Life) -> None:
        device, place = world.device("n1"), TopicPartition("lines", 0)

        def state() -> PartitionState:
            found = cluster.witness.image.partition("lines", 0)
            assert found is not None
            return found

        async with cluster.admin(life) as admin, cluster.producer(life) as producer:
            assert await cluster.wait_healthy(admin, 30_000) == []
            await admin.create_topic("lines", assignment={0: (1, 2, 3)}, config={"min.insync.replicas": "1"})
            assert await cluster.wait_healthy(admin, 30_000) == []

            async def send(numbers: range) -> None:
                for number in numbers:
                    await producer.send("lines", b"%d" % number, partition=0)
                    await producer.flush()

            await send(range(100))
            for host in ("n2", "n3"):
                world.crash(host)
            await until(lambda: state().isr == (1,))
            closed = rot.closed_segments(device, DATA, lambda log: 100 if log == "lines-0" else -1)
            damaged = Damaged(closed[0], bytes(device.file(closed[0]).durable))
            device.flip_bit(closed[0], len(damaged.batches) // 2)
            cluster.witness.rots(1, "lines-0")
            await until_damage_is_told(admin)

            await send(range(100, 110))
            async with cluster.consumer(life, auto_offset_reset="earliest") as consumer:
                consumer.assign([place])
                with pytest.raises(CorruptRecordError):
                    await read(consumer, range(110))
                consumer.seek(place, 60)
                await read(consumer, range(60, 110))
            assert state().leader == 1

            for host in ("n2", "n3"):
                world.restart(host)
            await until(lambda: damaged.is_mended(device) and len(state().isr) == 3)
            assert await cluster.wait_healthy(admin, 60_000) == []
            cluster.witness.mended(1, "lines-0")
            async with cluster.consumer(life, auto_offset_reset="earliest") as consumer:
                consumer.assign([place])
                await read(consumer, range(110))
        cluster.look()
        assert await cluster.wait_settled(10_000) == [] and cluster.divergences() == []

    async def until_damage_is_told(admin: Admin) -> None:
        for _ in range(100):
            if any(
                "lines-0" in problem and "damaged" in problem for problem in (await admin.cluster_health()).problems
            ):
                return
            await asyncio.sleep(0.2)
        raise AssertionError("health says nothing of the damage")

    async def read(consumer: Consumer, numbers: range) -> None:
        """Exactly these, in this order."""
        found: list[int] = []
        while len(found) < len(numbers):
            found += [int(bytes(record.value or b"")) for record in await consumer.poll(timeout=5)]
        assert found == [*numbers]

    world.run(main)


def test_a_damaged_replica_of_a_compacted_topic_is_told_by_verify_and_copied_anew() -> None:
    """All of it: with the leader's records behind its own, one could come back that a tombstone had deleted."""
    world = World(4, WorldConfig(time_limit_ms=600_000))

    async def main(world: World) -> None:
        config = ClusterConfig(scrub=ScrubConfig(interval_ms=20_000), compaction=COMPACTING)
        cluster = CompactedCluster(world, config)
        cluster.start()
        life = world.open_life("client")
        await world.run_in(life, story(cluster, life))

    async def story(cluster: CompactedCluster, life: Life) -> None:
        log, device = "latest-0", world.device("n2")
        async with cluster.admin(life) as admin, cluster.producer(life) as producer:
            assert await cluster.wait_healthy(admin, 30_000) == []
            await admin.create_topic("latest", assignment={0: (1, 2, 3)}, config=SETTINGS)
            assert await cluster.wait_healthy(admin, 30_000) == []
            for number in range(100):
                await producer.send("latest", b"%d" % number, key=b"k%d" % (number % 6), partition=0)
                await producer.flush()
                await asyncio.sleep(0.05)
            await until(lambda: all(len(batches) < 80 for batches in cluster.replicas()[log].values()))
            assert [each.is_equal for each in await admin.verify_topic("latest")] == [True]

            closed = rot.closed_segments(device, DATA, lambda name: 100 if name == log else -1)
            device.flip_bit(closed[0], 70)  # a record: a batch's header has 61 bytes
            (verified,) = await admin.verify_topic("latest")
            assert {broker for each in verified.differences for broker in each.damaged} == {2}
            await until(lambda: cluster.servers["n2"].repairs_completed == 1)
            assert await cluster.wait_healthy(admin, 60_000) == []
            assert [each.is_equal for each in await admin.verify_topic("latest")] == [True]

        for segments in cluster.contents()[log].values():
            latest = {bytes(r.key or b""): r.value for data in segments for r in decode_batches(written(data))}
            assert latest == {b"k%d" % (number % 6): b"%d" % number for number in range(94, 100)}

    world.run(main)
