"""Replicas move between brokers on virtual time, with brokers killed in mid-move (KIP-455), throttled (KIP-73)."""

import asyncio

import pytest

from broker.metadata.records import broker_resource, topic_resource
from broker.replication.config import ReplicationConfig
from kraftpy.errors import KraftpyError, NotEnoughReplicasAfterAppendError, NotEnoughReplicasError
from log_store.config import LogConfig
from tests.replication.cluster import TOPIC, Cluster, play

SMALL = LogConfig(segment_bytes=2_000, file_delete_delay_ms=1_000)


def complete(cluster: Cluster, *replicas: int) -> bool:
    state = cluster.controller.state()
    return state.replicas == replicas and not state.is_reassigning and cluster.in_sync(*replicas)


class Producer:
    """Sends one record after the other to whoever leads, and keeps what was acknowledged."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.acknowledged: list[bytes] = []
        self.refusals: list[KraftpyError] = []
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            leader = self.cluster.leader()
            if leader >= 0 and self.cluster.is_up(leader):
                await self._send(leader)
            await asyncio.sleep(0.01)

    async def _send(self, leader: int) -> None:
        try:
            async with asyncio.timeout(3):
                produced = await self.cluster.produce(leader, timeout_ms=2_000)
        except TimeoutError:
            return  # the broker was killed: whether it is there is not known
        except asyncio.CancelledError:
            if self._task.cancelling():
                raise
            return
        if produced.error is None:
            self.acknowledged.append(b"%d" % self.cluster.sent)
        elif isinstance(produced.error, NotEnoughReplicasError | NotEnoughReplicasAfterAppendError):
            self.refusals.append(produced.error)

    async def more(self, count: int) -> None:
        wanted = len(self.acknowledged) + count
        await self.cluster.until(lambda: len(self.acknowledged) >= wanted)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def held_by(cluster: Cluster, node_id: int) -> set[bytes]:
    return {record.value or b"" for record in cluster.log(node_id)}


def test_a_partition_moves_while_it_is_written_to() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.start(4)
        producer = Producer(cluster)
        await producer.more(20)
        cluster.controller.reassign(4, 2, 3)
        await cluster.until(lambda: complete(cluster, 4, 2, 3))
        await producer.more(20)
        await producer.stop()
        assert cluster.leader() == 4, "the leader has gone: the first in-sync target took over"
        assert set(producer.acknowledged) <= held_by(cluster, 4)
        assert not producer.refusals
        await cluster.until(lambda: f"{TOPIC}-0" not in cluster.brokers[1].directories[0].logs)

    play(story, log_config=SMALL)


def test_the_replication_factor_is_raised_and_lowered_while_it_is_written_to() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.start(4)
        producer = Producer(cluster)
        cluster.controller.reassign(1, 2, 3, 4)
        await cluster.until(lambda: complete(cluster, 1, 2, 3, 4))
        await producer.more(10)
        cluster.controller.reassign(2, 4)
        await cluster.until(lambda: complete(cluster, 2, 4))
        await producer.more(10)
        await producer.stop()
        assert not producer.refusals
        assert set(producer.acknowledged) <= held_by(cluster, 2)

    play(story)


def test_a_factor_of_one_is_raised_under_a_larger_min_isr_and_records_are_taken_all_the_time() -> None:
    """What min.insync.replicas asks for is not counted by replicas that are only on their way."""

    async def story(cluster: Cluster) -> None:
        cluster.controller.reassign(1)
        await cluster.until(lambda: complete(cluster, 1))
        producer = Producer(cluster)
        await producer.more(5)
        cluster.controller.reassign(1, 2, 3)
        assert cluster.in_sync(1)
        await producer.more(5)
        await cluster.until(lambda: complete(cluster, 1, 2, 3))
        await producer.more(5)
        await producer.stop()
        assert not producer.refusals

    play(story)


def test_a_cancelled_move_frees_what_was_copied() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.start(4)
        for _ in range(10):
            await cluster.produce(1, count=20)
        cluster.controller.configure(broker_resource(1), "leader.replication.throttled.rate", "1000")
        cluster.controller.configure(topic_resource(TOPIC), "leader.replication.throttled.replicas", "*")
        await asyncio.sleep(0.1)
        cluster.controller.reassign(4, 2, 3)
        await cluster.until(lambda: f"{TOPIC}-0" in cluster.brokers[4].directories[0].logs)
        cluster.controller.reassign(1, 2, 3)
        await cluster.until(lambda: f"{TOPIC}-0" not in cluster.brokers[4].directories[0].logs)
        assert complete(cluster, 1, 2, 3) and cluster.leader() == 1
        assert (await cluster.produce(1)).error is None

    play(story)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("victim", [1, 2, 4])
def test_a_broker_is_killed_in_mid_move_and_nothing_is_lost(victim: int, seed: int) -> None:
    """The leader, a follower, the one that is being added; with its power."""

    async def story(cluster: Cluster) -> None:
        await cluster.start(4)
        producer = Producer(cluster)
        await producer.more(10)
        cluster.controller.reassign(4, 3, 2)
        await asyncio.sleep(seed * 0.001)
        cluster.crash(victim, power=True)
        cluster.controller.fence(victim)
        await asyncio.sleep(0.3)
        await cluster.start(victim)
        await cluster.until(lambda: complete(cluster, 4, 3, 2))
        await producer.more(10)
        await producer.stop()
        for node_id in (2, 3, 4):
            await cluster.until(lambda node_id=node_id: set(producer.acknowledged) <= held_by(cluster, node_id))  # type: ignore[misc]
        await cluster.until(lambda: cluster.same_logs(2, 3, 4))
        assert not producer.refusals, "two of three were in sync all the time"

    play(story, seed=seed + 1, log_config=SMALL)


@pytest.mark.parametrize(("end", "node_id"), [("leader", 1), ("follower", 4)])
def test_a_throttle_holds_back_only_who_is_out_of_sync(end: str, node_id: int) -> None:
    rate = 2_000

    async def story(cluster: Cluster) -> None:
        await cluster.start(4)
        for _ in range(40):
            await cluster.produce(1, count=20)
        size_bytes = cluster.replica(1).log.size_bytes
        cluster.controller.configure(broker_resource(node_id), f"{end}.replication.throttled.rate", str(rate))
        cluster.controller.configure(topic_resource(TOPIC), f"{end}.replication.throttled.replicas", "*")
        await asyncio.sleep(0.1)
        began_s = cluster.world.loop.time()
        cluster.controller.reassign(4, 2, 3)
        await asyncio.sleep(1)
        before_s = cluster.world.loop.time()
        for _ in range(5):  # more than two throttled followers could copy in that time
            assert (await cluster.produce(1, count=20)).error is None
        assert cluster.world.loop.time() - before_s < 0.5, "who is in sync does not wait"
        size_bytes = cluster.replica(1).log.size_bytes
        progress = cluster.brokers[1].replicas.progress(TOPIC, 0)
        assert progress[0].broker_id == 4 and not progress[0].in_sync
        assert 0 < progress[0].bytes_lag <= size_bytes
        await cluster.until(lambda: complete(cluster, 4, 2, 3), within_ms=120_000)
        took_s = cluster.world.loop.time() - began_s
        assert size_bytes / rate * 0.7 < took_s < size_bytes / rate * 1.5 + 3

    play(story, config=ReplicationConfig(fetch_partition_bytes_max=2_000), log_config=SMALL)


def test_a_throttle_that_is_lifted_holds_nobody_back_any_more() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.start(4)
        for _ in range(20):
            await cluster.produce(1, count=20)
        for name in ("leader", "follower"):
            cluster.controller.configure(topic_resource(TOPIC), f"{name}.replication.throttled.replicas", "*")
            for node_id in (1, 4):
                cluster.controller.configure(broker_resource(node_id), f"{name}.replication.throttled.rate", "1")
        cluster.controller.reassign(4, 2, 3)
        await asyncio.sleep(5)
        assert cluster.controller.state().is_reassigning
        for name in ("leader", "follower"):
            for node_id in (1, 4):
                cluster.controller.configure(broker_resource(node_id), f"{name}.replication.throttled.rate", None)
        await cluster.until(lambda: complete(cluster, 4, 2, 3), within_ms=5_000)

    play(story)
