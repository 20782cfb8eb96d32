"""What docs/operations.md says of a cluster under pressure: slow disks and followers, a full disk, wrong clocks, stops.

Each story has three real nodes on virtual time, and one topic with `min.insync.replicas=2`.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from broker.replication.config import ReplicationConfig
from kraftpy.aio import Admin, Producer
from kraftpy.client.admin_values import ConfigResource
from kraftpy.client.values import RecordMetadata
from kraftpy.errors import InvalidConfigError, InvalidTimestampError, KraftpyError, NotEnoughReplicasError
from simulation.cluster import Cluster, ClusterConfig
from simulation.device import DiskFault
from simulation.world import Life, World, WorldConfig

TOPIC = "lines"
LAG_MS = 3_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
Story = Callable[["Stage"], Awaitable[None]]


class Stage:
    """The cluster, and a client's life beside it."""

    def __init__(self, cluster: Cluster, life: Life, admin: Admin, producer: Producer) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.life = life
        self.admin = admin
        self.producer = producer

    async def send(self, count: int = 1, size: int = 100) -> list[RecordMetadata]:
        """Sent and acknowledged by all that must."""
        sent = [await self.producer.send(TOPIC, bytes(size), partition=0) for _ in range(count)]
        return [await each for each in sent]

    async def timed_send(self) -> int:
        """How long one took, milliseconds."""
        began_us = self.world.loop.now_us
        await self.send()
        return (self.world.loop.now_us - began_us) // 1_000

    async def leader(self) -> int:
        return (await self.admin.describe_topic(TOPIC)).partitions[0].leader

    async def follower(self) -> int:
        partition = (await self.admin.describe_topic(TOPIC)).partitions[0]
        return next(broker for broker in partition.replicas if broker != partition.leader)

    async def until(self, holds: Callable[[], Awaitable[bool]], within_ms: int = 60_000) -> int:
        """How long it took, milliseconds."""
        began_us = self.world.loop.now_us
        while True:
            try:
                if await holds():
                    return (self.world.loop.now_us - began_us) // 1_000
            except KraftpyError:
                pass
            assert self.world.loop.now_us - began_us < within_ms * 1_000, "it did not happen in time"
            await asyncio.sleep(0.05)

    async def in_sync(self, *brokers: int) -> bool:
        return sorted((await self.admin.describe_topic(TOPIC)).partitions[0].isr) == sorted(brokers)


def told(story: Story, config: ClusterConfig | None = None) -> None:
    async def main(world: World) -> None:
        quick = ReplicationConfig(replica_lag_time_max_ms=LAG_MS, retention_check_interval_ms=2_000)
        cluster = Cluster(world, config or ClusterConfig(replication=quick))
        cluster.start()
        life = world.open_life("client")

        async def tell() -> None:
            async with cluster.admin(life) as admin:
                assert not await cluster.wait_healthy(admin, 30_000)
                await admin.create_topic(TOPIC, partitions=1, config={"min.insync.replicas": "2"})
                assert not await cluster.wait_healthy(admin, 30_000)
                async with cluster.producer(life, delivery_timeout_ms=60_000, retry_backoff_ms=20) as producer:
                    await story(Stage(cluster, life, admin, producer))
                assert not await cluster.wait_healthy(admin, 60_000)
                assert not await cluster.wait_settled(10_000)

        await world.run_in(life, tell())

    World(1, WorldConfig(time_limit_ms=600_000)).run(main)


# --- disks -----------------------------------------------------------------------------------------------------------


def test_a_follower_with_a_slow_disk_holds_up_acks_until_it_leaves_the_isr() -> None:
    async def story(stage: Stage) -> None:
        follower, leader = await stage.follower(), await stage.leader()
        await stage.send(5)
        device = stage.world.device(f"n{follower}")
        device.slowness = 3_000.0  # three seconds an operation, rarely a minute
        slowest_ms = 0
        sent_for_ms = 0
        while not await stage.in_sync(*({1, 2, 3} - {follower})):
            took_ms = await stage.timed_send()
            slowest_ms = max(slowest_ms, took_ms)
            sent_for_ms += took_ms
            assert sent_for_ms < 60_000
        assert slowest_ms < LAG_MS + 4_000, "then the others go on without it"
        assert max([await stage.timed_send() for _ in range(10)]) < 500
        assert await stage.leader() == leader
        device.slowness = 1.0
        await stage.until(lambda: stage.in_sync(1, 2, 3), 120_000)

    told(story)


def test_a_full_disk_stops_its_node_and_a_restart_after_it_is_freed_brings_it_back() -> None:
    async def story(stage: Stage) -> None:
        leader = await stage.leader()
        host = f"n{leader}"
        await stage.send(5)
        stage.world.device(host).arm(DiskFault.FULL, times=1_000)
        for _ in range(40):
            await stage.send(10, 1_000)  # whoever leads: nothing is lost and nobody is told of it
        await stage.until(lambda: _is(not stage.world.is_alive(host)))
        assert await stage.leader() != leader
        stage.world.device(host).disarm()
        stage.world.restart(host)
        await stage.until(lambda: stage.in_sync(1, 2, 3))

    told(story)


# --- the network and the clock ---------------------------------------------------------------------------------------


def test_a_follower_far_away_slows_acks_down_and_stays_in_sync() -> None:
    async def story(stage: Stage) -> None:
        follower, leader = await stage.follower(), await stage.leader()
        near_ms = await stage.timed_send()
        stage.world.network.delay(f"n{follower}", f"n{leader}", 200)
        took_ms = [await stage.timed_send() for _ in range(5)]
        assert near_ms < 150 and max(took_ms) < 1_500
        assert await stage.in_sync(1, 2, 3)
        stage.world.network.delay(f"n{follower}", f"n{leader}", 0)

    told(story)


def test_a_clock_that_jumps_moves_no_leadership_and_loses_nothing() -> None:
    async def story(stage: Stage) -> None:
        leader = await stage.leader()
        for by_ms in (DAY_MS, -DAY_MS, -HOUR_MS // 2):
            for host in stage.cluster.hosts:
                stage.world.jump_clock(host, by_ms)
                assert await stage.timed_send() < 500
        stage.world.jump_clock(f"n{leader}", -DAY_MS)
        with pytest.raises(InvalidTimestampError):  # from the future, as the leader sees it
            async with stage.cluster.producer(stage.life) as unheard:
                await unheard.send(TOPIC, b"x", partition=0)
        stage.world.jump_clock(f"n{leader}", DAY_MS)
        assert await stage.timed_send() < 500
        await asyncio.sleep(10)
        assert await stage.leader() == leader
        assert await stage.in_sync(1, 2, 3)

    told(story)


def test_a_stopped_leader_is_replaced_and_what_it_wakes_up_with_is_refused() -> None:
    async def story(stage: Stage) -> None:
        await stage.send(5)
        leader = await stage.leader()
        stage.world.pause(f"n{leader}")
        others = stage.cluster.bootstrap.replace(f"n{leader}:9093", "").replace(",,", ",").strip(",")
        ports = stage.life.ports
        async with Admin(others, _transport=ports.transport, _clock=ports.clock, _random=ports.random) as admin:

            async def is_replaced() -> bool:
                return (await admin.describe_topic(TOPIC, timeout=1)).partitions[0].leader not in (leader, -1)

            assert await stage.until(is_replaced) < 8_000
        sent = await stage.send(3)
        stage.world.resume(f"n{leader}")
        assert [each.offset for each in sent] == [5, 6, 7]
        await stage.until(lambda: stage.in_sync(1, 2, 3))
        assert (await stage.send())[0].offset == 8

    told(story)


# --- settings that are changed meanwhile -----------------------------------------------------------------------------


def test_settings_take_effect_without_a_restart() -> None:
    async def story(stage: Stage) -> None:
        admin, topic = stage.admin, ConfigResource.topic(TOPIC)
        replicas = [server.describe()[0] for server in stage.cluster.servers.values()]
        assert {replica.min_isr for replica in replicas} == {2}
        await stage.send(60, 1_000)
        await admin.alter_configs({topic: {"retention.ms": "1000", "segment.ms": "1000"}})

        async def is_deleted() -> bool:
            starts = [server.describe()[0].log_start_offset for server in stage.cluster.servers.values()]
            return min(starts) >= 60

        await stage.until(is_deleted)
        await admin.alter_configs({topic: {"retention.ms": None, "segment.ms": None}})
        entries = (await admin.describe_configs([topic]))[topic]
        assert (entries["retention.ms"].source, entries["min.insync.replicas"].source) == ("default", "dynamic-topic")

        await admin.alter_configs({topic: {"min.insync.replicas": "3"}})
        host = f"n{await stage.follower()}"
        stage.world.crash(host, power=False)
        await stage.until(lambda: _not(stage.in_sync(1, 2, 3)))
        with pytest.raises(NotEnoughReplicasError):
            async with stage.cluster.producer(stage.life, delivery_timeout_ms=3_000, retries=0) as once:
                await once.send(TOPIC, b"x", partition=0)
        await admin.alter_configs({topic: {"min.insync.replicas": "2"}})
        await stage.send()
        stage.world.restart(host)
        await stage.until(lambda: stage.in_sync(1, 2, 3))

        everybody = ConfigResource.broker()
        await admin.alter_configs({everybody: {"replica.alter.log.dirs.io.max.bytes.per.second": "1000"}})

        async def is_followed() -> bool:
            own = (await admin.describe_configs([ConfigResource.broker(2)]))[ConfigResource.broker(2)]
            entry = own["replica.alter.log.dirs.io.max.bytes.per.second"]
            return (entry.value, entry.source, entry.read_only) == ("1000", "dynamic-default", False)

        assert await stage.until(is_followed) < 1_000
        with pytest.raises(InvalidConfigError, match="restart"):
            await admin.alter_configs({everybody: {"num.recovery.threads.per.data.dir": "8"}})

    told(story)


async def _is(value: bool) -> bool:
    return value


async def _not(question: Awaitable[bool]) -> bool:
    return not await question
