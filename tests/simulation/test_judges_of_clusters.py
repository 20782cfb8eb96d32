"""What a whole cluster is judged by, shown to fail: each story breaks a cluster in a way that its judge must see."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from broker.coordinator.config import StateTopicsConfig
from kraftpy.aio import Admin, Producer
from kraftpy.client.sender import Sender
from kraftpy.client.values import OffsetAndMetadata, TopicPartition
from kraftpy.errors import KraftpyError
from simulation.cluster import DATA, SECOND, Cluster, ClusterConfig
from simulation.device import DiskFault
from simulation.scenario import Refuted
from simulation.scenarios.whole_cluster import judge_replicas
from simulation.workloads import write_to_each
from simulation.world import NodeFailed, World, WorldConfig

Story = Callable[[Cluster, Admin, Producer], Coroutine[Any, Any, None]]


def told(story: Story, config: ClusterConfig | None = None) -> None:
    """A healthy cluster of three with a topic that holds some records, and what becomes of it then."""
    world = World(3, WorldConfig(time_limit_ms=600_000))

    async def main(world: World) -> None:
        cluster = Cluster(world, config)
        cluster.start()
        life = world.open_life("judge")

        async def inside() -> None:
            async with cluster.admin(life) as admin, cluster.producer(life, delivery_timeout_ms=5_000) as producer:
                assert await cluster.wait_healthy(admin, 30_000) == []
                await admin.create_topic("t", partitions=1, config={"min.insync.replicas": "2"})
                assert await cluster.wait_healthy(admin, 30_000) == []
                for number in range(10):
                    await (await producer.send("t", b"%d" % number, partition=0))
                await story(cluster, admin, producer)

        await world.run_in(life, inside())

    world.run(main)


def test_a_cluster_as_it_should_be_passes() -> None:
    async def story(cluster: Cluster, admin: Admin, producer: Producer) -> None:
        await judge_replicas(cluster, 5_000)
        life = cluster.world.lives["judge"]
        assert await write_to_each(cluster.world, cluster.producer(life), "w1", {"t": 1}, []) == []
        await judge_replicas(cluster, 5_000)

    told(story)


def test_a_high_watermark_that_stands_still() -> None:
    async def story(cluster: Cluster, admin: Admin, producer: Producer) -> None:
        await judge_replicas(cluster, 5_000)
        for server in cluster.servers.values():
            ends = server.ends()
            server.ends = lambda ends=ends: {key: (end, end - 1) for key, (end, _) in ends.items()}  # type: ignore
        with pytest.raises(Refuted, match=r"t-0: .* by broker"):
            await judge_replicas(cluster, 1_000)

    told(story)


def test_a_partition_that_takes_no_record() -> None:
    async def story(cluster: Cluster, admin: Admin, producer: Producer) -> None:
        for host in ("n2", "n3"):
            cluster.world.crash(host)
        life = cluster.world.lives["judge"]
        impatient = cluster.producer(life, delivery_timeout_ms=2_000, request_timeout_ms=1_000)
        assert await write_to_each(cluster.world, impatient, "w1", {"t": 1}, []) == ["t-0"]

    told(story)


@pytest.mark.parametrize("log", ["t-0", "__consumer_offsets-0"])
def test_a_replica_that_differs_behind_its_header(log: str) -> None:
    """Also one of the coordinators' topics, as long as nobody compacts them."""

    async def story(cluster: Cluster, admin: Admin, producer: Producer) -> None:
        await admin.alter_group_offsets("g", {TopicPartition("t", 0): OffsetAndMetadata(1)})
        await judge_replicas(cluster, 5_000)
        (path,) = [path for path, _ in cluster._log_files("n2") if f"/{log}/" in path]
        cluster.witness.rots(2, log)  # who would see it at once
        cluster.world.device("n2").flip_bit(path, 70)
        with pytest.raises(Refuted, match=f"{log}: "):
            await judge_replicas(cluster, 1_000)

    told(story, ClusterConfig(state_topics=StateTopicsConfig(offsets_partitions=1)))


def test_a_client_whose_task_fails() -> None:
    async def story(cluster: Cluster, admin: Admin, producer: Producer) -> None:
        def broken(self: Sender, *_: object) -> Any:
            raise ZeroDivisionError("a planted bug")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Sender, "_plan", broken)
            with pytest.raises(KraftpyError):
                await (await producer.send("t", b"x", partition=0))
        await asyncio.sleep(1)

    with pytest.raises(NodeFailed, match="a planted bug"):
        told(story)


@pytest.mark.parametrize("directory", [DATA, SECOND])
def test_a_node_that_ends_though_it_has_another_directory(directory: str) -> None:
    """It must for the first, which has the quorum's log; no scenario lets that one fail."""

    async def story(cluster: Cluster, admin: Admin, producer: Producer) -> None:
        cluster.world.device("n1").arm(DiskFault.SYNC_FAILURE, f"{directory}/")
        for number in range(20):
            await (await producer.send("t", b"%d" % number, partition=0))
            await asyncio.sleep(0.5)

    config = ClusterConfig(log_dirs=(DATA, SECOND))
    if directory == SECOND:
        told(story, config)
    else:
        with pytest.raises(NodeFailed):
            told(story, config)
