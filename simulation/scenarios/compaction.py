"""A compacted topic on three brokers under every usual fault, compacted all the time, by each replica for itself.

Two producers write growing numbers to a few keys, and tombstones among them. Afterwards the last value of each key, as
a new reader finds it, as one finds it who has read along from the beginning, and as it stands on each replica's disk,
must be the last one that was acknowledged, or one that was sent later and whose fate nobody knows.

`compacted-once`: after a while the topic is no longer compacted, and in the end one broker loses its disk: its new
replicas copy logs with gaps, whatever the policy is by then.

Replicas need not hold the same batches here (each compacts when it likes), so they are not compared batch by batch.
"""

import asyncio
from dataclasses import dataclass, field
from functools import partial
from random import Random

from broker.maintenance.config import CompactionConfig
from kraftpy.aio import Consumer, Producer
from kraftpy.client.admin_values import ConfigResource
from kraftpy.client.values import ConsumerRecord, RecordMetadata, TopicPartition
from kraftpy.errors import BufferExhaustedError, KraftpyError
from kraftpy.record import decode_batches
from simulation.checkers.replicas import written
from simulation.cluster import Cluster, ClusterConfig, make_data_directory
from simulation.faults import Plan, run_plan
from simulation.scenario import Refuted, Scenario
from simulation.world import World, WorldConfig

HOSTS = ("n1", "n2", "n3")
TOPIC = "latest"
PARTITIONS = 2
KEYS = 6  # of each producer
START_MS = 30_000
LENGTH_MS = 20_000
RECOVERY_MS = 90_000
SETTLE_MS = 5_000
READ_MS = 60_000
MANY = 100  # records, of which some must be compacted by the end
SETTINGS = {
    "cleanup.policy": "compact",
    "min.insync.replicas": "2",
    "segment.ms": "700",
    "max.compaction.lag.ms": "1500",
    "min.cleanable.dirty.ratio": "0.1",
    "delete.retention.ms": "8640000000",  # longer than any clock jumps
    "file.delete.delay.ms": "500",
}


COMPACTING = CompactionConfig(backoff_ms=300, map_bytes=1 << 20)
"""Nodes look for something to compact all the time."""


class CompactedCluster(Cluster):
    """What its replicas hold of the compacted topic can be asked for."""

    def contents(self) -> dict[str, dict[str, list[bytes]]]:
        """Every partition's segments by host, in their order."""
        found: dict[str, dict[str, list[bytes]]] = {}
        for host in self.hosts:
            for path, inode in sorted(self._log_files(host), key=lambda each: each[0]):
                partition = path.split("/")[-2]
                if partition.startswith(TOPIC):
                    found.setdefault(partition, {}).setdefault(host, []).append(inode.read(0, inode.size))
        return found


@dataclass(slots=True)
class KeyHistory:
    """What was sent with one key, in order: the numbers, None for a tombstone."""

    sent: list[int | None] = field(default_factory=list)
    acknowledged: int = -1  # position of the last acknowledged one in `sent`

    def allows(self, found: int | None) -> bool:
        """Whether `found` (None: no value) may be what is left."""
        possible = self.sent[max(self.acknowledged, 0) :]
        return found in possible or (self.acknowledged < 0 and found is None)


Values = dict[bytes, int]


async def run(world: World, plan: Plan, *, once: bool = False) -> str:
    """`once`: compaction ends in the midst of it, and a disk is lost in the end."""
    cluster = CompactedCluster(world, ClusterConfig(compaction=COMPACTING))
    cluster.start()
    await _found(world, cluster)
    until_us = world.loop.now_us + LENGTH_MS * 1000
    histories: dict[bytes, KeyHistory] = {}
    workers = []
    for name in ("p1", "p2"):
        life = world.open_life(name)
        producer = cluster.producer(life, delivery_timeout_ms=60_000, linger_ms=2)
        workers.append(world.run_in(life, _produce(world, producer, name, histories, until_us)))
    life = world.open_life("c1")
    along: Values = {}
    follower = cluster.consumer(life, auto_offset_reset="earliest")
    finished = asyncio.Event()
    reading = world.run_in(life, _read(world, follower, along, finished))
    if once:
        workers.append(world.run_in(world.open_life("operator"), _compact_no_more(world, cluster)))
    await run_plan(world, plan, HOSTS, LENGTH_MS)
    await asyncio.gather(*workers)
    if once:
        await _lose_a_disk(world, cluster)
    life = world.open_life("judge")
    return await world.run_in(life, _judge(world, cluster, histories, along, finished, reading))


async def _found(world: World, cluster: Cluster) -> None:
    life = world.open_life("founder")
    admin = cluster.admin(life)

    async def create() -> None:
        async with admin:
            problems = await cluster.wait_healthy(admin, START_MS)
            if not problems:
                await admin.create_topic(TOPIC, partitions=PARTITIONS, config=SETTINGS)
                problems = await cluster.wait_healthy(admin, START_MS)
            if problems:
                raise Refuted(f"not live before any fault: {'; '.join(problems)}")

    await world.run_in(life, create())


async def _produce(
    world: World, producer: Producer, name: str, histories: dict[bytes, KeyHistory], until_us: int
) -> None:
    random = Random(f"{world.seed}/producer/{name}")
    number = 0
    async with producer:
        while world.loop.now_us < until_us:
            for _ in range(random.randint(1, 5)):
                number += 1
                key = random.randrange(KEYS)
                value = None if random.random() < 0.1 else number
                history = histories.setdefault(b"%s/%d" % (name.encode(), key), KeyHistory())
                await _send(world, producer, f"{name}/{key}", key % PARTITIONS, value, history)
            await asyncio.sleep(random.random() * 0.2)
        try:
            await producer.flush()
        except KraftpyError as error:
            world.loop.trace("flush-failed", type(error).__name__)


async def _send(
    world: World, producer: Producer, key: str, partition: int, number: int | None, history: KeyHistory
) -> None:
    place = len(history.sent)
    history.sent.append(number)

    def delivered(metadata: RecordMetadata | None, error: KraftpyError | None) -> None:
        if metadata is not None:
            history.acknowledged = max(history.acknowledged, place)

    value = None if number is None else b"%d" % number
    try:
        await producer.send(TOPIC, value, key=key.encode(), partition=partition, on_delivery=delivered)
    except (BufferExhaustedError, KraftpyError) as error:  # it never got into the buffer
        world.loop.trace("not-sent", key, type(error).__name__)


# --- the operator -----------------------------------------------------------------------------------------------------


async def _compact_no_more(world: World, cluster: CompactedCluster) -> None:
    """Half through, but not before each replica has gaps: nodes may have stood still until now."""
    await asyncio.sleep(LENGTH_MS / 2000)
    for _ in range(RECOVERY_MS // 500):
        if _has_gaps_everywhere(cluster):
            break
        await asyncio.sleep(0.5)
    async with cluster.admin(world.lives["operator"]) as admin:
        while True:
            try:
                await admin.alter_configs({ConfigResource.topic(TOPIC): {"cleanup.policy": "delete"}})
                return
            except KraftpyError as error:
                world.loop.trace("not-altered", type(error).__name__)
                await asyncio.sleep(0.5)


def _has_gaps_everywhere(cluster: CompactedCluster) -> bool:
    replicas = [segments for hosts in cluster.contents().values() for segments in hosts.values()]
    return len(replicas) == PARTITIONS * len(HOSTS) and all(map(_has_gaps, replicas))


def _has_gaps(segments: list[bytes]) -> bool:
    _, count, end = _values_on_disk(segments)
    return count < end


async def _lose_a_disk(world: World, cluster: CompactedCluster) -> None:
    """When all are in sync again, and there are gaps to copy."""
    async with cluster.admin(world.lives["operator"]) as admin:
        problems = await cluster.wait_healthy(admin, RECOVERY_MS)
    if problems:
        raise Refuted(f"not live {RECOVERY_MS // 1000} s after the last fault: {'; '.join(problems)}")
    host = Random(f"{world.seed}/lost").choice(HOSTS)
    world.crash(host, power=True)
    world.wipe(host)
    make_data_directory(world, host)
    world.restart(host)


# --- readers ----------------------------------------------------------------------------------------------------------


async def _read(world: World, consumer: Consumer, values: Values, finish: asyncio.Event) -> None:
    """Read along until told to finish, and then to the end that there is."""
    places = [TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)]
    async with consumer:
        consumer.assign(places)
        while not finish.is_set():
            _take(values, await _poll(world, consumer))
        ends = await consumer.end_offsets(places, timeout=READ_MS / 1000)
        deadline_us = world.loop.now_us + READ_MS * 1000
        while [place for place in places if await consumer.position(place) < ends[place]]:
            if world.loop.now_us > deadline_us:
                raise Refuted(f"not live: a reader does not reach {ends}")
            _take(values, await _poll(world, consumer))


async def _poll(world: World, consumer: Consumer) -> list[ConsumerRecord]:
    try:
        return await consumer.poll(timeout=0.5)
    except KraftpyError as error:
        world.loop.trace("poll-failed", type(error).__name__)
        await asyncio.sleep(0.1)
        return []


def _take(values: Values, records: list[ConsumerRecord]) -> None:
    for record in records:
        assert record.key is not None
        if record.value is None:
            values.pop(record.key, None)
        else:
            values[record.key] = int(record.value)


def _values_on_disk(segments: list[bytes]) -> tuple[Values, int, int]:
    """What a replica's files say, how many records they hold, and where they end."""
    values: Values = {}
    count = end = 0
    for segment in segments:
        for record in decode_batches(written(segment)):
            assert record.key is not None
            count, end = count + 1, record.offset + 1
            if record.value is None:
                values.pop(record.key, None)
            else:
                values[record.key] = int(record.value)
    return values, count, end


# --- the judge --------------------------------------------------------------------------------------------------------


async def _judge(
    world: World,
    cluster: CompactedCluster,
    histories: dict[bytes, KeyHistory],
    along: Values,
    finish: asyncio.Event,
    reading: "asyncio.Task[None]",
) -> str:
    life = world.lives["judge"]
    async with cluster.admin(life) as admin:
        problems = await cluster.wait_healthy(admin, RECOVERY_MS)
    if problems:
        raise Refuted(f"not live {RECOVERY_MS // 1000} s after the last fault: {'; '.join(problems)}")
    unsettled = await cluster.wait_settled(SETTLE_MS)
    if unsettled:
        raise Refuted(f"not settled {SETTLE_MS // 1000} s after all was in sync: {'; '.join(unsettled)}")
    finish.set()
    await reading
    last: Values = {}
    read_now = asyncio.Event()
    read_now.set()
    await _read(world, cluster.consumer(life, auto_offset_reset="earliest"), last, read_now)
    _compare("a new reader", last, histories)
    if along != last:
        raise Refuted(f"who read along ends with {along}, a new reader with {last}")
    sent = sum(len(history.sent) for history in histories.values())
    left = 0
    for partition, hosts in cluster.contents().items():
        for host, segments in hosts.items():
            values, count, end = _values_on_disk(segments)
            left += count
            if end > MANY and count == end:
                raise Refuted(f"nothing of {partition} was ever compacted on {host}, which has all {count} records")
            index = int(partition.rpartition("-")[2])
            expected = {key: last[key] for key in last if int(key.rpartition(b"/")[2]) % PARTITIONS == index}
            if values != expected:
                raise Refuted(f"{partition} on {host} says {values}, its readers {expected}")
    return f"{sent} records sent to {len(histories)} keys; {left} left on {len(cluster.hosts)} replicas"


def _compare(who: str, found: Values, histories: dict[bytes, KeyHistory]) -> None:
    for key, history in histories.items():
        if not history.allows(found.get(key)):
            after = history.sent[max(history.acknowledged, 0) :]
            raise Refuted(f"{who} finds {found.get(key)} for {key!r}, possible are {after}")
    strange = [key for key in found if key not in histories]
    if strange:
        raise Refuted(f"{who} finds keys that nobody sent: {strange}")


COMPACTION = Scenario(
    name="compaction",
    about="a compacted topic on three brokers, and every usual fault",
    hosts=HOSTS,
    length_ms=LENGTH_MS,
    run=run,
    config=WorldConfig(time_limit_ms=600_000),
)

COMPACTED_ONCE = Scenario(
    name="compacted-once",
    about="a topic that is compacted no more, every usual fault, and a lost disk in the end",
    hosts=HOSTS,
    length_ms=LENGTH_MS,
    run=partial(run, once=True),
    config=WorldConfig(time_limit_ms=600_000),
)
