"""A simulated world: hosts with disks, clocks and a network between them, and the lives of nodes on them.

    async def main(world: World) -> None:
        for name in ("n1", "n2", "n3"):
            world.start(name, lambda ports: run_node(ports))     # a coroutine that lives until it is crashed
        await asyncio.sleep(10)
        world.crash("n1", power=True)
        world.partition(["n2"], ["n3"])
        ...

    World(seed=7).run(main)

A *life* is one start of a node on a host. It gets its own lane of the loop and its own ports; its disk's medium and
its clock's error stay with the host. `crash` ends a life between two of its callbacks, or inside one where a disk's
crash point says so: its ports are dead first, then its coroutines are closed, so nothing that it does while dying is
seen by anybody. All randomness comes from the seed, one generator for each part, so that using one does not shift the
others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from kraftpy.runtime.ports import Ports
from simulation.clock import SimulatedClock
from simulation.device import CrashMode, Device
from simulation.disk import DiskConfig, SimulatedDisk
from simulation.framed_transport import SimulatedFramedTransport
from simulation.lane import Lane, Task
from simulation.loop import Deadlock, Loop, NodeCrashed, SimulationError, TimeLimit
from simulation.network import Network, NetworkConfig
from simulation.transport import SimulatedTransport
from simulation.verdicts import CheckVerdict

T = TypeVar("T")

NodeFactory = Callable[[Ports], Coroutine[Any, Any, object]]


class NodeFailed(SimulationError):
    """A node's program ended with an exception, or something failed that nobody handled."""


class Violated(SimulationError):
    """Somebody who watches the world saw what must never be."""


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """One simulated world."""

    disk: DiskConfig = field(default_factory=DiskConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    disk_capacity_bytes: int | None = None  # of each host; None: never full
    time_limit_ms: int = 3_600_000  # of virtual time
    keep_trace: bool = False  # all lines, not only the last few thousand
    failures_allowed: bool = False  # exceptions that nobody handled are collected, but do not fail the run


@dataclass(slots=True)
class Life:
    """One start of a node."""

    host: str
    number: int  # of this host's lives, from 1
    lane: Lane
    ports: Ports
    task: Task[object] | None = None
    error: Exception | None = None  # with which its program ended
    ended: bool = False
    restart_when_ended: bool = False  # told to stop, and to be started again
    reboot_when_ended: bool = False  # its machine too


class World:
    """See the module's docstring. Faults take effect at once; all of them are traced and counted."""

    def __init__(self, seed: int, config: WorldConfig | None = None) -> None:
        self.seed = seed
        self.config = config or WorldConfig()
        self.loop = Loop(seed, time_limit_ms=self.config.time_limit_ms, keep_trace=self.config.keep_trace)
        self.random = Random(f"{seed}/world")
        self.network = Network(self.loop, Random(f"{seed}/network"), self.config.network)
        self.devices: dict[str, Device] = {}
        self.lives: dict[str, Life] = {}  # the current or last one of each host
        self.before_crash: Callable[[], None] | None = None  # a last look at what will be gone
        self._factories: dict[str, NodeFactory] = {}
        self._wall_offsets_ms: dict[str, int] = {}
        self._drifts: dict[str, int] = {}
        self._ended_early: asyncio.Future[None] | None = None
        self.violations: list[str] = []
        self.faults: dict[str, int] = {}  # of each kind that happened, by its name
        self.operations: dict[str, int] = {}  # of clients, where the scenario tells them
        self.verdicts: list[CheckVerdict] = []  # of checkers, likewise
        self.calms = 0  # how often everything was mended
        self._paused: dict[str, int] = {}  # how often, by `pause`
        self._background: list[asyncio.Task[None]] = []

    # --- lives -------------------------------------------------------------------------------------------------------

    def start(self, host: str, factory: NodeFactory) -> Life:
        """Begin a life on a host that has none. Its program runs until it ends or is crashed."""
        self._factories[host] = factory
        life = self.open_life(host)
        life.task = life.lane.context.copy().run(self.loop.create_task, factory(life.ports))
        life.task.set_name(f"{host}/main")
        life.task.add_done_callback(lambda task: self._program_ended(life, task))
        return life

    def open_life(self, host: str) -> Life:
        """A life without a program: ports to be used by `run_in`, for clients and tests."""
        last = self.lives.get(host)
        assert last is None or last.ended, f"{host} is alive"
        number = 1 if last is None else last.number + 1
        lane = self.loop.new_lane(f"{host}.{number}")
        self.network.attach(host, lane)
        life = Life(host, number, lane, self._ports(host, number, lane))
        self.lives[host] = life
        self.loop.trace("start", host, number)
        return life

    def run_in(self, life: Life, coroutine: Coroutine[Any, Any, T]) -> "Task[T]":
        """Run something else in a life: it dies and pauses with it."""
        return life.lane.context.copy().run(self.loop.create_task, coroutine)

    def crash(self, host: str, *, power: bool = False, disk: CrashMode | None = None) -> None:
        """Kill the life on a host. `power`: the machine fails, its peers hear nothing, and `disk` (by default the
        seed) says what becomes of unsynced writes; otherwise only the process dies and the page cache lives on."""
        life = self.lives[host]
        if life.ended:
            if power:
                self.devices[host].crash(disk)  # the page cache that the dead process left behind
            return
        if self.before_crash is not None:
            self.before_crash()
        self.loop.trace("power-failure" if power else "kill", host)
        self.network.count("power-failure" if power else "kill")
        self._end(life, dark=power)
        if power or disk is not None:
            self.devices[host].crash(disk)
        else:
            self.devices[host].process_ended()

    def stop(self, host: str) -> None:
        """SIGTERM: its program is cancelled, and ends when it has done what it does then."""
        if self.is_alive(host):
            life = self.lives[host]
            self.loop.trace("stop", host)
            self.network.count("stop")
            if life.task is not None:
                life.task.cancel()

    def restart_when_ended(self, host: str, *, reboot: bool = False) -> None:
        """Begin another life as soon as the present one ends by itself; `reboot`: nothing that was not synced is left
        to it for certain."""
        life = self.lives[host]
        life.restart_when_ended = True
        life.reboot_when_ended |= reboot

    def run_in_background(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something of the world's own beside `main`, until the run ends. It fails the run where it fails."""
        task = self.loop.create_task(coroutine)
        self._background.append(task)
        task.add_done_callback(self._background_ended)

    def _background_ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.violated(f"what watches the world failed: {type(error).__name__}: {error}")

    def restart(self, host: str, factory: NodeFactory | None = None) -> Life:
        """Begin another life, after a crash or a stop, with the last program unless another is given."""
        return self.start(host, factory or self._factories[host])

    def has_program(self, host: str) -> bool:
        """Whether a host ever had a program that `restart` can start again."""
        return host in self._factories

    def is_alive(self, host: str) -> bool:
        life = self.lives.get(host)
        return life is not None and not life.ended

    def pause(self, host: str) -> None:
        """SIGSTOP, until it was resumed as often."""
        if self.is_alive(host):
            self.loop.trace("pause", host)
            self.network.count("pause")
            self._paused[host] = self._paused.get(host, 0) + 1
            self.loop.pause(self.lives[host].lane)

    def resume(self, host: str) -> None:
        """SIGCONT."""
        times = self._paused.pop(host, 0)
        if times > 1:
            self._paused[host] = times - 1
        elif self.is_alive(host):
            self.loop.trace("resume", host)
            self.loop.resume(self.lives[host].lane)

    def hold(self, host: str) -> None:
        """Take the processor from it, until `let_go`: what a busy machine does to a node all the time."""
        if self.is_alive(host):
            self.loop.pause(self.lives[host].lane)

    def let_go(self, host: str) -> None:
        """Give it back, unless the node is paused beside."""
        if self.is_alive(host) and host not in self._paused:
            self.loop.resume(self.lives[host].lane)

    def crash_at_disk_operation(self, host: str, number: int, *, power: bool = True) -> None:
        """Crash before the host's disk makes its `number`th change from now on."""
        device = self.device(host)
        device.crash_at_operation = device.operations + number
        device.on_crash_point = lambda: self.crash(host, power=power)

    def wipe(self, host: str) -> None:
        """Give a host without a life an empty disk."""
        assert not self.is_alive(host)
        self.device(host).wipe()

    # --- network and clocks ------------------------------------------------------------------------------------------

    def partition(self, *groups: Iterable[str], hold: bool = False) -> None:
        """Cut hosts of different groups off from each other; `hold`: calls wait for the healing instead of being
        lost."""
        self.network.partition(*groups, hold=hold)

    def rejoin(self, *groups: Iterable[str]) -> None:
        """Lift the blocks between hosts of different groups."""
        self.network.rejoin(*groups)

    def isolate(self, host: str, *, hold: bool = False) -> None:
        """Cut one host off from all others known so far."""
        self.partition([host], [name for name in self.lives if name != host], hold=hold)

    def block(self, source: str, target: str, *, hold: bool = False) -> None:
        """Cut one direction."""
        self.network.block(source, target, hold=hold)

    def heal(self) -> None:
        """Lift every block and delay of the network."""
        self.network.heal()

    def jump_clock(self, host: str, by_ms: int) -> None:
        """Set a host's wall clock forward or back; it stays so for its later lives."""
        self._wall_offsets_ms[host] = self._wall_offsets_ms.get(host, 0) + by_ms
        self.loop.trace("clock-jump", host, by_ms)
        if self.is_alive(host):
            _clock(self.lives[host]).jump(by_ms)

    def drift_clock(self, host: str, parts_per_million: int) -> None:
        """Let a host's clocks run fast or slow, also in later lives."""
        self._drifts[host] = parts_per_million
        self.loop.trace("clock-drift", host, parts_per_million)
        if self.is_alive(host):
            _clock(self.lives[host]).drift(parts_per_million)

    @property
    def slow_ms(self) -> int:
        """For how long a disk still does what it began while it was slow."""
        ends_us = max((device.slow_until_us for device in self.devices.values()), default=0)
        return max(0, ends_us - self.loop.now_us) // 1_000

    def calm(self) -> None:
        """End every fault that lasts: blocks, delays, pauses, failing disks, lossy links. The dead stay dead."""
        self.calms += 1
        self.heal()
        self.network.config = self.config.network
        for host, life in self.lives.items():
            if not life.ended:
                self._paused.pop(host, None)
                self.resume(host)
        for device in self.devices.values():
            device.disarm()
            device.slowness = 1.0
            device.capacity_bytes = self.config.disk_capacity_bytes
            device.crash_at_operation = None

    def device(self, host: str) -> Device:
        """The medium of a host, with its faults."""
        if host not in self.devices:
            device = Device(Random(f"{self.seed}/device/{host}"), capacity_bytes=self.config.disk_capacity_bytes)
            device.on_event = lambda kind, *details: self.loop.trace(kind, host, *details)
            self.devices[host] = device
        return self.devices[host]

    # --- the run -----------------------------------------------------------------------------------------------------

    def run(self, main: Callable[["World"], Awaitable[T]]) -> T:
        """Run `main` to its end on virtual time and take the world down. A world runs once.

        Raises `NodeFailed` as soon as a node's program ends with an exception or something fails that nobody handles
        (unless `failures_allowed`), `Violated`, `Deadlock`, `Livelock` or `TimeLimit`, or what `main` raises.
        """
        try:
            result = self.loop.run_until_complete(self._watched(main))
        finally:
            self.loop.on_failure = None
            self.loop.shutdown(before_killing=self._kill_all_ports)
        self._check_failures()
        return result

    def _kill_all_ports(self) -> None:
        for life in self.lives.values():
            _kill_ports(life.ports)

    async def _watched(self, main: Callable[["World"], Awaitable[T]]) -> T:
        async def run_main() -> T:
            return await main(self)

        task = self.loop.create_task(run_main(), name="main")
        self._ended_early = self.loop.create_future()
        task.add_done_callback(lambda _: self.end_early())
        self.loop.on_failure = None if self.config.failures_allowed else self.end_early
        await self._ended_early
        self._check_failures()
        return task.result()

    def _check_failures(self) -> None:
        if self.violations:
            raise Violated("\n".join(self.violations[:5]))
        if self.loop.failures and not self.config.failures_allowed:
            raise NodeFailed("\n".join(self.loop.failures[:5]))

    def count_fault(self, kind: str) -> None:
        """A fault of this kind happens now."""
        self.faults[kind] = self.faults.get(kind, 0) + 1

    def violated(self, what: str) -> None:
        """End the run: it failed, whatever else comes of it. `run` raises `Violated`."""
        self.loop.trace("violated", what)
        self.violations.append(what)
        self.end_early()

    def end_early(self) -> None:
        if self._ended_early is not None and not self._ended_early.done():
            self._ended_early.set_result(None)

    def _program_ended(self, life: Life, task: "asyncio.Task[object]") -> None:
        if life.ended:
            return
        error = None if task.cancelled() else task.exception()
        self.loop.trace("exit", life.host, "failed" if error else "done")
        if isinstance(error, Exception):
            life.error = error
            self.loop.call_exception_handler({"message": f"{life.host}: its program failed", "exception": error})
        self._end(life, dark=False)
        self.device(life.host).process_ended()
        if life.restart_when_ended:
            if life.reboot_when_ended:
                self.device(life.host).crash()
            self.restart(life.host)

    def _end(self, life: Life, *, dark: bool) -> None:
        life.ended = True
        self.loop.report_forgotten(life.lane)
        self._paused.pop(life.host, None)
        _kill_ports(life.ports)
        self.network.detach(life.host, dark=dark)
        self.loop.kill(life.lane)
        self.loop.drop_lane(life.lane)

    def _ports(self, host: str, number: int, lane: Lane) -> Ports:
        clock = SimulatedClock(self.loop, lane, self._wall_offsets_ms.get(host, 0))
        if host in self._drifts:
            clock.drift(self._drifts[host])
        return Ports(
            clock=clock,
            random=Random(f"{self.seed}/node/{host}/{number}"),
            disk=SimulatedDisk(self.device(host), self.config.disk, Random(f"{self.seed}/disk/{host}/{number}")),
            transport=SimulatedTransport(self.network, host),
            framed=SimulatedFramedTransport(self.network, host),
        )


def _kill_ports(ports: Ports) -> None:
    for port in (ports.disk, ports.transport, ports.framed):
        assert isinstance(port, SimulatedDisk | SimulatedTransport | SimulatedFramedTransport)
        port.kill()


def _clock(life: Life) -> SimulatedClock:
    assert isinstance(life.ports.clock, SimulatedClock)
    return life.ports.clock


__all__ = [
    "Deadlock",
    "Life",
    "NodeCrashed",
    "NodeFactory",
    "NodeFailed",
    "TimeLimit",
    "Violated",
    "World",
    "WorldConfig",
]
