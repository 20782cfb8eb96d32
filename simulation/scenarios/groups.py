"""Groups on a whole cluster: members of every kind come, go, die and stall, under every usual fault.

Two groups of what `SHAPES` lists read the same topics, whose partitions grow, and to which a topic is added: classic
ones, eager and cooperative, with dynamic and static members; those of KIP-848; ones whose members change the protocol
one by one; and ones that write a record for each that they read, in transactions. Their programs use the SDK as it is.
A stranger tries to set offsets now and then. The coordinators' partitions move when nodes die and come back.

Afterwards the world is calm, and is judged (the numbers are those of the invariants in the reference):

- the records are there once and in their order (14); transactions are all or nothing, and every record that such a
  group reads is in its output once (15); nothing hangs (16);
- each group comes to rest: every partition has one owner, all members are in one generation, all is read and committed;
- what the programs wrote down and the coordinators' log agree with `simulation.checkers.groups` (17, 18).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from broker.coordinator.config import StateTopicsConfig
from broker.coordinator.groups.config import GroupConfig
from kraftpy.aio import Admin, Consumer
from kraftpy.client.admin_values import ConfigResource
from kraftpy.client.values import OffsetAndMetadata, TopicPartition
from kraftpy.errors import KraftpyError
from simulation import workloads
from simulation.calm_transactions import committed_reader, wait_nothing_open
from simulation.checkers.groups import SET, GroupHistory, check_groups
from simulation.checkers.history import Event, Poll
from simulation.checkers.log_checker import check_log
from simulation.checkers.transactions import check_transactions
from simulation.cluster import Cluster
from simulation.coordinator_log import CONSUMER_OFFSETS, read_coordinator_log
from simulation.faults import Plan, run_plan
from simulation.group_program import OUT_PARTITIONS, Journal
from simulation.group_slot import TRANSACTION_TIMEOUT_MS, GroupShape, Slot
from simulation.scenario import Refuted, Scenario
from simulation.scenarios.compaction import COMPACTING
from simulation.scenarios.compaction import SETTINGS as COMPACTED
from simulation.scenarios.transactions import read_all_committed
from simulation.scenarios.whole_cluster import HOSTS, RECOVERY_MS, SETTLE_MS, START_MS, Shape, judge_replicas, settings
from simulation.world import Life, World, WorldConfig

LENGTH_MS = 14_000
REST_MS = 40_000
"""After the cluster is healthy again every group has come to rest by then: sessions and rebalances end twice."""
FEW = 2
"""Partitions of each internal topic."""
TOPICS = {"work-a": 3, "work-b": 2}
GROWN = {"work-a": 5}
LATE = {"work-c": 1}  # made meanwhile; only patterns read it
PATTERN = "work-.*"
GROUPS = GroupConfig(
    session_timeout_min_ms=1_000,
    initial_rebalance_delay_ms=500,
    consumer_session_timeout_ms=3_000,
    consumer_session_timeout_min_ms=1_000,
    consumer_heartbeat_interval_ms=500,
    consumer_heartbeat_interval_min_ms=500,
)
NAMED = tuple(TOPICS)
KEPT = {"min.insync.replicas": "2", "retention.ms": "-1"}

SHAPES = (
    GroupShape("eager", ("range",), NAMED),
    GroupShape("eager-sticky", ("sticky",), NAMED),
    GroupShape("roundrobin", ("roundrobin",), (), PATTERN),
    GroupShape("cooperative", ("cooperative",), NAMED),
    GroupShape("cooperative-pattern", ("cooperative",), (), PATTERN),
    GroupShape("to-cooperative", ("both", "cooperative"), NAMED),
    GroupShape("consumer", ("uniform",), NAMED),
    GroupShape("consumer-range", ("by-range", "uniform"), NAMED),
    GroupShape("consumer-pattern", ("uniform",), (), PATTERN),
    GroupShape("migrating", ("cooperative", "uniform"), NAMED),
    GroupShape("migrating-eager", ("range", "uniform"), NAMED),
    GroupShape("transactions", ("cooperative",), ("work-a",), output="out-1"),
    GroupShape("transactions-consumer", ("uniform",), ("work-a",), output="out-2"),
)
"""By what a run may have."""


@dataclass(frozen=True, slots=True)
class Group:
    """One of a run."""

    name: str
    shape: GroupShape
    slots: tuple[Slot, ...]

    @property
    def topics(self) -> tuple[str, ...]:
        return self.shape.topics or (*TOPICS, *LATE)


async def run(shapes: Sequence[GroupShape], world: World, plan: Plan) -> str:
    few = StateTopicsConfig(offsets_partitions=FEW, transactions_partitions=FEW)
    config = replace(settings(Shape(), world.seed), state_topics=few, groups=GROUPS)
    cluster = Cluster(world, replace(config, compaction=COMPACTING) if _is_compacted(world.seed) else config)
    cluster.start()
    await world.run_in(world.open_life("founder"), _found(cluster))
    until_us = world.loop.now_us + LENGTH_MS * 1_000
    journal = Journal(lambda: world.loop.now_us, world.loop.trace)
    history: list[Event] = []
    groups = draw_groups(cluster, shapes, journal)
    working = asyncio.ensure_future(work(cluster, groups, history, until_us, may_set=not _is_compacted(world.seed)))
    await run_plan(world, plan, HOSTS, LENGTH_MS)
    judge = world.open_life("judge")
    await world.run_in(judge, _recover(cluster))
    await working
    began_us = world.loop.now_us
    topics = await world.run_in(judge, rest(cluster, groups))
    rested_ms = (world.loop.now_us - began_us) // 1_000
    judging = judge_groups(cluster, judge, groups, topics, journal, history, compacted=_is_compacted(world.seed))
    summary = await world.run_in(judge, judging)
    await judge_replicas(cluster, SETTLE_MS)
    return f"{' and '.join(group.shape.name for group in groups)}: {summary}; at rest after {rested_ms / 1000:.1f} s"


def _is_compacted(seed: int) -> bool:
    """In every fourth run the coordinators' logs are compacted while they are written."""
    return seed % 4 == 3


def draw_groups(cluster: Cluster, shapes: Sequence[GroupShape], journal: Journal) -> list[Group]:
    """Two of these shapes, as the seed says."""
    random = Random(f"{cluster.world.seed}/groups")
    groups = []
    for number, shape in enumerate(random.sample(shapes, 2), 1):
        name = f"g{number}"
        slots = tuple(Slot(cluster, name, shape, slot, journal) for slot in range(1, random.randint(2, 3) + 1))
        groups.append(Group(name, shape, slots))
    return groups


# --- what else goes on -----------------------------------------------------------------------------------------------


async def work(
    cluster: Cluster,
    groups: Sequence[Group],
    history: list[Event],
    until_us: int,
    *,
    may_set: bool = True,
    prefix: str = "",
    pause_s: float = 0.3,
    slowness: float = 1.0,
) -> None:
    """Members, producers, the operator and the stranger, until all of them have come to their ends.

    `may_set`: whether there is a stranger. `prefix`: of the names of lives. `pause_s`: of producers. `slowness`: of
    members, who come and go.
    """
    world = cluster.world
    workers: list[asyncio.Future[None]] = [
        asyncio.ensure_future(slot.run(until_us, slowness)) for group in groups for slot in group.slots
    ]

    def begin_producer(name: str, topic: str, partitions: int) -> None:
        workers.append(_start_producer(cluster, prefix + name, topic, partitions, history, until_us, pause_s))

    for name, topic in (("p1", "work-a"), ("p2", "work-b")):
        begin_producer(name, topic, TOPICS[topic])
    life = world.open_life(f"{prefix}operator")
    workers.append(world.run_in(life, _operate(cluster, life, begin_producer)))
    if may_set:
        stranger = world.open_life(f"{prefix}stranger")
        group = Random(f"{world.seed}/stranger").choice(groups)
        workers.append(world.run_in(stranger, _set_offsets(cluster, stranger, group, until_us)))
    while not all(worker.done() for worker in workers):  # the operator may have started another
        await asyncio.gather(*workers)


def _start_producer(
    cluster: Cluster, name: str, topic: str, partitions: int, history: list[Event], until_us: int, pause_s: float
) -> asyncio.Future[None]:
    life = cluster.world.open_life(name)
    producer = cluster.producer(life, delivery_timeout_ms=5_000, request_timeout_ms=2_500, linger_ms=2)
    return cluster.world.run_in(
        life, workloads.produce(cluster.world, producer, name, topic, partitions, history, until_us, pause_s)
    )


async def _operate(cluster: Cluster, life: Life, begin_producer: Callable[[str, str, int], None]) -> None:
    """Topics grow, and one is made."""
    random = Random(f"{cluster.world.seed}/operator")
    changes = [(name, count, False) for name, count in GROWN.items()]
    changes += [(name, count, True) for name, count in LATE.items()]
    random.shuffle(changes)
    async with cluster.admin(life) as admin:
        for number, (topic, count, is_new) in enumerate(changes):
            await asyncio.sleep(1 + random.random() * 5)
            if await _changed(admin, topic, count, is_new=is_new):
                begin_producer(f"p{number + 3}", topic, count)


async def _changed(admin: Admin, topic: str, count: int, *, is_new: bool) -> bool:
    try:
        if is_new:
            await admin.create_topic(topic, partitions=count, config=KEPT, timeout=5)
        else:
            await admin.create_partitions(topic, count, timeout=5)
    except KraftpyError:
        return False
    return True


async def _set_offsets(cluster: Cluster, life: Life, group: Group, until_us: int) -> None:
    """Somebody who is no member sets an offset; a group that has members refuses that."""
    random = Random(f"{cluster.world.seed}/stranger/{group.name}")
    place = TopicPartition("work-a", 0)
    async with cluster.admin(life) as admin:
        while cluster.world.loop.now_us < until_us:
            await asyncio.sleep(1 + random.random() * 8)
            try:
                await admin.alter_group_offsets(group.name, {place: OffsetAndMetadata(0, SET)}, timeout=2)
            except KraftpyError as error:
                cluster.world.loop.trace("not-set", group.name, type(error).__name__)


# --- judging ---------------------------------------------------------------------------------------------------------


async def _found(cluster: Cluster) -> None:
    async with cluster.admin(cluster.world.lives["founder"]) as admin:
        problems = await cluster.wait_healthy(admin, START_MS)
        if not problems:
            await create_topics(admin)
            problems = await cluster.wait_healthy(admin, START_MS)
        if not problems and _is_compacted(cluster.world.seed):
            await admin.list_group_offsets("g1")  # so that there is a topic for them
            await admin.alter_configs({ConfigResource.topic(CONSUMER_OFFSETS): COMPACTED})
    if problems:
        raise Refuted(f"not live before any fault: {'; '.join(problems)}")


async def create_topics(admin: Admin) -> None:
    """What is read from the beginning, and what is written in transactions."""
    for name, count in {**TOPICS, **{f"out-{number}": OUT_PARTITIONS for number in (1, 2)}}.items():
        await admin.create_topic(name, partitions=count, config=KEPT)


async def _recover(cluster: Cluster) -> None:
    async with cluster.admin(cluster.world.lives["judge"]) as admin:
        problems = await cluster.wait_healthy(admin, RECOVERY_MS)
        if problems:
            raise Refuted(f"not live {RECOVERY_MS // 1000} s after the last fault: {'; '.join(problems)}")


async def _ends(admin: Admin, reader: Consumer) -> dict[TopicPartition, int]:
    """Of what is read, as far as it is there."""
    names = (*TOPICS, *LATE)
    topics = [each for each in await admin.list_topics(timeout=10) if each.name in names]
    places = [TopicPartition(each.name, index) for each in topics for index in range(each.partitions)]
    return await reader.end_offsets(places, timeout=10)


async def rest(cluster: Cluster, groups: Sequence[Group]) -> dict[str, int]:
    """Wait until every group has come to rest: the partitions of the topics that they read.

    Asked for each time, for a creation that nobody confirmed may still come about. Raises `Refuted`.
    """
    world = cluster.world
    deadline_us = world.loop.now_us + REST_MS * 1_000
    life = world.lives["judge"]
    async with cluster.admin(life) as admin, cluster.consumer(life, auto_offset_reset="earliest") as reader:
        for group in groups:
            while problem := await _unrest(admin, group, await _ends(admin, reader)):
                if world.loop.now_us > deadline_us:
                    raise Refuted(f"{group.name} ({group.shape.name}) does not come to rest: {problem}")
                for slot in group.slots:
                    slot.keep_one()
                await asyncio.sleep(0.25)
        return dict(Counter(place.topic for place in await _ends(admin, reader)))


async def _unrest(admin: Admin, group: Group, ends: dict[TopicPartition, int]) -> str:
    """Why a group is not at rest; empty: it is."""
    programs = [program for slot in group.slots for program in slot.programs]
    shares = [program.owned for program in programs]
    owned = sorted(place for _, places in shares for place in places)
    wanted = sorted(place for place in ends if place.topic in group.topics)
    generations = sorted({generation for generation, _ in shares})
    if len(programs) != len(group.slots):
        return f"{len(programs)} programs run, for {len(group.slots)} members"
    if len(generations) != 1 or generations[0] < 0:
        return f"its members are in the generations {generations}"
    if owned != wanted:
        return f"its members own {shares}, of {wanted}"
    try:
        committed = await admin.list_group_offsets(group.name, wanted, timeout=5)
    except KraftpyError as error:
        return f"its offsets are not to be had: {error}"
    behind = [
        f"{place}: {committed.get(place)} of {ends[place]}" for place in wanted if _at(committed, place) < ends[place]
    ]
    return f"not all is committed: {'; '.join(behind)}" if behind else ""


def _at(committed: dict[TopicPartition, OffsetAndMetadata], place: TopicPartition) -> int:
    return committed[place].offset if place in committed else 0


async def judge_groups(
    cluster: Cluster,
    life: Life,
    groups: Sequence[Group],
    topics: dict[str, int],
    journal: Journal,
    history: list[Event],
    *,
    compacted: bool = False,
    patience_ms: int = 30_000,
) -> str:
    """What was found to be right, in short. `compacted`: the coordinators' logs may be. Raises `Refuted`."""
    unread = await workloads.read_topics_to_the_end(
        cluster.world, cluster.consumer(life, auto_offset_reset="earliest"), topics, history, patience_ms
    )
    if unread:
        raise Refuted(f"not live: {'; '.join(unread)}")
    report = check_log(history)
    if not report.ok:
        raise Refuted(str(report))
    records = _records(topics, history)
    # Whoever died in the midst of a transaction, of a group or of another workload, holds committed readers back.
    state = [TopicPartition(CONSUMER_OFFSETS, partition) for partition in range(FEW)]
    await wait_nothing_open(cluster, life, state, TRANSACTION_TIMEOUT_MS)
    async with committed_reader(cluster, life) as reader:
        log = await read_coordinator_log(reader, FEW, patience_ms // 1_000)
    if log is None:
        raise Refuted("not live: the log of the groups cannot be read to its end")
    read = {group.name: [place for place in records if place.rpartition("-")[0] in group.topics] for group in groups}
    told = GroupHistory(journal.tenures, log.offsets, records, read, tuple(log.begun_anew), compacted)
    problems = check_groups(told)
    for group in groups:
        if group.shape.output is not None:
            output = await read_all_committed(cluster, life, group.shape.output, OUT_PARTITIONS, TRANSACTION_TIMEOUT_MS)
            problems += check_transactions(journal.transformed.get(group.shape.output, []), output, (), {})
            problems += _not_once(told, group.name, output)
    if problems:
        raise Refuted("\n".join(problems))
    handed = sum(len(tenure.handed) for tenure in journal.tenures)
    return (
        f"{len(journal.tenures)} tenures, {handed} records handed on of {sum(map(len, records.values()))}, "
        f"{len(log.offsets)} commits"
    )


def _records(topics: dict[str, int], history: Sequence[Event]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {f"{name}-{index}": [] for name, count in topics.items() for index in range(count)}
    for event in history:
        if isinstance(event, Poll):
            for place, offset, _ in event.records:
                found[place].append(offset)
    return found


def _not_once(told: GroupHistory, group: str, output: dict[int, list[str]]) -> Iterator[str]:
    """A group that writes a record for each that it reads has one of each, where no offset was set meanwhile."""
    made = Counter(value.split("/", 2)[2] for values in output.values() for value in values)
    are_set = {each.place: None for each in told.logged if each.group == group and each.mark == SET}
    for place in told.read[group]:
        times = {offset: made[f"{place}@{offset}"] for offset in told.records[place]}
        wrong = {offset: count for offset, count in times.items() if count < 1 or (count > 1 and place not in are_set)}
        if wrong:
            yield f"{group} is to make one record of each that it reads; of {place} it made {wrong} (number by offset)"


def groups_of(*names: str) -> Scenario:
    """The scenario with groups of these shapes only, at least two; of all without an argument."""
    shapes = tuple(shape for shape in SHAPES if not names or shape.name in names)
    return Scenario(
        name="groups",
        about="groups of every kind whose members come and go, and every usual fault",
        hosts=HOSTS,
        length_ms=LENGTH_MS,
        run=partial(run, shapes),
        config=WorldConfig(time_limit_ms=600_000),
    )


CLUSTER_GROUPS = groups_of()
