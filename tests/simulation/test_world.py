"""The world: lives of nodes begin, end, pause and fail; clocks are wrong; and nothing of the dead is seen again."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from kraftpy.runtime.ports import Address, Clock, Disk, FramedTransport, Methods, Ports, Transport
from simulation.clock import WALL_START_MS
from simulation.device import CrashMode
from simulation.loop import NodeCrashed
from simulation.world import Deadlock, NodeFactory, NodeFailed, World, WorldConfig

Story = Callable[[World], Awaitable[object]]


def tell(story: Story, *, failures_allowed: bool = False) -> World:
    world = World(1, WorldConfig(time_limit_ms=600_000, failures_allowed=failures_allowed))
    world.run(story)
    return world


async def for_ever(ports: Ports) -> None:
    await asyncio.get_running_loop().create_future()


def counting(seen: list[int]) -> NodeFactory:
    """A program that says its clock's time once a second."""

    async def program(ports: Ports) -> None:
        while True:
            seen.append(ports.clock.monotonic_ms())
            await asyncio.sleep(1)

    return program


def test_its_ports_are_the_ports() -> None:
    async def story(world: World) -> None:
        ports = world.open_life("n1").ports
        clock: Clock = ports.clock
        disk: Disk = ports.disk
        transport: Transport = ports.transport
        framed: FramedTransport = ports.framed
        assert clock and disk and transport and framed and ports.random.random() < 1

    tell(story)


def test_a_killed_node_stops_for_good() -> None:
    async def story(world: World) -> None:
        seen: list[int] = []
        first = world.start("n1", counting(seen))
        await asyncio.sleep(2.5)
        world.crash("n1")
        assert not world.is_alive("n1") and first.ended
        await asyncio.sleep(5)
        assert seen == [0, 1000, 2000]
        assert world.restart("n1").number == 2
        await asyncio.sleep(0.5)
        assert seen == [0, 1000, 2000, 7500]

    tell(story)


def test_another_life_finds_the_page_cache_but_not_after_a_power_failure() -> None:
    async def story(world: World) -> None:
        found: list[bytes] = []

        async def program(ports: Ports) -> None:
            found.append(ports.disk.read_bytes("/f") if ports.disk.exists("/f") else b"")
            file = ports.disk.open("/f", create=True)
            if not file.size():
                file.write([b"synced"], 0)
                file.sync()
                ports.disk.sync_directory("/")
            file.write([b"lost"], 6)
            await for_ever(ports)

        world.start("n1", program)
        for power in (False, True):
            await asyncio.sleep(1)
            world.crash("n1", power=power, disk=CrashMode.LOST if power else None)
            world.restart("n1")
        await asyncio.sleep(1)
        assert found == [b"", b"syncedlost", b"synced"]

    tell(story)


def test_what_a_dying_node_does_reaches_nobody() -> None:
    async def story(world: World) -> None:
        heard: list[bytes] = []

        async def hear(request: bytes) -> bytes:
            heard.append(request)
            return b""

        async def program(ports: Ports) -> None:
            try:
                await for_ever(ports)
            finally:
                try:
                    ports.disk.open("/last-words", create=True)
                except NodeCrashed:
                    await ports.transport.call(Address("n2", 1), "/hear", b"last words", 1000)

        async def listen(ports: Ports) -> None:
            await ports.transport.serve(Address("n2", 1), Methods({"/hear": hear}, {}))
            await for_ever(ports)

        world.start("n1", program)
        world.start("n2", listen)
        await asyncio.sleep(1)
        world.crash("n1")
        await asyncio.sleep(10)
        assert heard == [] and world.device("n1").node("/last-words") is None

    tell(story)


def test_a_paused_node_stands_still_with_its_clock_running_on() -> None:
    async def story(world: World) -> None:
        seen: list[int] = []
        world.start("n1", counting(seen))
        await asyncio.sleep(2.5)
        world.pause("n1")
        await asyncio.sleep(10)
        assert seen == [0, 1000, 2000]
        world.resume("n1")
        await asyncio.sleep(1.2)
        assert seen == [0, 1000, 2000, 12_500, 13_500]

    tell(story)


def test_a_node_can_crash_at_any_change_of_its_disk() -> None:
    async def story(world: World) -> None:
        written: list[int] = []

        async def program(ports: Ports) -> None:
            file = ports.disk.open("/f", create=True)
            for number in range(10):
                file.write([b"x"], number)
                written.append(number)
            await for_ever(ports)

        world.crash_at_disk_operation("n1", 5)
        world.start("n1", program)
        await asyncio.sleep(1)
        assert not world.is_alive("n1") and written == [0, 1, 2]
        world.restart("n1")
        await asyncio.sleep(1)
        assert world.is_alive("n1")

    assert tell(story).network.injected["power-failure"] == 1


def test_a_crash_point_inside_disk_work_kills_the_node_too() -> None:
    async def story(world: World) -> None:
        async def program(ports: Ports) -> None:
            await ports.disk.run(lambda: ports.disk.write_atomically("/f", b"x"))
            raise AssertionError("not reached")

        world.crash_at_disk_operation("n1", 3)
        world.start("n1", program)
        await asyncio.sleep(1)
        assert not world.is_alive("n1")

    tell(story)


def test_clocks_jump_and_drift_and_stay_wrong() -> None:
    async def story(world: World) -> None:
        seen: list[int] = []
        world.start("n1", counting(seen))
        await asyncio.sleep(0)
        life = world.lives["n1"]
        assert life.ports.clock.wall_ms() == WALL_START_MS
        world.jump_clock("n1", -5000)
        assert life.ports.clock.wall_ms() == WALL_START_MS - 5000
        assert life.ports.clock.monotonic_ms() == 0
        world.drift_clock("n1", 100_000)
        await asyncio.sleep(10)
        assert life.ports.clock.monotonic_ms() == 11_000 and len(seen) == 11
        world.crash("n1")
        clock = world.restart("n1").ports.clock
        before = clock.monotonic_ms()
        await asyncio.sleep(10)
        assert clock.monotonic_ms() - before == 11_000
        assert clock.wall_ms() == WALL_START_MS + clock.monotonic_ms() - 5000

    tell(story)


def test_calming_the_world_ends_every_lasting_fault() -> None:
    async def story(world: World) -> None:
        seen: list[int] = []
        world.start("n1", counting(seen))
        world.open_life("c1")
        world.partition(["n1"], ["c1"])
        world.pause("n1")
        world.device("n1").slowness = 100.0
        world.crash_at_disk_operation("n1", 10)
        world.calm()
        await asyncio.sleep(0.5)
        assert seen and not world.network.is_cut("n1", "c1")
        device = world.device("n1")
        assert (device.slowness, device.crash_at_operation) == (1.0, None)

    tell(story)


def test_a_wiped_host_starts_empty() -> None:
    async def story(world: World) -> None:
        async def program(ports: Ports) -> None:
            assert ports.disk.list("/") == []
            ports.disk.make_directory("/d")
            ports.disk.lock("/lock")

        world.start("n1", program)
        await asyncio.sleep(1)
        assert not world.is_alive("n1")  # its program is done
        world.wipe("n1")
        world.restart("n1")
        await asyncio.sleep(1)

    tell(story)


def test_a_failing_program_fails_the_run_at_once() -> None:
    async def program(ports: Ports) -> None:
        await asyncio.sleep(1)
        raise ValueError("broken")

    async def background(ports: Ports) -> None:
        asyncio.get_running_loop().create_task(program(ports))
        await for_ever(ports)

    for factory in (program, background):

        async def story(world: World, factory: NodeFactory = factory) -> None:
            world.start("n1", factory)
            await asyncio.sleep(300)

        with pytest.raises(NodeFailed, match=r"broken[\s\S]*test_world\.py"):
            tell(story)
        world = tell(story, failures_allowed=True)
        assert any("broken" in failure for failure in world.loop.failures)


def test_what_failed_in_a_life_fails_the_run_also_when_it_is_killed_before_anybody_asks() -> None:
    async def broken() -> None:
        raise ValueError("broken")

    async def story(world: World) -> None:
        life = world.open_life("n1")
        kept = world.run_in(life, broken())
        await asyncio.sleep(1)
        world.crash("n1")
        await asyncio.sleep(1)
        assert kept.done()

    with pytest.raises(NodeFailed, match="broken"):
        tell(story)


def test_a_main_that_waits_for_nothing_is_a_deadlock() -> None:
    async def story(world: World) -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match="main"):
        tell(story)


def test_parts_of_a_world_draw_from_generators_of_their_own() -> None:
    """Using one more number in one place must not change what happens elsewhere."""

    def draws(extra: int) -> list[float]:
        found: list[float] = []

        async def story(world: World) -> None:
            one, two = world.open_life("n1"), world.open_life("n2")
            for _ in range(extra):
                one.ports.random.random()
            found.extend([two.ports.random.random(), world.random.random(), world.device("n2").random.random()])

        tell(story)
        return found

    assert draws(0) == draws(5)
