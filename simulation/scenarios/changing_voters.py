"""A quorum that grows from one voter to three and five and shrinks to three again, under load and every usual fault.

Five brokers; at first one of them votes. An operator adds and removes voters through the SDK, whoever they are (the
leader too), again and again until the sizes are reached. Afterwards the world is calm, and the run is judged as the
whole cluster's: nothing acknowledged is lost; and the last size is reached, by a set on which every node agrees.
"""

import asyncio
from random import Random

from kraftpy.aio import Admin
from kraftpy.errors import KraftpyError
from simulation import workloads
from simulation.checkers.history import Event
from simulation.checkers.log_checker import check_log
from simulation.cluster import Cluster, ClusterConfig
from simulation.faults import Plan, run_plan
from simulation.scenario import Refuted, Scenario
from simulation.world import World, WorldConfig

HOSTS = ("n1", "n2", "n3", "n4", "n5")
SIZES = (3, 5, 3)
TOPIC = "lines"
PARTITIONS = 2
START_MS = 40_000
LENGTH_MS = 20_000  # of faults, in which the operator works
RECOVERY_MS = 90_000
AGREE_MS = 10_000  # an answer that was lost is missed for a fetch time-out
CALL_S = 6.0
PAUSE_S = 0.2


async def run(world: World, plan: Plan) -> str:
    cluster = Cluster(world, ClusterConfig(nodes=len(HOSTS), observers=len(HOSTS) - 1))
    cluster.start()
    await world.run_in(world.open_life("founder"), _found(world, cluster))
    history: list[Event] = []
    until_us = world.loop.now_us + LENGTH_MS * 1000
    life = world.open_life("p1")
    producer = cluster.producer(life, delivery_timeout_ms=60_000, linger_ms=2)
    workers = [
        world.run_in(life, workloads.produce(world, producer, "p1", TOPIC, PARTITIONS, history, until_us)),
        world.run_in(world.open_life("operator"), _operate(world, cluster, until_us)),
    ]
    await run_plan(world, plan, HOSTS, LENGTH_MS)
    judging = world.open_life("judge")
    changes = await world.run_in(judging, _recover(world, cluster))
    await asyncio.gather(*workers)
    summary = await world.run_in(judging, _judge(world, cluster, history))
    return f"{summary}; {changes} changes were left to the calm"


async def _found(world: World, cluster: Cluster) -> None:
    async with cluster.admin(world.lives["founder"]) as admin:
        problems = await cluster.wait_healthy(admin, START_MS)
        if not problems:
            await admin.create_topic(
                TOPIC, partitions=PARTITIONS, replication_factor=3, config={"min.insync.replicas": "2"}
            )
            problems = await cluster.wait_healthy(admin, START_MS)
        if problems:
            raise Refuted(f"not live before any fault: {'; '.join(problems)}")


async def _operate(world: World, cluster: Cluster, until_us: int) -> None:
    random = Random(f"{world.seed}/operator")
    began_us = world.loop.now_us
    async with cluster.admin(world.lives["operator"]) as admin:
        while world.loop.now_us < until_us:
            part = (world.loop.now_us - began_us) * len(SIZES) // max(until_us - began_us, 1)
            await _one_step(admin, SIZES[min(part, len(SIZES) - 1)], random)
            await asyncio.sleep(PAUSE_S)


async def _one_step(admin: Admin, size: int, random: Random) -> bool:
    """Whether the size was reached already. What fails is tried again, perhaps with another node."""
    try:
        voters = [voter.node_id for voter in (await admin.describe_quorum(timeout=CALL_S)).voters]
        if len(voters) == size:
            return True
        if len(voters) > size:
            await admin.remove_raft_voter(random.choice(voters), timeout=CALL_S)
        else:
            others = [number for number in range(1, len(HOSTS) + 1) if number not in voters]
            await admin.add_raft_voter(random.choice(others), timeout=CALL_S)
    except KraftpyError:
        pass
    return False


async def _recover(world: World, cluster: Cluster) -> int:
    """How many changes were still missing when the world became calm."""
    random = Random(f"{world.seed}/recovery")
    deadline_us = world.loop.now_us + RECOVERY_MS * 1000
    async with cluster.admin(world.lives["judge"]) as admin:
        changes = 0
        while not await _one_step(admin, SIZES[-1], random):
            changes += 1
            if world.loop.now_us > deadline_us:
                raise Refuted(f"there are not {SIZES[-1]} voters {RECOVERY_MS // 1000} s after the last fault")
            await asyncio.sleep(PAUSE_S)
        problems = await cluster.wait_healthy(admin, RECOVERY_MS)
    if problems:
        raise Refuted(f"not live {RECOVERY_MS // 1000} s after the last fault: {'; '.join(problems)}")
    return changes


async def _judge(world: World, cluster: Cluster, history: list[Event]) -> str:
    life = world.lives["judge"]
    unsettled = await cluster.wait_settled(5_000)
    if unsettled:
        raise Refuted(f"not settled after all was in sync: {'; '.join(unsettled)}")
    reader = cluster.consumer(life, auto_offset_reset="earliest")
    unread = await workloads.read_topics_to_the_end(world, reader, {TOPIC: PARTITIONS}, history, 30_000)
    if unread:
        raise Refuted(f"not live: {'; '.join(unread)}")
    cluster.look()
    differing = cluster.divergences()
    if differing:
        raise Refuted("\n".join(map(str, differing)))
    report = check_log(history)
    if not report.ok:
        raise Refuted(str(report))
    voters = await _agreed(world, cluster)
    return f"{report}; the voters are {', '.join(map(str, voters))}"


async def _agreed(world: World, cluster: Cluster) -> tuple[int, ...]:
    """The voters, once every node's log names the same."""
    deadline_us = world.loop.now_us + AGREE_MS * 1000
    while True:
        seen = {host: cluster.servers[host].voter_ids() for host in HOSTS}
        if all(voters == seen[HOSTS[0]] for voters in seen.values()):
            return seen[HOSTS[0]]
        if world.loop.now_us > deadline_us:
            raise Refuted(f"the nodes do not agree on who votes: {seen}")
        await asyncio.sleep(PAUSE_S)


VOTERS = Scenario(
    name="voters",
    about="five brokers whose quorum grows from one voter to three and five and back, and every usual fault",
    hosts=HOSTS,
    length_ms=LENGTH_MS,
    run=run,
    config=WorldConfig(time_limit_ms=600_000),
)
