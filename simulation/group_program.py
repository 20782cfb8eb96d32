"""A user's program that reads as a member of a group, through the SDK as it is, and writes down what it had and did.

It polls, takes its time, also in its callbacks, commits in its style, and hands over what it is told to. After an error
that a user's program can go on after, it goes on; after others it ends, and whoever runs it starts another.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from random import Random
from typing import Any

from kraftpy.aio import Consumer, Producer
from kraftpy.client.values import ConsumerRecord, OffsetAndMetadata, TopicPartition
from kraftpy.errors import ClosedError, KraftpyError
from simulation.callback_times import CallbackTimes
from simulation.checkers.groups import Commit, Tenure
from simulation.transactional_client import Fate

POLL_S = 0.4
BATCH_MAX = 20
OUT_PARTITIONS = 2
NOTHING: Mapping[TopicPartition, Tenure] = {}


class Style(Enum):
    """How a program commits."""

    SYNC = "waits for each commit"
    ASYNC = "commits in the background"
    AUTO = "leaves it to the SDK"
    TRANSACTION = "writes a record for each that it reads, and commits in the same transaction"


@dataclass(slots=True)
class Transformed:
    """One transaction of a program. `simulation.checkers.transactions.Seen`."""

    producer: str
    number: int
    values: list[tuple[int, str]] = field(default_factory=list)  # partition of the output, and value
    fate: Fate = Fate.NEVER_COMMITTED

    @property
    def must_be_there(self) -> bool:
        return self.fate is Fate.COMMITTED

    @property
    def may_be_there(self) -> bool:
        return self.fate is not Fate.NEVER_COMMITTED


class Journal:
    """What all programs of a run write down."""

    def __init__(self, now_us: Callable[[], int], trace: Callable[..., None]) -> None:
        self.now_us = now_us
        self.trace = trace
        self.tenures: list[Tenure] = []
        self.transformed: dict[str, list[Transformed]] = {}  # by output topic
        self._numbers = count(1)

    def begin(
        self, group: str, member: str, place: TopicPartition, *, is_marked: bool, resumes: Tenure | None
    ) -> Tenure:
        now_us = self.now_us()
        tenure = Tenure(next(self._numbers), group, member, str(place), now_us, is_marked=is_marked, resumes=resumes)
        self.tenures.append(tenure)
        return tenure

    def transaction(self, topic: str, producer: str) -> Transformed:
        told = self.transformed.setdefault(topic, [])
        made = Transformed(producer, 1 + sum(each.producer == producer for each in told))
        told.append(made)
        return made


@dataclass(frozen=True, slots=True)
class Reads:
    """What a program reads, for whom, and how."""

    group: str
    member: str  # for the journal: a static member's instance id
    topics: tuple[str, ...]
    pattern: str | None
    style: Style
    output: str | None  # of transactions
    is_classic: bool


class Program:
    """See the module's docstring. `producer` where its style is `TRANSACTION`."""

    def __init__(
        self,
        reads: Reads,
        consumer: Consumer,
        producer: Producer | None,
        random: Random,
        journal: Journal,
        callback_times: CallbackTimes,
    ) -> None:
        self.reads = reads
        self.is_stopping = False
        self.has_ended = False
        self.stall_s = 0.0  # how long it will not poll, the next time round
        self._consumer = consumer
        self._producer = producer
        self._random = random
        self._journal = journal
        self._callback_times = callback_times
        self._called_back: tuple[str, int] | None = None  # the slow callback that ended last, and when
        self._tenures: dict[TopicPartition, Tenure] = {}
        self._synced_generation = -1
        self._next: dict[TopicPartition, int] = {}  # of what was handed on and is not known to be committed
        self._epochs: dict[TopicPartition, int] = {}  # of the leaders that wrote what was handed on last

    # --- its life ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until it is told to stop, or cannot go on."""
        try:
            if self._producer is None:
                await self._read()
            else:
                async with self._producer:
                    await self._read()
        except KraftpyError as error:
            self._journal.trace("program-ends", self.reads.member, type(error).__name__)
        self.dies()

    def dies(self) -> None:
        """It owns nothing any more, whatever others know."""
        self._end(list(self._tenures))
        self.has_ended = True

    async def _read(self) -> None:
        reads = self.reads
        async with self._consumer as consumer:
            consumer.subscribe(
                reads.topics,
                pattern=reads.pattern,
                on_assign=self._assigned,
                on_revoke=self._revoked,
                on_lost=self._lost,
            )
            while not self.is_stopping:
                await self._round(consumer)

    async def _round(self, consumer: Consumer) -> None:
        stall_s, self.stall_s = self.stall_s, 0.0
        await asyncio.sleep(stall_s)
        records = await consumer.poll(timeout=POLL_S, max_records=self._random.randint(1, BATCH_MAX))
        self._still_owns()
        for record in records:
            self._handed(record)
        if records and self._random.random() < 0.3:
            await asyncio.sleep(self._random.random() * 0.3)
        if self.reads.style is Style.TRANSACTION:
            if records:
                await self._transform(records)
        elif self._next:
            await self._commit()

    @property
    def owned(self) -> tuple[int, list[TopicPartition]]:
        """Its generation, below 0 if it is no member, and what it reads."""
        try:
            return self._consumer.group_metadata().generation, sorted(self._consumer.assignment())
        except ClosedError:
            return -1, []

    # --- what it has -------------------------------------------------------------------------------------------------

    async def _assigned(self, places: list[TopicPartition]) -> None:
        self._synced_generation = self._consumer.group_metadata().generation
        self._begin(places)
        self._still_owns()
        await self._take_time("assign")

    async def _revoked(self, places: list[TopicPartition]) -> None:
        await self._take_time("revoke")
        if self._random.random() < 0.7 and self.reads.style is Style.SYNC:
            await self._commit([place for place in places if place in self._next])
        self._end(places)

    def _lost(self, places: list[TopicPartition]) -> None:
        what, ended_us = self._called_back or ("", -1)
        during = what if ended_us == self._journal.now_us() else "nothing"
        self._journal.trace("lost", self.reads.member, during)
        self._end(places)

    async def _take_time(self, what: str) -> None:
        """What a callback waits for. It holds itself to be the owner until it is told otherwise, which is later."""
        wait_s = self._callback_times.draw_s(self._journal.now_us())
        if wait_s:
            self._journal.trace("callback", self.reads.member, what, round(wait_s * 1_000))
            await asyncio.sleep(wait_s)
            self._called_back = (what, self._journal.now_us())
            self._still_owns()

    def _begin(self, places: Iterable[TopicPartition], resumed: Mapping[TopicPartition, Tenure] = NOTHING) -> None:
        is_marked = self.reads.style is not Style.AUTO
        for place in places:
            assert place not in self._tenures, f"{place} was given to {self.reads.member} twice"
            self._tenures[place] = self._journal.begin(
                self.reads.group, self.reads.member, place, is_marked=is_marked, resumes=resumed.get(place)
            )

    def _end(self, places: Iterable[TopicPartition]) -> None:
        for place in places:
            tenure = self._tenures.pop(place, None)
            self._next.pop(place, None)
            if tenure is not None:
                tenure.ended_us = self._journal.now_us()

    def _still_owns(self) -> None:
        """A member of the classic protocol that joins anew has its next generation before it knows what that brings."""
        generation = self._consumer.group_metadata().generation
        if generation >= 0 and (not self.reads.is_classic or generation == self._synced_generation):
            for tenure in self._tenures.values():
                tenure.owns(generation, self._journal.now_us())

    def _handed(self, record: ConsumerRecord) -> None:
        place = TopicPartition(record.topic, record.partition)
        self._tenures[place].handed.append(record.offset)
        self._next[place] = record.offset + 1
        self._epochs[place] = record.leader_epoch

    # --- commits -----------------------------------------------------------------------------------------------------

    async def _commit(self, places: Iterable[TopicPartition] | None = None) -> None:
        """What was handed on. A commit that fails is made good by a later one, or by whoever gets the partition."""
        style = self.reads.style
        if style is Style.AUTO or self._random.random() < 0.2:
            return
        wanted = {place: self._next[place] for place in (self._next if places is None else places)}
        if not wanted:
            return
        if style is Style.ASYNC:
            self._consumer.commit_async(self._marked(wanted), self._told(wanted, self._noted(wanted)))
            self._next.clear()
        else:
            await self._going_on(self._commit_and_wait(wanted))

    async def _commit_and_wait(self, wanted: Mapping[TopicPartition, int]) -> None:
        commits = self._noted(wanted)
        await self._consumer.commit(self._marked(wanted), timeout=3)
        self._acknowledged(commits)
        for place, offset in wanted.items():
            if self._next.get(place) == offset:
                del self._next[place]

    def _noted(self, wanted: Mapping[TopicPartition, int]) -> list[Commit]:
        commits = []
        for place, offset in wanted.items():
            commits.append(Commit(offset, self._journal.now_us()))
            self._tenures[place].commits.append(commits[-1])
        return commits

    def _acknowledged(self, commits: Iterable[Commit]) -> None:
        for commit in commits:
            commit.completed_us = self._journal.now_us()

    def _marked(self, wanted: Mapping[TopicPartition, int]) -> dict[TopicPartition, OffsetAndMetadata]:
        return {
            place: OffsetAndMetadata(offset, self._tenures[place].mark, self._epochs.get(place, -1))
            for place, offset in wanted.items()
        }

    def _told(
        self, wanted: Mapping[TopicPartition, int], commits: list[Commit]
    ) -> Callable[[Any, KraftpyError | None], None]:
        tenures = {place: self._tenures[place] for place in wanted}

        def told(_offsets: Any, error: KraftpyError | None) -> None:
            if error is None:
                self._acknowledged(commits)
                return
            for place, offset in wanted.items():
                if self._tenures.get(place) is tenures[place] and tenures[place].commits[-1].offset == offset:
                    self._next.setdefault(place, offset)  # else a later commit has gone out, and makes it good

        return told

    async def _going_on(self, step: Awaitable[None]) -> None:
        try:
            await step
        except KraftpyError as error:
            self._journal.trace("commit-failed", self.reads.member, type(error).__name__)

    # --- transactions ------------------------------------------------------------------------------------------------

    async def _transform(self, records: list[ConsumerRecord]) -> None:
        """One record for each that was read, and the offsets, in one transaction. Raises where it has to begin anew:
        what became of the transaction is then decided by the next who takes the transactional id."""
        reads, producer = self.reads, self._producer
        assert producer is not None and reads.output is not None
        told = self._journal.transaction(reads.output, reads.member)
        await producer.begin_transaction()
        for record in records:
            value = f"{told.producer}/{told.number}/{record.topic}-{record.partition}@{record.offset}"
            partition = record.offset % OUT_PARTITIONS
            told.values.append((partition, value))
            await producer.send(reads.output, value.encode(), partition=partition)
        if self._random.random() < 0.3:
            await asyncio.sleep(self._random.random())
        wanted = dict(self._next)
        await producer.send_offsets(self._marked(wanted), self._consumer.group_metadata())
        if self._random.random() < 0.15:
            await producer.abort_transaction()
            self._rewind(records)
            return
        commits = self._noted(wanted)
        told.fate = Fate.UNKNOWN
        await producer.commit_transaction()
        told.fate = Fate.COMMITTED
        self._acknowledged(commits)
        self._next.clear()

    def _rewind(self, records: list[ConsumerRecord]) -> None:
        """To before the transaction: another tenure begins there."""
        first: dict[TopicPartition, int] = {}
        for record in records:
            first.setdefault(TopicPartition(record.topic, record.partition), record.offset)
        resumed = {place: self._tenures[place] for place in first}
        self._end(first)
        self._begin(first, resumed)
        for place, offset in first.items():
            self._consumer.seek(place, offset)
        self._still_owns()
