"""Every kind of fault happens: the table's proofs, one for each way in which a fault shows."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kraftpy.aio import Admin
from kraftpy.runtime.ports import Address, Methods, Ports, TransportError
from simulation.cluster import Cluster, ClusterConfig
from simulation.device import BLOCK_BYTES, Device, DiskFault
from simulation.disk import SimulatedDisk
from simulation.fault_kinds import ALL, BY_FAULT, KINDS, ROT, Fault, UnknownFault, faults_named
from simulation.faults import Step, run_plan
from simulation.network import NetworkConfig
from simulation.plan import ROUND_MS, draw_rounds
from simulation.simulate.operator import Operator
from simulation.world import World, WorldConfig

ROOT = Path(__file__).resolve().parents[2]
HOSTS = ("n1", "n2", "n3")
LENGTH_MS = 4_000
AT_MS, DURATION_MS = 1_000, 1_000
ECHO = "/kraftpy.pb.Quorum/Echo"  # a call that may be duplicated


class Diary:
    """What three nodes that write a number and call each other every 20 ms have to tell, by host."""

    def __init__(self) -> None:
        self.ticks: dict[str, list[tuple[int, int, int]]] = {}  # virtual ms, own monotonic ms, wall ms
        self.heard: dict[tuple[str, str], list[tuple[int, int]]] = {}  # (from, to): virtual ms, number
        self.stopped: list[str] = []
        self.errors: list[OSError] = []
        self.lost: int = 0  # calls without an answer
        self._calls: list[asyncio.Task[None]] = []

    def begin(self, world: World) -> None:
        for host in HOSTS:
            disk = SimulatedDisk(world.device(host))
            disk.open("/numbers", create=True).close()
            disk.sync_directory("/")
            world.start(host, self.program(world, host))  # type: ignore[arg-type]

    def program(self, world: World, host: str) -> Callable[[Ports], object]:
        async def run(ports: Ports) -> None:
            async def echo(request: bytes) -> bytes:
                source, number = request.decode().split()
                self.heard.setdefault((source, host), []).append((world.loop.now_us // 1000, int(number)))
                return request

            await ports.transport.serve(Address("0.0.0.0", 9093), Methods({ECHO: echo}, {}))
            file = ports.disk.open("/numbers", create=True)
            number = 0
            try:
                while True:
                    number += 1
                    clock = ports.clock
                    self.ticks.setdefault(host, []).append(
                        (world.loop.now_us // 1000, clock.monotonic_ms(), clock.wall_ms())
                    )
                    try:
                        file.write([number.to_bytes(4)], file.size())
                        file.read(4, 0)
                        await ports.disk.run(file.sync)
                    except OSError as error:
                        self.errors.append(error)
                    for other in HOSTS:
                        if other != host:
                            call = self._call(ports, other, f"{host} {number}".encode())
                            self._calls.append(asyncio.ensure_future(call))
                    await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                self.stopped.append(host)
                raise

        return run

    async def _call(self, ports: Ports, other: str, request: bytes) -> None:
        try:
            await ports.transport.call(Address(other, 9093), ECHO, request, 500)
        except TransportError:
            self.lost += 1


def played(fault: Fault, amount: int = 0) -> tuple[World, Diary]:
    """One fault from the first to the second second, on n1 (and n2)."""
    world = World(1, WorldConfig(failures_allowed=True, network=NetworkConfig(spike_rate=0)))
    diary = Diary()

    async def main(world: World) -> None:
        diary.begin(world)
        await run_plan(world, (Step(AT_MS, fault, "n1", DURATION_MS, "n2", amount),), HOSTS, LENGTH_MS)

    world.run(main)
    assert world.faults == {fault.value: 1}
    return world, diary


def ran(diary: Diary, host: str, began_ms: int, ended_ms: int) -> int:
    """How many turns a node had in that time."""
    return sum(began_ms <= at <= ended_ms for at, _, _ in diary.ticks[host])


def heard(diary: Diary, source: str, target: str, began_ms: int = AT_MS + 50, ended_ms: int = 1_950) -> int:
    return sum(began_ms <= at <= ended_ms for at, _ in diary.heard.get((source, target), []))


ENDS_LIVES = {
    Fault.STOP: (0, {"n1": 2}),
    Fault.KILL: (0, {"n1": 2}),
    Fault.KILL_OF_ALL: (0, {"n1": 2, "n2": 2, "n3": 2}),
    Fault.RESTART_STORM: (3, {"n1": 4}),
    Fault.POWER_FAILURE: (0, {"n1": 2}),
    Fault.POWER_FAILURE_OF_ALL: (0, {"n1": 2, "n2": 2, "n3": 2}),
}
HOLDS = {
    Fault.PAUSE: (0, ["n1"], 0),
    Fault.PAUSE_OF_ALL: (0, [*HOSTS], 0),
    Fault.SLOW_NODE: (800, ["n1"], 30),
}
CLOCKS = {Fault.CLOCK_JUMP: 5_000, Fault.CLOCK_DRIFT: 50_000}


@pytest.mark.parametrize("fault", [*ENDS_LIVES, *HOLDS, *CLOCKS])
def test_what_a_fault_does_to_a_node(fault: Fault) -> None:
    kind = BY_FAULT[fault]
    assert kind.is_lethal == (fault in ENDS_LIVES)
    if fault in ENDS_LIVES:
        amount, lives = ENDS_LIVES[fault]
        world, diary = played(fault, amount)
        assert {host: life.number for host, life in world.lives.items() if life.number > 1} == lives
        assert kind.needs_a_life == (list(lives) == ["n1"])
        assert ("n1" in diary.stopped) == (fault is Fault.STOP)
        assert world.network.injected.get("power-failure", 0) == (len(lives) if "power" in fault.value else 0)
        assert ran(diary, "n1", 3_000, 4_000) > 20
    elif fault in HOLDS:
        amount, hosts, at_most = HOLDS[fault]
        _, diary = played(fault, amount)
        assert kind.needs_a_life == (hosts == ["n1"])
        for host in HOSTS:
            turns = ran(diary, host, AT_MS + 50, 1_950)
            assert turns <= at_most if host in hosts else turns > 35
            assert ran(diary, host, 3_000, 4_000) > 35
    else:
        _, diary = played(fault, CLOCKS[fault])
        at, own, wall = next(tick for tick in diary.ticks["n1"] if tick[0] >= 1_900)
        ahead = wall - own - (diary.ticks["n2"][0][2] - diary.ticks["n2"][0][1])
        assert (ahead == 5_000, own - at >= 40) == (fault is Fault.CLOCK_JUMP, fault is Fault.CLOCK_DRIFT)


@pytest.mark.parametrize(
    ("fault", "silent"),
    [
        (Fault.ISOLATION, [("n1", "n2"), ("n2", "n1"), ("n1", "n3"), ("n3", "n1")]),
        (Fault.TWO_WAY, [("n1", "n2"), ("n2", "n1")]),
        (Fault.ONE_WAY, [("n1", "n2")]),
        (Fault.SPLIT, [("n1", "n2"), ("n2", "n1"), ("n1", "n3"), ("n3", "n1")]),
        (Fault.CLOGGED, [("n1", "n2"), ("n2", "n1")]),
        (Fault.SLOW_LINK, [("n1", "n2")]),
        (Fault.LOSS, []),
        (Fault.RESETS, []),
        (Fault.DUPLICATION, []),
        (Fault.REORDERING, []),
        (Fault.LOSSY, []),
    ],
)
def test_what_a_fault_does_to_a_link(fault: Fault, silent: list[tuple[str, str]]) -> None:
    world, diary = played(fault, 1_500 if fault is Fault.SLOW_LINK else 1 if fault is Fault.SPLIT else 300)
    for pair in [(one, other) for one in HOSTS for other in HOSTS if one != other]:
        assert (heard(diary, *pair) == 0) == (pair in silent), pair
        assert heard(diary, *pair, 3_000, 4_000) > 35, "it ends"
    numbers = [number for at, number in diary.heard["n1", "n2"] if AT_MS <= at < 2_000]
    late = sum(count > 0 for count in (numbers.count(number) - 1 for number in dict.fromkeys(numbers)))
    assert (late > 0) == (fault in (Fault.DUPLICATION, Fault.LOSSY)), "a call arrives twice"
    assert (_overtaken(numbers) > 5) == (fault is Fault.REORDERING)
    counted = {
        Fault.LOSS: ["loss"],
        Fault.RESETS: ["reset"],
        Fault.DUPLICATION: ["duplicate"],
        Fault.REORDERING: ["reorder"],
        Fault.LOSSY: ["loss", "reset", "duplicate"],
    }
    for name in counted.get(fault, []):
        assert world.network.injected[name] > 10
    held = [at for at, number in diary.heard["n1", "n2"] if 2_000 <= at <= 2_100]
    assert (len(held) > 30) == (fault is Fault.CLOGGED), "what waited arrives at once"


def _overtaken(numbers: list[int]) -> int:
    return sum(later < earlier for earlier, later in pairwise(numbers))


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault.CRASH_AT_WRITE, Fault.LOST_WRITES, Fault.TORN_WRITE),
        *(Fault.SLOW_DISK, Fault.FAILING_SYNC, Fault.FULL_DISK, Fault.FAILING_READ),
    ],
)
def test_what_a_fault_does_to_a_disk(fault: Fault) -> None:
    world, diary = played(fault, {Fault.SLOW_DISK: 50, Fault.CRASH_AT_WRITE: 3}.get(fault, 0))
    left = world.device("n1").injected
    kind = BY_FAULT[fault]
    assert kind.is_lethal == (world.lives["n1"].number == 2 or fault in (Fault.FAILING_SYNC, Fault.FULL_DISK))
    assert kind.needs_a_life == (world.lives["n1"].number == 2)
    assert kind.may_stop_programs == (diary.errors != [])
    match fault:
        case Fault.CRASH_AT_WRITE | Fault.LOST_WRITES | Fault.TORN_WRITE:
            assert world.network.injected["power-failure"] == 1 and world.lives["n1"].number == 2
            crashes = [line for line in world.loop.trace_lines() if "disk-crash n1" in line]
            modes = {Fault.LOST_WRITES: "lost", Fault.TORN_WRITE: "prefix"}
            assert len(crashes) == 1 and crashes[0].endswith(modes.get(fault, ""))
        case Fault.SLOW_DISK:
            assert ran(diary, "n1", AT_MS, 2_000) < ran(diary, "n1", 3_000, 4_000) * 3 // 4
        case Fault.FAILING_SYNC:
            assert left == {DiskFault.SYNC_FAILURE: 1} and "Input/output" in str(diary.errors[0])
        case Fault.FULL_DISK:
            assert left[DiskFault.FULL] > 10 and "No space" in str(diary.errors[0]), "until it is freed"
        case Fault.FAILING_READ:
            assert left == {DiskFault.READ_ERROR: 1} and "Input/output" in str(diary.errors[0])


@pytest.mark.parametrize("fault", [Fault.FLIPPED_BIT, Fault.STALE_BLOCK, Fault.MISDIRECTED_WRITE])
def test_what_rots_is_read_back_otherwise(fault: Fault) -> None:
    """And nobody is told."""
    world = World(3)
    blocks = [bytes([number]) * BLOCK_BYTES for number in range(1, 9)]

    async def main(world: World) -> None:
        world.open_life("n1")
        disk = SimulatedDisk(world.device("n1"))
        disk.make_directory("/data/t-0")
        for name in ("0.log", "1.log"):
            file = disk.open(f"/data/t-0/{name}", create=True)
            file.write(blocks, 0)
            file.sync()
        await run_plan(world, (Step(100, fault, "n1", 5_000),), ["n1"], 200)
        if fault is not Fault.FLIPPED_BIT:
            world.device("n1").arm(  # as the step did, which the calm has ended
                DiskFault.STALE_BLOCK if fault is Fault.STALE_BLOCK else DiskFault.MISDIRECTED_WRITE, ".log"
            )
            file = disk.open("/data/t-0/1.log")
            file.write([b"x" * BLOCK_BYTES], 3 * BLOCK_BYTES)
            file.sync()
        found = [disk.read_bytes(f"/data/t-0/{name}") for name in ("0.log", "1.log")]
        untouched = b"".join(blocks)
        if fault is Fault.FLIPPED_BIT:
            assert found[1] == untouched, "only closed segments"
            (place,) = [index for index, byte in enumerate(found[0]) if byte != untouched[index]]
            assert (found[0][place] ^ untouched[place]).bit_count() == 1
        else:
            assert found[0] == untouched and found[1][3 * BLOCK_BYTES :][:BLOCK_BYTES] != b"x" * BLOCK_BYTES
            assert (b"x" * BLOCK_BYTES in found[1]) == (fault is Fault.MISDIRECTED_WRITE)

    world.run(main)
    assert world.faults == {fault.value: 1}


def test_rot_waits_for_something_to_rot() -> None:
    world = World(3)

    async def main(world: World) -> None:
        await run_plan(world, (Step(100, Fault.FLIPPED_BIT, "n1", 50),), ["n1"], 200)

    world.run(main)
    assert world.faults == {} and isinstance(world.device("n1"), Device)


@pytest.mark.parametrize("fault", [Fault.KILL, Fault.POWER_FAILURE, Fault.POWER_FAILURE_OF_ALL, Fault.CRASH_AT_WRITE])
def test_nothing_of_a_plan_happens_after_it(fault: Fault) -> None:
    """A node that dies after the plan stays dead, though the fault was to last longer (seed 4802104)."""
    world = World(3, WorldConfig(failures_allowed=True))

    async def main(world: World) -> None:
        Diary().begin(world)
        await run_plan(world, (Step(100, fault, "n1", 5_000, amount=1),), HOSTS, 200)
        assert all(world.is_alive(host) for host in HOSTS)
        world.crash("n1")
        await asyncio.sleep(10)
        assert not world.is_alive("n1")

    world.run(main)
    assert world.faults == {fault.value: 1}


def test_a_short_fault_does_not_end_a_longer_one_of_its_kind() -> None:
    world = World(3)
    plan = (Step(100, Fault.SPLIT, "n1", 2_000, amount=1), Step(500, Fault.ISOLATION, "n1", 50))
    pauses = (Step(100, Fault.PAUSE, "n2", 2_000), Step(500, Fault.PAUSE, "n2", 50))
    seen = []

    async def main(world: World) -> None:
        diary = Diary()
        diary.begin(world)
        for at_ms in (1_000, 3_000):
            world.loop.call_after_us(at_ms * 1_000, lambda: seen.append(world.network.is_blocked("n1", "n3")))
        await run_plan(world, (*plan, *pauses), HOSTS, LENGTH_MS)
        assert ran(diary, "n2", 1_000, 2_000) == 0 and ran(diary, "n2", 3_000, 4_000) > 35

    world.run(main)
    assert seen == [True, False]


def test_who_is_dead_is_not_started_by_the_end_of_what_could_not_happen_to_him() -> None:
    world = World(3, WorldConfig(failures_allowed=True))
    plan = (Step(100, Fault.POWER_FAILURE, "n1", 2_000), Step(500, Fault.KILL, "n1", 50))
    lived = []

    async def main(world: World) -> None:
        Diary().begin(world)
        for at_ms in (1_000, 3_000):
            world.loop.call_after_us(at_ms * 1_000, lambda: lived.append(world.is_alive("n1")))
        await run_plan(world, plan, HOSTS, LENGTH_MS)

    world.run(main)
    assert lived == [False, True] and world.faults == {"power-failure": 1}


def test_a_clock_is_right_again_when_a_plan_ends() -> None:
    world = World(3)

    async def main(world: World) -> None:
        ports = world.open_life("n1").ports
        before = ports.clock.wall_ms()
        await run_plan(world, (Step(100, Fault.CLOCK_JUMP, "n1", 5_000, amount=86_400_000),), ["n1"], 200)
        assert 0 <= ports.clock.wall_ms() - before < 1_000

    world.run(main)


Story = Callable[[Admin, Cluster, Operator], Coroutine[Any, Any, None]]


def told(story: Story, config: ClusterConfig = ClusterConfig()) -> World:
    """What an operator does to a whole cluster, which is healthy before and after it."""
    world = World(5)

    async def main(world: World) -> None:
        cluster = Cluster(world, config)
        cluster.start()
        operator = Operator(cluster)
        life = world.open_life("judge")

        async def between() -> None:
            async with cluster.admin(life) as admin:
                assert await cluster.wait_healthy(admin, 30_000) == []
                await story(admin, cluster, operator)
                await operator.finish()
                assert await cluster.wait_healthy(admin, 30_000) == []

        await world.run_in(life, between())

    world.run(main)
    return world


@pytest.mark.parametrize("fault", [Fault.WIPED_DISK, Fault.DISK_SWAP, Fault.MEMBERSHIP, Fault.REASSIGNMENT])
def test_what_an_operator_does_to_a_cluster(fault: Fault) -> None:
    async def story(admin: Admin, cluster: Cluster, operator: Operator) -> None:
        world = cluster.world
        await admin.create_topic("lines", assignment={0: (1, 2, 3)})
        assert await cluster.wait_healthy(admin, 30_000) == []
        before = (await admin.describe_quorum()).voters
        step = Step(10, fault, "n2", 500, amount=6)
        await run_plan(world, (step,), cluster.hosts, 5_000, operator.carry_out)
        await operator.finish()
        assert await cluster.wait_healthy(admin, 30_000) == []
        after = (await admin.describe_quorum()).voters
        assert [voter.node_id for voter in after] == [1, 2, 3]
        disks = [one.directory_id == other.directory_id for one, other in zip(before, after, strict=True)]
        assert disks == [True, fault not in (Fault.WIPED_DISK, Fault.DISK_SWAP), True]
        state = cluster.witness.image.partition("lines", 0)
        assert state is not None and (state.replicas == (1, 2, 3)) == (fault is not Fault.REASSIGNMENT)
        calls = "".join(world.loop.trace_lines())
        assert ("RemoveRaftVoter" in calls) == (fault is not Fault.REASSIGNMENT)
        assert ("power-failure n2" in calls) == (fault is Fault.WIPED_DISK)
        assert ("stop n2" in calls) == (fault is Fault.DISK_SWAP)

    assert told(story, ClusterConfig(nodes=4, observers=1)).faults == {fault.value: 1}


def test_a_second_disk_waits_until_the_first_is_made_good() -> None:
    async def story(admin: Admin, cluster: Cluster, operator: Operator) -> None:
        back = operator.carry_out(Step(0, Fault.KILL, "n3", 10))
        assert back is not None
        assert operator.carry_out(Step(0, Fault.WIPED_DISK, "n1", 10)) is None, "somebody is dead"
        back()
        assert await cluster.wait_healthy(admin, 30_000) == []
        back = operator.carry_out(Step(0, Fault.WIPED_DISK, "n1", 10))
        assert back is not None
        assert operator.carry_out(Step(0, Fault.WIPED_DISK, "n2", 10)) is None, "one disk is gone already"
        assert operator.carry_out(Step(0, Fault.KILL, "n2", 10)) is None, "nobody knows of it yet"
        back()
        await operator.finish()
        assert await cluster.wait_healthy(admin, 30_000) == []
        back = operator.carry_out(Step(0, Fault.KILL, "n2", 10))
        assert back is not None
        back()

    assert told(story).faults == {"kill": 2, "wiped-disk": 1}


def test_a_node_gets_another_disk_twice_and_votes_with_the_last() -> None:
    """Its leader lists the directories of both disks that are gone."""

    async def story(admin: Admin, cluster: Cluster, operator: Operator) -> None:
        leader = (await admin.describe_quorum()).leader_id
        host = "n2" if leader == 1 else "n1"
        for _ in range(2):
            back = operator.carry_out(Step(0, Fault.WIPED_DISK, host, 10))
            assert back is not None
            back()
            await operator.finish()
            assert await cluster.wait_healthy(admin, 30_000) == []
        quorum = await admin.describe_quorum()
        assert quorum.leader_id == leader
        assert [f"n{observer.node_id}" for observer in quorum.observers] == [host, host]

    assert told(story).faults == {"wiped-disk": 2}


def test_no_voter_leaves_while_another_stops_for_a_new_disk() -> None:
    """Seed 2200035 of a campaign: the voters that were left were one node and a disk that was gone."""

    async def story(admin: Admin, cluster: Cluster, operator: Operator) -> None:
        assert operator.carry_out(Step(0, Fault.DISK_SWAP, "n3", 10)) is not None
        assert operator.carry_out(Step(0, Fault.MEMBERSHIP, "n2", 10)) is None
        await operator.finish()
        assert operator.carry_out(Step(0, Fault.MEMBERSHIP, "n2", 10)) is not None

    assert told(story).faults == {"disk-swap": 1, "membership": 1}


def test_a_move_waits_for_something_to_move() -> None:
    async def story(admin: Admin, cluster: Cluster, operator: Operator) -> None:
        assert operator.carry_out(Step(0, Fault.REASSIGNMENT, "n1", 10)) is None, "there is no topic"
        await operator.finish()
        await admin.create_topic("lines", partitions=1, replication_factor=3)
        assert await cluster.wait_healthy(admin, 30_000) == []
        assert operator.carry_out(Step(0, Fault.REASSIGNMENT, "n1", 10)) is not None

    assert told(story).faults == {"reassignment": 1}


# --- the table ------------------------------------------------------------------------------------------------------


def test_every_kind_has_one_row_and_a_proof_that_is_there() -> None:
    assert [kind.fault for kind in KINDS if kind.about] == list(dict.fromkeys(kind.fault for kind in KINDS))
    assert {kind.fault for kind in KINDS} == {*Fault}
    for kind in KINDS:
        path, _, test = kind.proof.partition("::")
        assert f"def {test}(" in (ROOT / path).read_text(), kind
        assert f"Fault.{kind.fault.name}" in (ROOT / path).read_text(), kind


def test_all_is_everything() -> None:
    assert faults_named(["all"]) == ALL and len(ALL) == len(KINDS)
    assert [fault.value for fault in ROT] == ["flipped-bit", "stale-block", "misdirected-write"]
    assert faults_named(["pause", "kill", "kill"]) == (Fault.KILL, Fault.PAUSE)
    assert faults_named(["none"]) == () and Fault.FAILING_READ in faults_named(["all"])


@pytest.mark.parametrize("seed", range(20))
def test_a_kind_that_came_later_leaves_the_others_where_they_were(seed: int) -> None:
    former = [fault for fault in ALL if not BY_FAULT[fault].came_later]
    drawn = draw_rounds(Random(f"{seed}/plan"), HOSTS, 600_000, ALL)
    assert tuple(step for step in drawn if step.fault in former) == draw_rounds(
        Random(f"{seed}/plan"), HOSTS, 600_000, former
    )
    assert any(BY_FAULT[step.fault].came_later for step in drawn)


def test_rounds_of_faults_may_be_far_between() -> None:
    hour_ms, calm_ms = 3_600_000, 600_000
    drawn = draw_rounds(Random("7/plan"), HOSTS, 3 * hour_ms, ALL, calm_ms)
    began = {step.at_ms // (ROUND_MS + calm_ms) for step in drawn}
    assert len(drawn) > 30 and len(began) > 10 and max(step.at_ms for step in drawn) > 2 * hour_ms
    assert all(step.at_ms % (ROUND_MS + calm_ms) < ROUND_MS for step in drawn)


def test_an_unknown_name_is_told_with_those_that_there_are() -> None:
    with pytest.raises(UnknownFault, match=r"no fault 'gremlin'; there are all, none, stop, kill, .*reassignment"):
        faults_named(["kill", "gremlin"])
