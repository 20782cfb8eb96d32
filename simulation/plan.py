"""Plans of faults: what goes wrong when, as values that can be drawn from a seed, shrunk, printed and replayed.

A step has a kind, a target and a duration after which it is undone (a dead node is started again, a cut link healed).
`simulation.faults` carries plans out.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from random import Random

from simulation.fault_kinds import BY_FAULT, USUAL, Fault

DURATIONS_MS = (50, 500, 3_000, 12_000)
STEPS_MAX = 6
ROUND_MS = 60_000
STEPS_A_ROUND_MAX = 12
DISK_RATE = 0.4  # of rounds that begin with the loss of a disk
LATER_A_ROUND_MAX = 1  # of kinds that came later, beside others


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
    steps = [draw_step(random, hosts, length_ms, random.choice(kinds)) for _ in range(random.randint(0, STEPS_MAX))]
    return tuple(sorted(steps, key=lambda step: step.at_ms))


def draw_rounds(
    random: Random, hosts: Sequence[str], length_ms: int, faults: Iterable[Fault] = USUAL, calm_ms: int = 0
) -> Plan:
    """A plan for a long run: rounds of a minute, each with a few faults and then a quiet end, `calm_ms` apart.

    A disk goes at the beginning of a round, if at all, because that may only be while everything is whole.
    """
    kinds = list(faults)
    disks = [kind for kind in kinds if kind in (Fault.WIPED_DISK, Fault.DISK_SWAP)]
    later = [kind for kind in kinds if BY_FAULT[kind].came_later]
    others = [kind for kind in kinds if kind not in disks and kind not in later]
    rounds = range(0, length_ms, ROUND_MS + calm_ms)
    steps: list[Step] = []

    def draw_some(chosen: Sequence[Fault], most: int, began_ms: int) -> None:
        noisy_ms = max(1, min(ROUND_MS, length_ms - began_ms) * 3 // 4)
        for _ in range(random.randint(0, most) if chosen else 0):
            step = draw_step(random, hosts, noisy_ms, random.choice(chosen))
            steps.append(replace(step, at_ms=began_ms + step.at_ms))

    for began_ms in rounds:
        if disks and random.random() < DISK_RATE:
            steps.append(replace(draw_step(random, hosts, 1, random.choice(disks)), at_ms=began_ms))
        draw_some(others, STEPS_A_ROUND_MAX, began_ms)
    for began_ms in rounds:
        draw_some(later, LATER_A_ROUND_MAX if others else STEPS_A_ROUND_MAX, began_ms)
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
        amount=random.choice(BY_FAULT[fault].amount.values),
    )


def plan_to_json(plan: Plan) -> str:
    """A plan in one line."""
    return json.dumps([{**asdict(step), "fault": step.fault.value} for step in plan], separators=(",", ":"))


def plan_from_json(text: str) -> Plan:
    """Raises `ValueError` or `TypeError` where it is no plan."""
    return tuple(Step(**{**step, "fault": Fault(step["fault"])}) for step in json.loads(text))
