"""The whole cluster: three brokers, producers, consumers and an administrator, and whatever the seed lets go wrong.

Afterwards the world is calm, and the run is judged: every partition finds back to a leader and a full in-sync set, all
that was acknowledged is read, once and in order (log checker), the topics that were created and deleted are those that
are there (linearizability of each topic's history), and replicas hold the same batches.
"""

import asyncio

from kraftpy.errors import KraftpyError
from simulation import workloads
from simulation.checkers.history import Event, Operation
from simulation.checkers.linearizability import Verdict, check_linearizable, worst
from simulation.checkers.log_checker import check_log
from simulation.checkers.models import RetriedTopic
from simulation.cluster import Cluster
from simulation.faults import Plan, run_plan
from simulation.scenario import Refuted, Scenario
from simulation.world import World, WorldConfig

HOSTS = ("n1", "n2", "n3")
TOPIC = "lines"
PARTITIONS = 3
START_MS = 30_000  # by then the cluster is founded and the topic there
LENGTH_MS = 20_000  # of faults
RECOVERY_MS = 90_000
SETTLE_MS = 5_000
DELIVERY_TIMEOUT_MS = 60_000


async def run(world: World, plan: Plan) -> str:
    cluster = Cluster(world)
    cluster.start()
    history: list[Event] = []
    await _found(world, cluster)
    until_us = world.loop.now_us + LENGTH_MS * 1000
    workers = []
    for name in ("p1", "p2"):
        life = world.open_life(name)
        producer = cluster.producer(life, delivery_timeout_ms=DELIVERY_TIMEOUT_MS, linger_ms=2)
        workers.append(
            world.run_in(life, workloads.produce(world, producer, name, TOPIC, PARTITIONS, history, until_us))
        )
    for name in ("c1", "c2"):
        life = world.open_life(name)
        consumer = cluster.consumer(life, TOPIC, auto_offset_reset="earliest")
        workers.append(world.run_in(life, workloads.consume(world, consumer, name, history, until_us + 5_000_000)))
    life = world.open_life("a1")
    workers.append(world.run_in(life, workloads.administer(world, cluster.admin(life), "a1", history, until_us)))
    await run_plan(world, plan, HOSTS, LENGTH_MS)
    await asyncio.gather(*workers)
    return await world.run_in(world.open_life("judge"), _judge(world, cluster, history))


async def _found(world: World, cluster: Cluster) -> None:
    """Wait for the cluster and create the topic."""
    life = world.open_life("founder")
    admin = cluster.admin(life)

    async def create() -> None:
        async with admin:
            problems = await cluster.wait_healthy(admin, START_MS)
            if not problems:
                await admin.create_topic(TOPIC, partitions=PARTITIONS, config={"min.insync.replicas": "2"})
                problems = await cluster.wait_healthy(admin, START_MS)
            if problems:
                raise Refuted(f"not live before any fault: {'; '.join(problems)}")

    await world.run_in(life, create())


async def _judge(world: World, cluster: Cluster, history: list[Event]) -> str:
    life = world.lives["judge"]
    async with cluster.admin(life) as admin:
        problems = await cluster.wait_healthy(admin, RECOVERY_MS)
        if problems:
            raise Refuted(f"not live {RECOVERY_MS // 1000} s after the last fault: {'; '.join(problems)}")
        names = list(dict.fromkeys(event.key for event in history if isinstance(event, Operation)))
        unsettled = await cluster.wait_settled(SETTLE_MS)
        if unsettled:
            raise Refuted(f"not settled {SETTLE_MS // 1000} s after all was in sync: {'; '.join(unsettled)}")
        try:
            await workloads.describe_topics(world, admin, names, history)
        except KraftpyError as error:
            raise Refuted(f"not live: topics cannot be listed: {error}") from None
    reader = cluster.consumer(life, auto_offset_reset="earliest")
    unread = await workloads.read_to_the_end(world, reader, TOPIC, PARTITIONS, history, 30_000)
    if unread:
        raise Refuted(f"not live: {'; '.join(unread)}")
    cluster.look()
    differing = cluster.divergences()
    if differing:
        raise Refuted("\n".join(map(str, differing)))
    witness = cluster.witness
    return f"{judge(history)}; {witness.committed_batches} committed batches in {witness.looks} looks"


def judge(history: list[Event]) -> str:
    """Raises `Refuted` where a checker finds anything."""
    report = check_log(history)
    if not report.ok:
        raise Refuted(str(report))
    operations = [event for event in history if isinstance(event, Operation)]
    topics = check_linearizable(operations, RetriedTopic())
    if worst(topics) is not Verdict.OK:
        raise Refuted("\n".join(str(key) for key in topics if key.verdict is not Verdict.OK))
    return f"{report}; {len(operations)} topic operations"


CLUSTER = Scenario(
    name="cluster",
    about="three brokers, clients, and every usual fault",
    hosts=HOSTS,
    length_ms=LENGTH_MS,
    run=run,
    config=WorldConfig(time_limit_ms=600_000),
)
