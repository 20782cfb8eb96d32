"""Stories on brokers with two log directories each."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from broker.metadata.records import PartitionRecord, TopicRecord
from broker.replication.config import ReplicationConfig
from broker.replication.directory_status import DirectoryStatus
from log_store.config import LogConfig
from log_store.log import Log
from simulation.disk import SimulatedDisk
from tests.replication.cluster import TOPIC, Cluster, play

FIRST, SECOND = "/first", "/second"
SMALL = LogConfig(segment_bytes=4_096, segment_index_bytes=1_024, index_interval_bytes=256)
Story = Callable[[Cluster], Awaitable[None]]


def played(story: Story, seed: int = 1, config: ReplicationConfig | None = None) -> str:
    return play(story, seed, config, SMALL, log_dirs=(FIRST, SECOND))


async def four_partitions(cluster: Cluster) -> None:
    """Two in each directory of each node; all of them led by 1, with some records."""
    cluster.controller.delete_topic()
    topic_id = cluster.controller.next_id()
    cluster.controller.commit(
        TopicRecord(TOPIC, topic_id),
        *[PartitionRecord(topic_id, index, (1, 2, 3), (1, 2, 3), 1, 0, 0) for index in range(4)],
    )
    await cluster.until(lambda: all(len(cluster.brokers[node].replicas.describe()) == 4 for node in (1, 2, 3)))
    await cluster.until(lambda: cluster.replica(1, 3).is_leader)
    for partition in range(4):
        assert (await cluster.produce(1, partition, count=5)).error is None


def where(cluster: Cluster, node_id: int, partition: int) -> str:
    return cluster.replica(node_id, partition).log.directory.rpartition("/")[0]


async def statuses(cluster: Cluster, node_id: int) -> list[DirectoryStatus]:
    return await cluster.in_lane(node_id, cluster.brokers[node_id].replicas.describe_directories())


async def move(cluster: Cluster, node_id: int, partition: int, path: str) -> None:
    async def ask() -> None:
        cluster.brokers[node_id].replicas.move_replica(TOPIC, partition, path)

    await cluster.in_lane(node_id, ask())


def remove(cluster: Cluster, node_id: int, path: str) -> None:
    """The operator's rm -rf, on a machine whose node does not run."""
    disk = SimulatedDisk(cluster.world.device(f"n{node_id}"))
    disk.remove_tree(path)
    disk.sync_directory(path.rpartition("/")[0])


def hold_flushes(cluster: Cluster, node_id: int, path: str) -> Callable[[], None]:
    """Nothing in that directory counts as flushed before what this gives is called."""
    home = next(each for each in cluster.brokers[node_id].directories if each.path == path)
    before_counting, may_count = home.flusher.before_counting, asyncio.Event()
    assert before_counting is not None

    async def wait_first(logs: Sequence[Log]) -> None:
        await may_count.wait()
        await before_counting(logs)

    home.flusher.before_counting = wait_first
    return may_count.set
