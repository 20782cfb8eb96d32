"""Random faults under load, and what must hold all the while and at the end. A run is a seed."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from random import Random
from typing import Any, TypeVar

from broker.replication.config import ReplicationConfig
from kraftpy.errors import RequestTimedOutError
from kraftpy.record import decode_batches
from log_store.config import LogConfig
from simulation.network import NetworkConfig
from simulation.world import World, WorldConfig
from tests.replication.cluster import TOPIC, Cluster

T = TypeVar("T")
NODES = (1, 2, 3)
CONFIG = ReplicationConfig(replica_lag_time_max_ms=2_000, fetch_wait_max_ms=300)
SMALL_FETCHES = replace(CONFIG, fetch_partition_bytes_max=300, fetch_response_bytes_max=420)
"""Room for four batches or five, and for three or four of one partition."""


class Chaos:
    """Producers, consumers, faults, a detector that fences who is gone, and invariants."""

    def __init__(self, cluster: Cluster, seed: int, partitions: int) -> None:
        self.cluster = cluster
        self.random = Random(f"{seed}/chaos")
        self.partitions = partitions
        self.acknowledged: list[dict[int, bytes]] = [{} for _ in range(partitions)]  # offset -> value
        self.seen: list[dict[int, bytes]] = [{} for _ in range(partitions)]  # by consumers
        self.committed = [0] * partitions  # the highest watermark that any leader had
        self.gone: dict[int, str] = {}  # broker -> what befell it
        self.is_over = False

    async def run(self, length_ms: int) -> None:
        tasks = [asyncio.create_task(self._produce(index)) for index in range(self.partitions) for _ in range(2)]
        tasks += [asyncio.create_task(self._consume(index)) for index in range(self.partitions)]
        tasks += [asyncio.create_task(self._watch()), asyncio.create_task(self._break_things())]
        await asyncio.sleep(length_ms / 1000)
        self.is_over = True
        await asyncio.gather(*tasks)
        await self._heal()
        for index in range(self.partitions):
            await self._check_end(index)

    # --- clients ---

    async def _produce(self, index: int) -> None:
        cluster = self.cluster
        while not self.is_over:
            await asyncio.sleep(self.random.uniform(0.001, 0.1))
            leader = self._some_leader(index)
            if leader is None:
                continue
            batch = cluster.batch(self.random.randint(1, 4))
            values = [record.value for record in decode_batches(memoryview(bytes(batch)))]
            produce = cluster.brokers[leader].replicas.produce([(TOPIC, index, batch)], -1, 1_500)
            answers = await self._answer(leader, produce)
            if answers is None:
                continue  # the broker died or stood still: who knows
            produced = answers[0]
            if produced.error is None:
                for offset, value in enumerate(values, produced.base_offset):
                    assert value is not None
                    known = self.acknowledged[index].setdefault(offset, value)
                    assert known == value, f"two records were acknowledged at offset {offset}"

    async def _consume(self, index: int) -> None:
        offset = 0
        while not self.is_over:
            await asyncio.sleep(self.random.uniform(0.01, 0.2))
            leader = self._some_leader(index)
            if leader is None:
                continue
            query = self.cluster.query(offset, index, max_wait_ms=100)
            answer = await self._answer(leader, self.cluster.brokers[leader].replicas.fetch(query))
            if answer is None:
                continue
            for piece in answer.partitions[0].slices:
                if not self.cluster.is_up(leader):
                    break
                for record in decode_batches(piece.file.read(piece.length, piece.position)):
                    assert record.value is not None
                    known = self.seen[index].setdefault(record.offset, record.value)
                    assert known == record.value, f"offset {record.offset} changed after it was read"
                    offset = record.offset + 1

    async def _answer(self, node: int, work: Coroutine[Any, Any, T]) -> T | None:
        """What a broker answers; None: nothing, in a client's patience."""
        task = self.cluster.in_lane(node, work)
        await asyncio.wait([task], timeout=3)
        return task.result() if task.done() and not task.cancelled() else None

    def _some_leader(self, index: int) -> int | None:
        """Whom a client takes for the leader: mostly right, sometimes anybody."""
        node = self.cluster.leader(index) if self.random.random() < 0.9 else self.random.choice(NODES)
        return node if self.cluster.is_up(node) else None

    # --- faults ---

    async def _break_things(self) -> None:
        cluster, world = self.cluster, self.cluster.world
        while not self.is_over:
            await asyncio.sleep(self.random.uniform(0.2, 2.5))
            node = self.random.choice(NODES)
            if node in self.gone:
                await self._bring_back(node)
                continue
            kind = self.random.choice(["kill", "power", "pause", "cut", "deaf", "elect", "isr", "delay", "mute"])
            if kind == "elect":
                index = self.random.randrange(self.partitions)
                active = [each for each in cluster.controller.state(index).isr if each not in self.gone]
                if active:
                    cluster.controller.change(index, leader=self.random.choice(active))
            elif kind == "mute":
                await self._mute_controller()
            elif kind == "delay":
                cluster.metadata_delay_ms[node] = self.random.choice([1, 50, 400])
            elif kind == "isr":
                cluster.controller.fence(node)
                cluster.controller.unfence(node)
            else:
                self.gone[node] = kind
                if kind in ("kill", "power"):
                    cluster.crash(node, power=kind == "power")
                elif kind == "pause":
                    world.pause(f"n{node}")
                else:
                    for other in NODES:
                        if other != node:
                            world.block(f"n{other}", f"n{node}")
                            if kind == "cut":
                                world.block(f"n{node}", f"n{other}")
                self._detect(node, kind)

    async def _mute_controller(self) -> None:
        """For a while it answers nobody, with a follower deaf, and then elects whom it still takes for in sync."""
        cluster = self.cluster
        cluster.controller.answers.clear()
        index = self.random.randrange(self.partitions)
        state = cluster.controller.state(index)
        lagging = self.random.choice(state.isr)
        if lagging != state.leader and state.leader > 0:
            cluster.world.block(f"n{state.leader}", f"n{lagging}")
            await asyncio.sleep(self.random.uniform(1.0, 4.0))
            if lagging in cluster.controller.state(index).isr:
                cluster.controller.change(index, leader=lagging)
            cluster.world.network.unblock(f"n{state.leader}", f"n{lagging}")
        await asyncio.sleep(self.random.uniform(0.0, 1.0))
        cluster.controller.answers.set()

    def _detect(self, node: int, kind: str) -> None:
        async def fence() -> None:
            await asyncio.sleep(self.random.uniform(0.02, 1.0))
            if self.gone.get(node) == kind:
                self.cluster.controller.fence(node)

        self._detector = asyncio.create_task(fence())

    async def _bring_back(self, node: int) -> None:
        kind = self.gone.pop(node)
        if kind in ("kill", "power"):
            await self.cluster.start(node)
            return
        self.cluster.world.resume(f"n{node}")
        for other in NODES:
            self.cluster.world.network.unblock(f"n{other}", f"n{node}")
            self.cluster.world.network.unblock(f"n{node}", f"n{other}")
        self.cluster.controller.unfence(node)

    async def _heal(self) -> None:
        for node in list(self.gone):
            await self._bring_back(node)
        self.cluster.world.calm()
        self.cluster.metadata_delay_ms.clear()

    # --- what must hold ---

    async def _watch(self) -> None:
        while not self.is_over:
            await asyncio.sleep(0.003)
            for index in range(self.partitions):
                self.check(index)

    def check(self, index: int) -> None:
        """Invariants 7, 8 and 10, as far as they can be seen from outside."""
        cluster = self.cluster
        state = cluster.controller.state(index)
        up = [node for node in NODES if cluster.is_up(node) and cluster.brokers[node].replicas.describe()]
        for node in up:
            partition = cluster.replica(node, index)
            if partition.is_leader:
                self.committed[index] = max(self.committed[index], partition.high_watermark)
            assert partition.high_watermark <= partition.log.end_offset
        for node in up:
            if node in state.isr:
                log = cluster.replica(node, index).log
                assert log.recovery_point >= self.committed[index], (
                    f"broker {node} may be elected for {TOPIC}-{index} and has {log}, "
                    f"but {self.committed[index]} are committed"
                )

    async def _check_end(self, index: int) -> None:
        cluster = self.cluster
        await cluster.until(lambda: cluster.in_sync(*NODES, partition=index), within_ms=60_000, every_ms=100)
        for _ in range(20):  # a client that is told of another leader tries there
            produced = await cluster.produce(cluster.leader(index), index, timeout_ms=2_000)
            if produced.error is None:
                break
            assert produced.error.retriable and not isinstance(produced.error, RequestTimedOutError), produced
            await asyncio.sleep(0.2)
        assert produced.error is None, produced
        await cluster.until(lambda: cluster.same_logs(*NODES, partition=index), every_ms=500)
        values = {record.offset: record.value for record in cluster.log(1, index)}
        for offset, value in {**self.seen[index], **self.acknowledged[index]}.items():
            assert values.get(offset) == value, f"the record at offset {offset} of {TOPIC}-{index} was lost"


def play_chaos(
    seed: int,
    length_ms: int = 15_000,
    partitions: int = 2,
    log_config: LogConfig | None = None,
    config: ReplicationConfig = CONFIG,
) -> World:
    """One run. Raises `AssertionError` where something was lost, or does not come to rest."""

    async def main(world: World) -> Chaos:
        cluster = Cluster(world, seed, config, log_config or LogConfig(segment_bytes=4_000))
        await cluster.start(*NODES)
        cluster.controller.create_topic(partitions)
        await cluster.until(lambda: all(cluster.brokers[node].replicas.describe() for node in NODES))
        chaos = Chaos(cluster, seed, partitions)
        await chaos.run(length_ms)
        return chaos

    world = World(seed, WorldConfig(network=NetworkConfig(reset_rate=0.002)))
    world.run(main)
    return world


def play_small_fetches(seed: int) -> World:
    """A run in which most answers have to leave something for the next one."""
    return play_chaos(seed, 10_000, 5, config=SMALL_FETCHES)
