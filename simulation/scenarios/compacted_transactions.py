"""A compacted topic with everything that makes compaction hard, on three brokers under every usual fault.

Producers write growing numbers and tombstones to a few keys, and to others after a while: one plainly, two in
transactions, of which some are aborted and some left by a producer that died. Tombstones expire within seconds. In
every other run, as the seed says, the topic is limited by age as well (`cleanup.policy=compact,delete`), so that its
beginning goes while it is compacted.

All the time `simulation.compaction_witness` looks at each replica: what may not be gone is there, and nothing has taken
its place. Committed readers never get a record of a transaction that nobody committed. Afterwards, with every replica
leading once, a new committed reader finds for each key the last value that was committed, or one that was sent later
and whose fate nobody knows; or nothing, if that is a tombstone, or too old; and offsets only grow.

Clocks neither jump nor drift here: times of retention are judged to the millisecond, almost. And no replica is away for
`delete.retention.ms`, which is more than the faults last: one that is keeps what was deleted by a tombstone of which it
never hears (`AWAY_TOO_LONG`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from itertools import pairwise
from random import Random

from broker.coordinator.config import StateTopicsConfig
from broker.replication.config import ReplicationConfig
from kraftpy.aio import Consumer, Producer
from kraftpy.client.values import ConsumerRecord, RecordMetadata, TopicPartition
from kraftpy.errors import BufferExhaustedError, KraftpyError
from simulation.calm_transactions import all_places, committed_reader, wait_nothing_open
from simulation.cluster import DATA, Cluster, ClusterConfig
from simulation.compaction_witness import CompactionWitness, Promise
from simulation.fault_kinds import USUAL, Fault
from simulation.faults import Plan, run_plan
from simulation.hosts import node_id_of
from simulation.scenario import Refuted, Scenario
from simulation.scenarios.compaction import (
    COMPACTING,
    HOSTS,
    MANY,
    PARTITIONS,
    READ_MS,
    RECOVERY_MS,
    SETTINGS,
    SETTLE_MS,
    START_MS,
    TOPIC,
)
from simulation.world import Life, World, WorldConfig

KEYS = 5  # of each producer at a time
KEYS_CHANGE_US = 4_000_000  # so often; the last record of each stays, unless it is a tombstone, or too old
TOMBSTONES = 0.25
PAUSE_S = 0.45
TIMEOUT_MS = 5_000  # of transactions
LENGTH_MS = 10_000  # of faults; nobody is away for longer
WRITING_MS = 23_000
DELETE_RETENTION_MS = 14_000
RETENTION_MS = 12_000
PLAIN, TRANSACTIONAL = ("p1",), ("t1", "t2")


class Fate(Enum):
    COMMITTED = "told so"
    NEVER = "nobody asked for that"
    UNKNOWN = "asked for, and no clear answer"


@dataclass(slots=True)
class Written:
    """One record. `number` None: a tombstone."""

    number: int | None
    sent_ms: int
    fate: Fate


@dataclass(slots=True)
class KeyHistory:
    """What was sent with one key, in order."""

    written: list[Written] = field(default_factory=list)

    def possible(self, too_old_ms: int | None) -> list[int | None]:
        """What may be left of it; `too_old_ms`: what was sent before may be gone, None: nothing is too old."""
        found: list[int | None] = []
        for each in reversed(self.written):
            if each.fate is not Fate.NEVER:
                found.append(each.number)
                if too_old_ms is not None and each.sent_ms < too_old_ms:
                    found.append(None)
            if each.fate is Fate.COMMITTED:
                return found
        return [*found, None]

    def fate_of(self, number: int) -> Fate | None:
        """None: nobody has sent that."""
        return next((each.fate for each in self.written if each.number == number), None)


Histories = dict[bytes, KeyHistory]
Values = dict[bytes, int]


class Writers:
    """All who write, and what they have written."""

    def __init__(self, cluster: Cluster, until_us: int) -> None:
        self._world = cluster.world
        self._cluster = cluster
        self._until_us = until_us
        self.histories: Histories = {}

    async def write(self, life: Life) -> None:
        """Plainly, until the time is over."""
        random = Random(f"{self._world.seed}/producer/{life.host}")
        producer = self._cluster.producer(life, delivery_timeout_ms=60_000, linger_ms=2)
        number = 0
        async with producer:
            while self._world.loop.now_us < self._until_us:
                for _ in range(random.randint(1, 5)):
                    number += 1
                    key, partition = self._draw_key(life, random)
                    written = self._note(life, key, None if random.random() < TOMBSTONES else number, Fate.UNKNOWN)

                    def delivered(
                        metadata: RecordMetadata | None, error: KraftpyError | None, written: Written = written
                    ) -> None:
                        if metadata is not None:
                            written.fate = Fate.COMMITTED

                    try:
                        await producer.send(TOPIC, _value(written), key, partition=partition, on_delivery=delivered)
                    except (BufferExhaustedError, KraftpyError) as error:  # it never got into the buffer
                        written.fate = Fate.NEVER
                        self._world.loop.trace("not-sent", life.host, type(error).__name__)
                await asyncio.sleep(random.random() * PAUSE_S)
            try:
                await producer.flush()
            except KraftpyError as error:
                self._world.loop.trace("flush-failed", type(error).__name__)

    async def write_transactions(self, life: Life) -> None:
        """Until the time is over, by one producer after the other."""
        random = Random(f"{self._world.seed}/producer/{life.host}")
        numbers = iter(range(1, 1_000_000))
        while self._world.loop.now_us < self._until_us:
            producer = self._cluster.producer(
                life,
                transactional_id=life.host,
                transaction_timeout_ms=TIMEOUT_MS,
                delivery_timeout_ms=4_000,
                request_timeout_ms=2_000,
                linger_ms=2,
            )
            try:
                async with producer:
                    while self._world.loop.now_us < self._until_us and random.random() > 0.1:
                        await self._transaction(
                            producer, life, random, [next(numbers) for _ in range(random.randint(1, 5))]
                        )
                        await asyncio.sleep(random.random() * PAUSE_S)
            except KraftpyError as error:
                self._world.loop.trace("no-transaction", life.host, type(error).__name__)
                await asyncio.sleep(0.2)

    async def _transaction(self, producer: Producer, life: Life, random: Random, numbers: Sequence[int]) -> None:
        """Raises where the next producer has to take the id."""
        await producer.begin_transaction()
        written = []
        for number in numbers:
            key, partition = self._draw_key(life, random)
            written.append(self._note(life, key, None if random.random() < TOMBSTONES else number, Fate.NEVER))
            await producer.send(TOPIC, _value(written[-1]), key, partition=partition)
        choice = random.random()
        if choice < 0.3:
            await producer.flush()
        if choice < 0.1:
            raise Died("in the midst of a transaction")
        if choice < 0.3:
            await producer.abort_transaction()
            return
        for each in written:
            each.fate = Fate.UNKNOWN
        await producer.commit_transaction()
        for each in written:
            each.fate = Fate.COMMITTED

    def _note(self, life: Life, key: bytes, number: int | None, fate: Fate) -> Written:
        written = Written(number, life.ports.clock.wall_ms(), fate)
        self.histories.setdefault(key, KeyHistory()).written.append(written)
        return written

    def _draw_key(self, life: Life, random: Random) -> tuple[bytes, int]:
        """A key of a producer, and the partition in which it is."""
        number = random.randrange(KEYS)
        generation = self._world.loop.now_us // KEYS_CHANGE_US
        return b"%s/%d/%d" % (life.host.encode(), generation, number), number % PARTITIONS


def _value(written: Written) -> bytes | None:
    return None if written.number is None else b"%d" % written.number


class Died(KraftpyError):
    """A producer's program ended."""


class Reader:
    """A committed reader: the last value of each key, and all that it was ever given."""

    def __init__(self, world: World, consumer: Consumer) -> None:
        self._world = world
        self._consumer = consumer
        self._offsets: dict[int, int] = {}
        self.values: Values = {}
        self.given: dict[tuple[bytes, int], None] = {}

    async def read(self, finish: asyncio.Event) -> None:
        """Read along until told to finish, and then to the end that there is. Raises `Refuted`."""
        places = [TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)]
        async with self._consumer as consumer:
            consumer.assign(places)
            while not finish.is_set():
                self._take(await self._poll())
            ends = await consumer.end_offsets(places, timeout=READ_MS / 1000)
            deadline_us = self._world.loop.now_us + READ_MS * 1000
            while [place for place in places if await consumer.position(place) < ends[place]]:
                if self._world.loop.now_us > deadline_us:
                    raise Refuted(f"not live: a committed reader does not reach {ends}")
                self._take(await self._poll())

    async def _poll(self) -> list[ConsumerRecord]:
        try:
            return await self._consumer.poll(timeout=0.5)
        except KraftpyError as error:
            self._world.loop.trace("poll-failed", type(error).__name__)
            await asyncio.sleep(0.1)
            return []

    def _take(self, records: list[ConsumerRecord]) -> None:
        for record in records:
            assert record.key is not None
            if record.offset <= self._offsets.get(record.partition, -1):
                raise Refuted(f"{record} was given after offset {self._offsets[record.partition]}")
            self._offsets[record.partition] = record.offset
            if record.value is None:
                self.values.pop(record.key, None)
            else:
                self.values[record.key] = int(record.value)
                self.given[record.key, int(record.value)] = None


class WatchedTopic(Cluster):
    """A cluster whose compacted topic has a witness."""

    compaction: CompactionWitness | None = None

    def look(self) -> None:
        super().look()
        if self.compaction is not None:
            self.compaction.look(self.world.lives["founder"].ports.clock.wall_ms())


def is_limited(seed: int) -> bool:
    """Whether the topic is limited by age."""
    return Random(f"{seed}/cleanup-policy").random() < 0.5


async def run(world: World, plan: Plan, *, delete_retention_ms: int | None = None) -> str:
    retention_ms = RETENTION_MS if is_limited(world.seed) else None
    promise = Promise(delete_retention_ms or DELETE_RETENTION_MS, retention_ms)
    config = ClusterConfig(
        compaction=COMPACTING,
        replication=ReplicationConfig(retention_check_interval_ms=1_000),
        state_topics=StateTopicsConfig(offsets_partitions=1, transactions_partitions=2),
    )
    cluster = WatchedTopic(world, config)
    cluster.start()
    await world.run_in(world.open_life("founder"), _found(cluster, promise))
    witness = cluster.compaction = CompactionWitness(world, cluster.witness, (DATA,), TOPIC, promise)
    writers = Writers(cluster, world.loop.now_us + WRITING_MS * 1000)
    workers = [world.run_in(life := world.open_life(name), writers.write(life)) for name in PLAIN]
    workers += [world.run_in(life := world.open_life(name), writers.write_transactions(life)) for name in TRANSACTIONAL]
    life = world.open_life("c1")
    along, finish = Reader(world, committed_reader(cluster, life)), asyncio.Event()
    reading = world.run_in(life, along.read(finish))
    await run_plan(world, plan, HOSTS, LENGTH_MS)
    await asyncio.gather(*workers)
    judge = world.open_life("judge")
    await world.run_in(judge, _settle(cluster, judge))
    finish.set()
    await reading
    readers = [along]
    for host in HOSTS:
        readers.append(await world.run_in(judge, _read_without(cluster, judge, host)))
    cluster.look()
    judge_readers(readers, writers.histories, judge.ports.clock.wall_ms(), promise)
    judge_disks(cluster, witness)
    sent = sum(len(history.written) for history in writers.histories.values())
    policy = "compact" if promise.retention_ms is None else f"compact,delete (begin at {witness.starts()})"
    gone = f"{sum(witness.gone.values())} gone from replicas, {len(witness.tombstones_gone)} tombstones of their age"
    return f"{policy}: {sent} records sent to {len(writers.histories)} keys; {gone}"


async def _found(cluster: Cluster, promise: Promise) -> None:
    settings = {**SETTINGS, "delete.retention.ms": str(promise.delete_retention_ms)}
    if promise.retention_ms is not None:
        settings |= {"cleanup.policy": "compact,delete", "retention.ms": str(promise.retention_ms)}
    async with cluster.admin(cluster.world.lives["founder"]) as admin:
        problems = await cluster.wait_healthy(admin, START_MS)
        if not problems:
            await admin.create_topic(TOPIC, partitions=PARTITIONS, config=settings)
            problems = await cluster.wait_healthy(admin, START_MS)
    if problems:
        raise Refuted(f"not live before any fault: {'; '.join(problems)}")


# --- the judge --------------------------------------------------------------------------------------------------------


async def _settle(cluster: Cluster, life: Life) -> None:
    async with cluster.admin(life) as admin:
        problems = await cluster.wait_healthy(admin, RECOVERY_MS)
    if problems:
        raise Refuted(f"not live {RECOVERY_MS // 1000} s after the last fault: {'; '.join(problems)}")
    await wait_nothing_open(cluster, life, all_places(cluster), TIMEOUT_MS)
    unsettled = await cluster.wait_settled(SETTLE_MS)
    if unsettled:
        raise Refuted(f"not settled {SETTLE_MS // 1000} s after all was in sync: {'; '.join(unsettled)}")


async def _read_without(cluster: Cluster, life: Life, host: str) -> Reader:
    """While that one is dead: what it leads is read from another replica, with that one's list of what was aborted."""
    world = cluster.world
    world.crash(host)
    async with cluster.admin(life) as admin:
        deadline_us = world.loop.now_us + RECOVERY_MS * 1000
        while any(
            state.leader in (-1, node_id_of(host))
            for topic in cluster.witness.image.topics.values()
            for state in topic.partitions
        ):
            if world.loop.now_us > deadline_us:
                raise Refuted(f"not live: {host} still leads, and is dead")
            await asyncio.sleep(0.1)
        reader, finished = Reader(world, committed_reader(cluster, life)), asyncio.Event()
        finished.set()
        await reader.read(finished)
        places = [TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)]
        await wait_nothing_open(cluster, life, places, TIMEOUT_MS)
        world.restart(host)
        problems = await cluster.wait_healthy(admin, RECOVERY_MS)
    if problems:
        raise Refuted(f"not live {RECOVERY_MS // 1000} s after {host} came back: {'; '.join(problems)}")
    return reader


def judge_readers(readers: Sequence[Reader], histories: Histories, wall_ms: int, promise: Promise) -> None:
    """The first has read along, and may have missed what went because of its age. Raises `Refuted`."""
    too_old_ms = None if promise.retention_ms is None else wall_ms - promise.retention_ms
    for number, reader in enumerate(readers):
        for key, value in reader.given:
            fate = histories[key].fate_of(value) if key in histories else None
            if fate not in (Fate.COMMITTED, Fate.UNKNOWN):
                raise Refuted(f"a committed reader was given {value} of {key!r}: {fate.value if fate else 'not sent'}")
        for key, history in histories.items():
            found, possible = reader.values.get(key), history.possible(too_old_ms)
            if found not in possible and not (number == 0 and None in possible):
                raise Refuted(f"reader {number} finds {found} for {key!r}, possible are {possible}")


def judge_disks(cluster: Cluster, witness: CompactionWitness) -> None:
    """Offsets grow, and something was compacted where there is much. Raises `Refuted`."""
    for partition, hosts in cluster.replicas().items():
        for host, headers in hosts.items() if partition.startswith(f"{TOPIC}-") else ():
            for before, header in pairwise(headers):
                if header.base_offset < before.end_offset:
                    raise Refuted(f"{partition} on {host}: {header.base_offset} follows {before.end_offset}")
            if headers and headers[-1].end_offset > MANY and not witness.gone.get((partition, host)):
                raise Refuted(f"nothing of {partition} was ever compacted on {host}, up to {headers[-1].end_offset}")


COMPACTED_TRANSACTIONS = Scenario(
    name="compacted-transactions",
    about="a compacted topic with transactions and expiring tombstones, perhaps limited by age, and usual faults",
    hosts=HOSTS,
    length_ms=LENGTH_MS,
    run=run,
    config=WorldConfig(time_limit_ms=600_000),
    faults=tuple(fault for fault in USUAL if fault not in (Fault.CLOCK_JUMP, Fault.CLOCK_DRIFT)),
)

AWAY_TOO_LONG = replace(
    COMPACTED_TRANSACTIONS, name="away-too-long", run=partial(run, delete_retention_ms=LENGTH_MS // 4)
)
"""Replicas are away while tombstones go. In no campaign: some seeds fail, as docs/reliability.md says."""
