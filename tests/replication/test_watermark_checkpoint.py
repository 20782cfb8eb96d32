"""The file of high watermarks follows them down, too: what it says beyond a log's end is missed by the next start."""

import asyncio
from collections.abc import Callable

import pytest

from broker.replication.config import ReplicationConfig
from broker.replication.fetch_types import Diverging
from broker.replication.partition import Partition
from broker.replication.replicating import cut_damage, restart_at, truncate
from log_store import file_names
from log_store.checkpoints import decode_offsets
from log_store.integrity import Damage
from simulation.disk import SimulatedDisk
from tests.replication.cluster import TOPIC, Cluster, play

INTERVAL_MS = 500


def cut_by_leader(partition: Partition) -> None:
    truncate(partition, Diverging(partition.log.epochs.latest_epoch, 2))


def cut_for_damage(partition: Partition) -> None:
    partition.log.note_damage([Damage(1, 2, 100, 200, "planted")])
    cut_damage(partition)


@pytest.mark.parametrize(
    ("cut", "left"), [(cut_by_leader, 2), (cut_for_damage, 0), (lambda partition: restart_at(partition, 0), 0)]
)
def test_the_watermark_of_a_log_that_was_cut_is_written_down(cut: Callable[[Partition], None], left: int) -> None:
    async def story(cluster: Cluster) -> None:
        disk = SimulatedDisk(cluster.world.device("n3"))

        def written() -> int:
            path = f"/data/{file_names.HIGH_WATERMARKS}"
            return decode_offsets(disk.read_bytes(path))[f"{TOPIC}-0"] if disk.exists(path) else 0

        for _ in range(5):
            assert (await cluster.produce(1)).error is None
        await cluster.until(lambda: written() == 5)
        cluster.controller.change(isr=(1, 2))
        cluster.world.isolate("n3")
        await asyncio.sleep(2 * INTERVAL_MS / 1_000)
        partition = cluster.replica(3)

        async def cut_it() -> None:
            cut(partition)

        await cluster.in_lane(3, cut_it())
        assert partition.high_watermark == left
        await asyncio.sleep(2 * INTERVAL_MS / 1_000)
        assert written() == left

    play(story, config=ReplicationConfig(high_watermark_checkpoint_interval_ms=INTERVAL_MS))
