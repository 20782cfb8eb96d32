"""Producers and consumers of two topics, one of which loses its beginning all the time; judged by the log checker."""

import asyncio
from collections.abc import Sequence
from random import Random

from kraftpy.aio import Admin, Producer
from simulation import workloads
from simulation.checkers.history import Event, Poll, Send, Tail
from simulation.checkers.log_checker import check_log
from simulation.simulate.workload import Stage
from simulation.verdicts import CheckVerdict, Verdict
from simulation.world import Life

TOPIC = "lines"
PARTITIONS = 3
SHORT_TOPIC = "short"  # whose beginning is deleted while it grows
KEPT = {"min.insync.replicas": "2", "retention.ms": "-1"}
SHORT = {"min.insync.replicas": "2", "retention.bytes": "20000", "file.delete.delay.ms": "500"}
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
PATIENCE_MS = (5_000, 60_000)
READ_MS = 120_000
SENDS_A_PAUSE = 3  # of `workloads.produce`, on average


class LogWorkload:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._history: list[Event] = []

    async def prepare(self, admin: Admin) -> None:
        await admin.create_topic(TOPIC, partitions=PARTITIONS, config=KEPT)
        await admin.create_topic(SHORT_TOPIC, partitions=1, config=SHORT)

    def start(self, stage: Stage) -> Sequence["asyncio.Task[None]"]:
        tasks = [
            self._produce(stage, "p1", TOPIC, PARTITIONS, 0.4),
            self._produce(stage, "p2", TOPIC, PARTITIONS, 0.4),
            self._produce(stage, "s1", SHORT_TOPIC, 1, 0.2),
        ]
        world = stage.world
        for name in ("c1", "c2"):
            life = world.open_life(name)
            consumer = stage.cluster.consumer(life, TOPIC, auto_offset_reset="earliest")
            poll_s = workloads.POLL_S * stage.options.slowness
            reading = workloads.consume(world, consumer, name, self._history, stage.until_us, poll_s)
            tasks.append(world.run_in(life, reading))
        life = world.open_life("d1")
        admin = stage.cluster.admin(life)
        deleting = workloads.delete_records(world, admin, SHORT_TOPIC, stage.until_us, stage.options.slowness)
        return [*tasks, world.run_in(life, deleting)]

    async def judge(self, stage: Stage, life: Life) -> Sequence[CheckVerdict]:
        topics = {TOPIC: PARTITIONS, SHORT_TOPIC: 1}
        last = stage.cluster.producer(life)
        untaken = await workloads.write_to_each(stage.world, last, "w1", topics, self._history)
        if untaken:
            return [CheckVerdict("log", Verdict.INVALID, f"not live: no record for {', '.join(untaken)} was taken")]
        reader = stage.cluster.consumer(life, auto_offset_reset="earliest")
        unread = await workloads.read_topics_to_the_end(stage.world, reader, topics, self._history, READ_MS)
        if unread:
            return [CheckVerdict("log", Verdict.INVALID, f"not live: {'; '.join(unread)}")]
        report = check_log(self._history)
        return [CheckVerdict("log", Verdict.OK if report.ok else Verdict.INVALID, str(report))]

    def operations(self) -> dict[str, int]:
        kinds = {"sends": Send, "polls": Poll, "ends asked": Tail}
        return {name: sum(isinstance(event, kind) for event in self._history) for name, kind in kinds.items()}

    def _produce(self, stage: Stage, name: str, topic: str, partitions: int, share: float) -> "asyncio.Task[None]":
        world = stage.world
        life = world.open_life(name)
        pause_s = 2 * SENDS_A_PAUSE / (stage.rate * share)
        sending = workloads.produce(
            world, _producer(stage, life), name, topic, partitions, self._history, stage.until_us, pause_s
        )
        return world.run_in(life, sending)


def _producer(stage: Stage, life: Life) -> Producer:
    """A producer whose patience and compression follow from the seed."""
    random = Random(f"{stage.world.seed}/producer-settings/{life.host}")
    patience_ms = random.choice(PATIENCE_MS)
    return stage.cluster.producer(
        life,
        delivery_timeout_ms=patience_ms,
        request_timeout_ms=min(patience_ms // 2, 30_000),
        compression_type=random.choice(COMPRESSIONS),
        linger_ms=2,
    )
