"""A leader that cannot hear that it has been succeeded, those who read from it, and those who ask it.

Its and the quorum's leader do not reach each other; both of them, and the third node, reach everybody else.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from broker.rpc.methods import full_name
from kraftpy.client.values import TopicPartition
from kraftpy.pb import client_pb2, groups_pb2
from kraftpy.runtime.ports import Address
from simulation.cluster import CALLS_PORT, Cluster
from simulation.hosts import host_of
from simulation.world import Life, World, WorldConfig

TOPIC = "lines"
WITHIN_MS = 5_000
"""From when the successor has taken a record. After `metadata.max.age.ms`, 300 s, everybody asks again anyway."""
BACK_MS = 10_000
SEEDS = [1, 2, 3]


@dataclass(frozen=True, slots=True)
class Stage:
    """A partition that is led by another node than the quorum."""

    cluster: Cluster
    life: Life
    place: TopicPartition
    leader: int
    controller: int

    @property
    def world(self) -> World:
        return self.cluster.world

    @property
    def now_ms(self) -> int:
        return self.world.loop.now_us // 1_000

    async def write(self, value: bytes) -> None:
        async with self.cluster.producer(self.life) as producer:
            await (await producer.send(TOPIC, value, partition=self.place.partition))

    async def succeed(self) -> None:
        """The leader is succeeded without hearing of it."""
        self.world.block(host_of(self.leader), host_of(self.controller))
        self.world.block(host_of(self.controller), host_of(self.leader))
        await self.write(b"after")

    async def told(self) -> client_pb2.PartitionInfo:
        """What the former leader tells of the partition."""
        request = client_pb2.MetadataRequest(topics=[TOPIC])
        answer = await self._ask(full_name("Client", "GetMetadata"), request.SerializeToString())
        return client_pb2.MetadataResponse.FromString(answer).topics[0].partitions[self.place.partition]

    async def coordinator(self, group_id: str) -> int:
        """Who coordinates the group, as the former leader tells."""
        request = groups_pb2.FindCoordinatorRequest(type=groups_pb2.GROUP, key=group_id)
        answer = await self._ask(full_name("Groups", "FindCoordinator"), request.SerializeToString())
        return groups_pb2.FindCoordinatorResponse.FromString(answer).node_id

    async def _ask(self, method: str, request: bytes) -> bytes:
        address = Address(host_of(self.leader), CALLS_PORT)
        return await self.life.ports.transport.call(address, method, request, 5_000)


def play(seed: int, story: Callable[[Stage], Awaitable[None]]) -> None:
    world = World(seed, WorldConfig(time_limit_ms=120_000))

    async def main(world: World) -> None:
        cluster = Cluster(world)
        cluster.start()
        await world.run_in(world.open_life("client"), on_stage(cluster))

    async def on_stage(cluster: Cluster) -> None:
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
        await story(Stage(cluster, life, place, leader, controller))

    world.run(main)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_consumer_turns_to_the_successor_of_a_leader_that_has_not_heard_of_it(seed: int) -> None:
    async def story(stage: Stage) -> None:
        async with stage.cluster.consumer(stage.life, auto_offset_reset="earliest") as consumer:
            consumer.assign([stage.place])
            await stage.write(b"before")
            assert [record.value for record in await consumer.poll(10)] == [b"before"]
            await stage.succeed()
            taken_ms = stage.now_ms
            while not (found := await consumer.poll(1)):
                assert stage.now_ms - taken_ms < WITHIN_MS, "it goes on asking the former leader"
            assert [record.value for record in found] == [b"after"]

    play(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_leader_that_has_not_heard_of_its_successor_tells_who_it_is(seed: int) -> None:
    """To clients that have no connection but to it, whom else would they ask?"""

    async def story(stage: Stage) -> None:
        await stage.write(b"before")
        first = await stage.told()
        assert first.leader == stage.leader
        group_id = await coordinated_by(stage, stage.leader)
        await stage.succeed()
        taken_ms = stage.now_ms
        while (told := await stage.told()).leader == stage.leader or await stage.coordinator(group_id) == stage.leader:
            assert stage.now_ms - taken_ms < WITHIN_MS, "it goes on naming itself"
        now = stage.cluster.witness.image.partition(TOPIC, stage.place.partition)
        assert now is not None
        assert (told.leader, told.leader_epoch, tuple(told.isr)) == (now.leader, now.leader_epoch, now.isr)
        assert told.leader_epoch > first.leader_epoch
        stage.world.heal()
        healed_ms = stage.now_ms
        while stage.leader not in (await stage.told()).isr:
            assert stage.now_ms - healed_ms < BACK_MS, "it tells what others told it, and not what it knows itself now"

    play(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_commit_finds_the_successor_of_a_coordinator_that_has_not_heard_of_it(seed: int) -> None:
    """The former one cannot have it replicated, and tells who coordinates the group now."""

    async def story(stage: Stage) -> None:
        group_id = await coordinated_by(stage, stage.leader)
        await stage.write(b"before")
        async with stage.cluster.consumer(
            stage.life, TOPIC, group_id=group_id, auto_offset_reset="earliest", enable_auto_commit=False
        ) as consumer:
            assert [record.value for record in await consumer.poll(10)] == [b"before"]
            await consumer.commit()
            await stage.succeed()
            taken_ms = stage.now_ms
            while not (found := await consumer.poll(1)):
                assert stage.now_ms - taken_ms < BACK_MS
            assert [record.value for record in found] == [b"after"]
            await consumer.commit()
            assert stage.now_ms - taken_ms < BACK_MS
        async with stage.cluster.admin(stage.life) as admin:
            committed = await admin.list_group_offsets(group_id)
        assert committed[stage.place].offset == 2

    play(seed, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_member_that_commits_nothing_finds_the_next_coordinator_too(seed: int) -> None:
    """Else the former one would take its heartbeats, and the next one give its partitions to others."""

    async def story(stage: Stage) -> None:
        group_id = await coordinated_by(stage, stage.leader)
        async with stage.cluster.consumer(
            stage.life, TOPIC, group_id=group_id, enable_auto_commit=False, session_timeout_ms=10_000
        ) as consumer:
            while not consumer.assignment():
                await consumer.poll(1)
            await stage.succeed()
            taken_ms = stage.now_ms
            while stage.now_ms - taken_ms < 30_000:
                await consumer.poll(1)
            async with stage.cluster.admin(stage.life) as admin:
                group = await admin.describe_group(group_id)
            assert len(group.members) == 1

    play(seed, story)


async def coordinated_by(stage: Stage, node_id: int) -> str:
    """A group of that coordinator's."""
    for number in range(100):
        if await stage.coordinator(f"group-{number}") == node_id:
            return f"group-{number}"
    raise AssertionError("it coordinates nothing")
