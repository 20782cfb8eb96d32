"""Transactions on a whole cluster: several producers, two of which fight for one transactional id, under every fault.

Each transaction writes to some partitions of one topic, commits an offset for a group, and is then committed, aborted,
or left by a producer that died. Committed readers look on all the time. Afterwards the world is calm, and:

- all or nothing: what was committed is there once and in order, what was not is not, and offsets say the same (14, 15);
- no transaction hangs: within its time and a bound committed readers get to the end of every partition, those of the
  coordinators' topics too (16);
- transactions go on: a new producer commits one, in time (`simulation.calm_transactions`);
- whoever was fenced has changed nothing.

The numbers are those of the invariants in the reference.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from broker.coordinator.config import StateTopicsConfig
from kraftpy.client.values import TopicPartition
from kraftpy.errors import KraftpyError
from kraftpy.runtime.ports import Address, TransportError
from simulation.calm_transactions import CalmTransactions, all_places, committed_reader, wait_nothing_open
from simulation.checkers.transactions import check_transactions
from simulation.cluster import FRAMED_PORT, Cluster
from simulation.faults import Plan, run_plan
from simulation.hosts import host_of
from simulation.scenario import Refuted
from simulation.scenarios.whole_cluster import (
    CLUSTER,
    HOSTS,
    LENGTH_MS,
    RECOVERY_MS,
    SETTLE_MS,
    START_MS,
    Shape,
    judge_replicas,
    settings,
)
from simulation.transactional_client import Fate, Transaction, TransactionalProducer, Wire
from simulation.world import Life, World

TOPIC = "accounts"
PARTITIONS = 3
TIMEOUT_MS = 6_000
"""Of each transaction."""
PATIENCE_MS = 30_000
"""For readers and those who ask for offsets, when the cluster is healthy again and no transaction is open."""
PRODUCERS = {"t1": "alone", "t2": "shared", "t3": "shared", "t4": "other"}


@dataclass(frozen=True, slots=True)
class Told:
    """`simulation.checkers.transactions.Seen`."""

    producer: str
    number: int
    values: tuple[tuple[int, str], ...]
    fate: Fate

    @property
    def must_be_there(self) -> bool:
        return self.fate is Fate.COMMITTED

    @property
    def may_be_there(self) -> bool:
        return self.fate is not Fate.NEVER_COMMITTED


def told(history: Sequence[Transaction]) -> list[Told]:
    """As the checker wants them."""
    return [Told(each.producer, each.number, each.values, each.fate) for each in history]


async def run(world: World, plan: Plan) -> str:
    few = StateTopicsConfig(offsets_partitions=2, transactions_partitions=2)
    cluster = Cluster(world, replace(settings(Shape(), world.seed), state_topics=few))
    cluster.start()
    await world.run_in(world.open_life("founder"), _found(cluster))
    until_us = world.loop.now_us + LENGTH_MS * 1_000
    history: list[Transaction] = []
    seen: dict[str, None] = {}
    producers = {name: open_producer(cluster, world.open_life(name), name) for name in PRODUCERS}
    workers = [
        world.run_in(world.lives[name], producer.run(TOPIC, PARTITIONS, history, until_us))
        for name, producer in producers.items()
    ]
    reader = world.open_life("c1")
    workers.append(world.run_in(reader, look_on(cluster, reader, seen, until_us)))
    await run_plan(world, plan, HOSTS, LENGTH_MS)
    judge = world.open_life("judge")
    await world.run_in(judge, _recover(cluster))
    await asyncio.gather(*workers)
    took_ms = await world.run_in(judge, go_on(cluster, judge))
    partitions = await world.run_in(judge, read_all_committed(cluster, judge, TOPIC, PARTITIONS, TIMEOUT_MS))
    offsets = {name: await world.run_in(world.lives[name], stable_offset(each)) for name, each in producers.items()}
    problems = check_transactions(told(history), partitions, seen, offsets)
    if problems:
        raise Refuted("\n".join(problems))
    await judge_replicas(cluster, SETTLE_MS)
    counts = ", ".join(f"{sum(each.fate is fate for each in history)} {fate.name.lower()}" for fate in Fate)
    return f"{len(history)} transactions: {counts}; {len(seen)} values seen meanwhile; the last took {took_ms} ms"


def open_producer(cluster: Cluster, life: Life, name: str) -> TransactionalProducer:
    """One of `PRODUCERS`."""
    world = cluster.world

    def leader_of(topic: str, partition: int) -> int:
        state = cluster.witness.image.partition(topic, partition)
        if state is None or state.leader < 0:
            raise TransportError(f"{topic}-{partition} has no leader")
        return state.leader

    wire = Wire(life.ports.framed, lambda broker_id: Address(host_of(broker_id), FRAMED_PORT))
    random = Random(f"{world.seed}/transactions/{name}")
    brokers = tuple(range(1, len(cluster.hosts) + 1))
    return TransactionalProducer(
        wire, random, name, PRODUCERS[name], brokers, leader_of, lambda: world.loop.now_us, TIMEOUT_MS
    )


async def _found(cluster: Cluster) -> None:
    async with cluster.admin(cluster.world.lives["founder"]) as admin:
        problems = await cluster.wait_healthy(admin, START_MS)
        if not problems:
            kept = {"min.insync.replicas": "2", "retention.ms": "-1"}
            await admin.create_topic(TOPIC, partitions=PARTITIONS, config=kept)
            problems = await cluster.wait_healthy(admin, START_MS)
    if problems:
        raise Refuted(f"not live before any fault: {'; '.join(problems)}")


async def _recover(cluster: Cluster) -> None:
    async with cluster.admin(cluster.world.lives["judge"]) as admin:
        problems = await cluster.wait_healthy(admin, RECOVERY_MS)
    if problems:
        raise Refuted(f"not live {RECOVERY_MS // 1000} s after the last fault: {'; '.join(problems)}")


async def go_on(cluster: Cluster, life: Life) -> int:
    """What a calm cluster owes to transactions when all clients are gone; how long one takes, milliseconds. Raises
    `Refuted`."""
    await wait_nothing_open(cluster, life, all_places(cluster), TIMEOUT_MS)
    calm = CalmTransactions(cluster, life)
    async with cluster.admin(life) as admin:
        await calm.prepare(admin)
        problems = await cluster.wait_healthy(admin, SETTLE_MS)
        if problems:
            raise Refuted(f"did not stay healthy: {'; '.join(problems)}")
        await calm.let_preferred_lead(admin)
    await calm.commit()
    return calm.slowest_ms


async def look_on(cluster: Cluster, life: Life, seen: dict[str, None], until_us: int) -> None:
    """Read what is committed while it is, into `seen`."""
    async with committed_reader(cluster, life, TOPIC) as consumer:
        while cluster.world.loop.now_us < until_us:
            try:
                records = await consumer.poll(timeout=0.5)
            except KraftpyError:
                await asyncio.sleep(0.1)
                continue
            seen.update((bytes(record.value or b"").decode(), None) for record in records)


async def read_all_committed(
    cluster: Cluster, life: Life, topic: str, partitions: int, timeout_ms: int, patience_ms: int = PATIENCE_MS
) -> dict[int, list[str]]:
    """The values of each partition, once no transaction is open any more. Raises `Refuted` where one hangs.

    `timeout_ms`: of the transactions; `patience_ms`: how long the reader may take afterwards.
    """
    places = [TopicPartition(topic, partition) for partition in range(partitions)]
    await wait_nothing_open(cluster, life, places, timeout_ms)
    found: dict[int, list[str]] = {partition: [] for partition in range(partitions)}
    async with committed_reader(cluster, life) as consumer:
        consumer.assign(places)
        ends = await consumer.end_offsets(places, timeout=10)
        deadline_us = cluster.world.loop.now_us + patience_ms * 1_000
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            if cluster.world.loop.now_us > deadline_us:
                raise Refuted("not live: a committed reader does not come to the end")
            for record in await consumer.poll(timeout=0.5):
                found[record.partition].append(bytes(record.value or b"").decode())
    return found


async def stable_offset(producer: TransactionalProducer) -> int:
    """Where its group is, which must be known by now."""
    for _ in range(PATIENCE_MS // 100):
        try:
            return await producer.committed_offset()
        except (KraftpyError, TransportError) as error:
            last = error
        await asyncio.sleep(0.1)
    raise Refuted(f"the offsets of {producer.group_id} do not become stable: {last}")


CLUSTER_TRANSACTIONS = replace(
    CLUSTER, name="cluster-transactions", about="producers with transactions, and every usual fault", run=run
)
