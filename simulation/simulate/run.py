"""Runs one whole cluster by its options: workloads beside a plan of faults, then everything is judged.

After the faults the world is calm, what the operator began comes to its end, and a minority that the seed chooses loses
power: the majority must be live without it, take records wherever two replicas live, and, where clients use
transactions, commit one. Then everybody is there, all
must be in sync and equal, and each workload's checker speaks. All verdicts are taken before the run fails by any of
them.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial
from random import Random

from broker.coordinator.config import StateTopicsConfig
from broker.maintenance.config import ScrubConfig
from kraftpy.aio import Admin
from kraftpy.errors import KraftpyError, TopicAlreadyExistsError
from simulation.calm_transactions import CalmTransactions, all_places, wait_nothing_open
from simulation.cluster import Cluster, ClusterConfig
from simulation.fault_kinds import MENDED_BY_REPLICAS
from simulation.faults import calm, run_plan
from simulation.group_slot import TRANSACTION_TIMEOUT_MS
from simulation.hosts import host_of
from simulation.plan import Plan, draw_rounds
from simulation.scenario import Refuted, Scenario
from simulation.scenarios.groups import GROUPS
from simulation.scenarios.transactions import TIMEOUT_MS
from simulation.scenarios.whole_cluster import Shape, settings
from simulation.simulate.operator import Operator
from simulation.simulate.options import VOTERS_MAX, Options, parse_options
from simulation.simulate.workload import Stage, Workload, open_workload
from simulation.verdicts import CheckVerdict, Verdict, failures
from simulation.world import Life, World, WorldConfig

SCRUB = ScrubConfig(interval_ms=10_000)
"""Closed segments are read again six times a minute, where something may have become of them."""
START_MS = 60_000
RECOVERY_MS = 120_000
SETTLE_MS = 30_000
FINISH_CLIENTS_MS = 180_000
MAJORITY_MS = 60_000
AFTER_MS = 3_600_000  # of virtual time at most, for all that comes after the faults
CALL_S = 5.0
BEFORE = "before"  # a topic of the judge's
PARTITIONS = 3
TRANSACTIONAL = "transactions"  # the workload after which somebody must be able to commit


def scenario_of(name: str) -> Scenario:
    """The scenario that a name of `Options` tells. Raises `InvalidOptions` or `UnknownFault`."""
    options = parse_options(name)
    return Scenario(
        name=str(options),
        about="one whole cluster with its clients, for as long as one likes",
        hosts=options.hosts,
        length_ms=options.length_ms,
        run=partial(run, options),
        config=WorldConfig(time_limit_ms=options.length_ms + AFTER_MS),
        faults=options.faults,
        draw=partial(draw_rounds, calm_ms=options.calm_ms),
    )


async def run(options: Options, world: World, plan: Plan) -> str:
    cluster = Cluster(world, _settings(options, world.seed))
    cluster.start()
    works = {name: open_workload(name) for name in options.workloads}
    await world.run_in(world.open_life("founder"), _found(cluster, works))
    stage = Stage(world, cluster, options, world.loop.now_us + options.length_ms * 1000)
    tasks = [task for work in works.values() for task in work.start(stage)]
    operator = Operator(cluster)
    try:
        await run_plan(world, plan, cluster.hosts, options.length_ms, operator.carry_out)
        await operator.finish()
        judge = world.open_life("judge")
        transactions = CalmTransactions(cluster, judge) if TRANSACTIONAL in works else None
        alone = await world.run_in(judge, _majority_alone(cluster, operator.voters, transactions))
        healthy_ms = await world.run_in(judge, _recover(cluster))
        await _wait_for(tasks)
    finally:
        for work in works.values():
            world.operations.update(work.operations())
    for work in works.values():
        world.verdicts += await world.run_in(judge, _judged(work, stage))
        world.operations.update(work.operations())
    if transactions is not None:
        world.verdicts.append(await world.run_in(judge, _judge_open(cluster, judge, transactions)))
    world.verdicts += await _judge_replicas(cluster)
    wrong = failures(world.verdicts)
    if wrong:
        raise Refuted("\n".join(wrong))
    return f"healthy {alone / 1000:.1f} s after a minority died, and {healthy_ms / 1000:.1f} s after it came back"


def _settings(options: Options, seed: int) -> ClusterConfig:
    observers = max(0, options.nodes - VOTERS_MAX)
    few = StateTopicsConfig(offsets_partitions=2, transactions_partitions=2)
    scrub = SCRUB if any(fault in MENDED_BY_REPLICAS for fault in options.faults) else ScrubConfig()
    return replace(settings(Shape(options.nodes, observers), seed), state_topics=few, groups=GROUPS, scrub=scrub)


async def _found(cluster: Cluster, works: dict[str, Workload]) -> None:
    async with cluster.admin(cluster.world.lives["founder"]) as admin:
        problems = await cluster.wait_healthy(admin, START_MS)
        if not problems:
            for work in works.values():
                await work.prepare(admin)
            problems = await cluster.wait_healthy(admin, START_MS)
    if problems:
        raise Refuted(f"not live before any fault: {'; '.join(problems)}")


async def _majority_alone(
    cluster: Cluster, voters: tuple[int, ...], transactions: CalmTransactions | None = None
) -> int:
    """A minority of the voters loses power: how long until the others lead everything that they can, milliseconds.
    Raises `Refuted`."""
    world = cluster.world
    minority = Random(f"{world.seed}/minority").sample(voters, (len(voters) - 1) // 2)
    async with cluster.admin(world.lives["judge"]) as admin:
        problems = await cluster.wait_healthy(admin, RECOVERY_MS)
        if not problems:
            copies = min(3, len(cluster.hosts))
            config = {"min.insync.replicas": str(min(2, copies))}
            await admin.create_topic(BEFORE, partitions=PARTITIONS, replication_factor=copies, config=config)
            if transactions is not None:
                await transactions.prepare(admin, minority)
            problems = await cluster.wait_healthy(admin, RECOVERY_MS)
        if problems:
            raise Refuted(f"not live {RECOVERY_MS // 1000} s after the last fault: {'; '.join(problems)}")
        if transactions is not None:
            await transactions.let_preferred_lead(admin)
            await transactions.commit()
        for node_id in minority:
            world.crash(host_of(node_id), power=True)
        began_us = world.loop.now_us
        while problems := await _majority_problems(cluster, admin, minority):
            if world.loop.now_us - began_us > MAJORITY_MS * 1000:
                who = ", ".join(host_of(node_id) for node_id in minority)
                raise Refuted(f"not live without {who} in {MAJORITY_MS // 1000} s: {'; '.join(problems)}")
            await asyncio.sleep(0.25)
    took_ms = (world.loop.now_us - began_us) // 1000
    if transactions is not None:
        await transactions.commit(minority)
    calm(world, cluster.hosts)
    return took_ms


async def _majority_problems(cluster: Cluster, admin: Admin, dead: list[int]) -> list[str]:
    """What must not be for long while those are dead: no new topic can be made, or a partition with a living member of
    its in-sync set has no leader."""
    try:
        await admin.create_topic("afterwards", partitions=1, replication_factor=1, timeout=CALL_S)
    except TopicAlreadyExistsError:
        pass
    except KraftpyError as error:
        return [f"no topic can be made: {type(error).__name__}: {error}"]
    return [*await _untaken(cluster, dead), *_leaderless(cluster, dead)]


async def _untaken(cluster: Cluster, dead: list[int]) -> list[str]:
    """Partitions with enough living replicas that do not take a record."""
    found = []
    life = cluster.world.lives["judge"]
    async with cluster.producer(life, delivery_timeout_ms=5_000, request_timeout_ms=2_500) as producer:
        for index in range(PARTITIONS):
            state = cluster.witness.image.partition(BEFORE, index)
            assert state is not None
            if sum(member not in dead for member in state.replicas) >= 2:
                try:
                    await (await producer.send(BEFORE, b"while they are dead", partition=index))
                except KraftpyError as error:
                    found.append(f"{BEFORE}-{index} takes no record: {type(error).__name__}: {error}")
        with suppress(KraftpyError):  # what was told above, once more
            await producer.flush()
    return found


def _leaderless(cluster: Cluster, dead: list[int]) -> list[str]:
    return [
        f"{topic.name}-{index} has no leader: {state}"
        for topic in cluster.witness.image.topics.values()
        for index, state in enumerate(topic.partitions)
        if state.leader in (-1, *dead) and any(member not in dead for member in state.isr)
    ]


async def _recover(cluster: Cluster) -> int:
    """How long until everything is in sync, milliseconds."""
    began_us = cluster.world.loop.now_us
    async with cluster.admin(cluster.world.lives["judge"]) as admin:
        problems = await cluster.wait_healthy(admin, RECOVERY_MS)
    if problems:
        raise Refuted(f"not live {RECOVERY_MS // 1000} s after everybody came back: {'; '.join(problems)}")
    return (cluster.world.loop.now_us - began_us) // 1000


async def _wait_for(tasks: list["asyncio.Task[None]"]) -> None:
    """For clients, which are to end by themselves."""
    for _ in range(0, FINISH_CLIENTS_MS, 100):
        if all(task.done() for task in tasks):
            break
        await asyncio.sleep(0.1)
    late = [task.get_name() for task in tasks if not task.done()]
    if late:
        raise Refuted(f"not live: clients did not come to their ends: {', '.join(late)}")
    for task in tasks:
        task.result()


async def _judged(work: Workload, stage: Stage) -> list[CheckVerdict]:
    return list(await work.judge(stage, stage.world.lives["judge"]))


async def _judge_open(cluster: Cluster, life: Life, transactions: CalmTransactions) -> CheckVerdict:
    """Whether a transaction is open although nobody has one under way. It is asked for every partition."""
    places = all_places(cluster)
    try:
        await wait_nothing_open(cluster, life, places, max(TIMEOUT_MS, TRANSACTION_TIMEOUT_MS))
    except Refuted as refuted:
        return CheckVerdict("open transactions", Verdict.INVALID, str(refuted))
    last = f"{transactions.commits} of the judge's took {transactions.slowest_ms} ms at most"
    return CheckVerdict("open transactions", Verdict.OK, f"none in {len(places)} partitions; {last}")


async def _judge_replicas(cluster: Cluster) -> list[CheckVerdict]:
    unsettled = await cluster.wait_settled(SETTLE_MS)
    cluster.look()
    witness = cluster.witness
    differing = [*unsettled, *map(str, cluster.divergences())]
    same = CheckVerdict(
        "replicas",
        Verdict.INVALID if differing else Verdict.OK,
        "\n".join(differing) or f"equal in {sum(len(hosts) for hosts in cluster.replicas().values())} logs",
    )
    seen = f"{witness.committed_batches} committed batches in {witness.looks} looks at all disks"
    return [same, CheckVerdict("witness", Verdict.OK, seen)]
