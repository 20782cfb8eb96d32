"""The whole cluster: three brokers, producers, consumers and administrators, and whatever the seed lets go wrong.

While things go wrong the witness watches (`simulation.witness`). Afterwards the world is calm, and the run is judged:
every partition finds back to a leader and a full in-sync set, and its replicas become equal; all that was acknowledged
is read, once and in order (log checker); the topics that were created and deleted are those that are there, on disk too
(linearizability of each topic's history).

`cluster` has every usual fault; `cluster-disks` disks that fail as well: its nodes stop and are started again. In
`cluster-wiped` one disk is lost before the rest; `cluster-wide` has brokers that only observe the quorum; in
`cluster-moves` partitions move between brokers all the time, and every move is complete in the end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from broker.replication.config import ReplicationConfig
from kraftpy.aio import Admin, Producer
from kraftpy.errors import KraftpyError
from raft.config import RaftConfig
from simulation import workloads
from simulation.checkers.history import Event, Operation
from simulation.checkers.linearizability import check_linearizable, worst
from simulation.checkers.log_checker import check_log
from simulation.checkers.models import RetriedTopic
from simulation.cluster import Cluster, ClusterConfig, make_data_directory
from simulation.faults import FATAL, USUAL, Fault, Plan, run_plan
from simulation.hosts import hosts_of, node_id_of
from simulation.scenario import Refuted, Scenario
from simulation.verdicts import CheckVerdict, Verdict, failures
from simulation.world import Life, World, WorldConfig

HOSTS = ("n1", "n2", "n3")
TOPIC = "lines"
PARTITIONS = 3
SHORT_TOPIC = "short"  # whose beginning is deleted while it grows
SHORT = {"retention.bytes": "20000", "file.delete.delay.ms": "500"}
START_MS = 30_000  # by then the cluster is founded and the topic there
LENGTH_MS = 20_000  # of faults
RECOVERY_MS = 90_000
SETTLE_MS = 5_000
DELIVERY_TIMEOUTS_MS = (2_000, 5_000, 60_000)
FULL_ANSWERS = 1 / 3
"""Of how many seeds: followers ask for so little that not every partition's next batch fits into an answer."""
FULL_ANSWER_BYTES, FULL_PARTITION_BYTES = 420, 300
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")


@dataclass(frozen=True, slots=True)
class Shape:
    """What one scenario of the whole cluster is made of."""

    nodes: int = 3
    observers: int = 0  # of `nodes`: brokers that do not vote
    moves: bool = False  # an operator who reassigns partitions, throttles that, and cancels it
    loses_disk: bool = False  # one node comes back with an empty disk before anything else goes wrong

    @property
    def hosts(self) -> tuple[str, ...]:
        return hosts_of(self.nodes)


async def run(shape: Shape, world: World, plan: Plan) -> str:
    return await run_on(Cluster(world, settings(shape, world.seed)), shape, plan)


async def run_on(
    cluster: Cluster, shape: Shape, plan: Plan, meanwhile: Callable[[], Awaitable[None]] | None = None
) -> str:
    """Run the clients on that cluster under the plan, and judge it; `meanwhile` runs beside the plan, and ends by
    itself."""
    world = cluster.world
    cluster.start()
    history: list[Event] = []
    await _found(world, cluster)
    until_us = world.loop.now_us + LENGTH_MS * 1000
    workers = _start_clients(world, cluster, history, until_us)
    if shape.moves:
        workers.append(_start_mover(world, cluster, until_us))
    tenants = _start_tenants(world, cluster, history, until_us)
    if shape.loses_disk:
        await _lose_a_disk(world, cluster, shape)
    more = asyncio.ensure_future(meanwhile()) if meanwhile is not None else None
    await run_plan(world, plan, shape.hosts, max(1, (until_us - world.loop.now_us) // 1000))
    if more is not None:
        await more
    judging = world.open_life("judge")
    recovery_ms = await world.run_in(judging, _recover(world, cluster, shape))
    await asyncio.gather(*workers)
    topics = {TOPIC: PARTITIONS, SHORT_TOPIC: 1, **await tenants}
    summary = await world.run_in(judging, _judge(world, cluster, shape, topics, history))
    return f"{summary}; healthy {recovery_ms / 1000:.1f} s after the last fault"


async def _lose_a_disk(world: World, cluster: Cluster, shape: Shape) -> None:
    """While all is well: later it could be the only one that has something. And the others must live until they know:
    before, each of them would leave the in-sync set to the lost one when it restarts (see docs/reliability.md)."""
    host = world.random.choice(shape.hosts)
    await asyncio.sleep(world.random.random() * 3)
    world.crash(host, power=True)
    world.wipe(host)
    cluster.witness.loses_disk(node_id_of(host))
    make_data_directory(world, host)
    await asyncio.sleep(world.random.random() * 2)
    world.restart(host)
    for _ in range(0, START_MS, 100):
        if not cluster.witness.still_counts_on(node_id_of(host)):
            return
        await asyncio.sleep(0.1)
    raise Refuted(f"not live: {host} did not come back with its new disk in {START_MS // 1000} s")


def settings(shape: Shape, seed: int) -> ClusterConfig:
    """Some settings follow from the seed too."""
    random = Random(f"{seed}/settings")
    replication = ReplicationConfig(
        replica_lag_time_max_ms=random.choice([1_000, 2_000, 10_000]),
        high_watermark_checkpoint_interval_ms=random.choice([500, 5_000]),
        retention_check_interval_ms=1_000,
    )
    raft = RaftConfig(snapshot_interval_bytes=random.choice([2_048, 8_192, 1 << 20]))
    if random.random() < FULL_ANSWERS:
        replication = replace(
            replication,
            fetch_partition_bytes_max=FULL_PARTITION_BYTES,
            fetch_response_bytes_max=FULL_ANSWER_BYTES,
        )
    return ClusterConfig(nodes=shape.nodes, observers=shape.observers, replication=replication, raft=raft)


def _producer(cluster: Cluster, life: Life) -> Producer:
    """A producer whose patience and compression follow from the seed."""
    random = Random(f"{cluster.world.seed}/producer-settings/{life.host}")
    delivery_timeout_ms = random.choice(DELIVERY_TIMEOUTS_MS)
    return cluster.producer(
        life,
        delivery_timeout_ms=delivery_timeout_ms,
        request_timeout_ms=min(delivery_timeout_ms // 2, 30_000),
        compression_type=random.choice(COMPRESSIONS),
        linger_ms=2,
    )


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
    for name in ("a1", "a2"):
        life = world.open_life(name)
        workers.append(world.run_in(life, workloads.administer(world, cluster.admin(life), name, history, until_us)))
    life = world.open_life("s1")
    producing = workloads.produce(world, _producer(cluster, life), "s1", SHORT_TOPIC, 1, history, until_us)
    workers.append(world.run_in(life, producing))
    deleting = workloads.delete_records(world, cluster.admin(life), SHORT_TOPIC, until_us)
    workers.append(world.run_in(life, deleting))
    life = world.open_life("m1")
    workers.append(world.run_in(life, workloads.meddle(world, cluster.admin(life), "m1", until_us)))
    return workers


def _start_tenants(
    world: World, cluster: Cluster, history: list[Event], until_us: int
) -> "asyncio.Task[dict[str, int]]":
    life = world.open_life("t1")
    admin = cluster.admin(life)
    coming = workloads.come_and_go(world, admin, lambda: _producer(cluster, life), "t1", history, until_us)
    return world.run_in(life, coming)


def _start_mover(world: World, cluster: Cluster, until_us: int) -> asyncio.Task[None]:
    life = world.open_life("r1")
    places = [*[(TOPIC, number) for number in range(PARTITIONS)], (SHORT_TOPIC, 0)]
    node_ids = [node_id_of(host) for host in cluster.hosts]
    return world.run_in(life, workloads.reassign(world, cluster.admin(life), "r1", places, node_ids, until_us))


async def _found(world: World, cluster: Cluster) -> None:
    """Wait for the cluster and create the topic."""
    life = world.open_life("founder")
    admin = cluster.admin(life)

    async def create() -> None:
        async with admin:
            problems = await cluster.wait_healthy(admin, START_MS)
            if not problems:
                settings = {"min.insync.replicas": "2"}
                await admin.create_topic(TOPIC, partitions=PARTITIONS, config=settings)
                await admin.create_topic(SHORT_TOPIC, partitions=1, config={**settings, **SHORT})
                problems = await cluster.wait_healthy(admin, START_MS)
            if problems:
                raise Refuted(f"not live before any fault: {'; '.join(problems)}")

    await world.run_in(life, create())


async def _recover(world: World, cluster: Cluster, shape: Shape) -> int:
    """How long it took until everything was in sync, milliseconds."""
    calm_us = world.loop.now_us
    async with cluster.admin(world.lives["judge"]) as admin:
        problems = await cluster.wait_healthy(admin, RECOVERY_MS)
        if shape.moves and not problems:
            problems = await _wait_moved(admin) or await cluster.wait_healthy(admin, RECOVERY_MS)
    if problems:
        raise Refuted(f"not live {RECOVERY_MS // 1000} s after the last fault: {'; '.join(problems)}")
    return (world.loop.now_us - calm_us) // 1000


async def _wait_moved(admin: Admin) -> list[str]:
    """Until no partition moves any more; those that still do when the time is over."""
    await workloads.unthrottle(admin)
    for _ in range(RECOVERY_MS // 100):
        moving = await admin.list_partition_reassignments()
        if not moving:
            return []
        await asyncio.sleep(0.1)
    return [f"{each.topic}-{each.partition} still moves: {each}" for each in moving]


async def _judge(world: World, cluster: Cluster, shape: Shape, topics: dict[str, int], history: list[Event]) -> str:
    """After everybody who works has ended."""
    life = world.lives["judge"]
    async with cluster.admin(life) as admin:
        problems = await _wait_moved(admin) if shape.moves else []  # who moves replicas may have begun a last one late
        problems = problems or await cluster.wait_healthy(admin, SETTLE_MS)
        if problems:
            raise Refuted(f"did not stay healthy: {'; '.join(problems)}")
        names = list(dict.fromkeys(event.key for event in history if isinstance(event, Operation)))
        untaken = await workloads.write_to_each(world, cluster.producer(life), "w1", topics, history)
        if untaken:
            raise Refuted(f"not live: a calm cluster took no record for {', '.join(untaken)}")
        await judge_replicas(cluster, SETTLE_MS)
        try:
            await workloads.describe_topics(world, admin, names, history)
        except KraftpyError as error:
            raise Refuted(f"not live: topics cannot be listed: {error}") from None
    reader = cluster.consumer(life, auto_offset_reset="earliest")
    unread = await workloads.read_topics_to_the_end(world, reader, topics, history, 30_000)
    if unread:
        raise Refuted(f"not live: {'; '.join(unread)}")
    witness = cluster.witness
    world.verdicts += verdicts_on(history)
    return f"{told(world.verdicts)}; {witness.committed_batches} committed batches in {witness.looks} looks"


async def judge_replicas(cluster: Cluster, settle_ms: int) -> None:
    """When nobody writes any more: they must become equal in that time, to the last byte. Raises `Refuted`."""
    unsettled = await cluster.wait_settled(settle_ms)
    if unsettled:
        raise Refuted(f"not settled {settle_ms // 1000} s after all was in sync: {'; '.join(unsettled)}")
    cluster.look()
    differing = cluster.divergences()
    if differing:
        raise Refuted("\n".join(map(str, differing)))


def verdicts_on(history: list[Event]) -> list[CheckVerdict]:
    """What the checkers say of the records and the topics."""
    report = check_log(history)
    log = CheckVerdict("log", Verdict.OK if report.ok else Verdict.INVALID, str(report))
    return [log, judge_topics(history)]


def judge_topics(history: list[Event]) -> CheckVerdict:
    """Whether one order of what was done to each topic explains all answers."""
    operations = [event for event in history if isinstance(event, Operation)]
    reports = check_linearizable(operations, RetriedTopic())
    verdict = worst(reports)
    summary = f"{len(operations)} operations on {len(reports)} topics"
    of_it = "\n".join(str(report) for report in reports if report.verdict is verdict)
    return CheckVerdict("topics", verdict, summary if verdict is Verdict.OK else of_it)


def told(verdicts: Sequence[CheckVerdict]) -> str:
    """In one line; what was given up is in the report beside it. Raises `Refuted` where a checker finds anything."""
    wrong = failures(verdicts)
    if wrong:
        raise Refuted("\n".join(wrong))
    return "; ".join(each.detail for each in verdicts if each.verdict is Verdict.OK)


def _scenario(name: str, about: str, shape: Shape, faults: tuple[Fault, ...] = USUAL) -> Scenario:
    return Scenario(
        name=name,
        about=about,
        hosts=shape.hosts,
        length_ms=LENGTH_MS,
        run=partial(run, shape),
        config=WorldConfig(time_limit_ms=600_000),
        faults=faults,
    )


CLUSTER = _scenario("cluster", "three brokers, clients, and every usual fault", Shape())
CLUSTER_DISKS = _scenario(
    "cluster-disks",
    "three brokers whose disks fail",
    Shape(),
    (*FATAL, *FATAL, Fault.POWER_FAILURE, Fault.KILL, Fault.ISOLATION, Fault.PAUSE, Fault.SLOW_DISK),
)
CLUSTER_WIPED = _scenario("cluster-wiped", "three brokers, one of which loses its disk first", Shape(loses_disk=True))
CLUSTER_WIDE = _scenario("cluster-wide", "three voters and two more brokers", Shape(nodes=5, observers=2))
CLUSTER_MOVES = _scenario(
    "cluster-moves",
    "three voters and one more broker, between which partitions move",
    Shape(4, observers=1, moves=True),
)
