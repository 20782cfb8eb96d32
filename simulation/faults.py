"""Carries plans of faults out beside the workload: what goes wrong when, and ends when.

`run_plan` ends with a calm world in which everybody lives, so that liveness can be judged. Steps that make no sense
when their time comes (kill a dead node) are not counted, and do nothing at their ends. What needs an operator
(`fault_kinds.Needs`) happens only where a scenario has one, which it gives as `carry_out`.
"""

import asyncio
from collections.abc import Callable, Sequence

from simulation.fault_kinds import FATAL, USUAL, Fault
from simulation.injection import Undo, apply_step, happen_to_the_dead, makes_sense, start_again
from simulation.plan import DURATIONS_MS, Plan, Step, draw_plan, draw_step, plan_from_json, plan_to_json
from simulation.world import World

CarryOut = Callable[[Step], Undo | None]
"""Lets a step begin and gives what ends it; None: it makes no sense now, and does nothing."""


async def run_plan(
    world: World, plan: Plan, hosts: Sequence[str], length_ms: int, carry_out: CarryOut | None = None
) -> None:
    """Carry out the steps that concern `hosts`, wait until `length_ms` have passed, then calm the world and start
    whoever is dead, or still dying. What would have lasted longer ends then: nothing of a plan happens later."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    lasting: dict[int, Undo] = {}

    def end(number: int) -> None:
        if number in lasting:
            lasting.pop(number)()

    for number, step in enumerate(sorted(plan, key=lambda step: step.at_ms)):
        await asyncio.sleep(max(0.0, began + step.at_ms / 1000 - loop.time()))
        world.loop.trace("fault", step.fault.value, step.target, step.other, step.amount, step.duration_ms)
        undo = carry_out(step) if carry_out is not None else carry_out_alone(world, hosts, step)
        if undo is not None:
            lasting[number] = undo
            loop.call_later(step.duration_ms / 1000, end, number)
    await asyncio.sleep(max(0.0, began + length_ms / 1000 - loop.time()))
    for number in list(lasting):
        end(number)
    calm(world, hosts)


def carry_out_alone(world: World, hosts: Sequence[str], step: Step) -> Undo | None:
    """Without an operator: what needs one does not happen."""
    if not makes_sense(world, step):
        happen_to_the_dead(world, step)
        return None
    world.count_fault(step.fault.value)
    return apply_step(world, step, hosts)


def calm(world: World, hosts: Sequence[str]) -> None:
    """End every fault, and start whoever is dead, or still dying."""
    world.calm()
    for host in hosts:
        if world.is_alive(host):
            world.restart_when_ended(host, reboot=True)
        else:
            start_again(world, host)


__all__ = [
    "DURATIONS_MS",
    "FATAL",
    "USUAL",
    "CarryOut",
    "Fault",
    "Plan",
    "Step",
    "calm",
    "carry_out_alone",
    "draw_plan",
    "draw_step",
    "plan_from_json",
    "plan_to_json",
    "run_plan",
]
