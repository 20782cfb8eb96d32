"""Producers with transactions, two of which fight for one transactional id, and a committed reader who looks on.

They are those of the scenario `cluster-transactions`; judged for all or nothing, by what committed readers find.
"""

import asyncio
from collections.abc import Sequence

from kraftpy.aio import Admin
from simulation.checkers.transactions import check_transactions
from simulation.scenario import Refuted
from simulation.scenarios import transactions as scenario
from simulation.simulate.workload import Stage
from simulation.transactional_client import Fate, Transaction, TransactionalProducer
from simulation.verdicts import CheckVerdict, Verdict
from simulation.world import Life

READ_MS = 120_000
OPERATIONS_EACH = 8  # sends, a commit of offsets and the end, about


class TransactionsWorkload:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._history: list[Transaction] = []
        self._seen: dict[str, None] = {}
        self._producers: dict[str, TransactionalProducer] = {}

    async def prepare(self, admin: Admin) -> None:
        kept = {"min.insync.replicas": "2", "retention.ms": "-1"}
        await admin.create_topic(scenario.TOPIC, partitions=scenario.PARTITIONS, config=kept)

    def start(self, stage: Stage) -> Sequence["asyncio.Task[None]"]:
        world = stage.world
        pause_s = 2 * OPERATIONS_EACH * len(scenario.PRODUCERS) / stage.rate
        tasks = []
        for name in scenario.PRODUCERS:
            life = world.open_life(name)
            producer = self._producers[name] = scenario.open_producer(stage.cluster, life, name)
            working = producer.run(scenario.TOPIC, scenario.PARTITIONS, self._history, stage.until_us, pause_s)
            tasks.append(world.run_in(life, working))
        life = world.open_life("c3")
        looking = scenario.look_on(stage.cluster, life, self._seen, stage.until_us)
        return [*tasks, world.run_in(life, looking)]

    async def judge(self, stage: Stage, life: Life) -> Sequence[CheckVerdict]:
        world = stage.world
        try:
            partitions = await scenario.read_all_committed(
                stage.cluster, life, scenario.TOPIC, scenario.PARTITIONS, scenario.TIMEOUT_MS, READ_MS
            )
            offsets = {
                name: await world.run_in(world.lives[name], scenario.stable_offset(each))
                for name, each in self._producers.items()
            }
        except Refuted as refuted:
            return [CheckVerdict("transactions", Verdict.INVALID, str(refuted))]
        problems = check_transactions(scenario.told(self._history), partitions, self._seen, offsets)
        if problems:
            return [CheckVerdict("transactions", Verdict.INVALID, "\n".join(problems))]
        summary = ", ".join(f"{count} {name}" for name, count in self.operations().items())
        return [CheckVerdict("transactions", Verdict.OK, summary)]

    def operations(self) -> dict[str, int]:
        committed = sum(each.fate is Fate.COMMITTED for each in self._history)
        return {"transactions": len(self._history), "of them committed": committed}
