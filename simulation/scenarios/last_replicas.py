"""The last replicas standing (KIP-966): three brokers that die one by one, to the last, and come back in any order.

Three nodes vote and take the usual faults; three more hold every replica, under min.insync.replicas=2. Round by round
they are killed, lose power or are stopped, in an order of the seed, until one of them or none is left, and are started
again in another order. One of each round may come back with an empty disk: two disks hold whatever is acknowledged, so
one of them may go, as long as the next one waits until all are in sync again.

Nothing acknowledged is ever lost, everybody whom the controller takes for eligible has everything (the witness), and
nobody is ever elected uncleanly. When the faults are over, three deaths are told in full (`_tell_three_deaths`): the
one that went first does not lead, although it is the only one there; an operator elects it for one topic, which is
counted, and may lose records in that topic alone; the other topic gets its leader with the first eligible replica.
"""

import asyncio
from collections.abc import Callable, Sequence
from random import Random

from broker.metadata.state import PartitionState
from kraftpy.aio import Admin
from kraftpy.errors import KraftpyError
from simulation import workloads
from simulation.checkers.history import Event, Outcome, Send
from simulation.checkers.log_checker import check_log
from simulation.cluster import Cluster, make_data_directory
from simulation.faults import Plan, run_plan
from simulation.hosts import host_of, node_id_of
from simulation.scenario import Refuted, Scenario
from simulation.scenarios.whole_cluster import Shape, settings
from simulation.world import World, WorldConfig

VOTERS = ("n1", "n2", "n3")
HOLDERS = ("n4", "n5", "n6")
REPLICAS = (4, 5, 6)
TOPIC = "lines"
PARTITIONS = 2
RISKED = "risked"  # which is elected uncleanly
START_MS = 40_000
LENGTH_MS = 30_000  # of faults and rounds
RECOVERY_MS = 90_000
IN_SYNC_MS = 15_000  # for which a round waits before it goes without a wiped disk
NOTICED_MS = 40_000  # a death of power is told by silence
LED_MS = 30_000
STAYS_WITHOUT_LEADER_S = 4.0
LOOK_S = 0.1
CALL_S = 6.0


async def run(world: World, plan: Plan) -> str:
    cluster = Cluster(world, settings(Shape(nodes=6, observers=3), world.seed))
    cluster.start()
    await world.run_in(world.open_life("founder"), _found(world, cluster))
    history: list[Event] = []
    risked: list[Event] = []
    until_us = world.loop.now_us + LENGTH_MS * 1000
    workers = [
        _start_producer(cluster, "p1", TOPIC, PARTITIONS, history, until_us),
        _start_producer(cluster, "p2", TOPIC, PARTITIONS, history, until_us),
        _start_consumer(cluster, history, until_us + 5_000_000),
    ]
    rounds = asyncio.ensure_future(_rounds(cluster, until_us))
    await run_plan(world, plan, VOTERS, LENGTH_MS)
    told = await rounds
    life = world.open_life("judge")
    await world.run_in(life, _healthy(cluster, "after the last round"))
    await asyncio.gather(*workers)
    unclean = len(cluster.witness.unclean_elections)
    assert unclean == 0, "the witness lets none pass"
    await world.run_in(life, _tell_three_deaths(cluster, risked))
    summary = await world.run_in(life, _judge(cluster, history))
    acknowledged = sum(isinstance(event, Send) and event.outcome is Outcome.OK for event in risked)
    return f"{summary}; {told}; {acknowledged} records were risked in an election by command"


async def _found(world: World, cluster: Cluster) -> None:
    async with cluster.admin(world.lives["founder"]) as admin:
        problems = await cluster.wait_healthy(admin, START_MS)
        if not problems:
            config = {"min.insync.replicas": "2"}
            orders = [tuple(world.random.sample(REPLICAS, 3)) for _ in range(PARTITIONS)]
            await admin.create_topic(TOPIC, assignment=dict(enumerate(orders)), config=config)
            await admin.create_topic(RISKED, assignment={0: REPLICAS}, config=config)
            problems = await cluster.wait_healthy(admin, START_MS)
        if problems:
            raise Refuted(f"not live before any fault: {'; '.join(problems)}")


def _start_producer(
    cluster: Cluster, name: str, topic: str, partitions: int, history: list[Event], until_us: int
) -> "asyncio.Task[None]":
    life = cluster.world.open_life(name)
    patience_ms = Random(f"{cluster.world.seed}/patience/{name}").choice([3_000, 60_000])
    producer = cluster.producer(life, delivery_timeout_ms=patience_ms, request_timeout_ms=patience_ms // 2, linger_ms=2)
    work = workloads.produce(cluster.world, producer, name, topic, partitions, history, until_us)
    return cluster.world.run_in(life, work)


def _start_consumer(cluster: Cluster, history: list[Event], until_us: int) -> "asyncio.Task[None]":
    life = cluster.world.open_life("c1")
    consumer = cluster.consumer(life, TOPIC, auto_offset_reset="earliest")
    return cluster.world.run_in(life, workloads.consume(cluster.world, consumer, "c1", history, until_us))


# --- rounds --------------------------------------------------------------------------------------------------------


async def _rounds(cluster: Cluster, until_us: int) -> str:
    """Deaths and returns until the time is over; in the end all three live."""
    world, random = cluster.world, Random(f"{cluster.world.seed}/rounds")
    count = wiped = none_left = 0
    while world.loop.now_us < until_us:
        in_sync = await _wait(cluster, lambda: _all_in_sync(cluster), IN_SYNC_MS)
        dying = random.sample(HOLDERS, random.choice([2, 3, 3]))
        for host in dying:
            await _end_life(cluster, host, random)
            await asyncio.sleep(random.choice([0.05, 0.5, 3.0, 12.0]))
        if in_sync and random.random() < 0.5:
            wiped += 1
            _wipe(cluster, random.choice(dying))
        none_left += len(dying) == len(HOLDERS)
        for host in random.sample(dying, len(dying)):
            world.restart(host)
            await asyncio.sleep(random.choice([0.0, 0.3, 2.0, 6.0]))
        count += 1
    return f"{count} rounds, {none_left} of them until nobody was left, {wiped} with a wiped disk"


async def _end_life(cluster: Cluster, host: str, random: Random) -> None:
    """A clean stop may come to no end while nobody leads the quorum: then it is killed, as operators do."""
    world, how = cluster.world, random.choice(["kill", "power", "stop"])
    if how == "stop":
        world.stop(host)
        await _wait(cluster, lambda: not world.is_alive(host), 5_000)
    world.crash(host, power=how == "power")


def _wipe(cluster: Cluster, host: str) -> None:
    cluster.world.crash(host, power=True)
    cluster.world.wipe(host)
    cluster.witness.loses_disk(node_id_of(host))
    make_data_directory(cluster.world, host)


def _states(cluster: Cluster, *topics: str) -> list[PartitionState]:
    found = [topic for topic in cluster.witness.image.topics.values() if topic.name in topics]
    return [state for topic in found for state in topic.partitions]


def _all_in_sync(cluster: Cluster) -> bool:
    """Every disk holds whatever is acknowledged: one of them may go."""
    return all(set(state.isr) == set(REPLICAS) for state in _states(cluster, TOPIC, RISKED)) and not any(
        cluster.witness.still_counts_on(broker_id) for broker_id in REPLICAS
    )


async def _wait(cluster: Cluster, condition: Callable[[], bool], timeout_ms: int) -> bool:
    """Whether it came true in time."""
    deadline_us = cluster.world.loop.now_us + timeout_ms * 1000
    while not condition():
        if cluster.world.loop.now_us >= deadline_us:
            return False
        await asyncio.sleep(LOOK_S)
    return True


async def _expect(cluster: Cluster, what: str, condition: Callable[[], bool], timeout_ms: int) -> None:
    if not await _wait(cluster, condition, timeout_ms):
        states = [*map(str, _states(cluster, TOPIC, RISKED))]
        raise Refuted(f"not within {timeout_ms // 1000} s: {what}; the partitions are {', '.join(states)}")


# --- three deaths --------------------------------------------------------------------------------------------------


async def _tell_three_deaths(cluster: Cluster, risked: list[Event]) -> None:
    """See the module's docstring. The world is calm, all are in sync."""
    world, random = cluster.world, Random(f"{cluster.world.seed}/three-deaths")
    first, second, third = random.sample(REPLICAS, 3)
    await _expect(cluster, "all in sync", lambda: _all_in_sync(cluster), RECOVERY_MS)
    await _die(cluster, first, random, lambda state: set(state.isr) == {second, third})
    await _start_producer(cluster, "p3", RISKED, 1, risked, world.loop.now_us + 1_000_000)
    await _die(cluster, second, random, lambda state: state.isr == (third,) and state.eligible_replicas == (second,))
    await _die(cluster, third, random, lambda state: not state.isr and set(state.eligible_replicas) == {second, third})
    world.restart(host_of(first))
    await _expect(cluster, f"n{first} is in service", lambda: _in_service(cluster, first), NOTICED_MS)
    await asyncio.sleep(STAYS_WITHOUT_LEADER_S)
    if any(state.has_leader for state in _states(cluster, TOPIC, RISKED)):
        raise Refuted(f"somebody leads, although only n{first} lives, which missed what the others have committed")
    cluster.witness.expect_loss(RISKED)
    async with cluster.admin(world.lives["judge"]) as admin:
        await _elect_uncleanly(admin)
    await _expect(
        cluster,
        f"n{first} leads {RISKED} by command",
        lambda: [state.leader for state in _states(cluster, RISKED)] == [first],
        LED_MS,
    )
    _check_one_by_command(cluster)
    if any(state.has_leader for state in _states(cluster, TOPIC)):
        raise Refuted(f"{TOPIC} was elected too, although the command did not name it")
    eligible, last = random.sample([second, third], 2)
    world.restart(host_of(eligible))
    await _expect(
        cluster,
        f"{TOPIC} is led again, as n{eligible}, which is eligible, is back",  # and leads, until the preferred one does
        lambda: all(state.has_leader for state in _states(cluster, TOPIC)),
        LED_MS,
    )
    _check_one_by_command(cluster)
    world.restart(host_of(last))
    await _healthy(cluster, "after the three deaths")


def _check_one_by_command(cluster: Cluster) -> None:
    if [place[:2] for place in cluster.witness.unclean_elections] != [(RISKED, 0)]:
        raise Refuted(f"one election by command, but counted were {cluster.witness.unclean_elections}")


async def _die(cluster: Cluster, broker_id: int, random: Random, then: Callable[[PartitionState], bool]) -> None:
    cluster.world.crash(host_of(broker_id), power=random.random() < 0.5)
    await _expect(
        cluster,
        f"the controller has noticed the death of n{broker_id}",
        lambda: all(then(state) for state in _states(cluster, TOPIC, RISKED)),
        NOTICED_MS,
    )


def _in_service(cluster: Cluster, broker_id: int) -> bool:
    return not cluster.witness.image.brokers[broker_id].fenced


async def _elect_uncleanly(admin: Admin) -> None:
    try:
        results: Sequence[object] = await admin.elect_leaders([(RISKED, 0)], unclean=True, timeout=CALL_S)
    except KraftpyError as error:
        raise Refuted(f"the election by command failed: {type(error).__name__}: {error}") from None
    assert len(results) == 1


# --- judging -------------------------------------------------------------------------------------------------------


async def _healthy(cluster: Cluster, when: str) -> None:
    """Everybody lives, leads and is in sync."""
    async with cluster.admin(cluster.world.lives["judge"]) as admin:
        problems = await cluster.wait_healthy(admin, RECOVERY_MS)
    if problems:
        raise Refuted(f"not live {RECOVERY_MS // 1000} s {when}: {'; '.join(problems)}")


async def _judge(cluster: Cluster, history: list[Event]) -> str:
    world = cluster.world
    unsettled = await cluster.wait_settled(5_000)
    if unsettled:
        raise Refuted(f"not settled after all was in sync: {'; '.join(unsettled)}")
    reader = cluster.consumer(world.lives["judge"], auto_offset_reset="earliest")
    unread = await workloads.read_to_the_end(world, reader, TOPIC, PARTITIONS, history, 30_000)
    if unread:
        raise Refuted(f"not live: {'; '.join(unread)}")
    cluster.look()
    differing = cluster.divergences()
    if differing:
        raise Refuted("\n".join(map(str, differing)))
    report = check_log(history)
    if not report.ok:
        raise Refuted(str(report))
    return f"{report}; {cluster.witness.committed_batches} committed batches in {cluster.witness.looks} looks"


CLUSTER_LAST_REPLICAS = Scenario(
    name="cluster-last-replicas",
    about="three voters under the usual faults, and three brokers that die one by one, to the last, and come back",
    hosts=VOTERS,
    length_ms=LENGTH_MS,
    run=run,
    config=WorldConfig(time_limit_ms=900_000),
)
