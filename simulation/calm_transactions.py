"""What a calm cluster owes to transactions: whoever asks can commit one, in time, and none stays open.

All judges of histories speak of what was promised; a cluster that promises nothing any more would pass them. So a
producer comes when the faults are over, aborts a transaction and commits another, over several leaders, and a committed
reader must find the second, whole and nothing else. And in every partition, those of the coordinators too, committed
readers must get to the end once no client has a transaction under way.
"""

import asyncio
from collections.abc import Mapping, Sequence

from broker.coordinator.coordinators import partition_of
from broker.metadata.internal_topics import TRANSACTION_STATE
from broker.metadata.state import PartitionState
from kraftpy.aio import Admin, Consumer
from kraftpy.client.values import TopicPartition
from kraftpy.errors import KraftpyError, TopicAlreadyExistsError
from simulation.cluster import Cluster
from simulation.scenario import Refuted
from simulation.world import Life

COMMIT_MS = 3_000
"""A transaction of a few records takes so long at most where everybody lives and every partition has its leader."""
DEAD_MS = 3_000
"""… and so much more for each machine without power: a client learns of each that nobody answers there, a second at a
time, when it looks for the cluster, for the coordinator and for a leader."""
MARGIN_MS = 6_000
"""After its time-out a transaction has ended by then: a marker that was not answered is written again after 5 s."""
REQUEST_TIMEOUT_MS = 2_000
LEADERS_MIN = 2
COPIES = 3
IN_SYNC_MIN = 2
TOPIC = "settled"


class CalmTransactions:
    """A topic of the judge's, and all that was committed there."""

    def __init__(self, cluster: Cluster, life: Life) -> None:
        self._cluster = cluster
        self._life = life
        self._committed: dict[int, list[str]] = {}
        self._number = 0
        self.commits = 0
        self.slowest_ms = 0  # of those

    async def prepare(self, admin: Admin, dead: Sequence[int] = ()) -> None:
        """Make the topic: every broker but those that are to die is the preferred leader of a partition, and each has a
        second replica that lives. Raises `KraftpyError`."""
        brokers = range(1, len(self._cluster.hosts) + 1)
        living = [broker_id for broker_id in brokers if broker_id not in dead]
        assignment = {}
        for index, leader in enumerate(living):
            after = living[index + 1 :] + living[:index]
            assignment[index] = (leader, after[0], *[*dead, *after[1:]][: COPIES - IN_SYNC_MIN])
            self._committed[index] = []
        config = {"min.insync.replicas": str(IN_SYNC_MIN), "retention.ms": "-1"}
        try:
            await admin.create_topic(TOPIC, assignment=assignment, config=config)
        except TopicAlreadyExistsError:  # by an attempt that was not answered
            pass

    async def let_preferred_lead(self, admin: Admin) -> None:
        """In a healthy cluster: a broker may still have been fenced when the topic was made. Raises `KraftpyError`."""
        await admin.elect_leaders([(TOPIC, index) for index in self._committed])

    async def commit(self, dead: Sequence[int] = ()) -> None:
        """One with each coordinator that must be there: at least one of them while nobody is dead. Raises `Refuted`."""
        limit_ms = COMMIT_MS + DEAD_MS * len(dead) + self._cluster.world.slow_ms
        for transactional_id in self._transactional_ids(dead):
            began_us = self._cluster.world.loop.now_us
            try:
                async with asyncio.timeout(limit_ms / 1_000):
                    await self._commit(transactional_id, limit_ms)
            except TimeoutError:
                raise Refuted(f"not live: {transactional_id} commits nothing in {limit_ms / 1_000:g} s") from None
            except KraftpyError as error:
                raise Refuted(f"not live: {transactional_id} cannot commit: {type(error).__name__}: {error}") from None
            self.commits += 1
            self.slowest_ms = max(self.slowest_ms, (self._cluster.world.loop.now_us - began_us) // 1_000)

    def _transactional_ids(self, dead: Sequence[int]) -> list[str]:
        """A new one for each partition of the coordinators' topic of which enough replicas live; one where there is no
        such topic yet."""
        self._number += 1
        state = self._cluster.witness.image.topic(TRANSACTION_STATE)
        if state is None:
            return [f"last-{self._number}"]
        return [
            next(
                name
                for name in (f"last-{self._number}-{letter}" for letter in range(1_000))
                if partition_of(TRANSACTION_STATE, name, len(state.partitions)) == index
            )
            for index, partition in enumerate(state.partitions)
            if _living(partition, dead) >= IN_SYNC_MIN
        ]

    async def _commit(self, name: str, limit_ms: int) -> None:
        leaders = {index: self._leader_of(index) for index in self._committed}
        if len(set(leaders.values())) < LEADERS_MIN:
            raise Refuted(f"not live: the partitions of {TOPIC} have the leaders {leaders}")
        producer = self._cluster.producer(
            self._life,
            transactional_id=name,
            transaction_timeout_ms=2 * limit_ms,
            delivery_timeout_ms=2 * limit_ms,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            linger_ms=2,
        )
        async with producer:
            for fate in ("aborted", "committed"):
                await producer.begin_transaction()
                for index in self._committed:
                    await producer.send(TOPIC, f"{name} {fate}".encode(), partition=index)
                await producer.flush()  # an abort drops what was not sent yet
                await (producer.commit_transaction() if fate == "committed" else producer.abort_transaction())
        for values in self._committed.values():
            values.append(f"{name} committed")
        await self._read()

    def _leader_of(self, index: int) -> int:
        state = self._cluster.witness.image.partition(TOPIC, index)
        return -1 if state is None else state.leader

    async def _read(self) -> None:
        """Until a committed reader has found as much as there must be; it may find nothing else."""
        places = [TopicPartition(TOPIC, index) for index in self._committed]
        found: dict[int, list[str]] = {index: [] for index in self._committed}
        async with committed_reader(self._cluster, self._life) as consumer:
            consumer.assign(places)
            while any(len(found[index]) < len(values) for index, values in self._committed.items()):
                for record in await consumer.poll(timeout=0.2):
                    found[record.partition].append(bytes(record.value or b"").decode())
        if found != self._committed:
            raise Refuted(f"a committed reader finds {found}, and committed is {self._committed}")


def _living(state: PartitionState, dead: Sequence[int]) -> int:
    return sum(broker_id not in dead for broker_id in state.replicas)


def committed_reader(cluster: Cluster, life: Life, *topics: str) -> Consumer:
    """From the beginning."""
    return cluster.consumer(life, *topics, auto_offset_reset="earliest", isolation_level="read_committed")


async def wait_nothing_open(cluster: Cluster, life: Life, places: Sequence[TopicPartition], timeout_ms: int) -> None:
    """Until no transaction is open there. Raises `Refuted` where one is, longer than `timeout_ms` and `MARGIN_MS`."""
    began_us = cluster.world.loop.now_us
    deadline_us = began_us + (timeout_ms + MARGIN_MS) * 1_000
    plain = cluster.consumer(life, auto_offset_reset="earliest")
    async with plain, committed_reader(cluster, life) as committed:
        while True:
            ends: Mapping[TopicPartition, int]
            try:
                ends = await plain.end_offsets(places, timeout=5)
                stable = await committed.end_offsets(places, timeout=5)
            except KraftpyError as error:
                ends, stable = {}, {places[0]: -1}
                cluster.world.loop.trace("ends-unknown", type(error).__name__)
            if ends == stable:
                cluster.world.loop.trace("nothing-open", (cluster.world.loop.now_us - began_us) // 1_000)
                return
            if cluster.world.loop.now_us > deadline_us:
                late = {str(place): (stable.get(place), end) for place, end in ends.items() if stable.get(place) != end}
                raise Refuted(f"a transaction hangs: committed readers stop, of logs that end: {late or 'unknown'}")
            await asyncio.sleep(0.25)


def all_places(cluster: Cluster) -> list[TopicPartition]:
    """Every partition of every topic, the coordinators' too."""
    image = cluster.witness.image
    return [
        TopicPartition(topic.name, index) for topic in image.topics.values() for index in range(len(topic.partitions))
    ]
