"""Two groups of kinds that the seed chooses, whose members come, go, die and stall; judged by invariants 14 to 18.

They are those of the scenario `groups`.
"""

import asyncio
from collections.abc import Sequence

from kraftpy.aio import Admin
from simulation.checkers.history import Event
from simulation.group_program import Journal
from simulation.scenario import Refuted
from simulation.scenarios import groups as scenario
from simulation.scenarios.groups import Group
from simulation.simulate.workload import Stage
from simulation.verdicts import CheckVerdict, Verdict
from simulation.world import Life

READ_MS = 120_000
PREFIX = "groups-"
PRODUCERS = 2  # at first; what is added later adds to the rate
SENDS_A_PAUSE = 3  # of `workloads.produce`, on average
OPERATIONS_A_RECORD = 3  # it is sent, and handed on by two groups


class GroupsWorkload:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._history: list[Event] = []
        self._groups: list[Group] = []
        self._journal = Journal(lambda: 0, lambda *_: None)

    async def prepare(self, admin: Admin) -> None:
        await scenario.create_topics(admin)

    def start(self, stage: Stage) -> Sequence["asyncio.Task[None]"]:
        world = stage.world
        self._journal = Journal(lambda: world.loop.now_us, world.loop.trace)
        self._groups = scenario.draw_groups(stage.cluster, scenario.SHAPES, self._journal)
        pause_s = 2 * SENDS_A_PAUSE * PRODUCERS * OPERATIONS_A_RECORD / stage.rate
        working = scenario.work(
            stage.cluster,
            self._groups,
            self._history,
            stage.until_us,
            prefix=PREFIX,
            pause_s=pause_s,
            slowness=stage.options.slowness,
        )
        return [world.run_in(world.open_life("groups"), working)]

    async def judge(self, stage: Stage, life: Life) -> Sequence[CheckVerdict]:
        try:
            topics = await scenario.rest(stage.cluster, self._groups)
            summary = await scenario.judge_groups(
                stage.cluster, life, self._groups, topics, self._journal, self._history, patience_ms=READ_MS
            )
        except Refuted as refuted:
            return [CheckVerdict("groups", Verdict.INVALID, str(refuted))]
        names = " and ".join(group.shape.name for group in self._groups)
        return [CheckVerdict("groups", Verdict.OK, f"{names}: {summary}")]

    def operations(self) -> dict[str, int]:
        tenures = self._journal.tenures
        return {"tenures": len(tenures), "records handed on": sum(len(tenure.handed) for tenure in tenures)}
