"""Two administrators who make and delete the same topics, and one who moves leaderships; judged for linearizability
by topic.

Topics have new names every minute: what became of an attempt that got no answer may be seen at any later time, so that
the search takes the longer, the longer the history of one name is.
"""

import asyncio
from collections.abc import Sequence
from random import Random

from kraftpy.aio import Admin
from kraftpy.errors import KraftpyError
from simulation import workloads
from simulation.checkers.history import Event, Operation, Outcome
from simulation.scenarios.whole_cluster import judge_topics
from simulation.simulate.workload import Stage
from simulation.verdicts import CheckVerdict, Verdict
from simulation.world import Life

NAMES = ("a1", "a2")
GENERATION_US = 60_000_000
OPERATIONS_A_SECOND_MAX = 2.0


class MetadataWorkload:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._history: list[Event] = []

    async def prepare(self, admin: Admin) -> None:
        """It makes its topics while it works."""

    def start(self, stage: Stage) -> Sequence["asyncio.Task[None]"]:
        world = stage.world
        administrators = [world.open_life(name) for name in NAMES]
        other = world.open_life("m1")
        meddling = workloads.meddle(world, stage.cluster.admin(other), "m1", stage.until_us, stage.options.slowness)
        changing = [world.run_in(life, self._administer(stage, life)) for life in administrators]
        return [*changing, world.run_in(other, meddling)]

    async def judge(self, stage: Stage, life: Life) -> Sequence[CheckVerdict]:
        names = list(dict.fromkeys(event.key for event in self._history if isinstance(event, Operation)))
        async with stage.cluster.admin(life) as admin:
            try:
                await workloads.describe_topics(stage.world, admin, names, self._history)
            except KraftpyError as error:
                return [CheckVerdict("topics", Verdict.INVALID, f"not live: topics cannot be listed: {error}")]
        return [judge_topics(self._history)]

    def operations(self) -> dict[str, int]:
        operations = [event for event in self._history if isinstance(event, Operation)]
        return {
            "topic operations": len(operations),
            "of them unanswered": sum(each.outcome is Outcome.UNKNOWN for each in operations),
        }

    async def _administer(self, stage: Stage, life: Life) -> None:
        world = stage.world
        random = Random(f"{world.seed}/metadata/{life.host}")
        pause_s = 2 * len(NAMES) / min(stage.rate, OPERATIONS_A_SECOND_MAX)
        generation = 0
        async with stage.cluster.admin(life) as admin:
            while world.loop.now_us < stage.until_us:
                generation += 1
                names = [f"made-{generation}{letter}" for letter in "abc"]
                ends_us = min(world.loop.now_us + GENERATION_US, stage.until_us)
                while world.loop.now_us < ends_us:
                    function = random.choice(["create", "create", "delete"])
                    await self._change(stage, admin, life, random.choice(names), function, random.randint(1, 3))
                    await workloads.pause(world.loop.now_us, random.random() * pause_s, ends_us)
                for name in names:
                    await self._change(stage, admin, life, name, "delete", 0)

    async def _change(self, stage: Stage, admin: Admin, life: Life, topic: str, function: str, partitions: int) -> None:
        await workloads.change_topic(stage.world, admin, life.host, topic, function, partitions, self._history)
