"""A leader that cannot hear that it has been succeeded, and those who read from it."""

import pytest

from kraftpy.client.values import TopicPartition
from simulation.cluster import Cluster
from simulation.world import World, WorldConfig

TOPIC = "lines"
WITHIN_MS = 5_000
"""From when the successor has taken a record. After `metadata.max.age.ms`, 300 s, everybody asks again anyway."""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_consumer_turns_to_the_successor_of_a_leader_that_has_not_heard_of_it(seed: int) -> None:
    """Its leader and the quorum's do not reach each other; both of them, and the third node, reach everybody else."""
    world = World(seed, WorldConfig(time_limit_ms=120_000))

    async def main(world: World) -> None:
        cluster = Cluster(world)
        cluster.start()
        life = world.open_life("client")
        await world.run_in(life, story(cluster))

    async def story(cluster: Cluster) -> None:
        life = world.lives["client"]
        async with cluster.admin(life) as admin:
            assert await cluster.wait_healthy(admin, 30_000) == []
            await admin.create_topic(TOPIC, partitions=3)
            assert await cluster.wait_healthy(admin, 30_000) == []
            controller = (await admin.describe_cluster()).controller_id
            described = await admin.describe_topic(TOPIC)
        place, leader = next(
            (TopicPartition(TOPIC, each.partition), each.leader)
            for each in described.partitions
            if each.leader != controller
        )
        consumer = cluster.consumer(life, auto_offset_reset="earliest")
        async with cluster.producer(life) as producer, consumer:
            consumer.assign([place])
            await (await producer.send(TOPIC, b"before", partition=place.partition))
            assert [record.value for record in await consumer.poll(10)] == [b"before"]
            world.block(f"n{leader}", f"n{controller}")
            world.block(f"n{controller}", f"n{leader}")
            await (await producer.send(TOPIC, b"after", partition=place.partition))
            taken_ms = world.loop.now_us // 1_000
            while not (found := await consumer.poll(1)):
                assert world.loop.now_us // 1_000 - taken_ms < WITHIN_MS, "it goes on asking the former leader"
            assert [record.value for record in found] == [b"after"]

    world.run(main)
