"""The place of one member in a group: programs that come, leave, die, hang and are replaced there, one after another.

What happens follows from the seed. A static member's programs share an instance id; one that was thought dead may then
wake up beside its successor, on another host.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final

from kraftpy.aio import Producer
from kraftpy.client.keywords import ConsumerKeywords
from simulation.callback_times import CallbackTimes
from simulation.cluster import Cluster
from simulation.group_program import Journal, Program, Reads, Style
from simulation.world import Life

KINDS: Final[Mapping[str, ConsumerKeywords]] = {
    "range": {"assignors": "range"},
    "roundrobin": {"assignors": "roundrobin"},
    "sticky": {"assignors": "sticky"},
    "cooperative": {"assignors": "cooperative-sticky"},
    "both": {"assignors": ("range", "cooperative-sticky")},
    "uniform": {"group_protocol": "consumer", "group_remote_assignor": "uniform"},
    "by-range": {"group_protocol": "consumer", "group_remote_assignor": "range"},
}
"""How a member may have partitions shared."""
SESSION_MS = 3_000
HEARTBEAT_MS = 700
MAX_POLL_INTERVAL_MS = 5_000
TRANSACTION_TIMEOUT_MS = 6_000
CLOSE_S = 8.0
STYLES = (Style.SYNC, Style.SYNC, Style.ASYNC, Style.AUTO)


@dataclass(frozen=True, slots=True)
class GroupShape:
    """`kinds`: those of `KINDS` that its members are of, each as it likes; so they must get on with each other."""

    name: str
    kinds: tuple[str, ...]
    topics: tuple[str, ...] = ()
    pattern: str | None = None
    output: str | None = None  # where its members write, in transactions


class Ending(Enum):
    """What becomes of a program, or of its machine for a while."""

    LEAVE = "it is told to stop, and closes its consumer"
    CRASH = "it is killed"
    PAUSE = "its process is stopped for a while"
    STALL = "it does not poll for a while"
    REPLACE = "its process is stopped, and another takes its place, before it goes on"


ENDINGS = (Ending.LEAVE, Ending.LEAVE, Ending.CRASH, Ending.PAUSE, Ending.STALL)


class Slot:
    """See the module's docstring."""

    def __init__(self, cluster: Cluster, group: str, shape: GroupShape, number: int, journal: Journal) -> None:
        self.name = f"{group}-{number}"
        self._cluster = cluster
        self._world = cluster.world
        self._group = group
        self._shape = shape
        self._journal = journal
        self._random = Random(f"{self._world.seed}/slot/{self.name}")
        self._is_static = self._random.random() < 0.4
        self._lives: list[tuple[Program, Life]] = []
        self._begun = 0
        self._until_us = 0

    @property
    def programs(self) -> list[Program]:
        """Those that run."""
        return [program for program, _ in self._lives if not program.has_ended]

    async def run(self, until_us: int, slowness: float = 1.0) -> None:
        """Let things happen until then, so many times as rarely; afterwards one program runs, and is left alone."""
        self._until_us = until_us
        await asyncio.sleep(self._random.random() * 3)
        while self._world.loop.now_us < until_us:
            self._begin()
            await self._sleep((1 + self._random.random() * 6) * slowness, until_us)
            if self._world.loop.now_us < until_us:
                await self._let_happen(until_us)
            await self._sleep(self._random.random() * 2, until_us)
        for _, life in self._lives:
            self._world.resume(life.host)
        self._begin()

    def keep_one(self) -> None:
        """A program that could not go on has a successor."""
        self._begin()

    async def _sleep(self, wait_s: float, until_us: int) -> None:
        left_s = (until_us - self._world.loop.now_us) / 1_000_000
        await asyncio.sleep(max(0.0, min(wait_s, left_s)))

    async def _let_happen(self, until_us: int) -> None:
        endings = (*ENDINGS, Ending.REPLACE, Ending.REPLACE) if self._is_static else ENDINGS
        ending = self._random.choice(endings)
        if not self.programs:
            return
        program, life = next(each for each in self._lives if not each[0].has_ended)
        self._world.loop.trace("member", self.name, ending.name)
        match ending:
            case Ending.LEAVE:
                program.is_stopping = True
                await self._sleep(CLOSE_S, until_us)
                self._kill(program, life)
            case Ending.CRASH:
                self._kill(program, life)
            case Ending.STALL:
                program.stall_s = 1 + self._random.random() * 8
            case Ending.PAUSE:
                self._world.pause(life.host)
                await self._sleep(self._random.random() * 8, until_us)
                self._world.resume(life.host)
            case Ending.REPLACE:
                self._world.pause(life.host)
                self._begin(beside=True)
                await self._sleep(1 + self._random.random() * 5, until_us)
                self._world.resume(life.host)
                await self._sleep(2, until_us)

    # --- programs ----------------------------------------------------------------------------------------------------

    def _kill(self, program: Program, life: Life) -> None:
        program.dies()
        if not life.ended:
            self._world.crash(life.host)
        self._lives = [each for each in self._lives if each[0] is not program]

    def _begin(self, *, beside: bool = False) -> None:
        """A program, unless there is one; `beside` one that is there."""
        for program, life in list(self._lives):
            if program.has_ended:
                self._kill(program, life)
        if self._lives and not beside:
            return
        self._begun += 1
        life = self._world.open_life(f"{self.name}-{self._begun}")
        program = self._program(life)
        self._lives.append((program, life))
        self._world.run_in(life, program.run())

    def _program(self, life: Life) -> Program:
        random = Random(f"{self._world.seed}/program/{life.host}")
        shape = self._shape
        style = Style.TRANSACTION if shape.output is not None else random.choice(STYLES)
        kind = KINDS[random.choice(shape.kinds)]
        settings: ConsumerKeywords = {
            **kind,
            "group_id": self._group,
            "group_instance_id": self.name if self._is_static else None,
            "session_timeout_ms": SESSION_MS,
            "heartbeat_interval_ms": HEARTBEAT_MS,
            "max_poll_interval_ms": MAX_POLL_INTERVAL_MS,
            "metadata_max_age_ms": 2_000,
            "request_timeout_ms": random.choice([3_000, 30_000]),
            "auto_offset_reset": "earliest",
            "auto_commit": style is Style.AUTO,
            "auto_commit_interval_ms": 500,
        }
        reads = Reads(
            self._group,
            self.name if self._is_static else life.host,
            shape.topics,
            shape.pattern,
            style,
            shape.output,
            is_classic="group_protocol" not in kind,
        )
        producer = self._producer(life, reads.member) if style is Style.TRANSACTION else None
        consumer = self._cluster.consumer(life, **settings)
        callback_times = CallbackTimes(self._world.seed, life.host, self._until_us)
        return Program(reads, consumer, producer, random, self._journal, callback_times)

    def _producer(self, life: Life, transactional_id: str) -> Producer:
        """What a dynamic member leaves open is nobody's afterwards: its time has to end it (KIP-447)."""
        return self._cluster.producer(
            life,
            transactional_id=transactional_id,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            request_timeout_ms=3_000,
            delivery_timeout_ms=8_000,
            max_block_ms=8_000,
        )
