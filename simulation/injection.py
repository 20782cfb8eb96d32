"""How each kind of fault begins and ends, as far as hosts, disks and a network are enough for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from simulation.device import CrashMode, Device, DiskFault
from simulation.fault_kinds import BY_FAULT, Fault, Needs
from simulation.plan import Step
from simulation.world import World

Undo = Callable[[], None]

ALWAYS = 1 << 60  # operations: until it is disarmed
SLICE_MS = 60  # in which a slow node gets its part of the time

_POWER: Mapping[Fault, CrashMode | None] = {
    Fault.POWER_FAILURE: None,  # as the seed says
    Fault.LOST_WRITES: CrashMode.LOST,
    Fault.TORN_WRITE: CrashMode.PREFIX,
}
_DISK: Mapping[Fault, DiskFault] = {
    Fault.FAILING_SYNC: DiskFault.SYNC_FAILURE,
    Fault.FULL_DISK: DiskFault.FULL,
    Fault.FAILING_READ: DiskFault.READ_ERROR,
    Fault.STALE_BLOCK: DiskFault.STALE_BLOCK,
    Fault.MISDIRECTED_WRITE: DiskFault.MISDIRECTED_WRITE,
}


def makes_sense(world: World, step: Step) -> bool:
    """Whether a step can happen now: nobody kills the dead."""
    kind = BY_FAULT[step.fault]
    if kind.needs is Needs.CLUSTER:
        return False
    if step.fault is Fault.FLIPPED_BIT:
        return bool(_closed_segments(world.device(step.target)))
    return not kind.needs_a_life or world.is_alive(step.target)


def happen_to_the_dead(world: World, step: Step) -> None:
    """What is left of a step that makes no sense: a machine without a process can lose power, and its page cache."""
    if step.fault in _POWER:
        world.crash(step.target, power=True, disk=_POWER[step.fault])


def apply_step(world: World, step: Step, hosts: Sequence[str]) -> Undo:
    """Let a fault begin; gives what ends it."""
    for act in (_on_nodes, _on_links, _on_messages, _on_disks):
        undo = act(world, step, hosts)
        if undo is not None:
            return undo
    raise AssertionError(f"nobody carries out {step.fault.value} without an operator")


def _on_nodes(world: World, step: Step, hosts: Sequence[str]) -> Undo | None:
    target = step.target
    match step.fault:
        case Fault.STOP:
            world.stop(target)
            return lambda: start_again(world, target, stopped=True)
        case Fault.KILL:
            world.crash(target)
            return lambda: start_again(world, target)
        case Fault.POWER_FAILURE | Fault.LOST_WRITES | Fault.TORN_WRITE:
            world.crash(target, power=True, disk=_POWER[step.fault])
            return lambda: start_again(world, target)
        case Fault.POWER_FAILURE_OF_ALL | Fault.KILL_OF_ALL:
            for host in hosts:
                world.crash(host, power=step.fault is Fault.POWER_FAILURE_OF_ALL)
            return lambda: _for_each(hosts, lambda host: start_again(world, host))
        case Fault.RESTART_STORM:
            return _storm(world, step)
        case Fault.PAUSE:
            world.pause(target)
            return lambda: world.resume(target)
        case Fault.PAUSE_OF_ALL:
            _for_each(hosts, world.pause)
            return lambda: _for_each(hosts, world.resume)
        case Fault.SLOW_NODE:
            return _starve(world, target, step.amount)
        case Fault.CLOCK_JUMP:
            world.jump_clock(target, step.amount)
            return lambda: world.jump_clock(target, -step.amount)
        case Fault.CLOCK_DRIFT:
            world.drift_clock(target, step.amount)
            return lambda: world.drift_clock(target, 0)
    return None


def _storm(world: World, step: Step) -> Undo:
    """`amount` deaths in the time of the step, with as much time dead as alive; it ends early when the world calms."""
    deaths = max(1, step.amount)
    half_us = step.duration_ms * 1000 // (2 * deaths)
    calms = world.calms

    def die(left: int) -> None:
        if world.calms == calms and left:
            world.crash(step.target)
            world.loop.call_after_us(half_us, rise, left)

    def rise(left: int) -> None:
        if world.calms == calms:
            start_again(world, step.target)
            world.loop.call_after_us(half_us, die, left - 1)

    die(deaths)
    return lambda: start_again(world, step.target)


def _starve(world: World, host: str, per_mille: int) -> Undo:
    """For that part of every slice it does not run. A pause by somebody else goes on beside it."""
    taken_us = SLICE_MS * min(per_mille, 990)
    calms, ended = world.calms, False

    def take() -> None:
        if not ended and world.calms == calms:
            world.hold(host)
            world.loop.call_after_us(taken_us, give)

    def give() -> None:
        world.let_go(host)
        world.loop.call_after_us(SLICE_MS * 1000 - taken_us, take)

    def undo() -> None:
        nonlocal ended
        ended = True

    take()
    return undo


def _on_links(world: World, step: Step, hosts: Sequence[str]) -> Undo | None:
    target, other = step.target, step.other
    match step.fault:
        case Fault.ISOLATION:
            return _part(world, [target], [name for name in world.lives if name != target])
        case Fault.TWO_WAY:
            return _part(world, [target], [other])
        case Fault.SPLIT:
            first = list(hosts).index(target)
            around = [*hosts[first:], *hosts[:first]]
            size = min(max(1, step.amount), max(1, len(hosts) - 1))
            return _part(world, around[:size], around[size:])
        case Fault.ONE_WAY:
            world.block(target, other)
            return lambda: world.network.unblock(target, other)
        case Fault.CLOGGED:
            world.partition([target], [other], hold=True)
            return lambda: world.rejoin([target], [other])
        case Fault.SLOW_LINK:
            world.network.delay(target, other, step.amount)
            return lambda: world.network.delay(target, other, 0)
    return None


def _part(world: World, one: Sequence[str], other: Sequence[str]) -> Undo:
    world.partition(one, other)
    return lambda: world.rejoin(one, other)


def _on_messages(world: World, step: Step, hosts: Sequence[str]) -> Undo | None:
    rate = step.amount / 1000
    rates: dict[str, Any]
    match step.fault:
        case Fault.LOSSY:
            world.network.count("lossy")
            rates = {"loss_rate": rate, "reset_rate": rate / 2, "duplicate_rate": rate}
        case Fault.LOSS:
            rates = {"loss_rate": rate}
        case Fault.RESETS:
            rates = {"reset_rate": rate}
        case Fault.DUPLICATION:
            rates = {"duplicate_rate": rate}
        case Fault.REORDERING:
            rates = {"reorder_rate": rate}
        case _:
            return None
    network, usual = world.network, world.config.network
    network.config = replace(network.config, **rates)

    def undo() -> None:
        network.config = replace(network.config, **{name: getattr(usual, name) for name in rates})

    return undo


def _on_disks(world: World, step: Step, hosts: Sequence[str]) -> Undo | None:
    device = world.device(step.target)
    match step.fault:
        case Fault.CRASH_AT_WRITE:
            world.crash_at_disk_operation(step.target, max(1, step.amount))
            return lambda: start_again(world, step.target)
        case Fault.SLOW_DISK:
            device.slowness = float(max(1, step.amount))
            return lambda: setattr(device, "slowness", 1.0)
        case Fault.FLIPPED_BIT:
            closed = _closed_segments(device)
            device.flip_bit(closed[device.random.randrange(len(closed))])
            return lambda: None
        case Fault.STALE_BLOCK | Fault.MISDIRECTED_WRITE:
            device.arm(_DISK[step.fault], ".log")
            return device.disarm
        case Fault.FAILING_SYNC | Fault.FULL_DISK | Fault.FAILING_READ:
            device.arm(_DISK[step.fault], times=ALWAYS if step.fault is Fault.FULL_DISK else 1)
            return partial(_mend, world, step.target)
    return None


def _mend(world: World, host: str) -> None:
    device = world.device(host)
    device.disarm()
    if world.is_alive(host):
        world.restart_when_ended(host, reboot=True)  # if the fault is what it will end by
    else:
        device.crash()  # rebooted: after a failed fsync the page cache holds what the medium never got
        start_again(world, host)


def _closed_segments(device: Device) -> list[str]:
    """Files of logs that are not written any more: all but the last one of each directory, none of them empty."""
    last: dict[str, str] = {}
    logs = [path for path, inode in device.files() if path.endswith(".log") and inode.size]
    for path in logs:
        last[path.rpartition("/")[0]] = path  # in the order of names, which is that of offsets
    return [path for path in logs if path != last[path.rpartition("/")[0]]]


def start_again(world: World, host: str, *, stopped: bool = False) -> None:
    """Begin another life where there is none, or, of one that was told to stop, as soon as it has."""
    world.device(host).crash_at_operation = None
    if world.is_alive(host):
        if stopped:
            world.restart_when_ended(host)
    elif world.has_program(host):
        world.restart(host)


def _for_each(hosts: Sequence[str], action: Callable[[str], None]) -> None:
    for host in hosts:
        action(host)
