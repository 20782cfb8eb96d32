"""Scenarios: named simulations that can be run by a seed, from tests and from the command line alike.

A scenario builds its nodes in a world, carries out a plan of faults, and judges what happened: it returns a summary, or
raises. Everything that it does follows from the seed and the plan, so a failing run is told in one command:

    python -m simulation.run --scenario NAME --seed N [--plan JSON]

A scenario is named by its entry in `SCENARIOS`, as `package.module:ATTRIBUTE`, or, a whole cluster as
`kraftpy simulate` runs it, by its options: `simulate:nodes=3,minutes=2,workload=log` (`simulation.simulate.options`).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from random import Random
from typing import cast

from simulation.fault_kinds import USUAL, Fault
from simulation.loop import SimulationError
from simulation.plan import Plan, draw_plan, plan_to_json
from simulation.situations.recognizer import Recognizer
from simulation.verdicts import CheckVerdict, Verdict, given_up
from simulation.world import World, WorldConfig

SCENARIOS = {
    "register": "simulation.scenarios.register:REGISTER",
    "log": "simulation.scenarios.one_log:LOG",
    "failing-disk": "simulation.scenarios.one_log:FAILING_DISK",
    "cluster": "simulation.scenarios.whole_cluster:CLUSTER",
    "compaction": "simulation.scenarios.compaction:COMPACTION",
    "compacted-once": "simulation.scenarios.compaction:COMPACTED_ONCE",
    "compacted-transactions": "simulation.scenarios.compacted_transactions:COMPACTED_TRANSACTIONS",
    "cluster-disks": "simulation.scenarios.whole_cluster:CLUSTER_DISKS",
    "cluster-wiped": "simulation.scenarios.whole_cluster:CLUSTER_WIPED",
    "cluster-moves": "simulation.scenarios.whole_cluster:CLUSTER_MOVES",
    "cluster-wide": "simulation.scenarios.whole_cluster:CLUSTER_WIDE",
    "cluster-directories": "simulation.scenarios.directories:CLUSTER_DIRECTORIES",
    "cluster-moves-directories": "simulation.scenarios.directories:CLUSTER_MOVES_DIRECTORIES",
    "cluster-transactions": "simulation.scenarios.transactions:CLUSTER_TRANSACTIONS",
    "groups": "simulation.scenarios.groups:CLUSTER_GROUPS",
    "cluster-last-replicas": "simulation.scenarios.last_replicas:CLUSTER_LAST_REPLICAS",
    "cluster-upgrade": "simulation.scenarios.upgrade:CLUSTER_UPGRADE",
    "bit-rot": "simulation.scenarios.bit_rot:BIT_ROT",
    "voters": "simulation.scenarios.changing_voters:VOTERS",
}


class Refuted(SimulationError):
    """A checker found what must not be."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """`run(world, plan)` gives a line that says what was done, or raises `Refuted` or whatever failed."""

    name: str
    about: str
    hosts: tuple[str, ...]  # that faults may hit
    length_ms: int  # of the time with faults
    run: Callable[[World, Plan], Awaitable[str]]
    config: WorldConfig = field(default_factory=WorldConfig)
    faults: tuple[Fault, ...] = USUAL
    draw: Callable[[Random, Sequence[str], int, tuple[Fault, ...]], Plan] = draw_plan

    def plan(self, seed: int) -> Plan:
        """The plan that belongs to a seed where none is given."""
        return self.draw(Random(f"{seed}/plan"), self.hosts, self.length_ms, self.faults)


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run. `error` is empty where all was well. Not every scenario tells its operations and verdicts one by one."""

    scenario: str
    seed: int
    plan: Plan
    command: str  # that replays it
    trace_hash: str
    virtual_ms: int
    callbacks: int
    faults: dict[str, int]  # what they did, by what happened
    fault_kinds: dict[str, int]  # how many of each kind of `simulation.fault_kinds` happened
    operations: dict[str, int]
    verdicts: tuple[CheckVerdict, ...]
    situations: dict[str, int]  # of `simulation.situations.table`, how often each was met
    summary: str
    error: str
    trace: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found. A checker may have given up, so it need not be well: see `verdict`."""
        return not self.error

    @property
    def unknown(self) -> list[str]:
        """What checkers gave up on."""
        return given_up(self.verdicts)

    @property
    def verdict(self) -> Verdict:
        """Of the whole run: unknown where nothing was found and a checker gave up."""
        if not self.ok:
            return Verdict.INVALID
        return Verdict.UNKNOWN if self.unknown else Verdict.OK

    def __str__(self) -> str:
        faults = ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items())) or "none"
        lines = [
            f"{self.scenario} seed {self.seed}: {self.summary or 'failed'}",
            f"  {self.virtual_ms / 1000:.1f} s of virtual time, {self.callbacks} callbacks, trace {self.trace_hash}",
            f"  faults: {faults}",
        ]
        lines += [f"  unknown: {each}" for each in self.unknown]
        if not self.ok:
            lines += [f"  {self.error}", "  replay it with:", f"    {self.command}"]
        return "\n".join(lines)


def find_scenario(name: str) -> Scenario:
    """Raises `LookupError` for a name that is none, or `ValueError` where its options are none."""
    if name.startswith("simulate:"):
        return cast(Scenario, import_module("simulation.simulate.run").scenario_of(name))
    module, _, attribute = SCENARIOS.get(name, name).partition(":")
    if not attribute:
        raise LookupError(f"no scenario {name!r}; there are {', '.join(SCENARIOS)}")
    scenario = getattr(import_module(module), attribute)
    if not isinstance(scenario, Scenario):
        raise LookupError(f"{name} is no scenario")
    return scenario


def run_scenario(
    name: str,
    seed: int,
    plan: Plan | None = None,
    *,
    keep_trace: bool = False,
    watch: Callable[[World], object] = lambda _: None,
) -> RunReport:
    """Run one seed. Failures are in the report; only an interrupt gets out.

    `watch` is given the world before it begins, and may look at it from another thread, but must not touch it.
    """
    scenario = find_scenario(name)
    command = replay_command(name, seed, plan)
    plan = scenario.plan(seed) if plan is None else plan
    world = World(seed, replace(scenario.config, keep_trace=keep_trace))
    recognizer = Recognizer()
    world.loop.on_trace = recognizer.note
    summary, error = "", ""
    watch(world)
    try:
        summary = world.run(lambda _: scenario.run(world, plan))
    except Exception as failure:  # the top of the run: told in the report
        error = f"{type(failure).__name__}: {failure}"
    return RunReport(
        scenario=name,
        seed=seed,
        plan=plan,
        command=command,
        trace_hash=world.loop.trace_hash(),
        virtual_ms=world.loop.now_us // 1000,
        callbacks=world.loop.callbacks,
        faults=count_faults(world),
        fault_kinds=dict(world.faults),
        operations=dict(world.operations),
        verdicts=tuple(world.verdicts),
        situations=dict(recognizer.counts),
        summary=summary,
        error=error,
        trace=tuple(world.loop.trace_lines()),
    )


def replay_command(name: str, seed: int, plan: Plan | None) -> str:
    """What to type in a checkout to run that again; `kraftpy simulate` has words of its own."""
    command = f"python -m simulation.run --scenario {name} --seed {seed}"
    return command if plan is None else f"{command} --plan '{plan_to_json(plan)}'"


def count_faults(world: World) -> dict[str, int]:
    """What was injected, by kind, on the network, the nodes and the disks."""
    counts = dict(world.network.injected)
    for device in world.devices.values():
        for fault, count in device.injected.items():
            name = fault.name.lower().replace("_", "-")
            counts[name] = counts.get(name, 0) + count
    return counts


def first_failure(name: str, seeds: Sequence[int]) -> RunReport | None:
    """The report of the first seed that fails, if any does."""
    return next((report for seed in seeds if not (report := run_scenario(name, seed)).ok), None)
