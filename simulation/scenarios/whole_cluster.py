"""The whole cluster: three brokers, producers, consumers and administrators, and whatever the seed lets go wrong.

While things go wrong the witness watches (`simulation.witness`). Afterwards the world is calm, and the run is judged:
every partition finds back to a leader and a full in-sync set, and its replicas become equal; all that was acknowledged
is read, once and in order (log checker); the topics that were created and deleted are those that are there, on disk too
(linearizability of each topic's history).

`cluster` has every usual fault; `cluster-disks` disks that fail as well: its nodes stop and are started again.
"""

import asyncio
from dataclasses import replace
from random import Random

from broker.replication.config import ReplicationConfig
from kraftpy.aio import Producer
from kraftpy.errors import KraftpyError
from raft.config import RaftConfig
from simulation import workloads
from simulation.checkers.history import Event, Operation
from simulation.checkers.linearizability import Verdict, check_linearizable, worst
from simulation.checkers.log_checker import check_log
from simulation.checkers.models import RetriedTopic
from simulation.cluster import Cluster, ClusterConfig
from simulation.faults import FATAL, Fault, Plan, run_plan
from simulation.scenario import Refuted, Scenario
from simulation.world import Life, World, WorldConfig

HOSTS = ("n1", "n2", "n3")
TOPIC = "lines"
PARTITIONS = 3
START_MS = 30_000  # by then the cluster is founded and the topic there
LENGTH_MS = 20_000  # of faults
RECOVERY_MS = 90_000
SETTLE_MS = 5_000
DELIVERY_TIMEOUT_MS = 60_000


async def run(world: World, plan: Plan) -> str:
    cluster = Cluster(world, _config(world.seed))
    cluster.start()
    history: list[Event] = []
    await _found(world, cluster)
    until_us = world.loop.now_us + LENGTH_MS * 1000
    workers = _start_clients(world, cluster, history, until_us)
    tenant = world.open_life("t1")
    tenants = world.run_in(
        tenant,
        workloads.come_and_go(
            world, cluster.admin(tenant), lambda: _producer(cluster, tenant), "t1", history, until_us
        ),
    )
    await run_plan(world, plan, HOSTS, LENGTH_MS)
    judging = world.open_life("judge")
    recovery_ms = await world.run_in(judging, _recover(world, cluster))
    await asyncio.gather(*workers)
    topics = {TOPIC: PARTITIONS, **await tenants}
    summary = await world.run_in(judging, _judge(world, cluster, topics, history))
    return f"{summary}; healthy {recovery_ms / 1000:.1f} s after the last fault"


def _config(seed: int) -> ClusterConfig:
    """Some settings follow from the seed too."""
    random = Random(f"{seed}/settings")
    return ClusterConfig(
        replication=ReplicationConfig(
            replica_lag_time_max_ms=random.choice([1_000, 2_000, 10_000]),
            isr_check_interval_ms=random.choice([250, 1_000, 2_500]),
            high_watermark_checkpoint_interval_ms=random.choice([500, 5_000]),
        ),
        raft=RaftConfig(snapshot_interval_bytes=random.choice([2_048, 8_192, 1 << 20])),
    )


def _producer(cluster: Cluster, life: Life) -> Producer:
    return cluster.producer(life, delivery_timeout_ms=DELIVERY_TIMEOUT_MS, linger_ms=2)


def _start_clients(world: World, cluster: Cluster, history: list[Event], until_us: int) -> list[asyncio.Task[None]]:
    """Everybody who works while things go wrong, each in a life of its own."""
    workers: list[asyncio.Task[None]] = []
    for name in ("p1", "p2"):
        life = world.open_life(name)
        producing = workloads.produce(world, _producer(cluster, life), name, TOPIC, PARTITIONS, history, until_us)
        workers.append(world.run_in(life, producing))
    for name in ("c1", "c2"):
        life = world.open_life(name)
        consumer = cluster.consumer(life, TOPIC, auto_offset_reset="earliest")
        workers.append(world.run_in(life, workloads.consume(world, consumer, name, history, until_us + 5_000_000)))
    life = world.open_life("a1")
    workers.append(world.run_in(life, workloads.administer(world, cluster.admin(life), "a1", history, until_us)))
    life = world.open_life("m1")
    workers.append(world.run_in(life, workloads.meddle(world, cluster.admin(life), "m1", until_us)))
    return workers


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


async def _recover(world: World, cluster: Cluster) -> int:
    """How long it took until everything was in sync, milliseconds."""
    calm_us = world.loop.now_us
    async with cluster.admin(world.lives["judge"]) as admin:
        problems = await cluster.wait_healthy(admin, RECOVERY_MS)
    if problems:
        raise Refuted(f"not live {RECOVERY_MS // 1000} s after the last fault: {'; '.join(problems)}")
    return (world.loop.now_us - calm_us) // 1000


async def _judge(world: World, cluster: Cluster, topics: dict[str, int], history: list[Event]) -> str:
    life = world.lives["judge"]
    async with cluster.admin(life) as admin:
        names = list(dict.fromkeys(event.key for event in history if isinstance(event, Operation)))
        unsettled = await cluster.wait_settled(SETTLE_MS)
        if unsettled:
            raise Refuted(f"not settled {SETTLE_MS // 1000} s after all was in sync: {'; '.join(unsettled)}")
        try:
            await workloads.describe_topics(world, admin, names, history)
        except KraftpyError as error:
            raise Refuted(f"not live: topics cannot be listed: {error}") from None
    reader = cluster.consumer(life, auto_offset_reset="earliest")
    unread = await workloads.read_topics_to_the_end(world, reader, topics, history, 30_000)
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

CLUSTER_DISKS = replace(
    CLUSTER,
    name="cluster-disks",
    about="three brokers whose disks fail",
    faults=(*FATAL, *FATAL, Fault.POWER_FAILURE, Fault.KILL, Fault.ISOLATION, Fault.PAUSE, Fault.SLOW_DISK),
)
