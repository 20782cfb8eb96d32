"""Plans of faults: what goes wrong when, as values that can be drawn from a seed, shrunk, printed and replayed.

A step has a kind, a target and a duration after which it is undone (a dead node is started again, a cut link healed).
`run_plan` carries a plan out beside the workload and ends with a calm world in which everybody lives, so that liveness
can be judged. Steps that make no sense when their time comes (kill a dead node) do nothing.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from random import Random

from simulation.device import DiskFault
from simulation.world import World


class Fault(Enum):
    """Kinds of faults by name. Those that a node's program may answer by stopping are in `FATAL`."""

    STOP = "stop"  # SIGTERM: a controlled shutdown, and another start as soon as it is over
    KILL = "kill"  # kill -9
    POWER_FAILURE = "power-failure"  # of one machine: unsynced writes are lost, kept or torn
    POWER_FAILURE_OF_ALL = "power-failure-of-all"
    CRASH_AT_WRITE = "crash-at-write"  # power fails before one of the next changes of the disk (`amount`: which)
    PAUSE = "pause"  # SIGSTOP
    PAUSE_OF_ALL = "pause-of-all"
    ISOLATION = "isolation"  # from everybody, both ways
    ONE_WAY = "one-way"  # what the target sends to `other` is lost
    CLOGGED = "clogged"  # what the target and `other` send each other waits
    SLOW_LINK = "slow-link"  # `amount` ms more from the target to `other`
    LOSSY = "lossy"  # everywhere: calls are lost, reset and duplicated (`amount`: per mille)
    SLOW_DISK = "slow-disk"  # by the factor `amount`
    CLOCK_JUMP = "clock-jump"  # of the wall's clock, by `amount` ms, and back
    CLOCK_DRIFT = "clock-drift"  # by `amount` parts per million
    FAILING_SYNC = "failing-sync"
    FULL_DISK = "full-disk"
    FAILING_READ = "failing-read"


FATAL = (Fault.FAILING_SYNC, Fault.FULL_DISK, Fault.FAILING_READ)
USUAL = tuple(fault for fault in Fault if fault not in FATAL)

DURATIONS_MS = (50, 500, 3_000, 12_000)
AMOUNTS: Mapping[Fault, Sequence[int]] = {
    Fault.CRASH_AT_WRITE: range(1, 61),
    Fault.SLOW_LINK: (20, 200, 1500),
    Fault.LOSSY: (5, 50, 200),
    Fault.SLOW_DISK: (5, 50, 400),
    Fault.CLOCK_JUMP: (-3_600_000, -5_000, 5_000, 86_400_000),
    Fault.CLOCK_DRIFT: (-50_000, -500, 500, 50_000),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One fault. Times count from the start of the plan."""

    at_ms: int
    fault: Fault
    target: str
    duration_ms: int
    other: str = ""
    amount: int = 0


Plan = tuple[Step, ...]


def draw_plan(random: Random, hosts: Sequence[str], length_ms: int, faults: Iterable[Fault] = USUAL) -> Plan:
    """A plan for a run of that length: a few faults, sometimes at the same time, sometimes none."""
    kinds = list(faults)
    steps = [draw_step(random, hosts, length_ms, random.choice(kinds)) for _ in range(random.randint(0, 6))]
    return tuple(sorted(steps, key=lambda step: step.at_ms))


def draw_step(random: Random, hosts: Sequence[str], length_ms: int, fault: Fault) -> Step:
    """One step with amounts that make sense for its kind."""
    target = random.choice(hosts)
    others = [host for host in hosts if host != target] or [target]
    return Step(
        at_ms=random.randrange(length_ms),
        fault=fault,
        target=target,
        duration_ms=random.choice(DURATIONS_MS),
        other=random.choice(others),
        amount=random.choice(AMOUNTS.get(fault, [0])),
    )


def plan_to_json(plan: Plan) -> str:
    """A plan in one line."""
    return json.dumps([{**asdict(step), "fault": step.fault.value} for step in plan], separators=(",", ":"))


def plan_from_json(text: str) -> Plan:
    """Raises `ValueError` or `TypeError` where it is no plan."""
    return tuple(Step(**{**step, "fault": Fault(step["fault"])}) for step in json.loads(text))


async def run_plan(world: World, plan: Plan, hosts: Sequence[str], length_ms: int) -> None:
    """Carry out the steps that concern `hosts`, wait until `length_ms` have passed, then calm the world and start
    whoever is dead, or still dying."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for step in sorted(plan, key=lambda step: step.at_ms):
        await asyncio.sleep(max(0.0, began + step.at_ms / 1000 - loop.time()))
        world.loop.trace("fault", step.fault.value, step.target, step.other, step.amount, step.duration_ms)
        undo = apply_step(world, step, hosts)
        loop.call_later(step.duration_ms / 1000, undo)
    await asyncio.sleep(max(0.0, began + length_ms / 1000 - loop.time()))
    world.calm()
    for host in hosts:
        if world.is_alive(host):
            world.restart_when_ended(host, reboot=True)
        else:
            _start_again(world, host)


def apply_step(world: World, step: Step, hosts: Sequence[str]) -> Callable[[], None]:
    """Let a fault begin; gives what ends it."""
    target, other = step.target, step.other
    match step.fault:
        case Fault.STOP:
            world.stop(target)
            return lambda: _start_again(world, target, stopped=True)
        case Fault.KILL | Fault.POWER_FAILURE:
            world.crash(target, power=step.fault is Fault.POWER_FAILURE)
            return lambda: _start_again(world, target)
        case Fault.POWER_FAILURE_OF_ALL:
            for host in hosts:
                world.crash(host, power=True)
            return lambda: _for_each(hosts, lambda host: _start_again(world, host))
        case Fault.CRASH_AT_WRITE:
            world.crash_at_disk_operation(target, max(1, step.amount))
            return lambda: _start_again(world, target)
        case Fault.PAUSE:
            world.pause(target)
            return lambda: world.resume(target)
        case Fault.PAUSE_OF_ALL:
            _for_each(hosts, world.pause)
            return lambda: _for_each(hosts, world.resume)
        case Fault.ISOLATION:
            return _cut_off(world, target)
        case Fault.ONE_WAY:
            world.block(target, other)
            return lambda: world.network.unblock(target, other)
        case Fault.CLOGGED:
            world.partition([target], [other], hold=True)
            return lambda: world.rejoin([target], [other])
        case Fault.SLOW_LINK:
            world.network.delay(target, other, step.amount)
            return lambda: world.network.delay(target, other, 0)
        case Fault.LOSSY:
            return _make_lossy(world, step.amount / 1000)
        case Fault.CLOCK_JUMP:
            world.jump_clock(target, step.amount)
            return lambda: world.jump_clock(target, -step.amount)
        case Fault.CLOCK_DRIFT:
            world.drift_clock(target, step.amount)
            return lambda: world.drift_clock(target, 0)
        case Fault.SLOW_DISK | Fault.FAILING_SYNC | Fault.FULL_DISK | Fault.FAILING_READ:
            return _hurt_disk(world, step)


def _cut_off(world: World, host: str) -> Callable[[], None]:
    others = [name for name in world.lives if name != host]
    world.partition([host], others)
    return lambda: world.rejoin([host], others)


def _hurt_disk(world: World, step: Step) -> Callable[[], None]:
    device = world.device(step.target)
    if step.fault is Fault.SLOW_DISK:
        device.slowness = float(max(1, step.amount))
        return lambda: setattr(device, "slowness", 1.0)
    kinds = {
        Fault.FAILING_SYNC: DiskFault.SYNC_FAILURE,
        Fault.FULL_DISK: DiskFault.FULL,
        Fault.FAILING_READ: DiskFault.READ_ERROR,
    }
    device.arm(kinds[step.fault])

    def undo() -> None:
        device.disarm()
        if world.is_alive(step.target):
            world.restart_when_ended(step.target, reboot=True)  # if the fault is what it will end by
        else:
            device.crash()  # rebooted: after a failed fsync the page cache holds what the medium never got
            _start_again(world, step.target)

    return undo


def _make_lossy(world: World, rate: float) -> Callable[[], None]:
    network = world.network
    network.config = replace(network.config, loss_rate=rate, reset_rate=rate / 2, duplicate_rate=rate)
    network.count("lossy")

    def undo() -> None:
        network.config = world.config.network

    return undo


def _start_again(world: World, host: str, *, stopped: bool = False) -> None:
    world.device(host).crash_at_operation = None
    if world.is_alive(host):
        if stopped:
            world.restart_when_ended(host)
    elif world.has_program(host):
        world.restart(host)


def _for_each(hosts: Sequence[str], action: Callable[[str], None]) -> None:
    for host in hosts:
        action(host)
