"""What clients do to a simulated cluster, and the histories of it.

Each workload runs in its own life, through the SDK as a user's program would, and appends to one history. A delivery
that the SDK gave up is of unknown outcome.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random

from kraftpy.aio import Admin, Consumer, Producer
from kraftpy.client.balancing import PlannedMove
from kraftpy.client.values import RecordMetadata, TopicPartition
from kraftpy.errors import BufferExhaustedError, KraftpyError, TopicAlreadyExistsError, UnknownTopicOrPartitionError
from simulation.checkers.history import End, Event, Operation, Outcome, Poll, Send, Tail
from simulation.scenario import Refuted
from simulation.transport import SimulatedTransport
from simulation.world import World

POLL_S = 0.5
LAST_PAUSE_S = 10.0


async def pause(now_us: int, pause_s: float, until_us: int) -> None:
    """Between two things that a client does; it does not go on for minutes after the time is over."""
    await asyncio.sleep(min(pause_s, max((until_us - now_us) / 1e6, LAST_PAUSE_S)))


class Deliveries:
    """What one producer has taken, and what it has told of that: it promises to tell of each record once."""

    def __init__(self, world: World, process: str, history: list[Event]) -> None:
        self._world = world
        self._process = process
        self._history = history
        self._untold: dict[str, None] = {}  # by value; nothing is sent twice
        self._told_again: list[str] = []

    async def send(self, producer: Producer, topic: str, partition: int, sequence: int) -> None:
        value = f"{self._process}/{sequence}"
        told = partial(self._tell, f"{topic}-{partition}", value, sequence, self._world.loop.now_us)
        self._untold[value] = None
        try:
            await producer.send(topic, value.encode(), partition=partition, on_delivery=told)
        except (BufferExhaustedError, KraftpyError) as error:  # it never got into the buffer
            self._untold.pop(value)
            self._world.loop.trace("not-sent", self._process, value, type(error).__name__)

    def _tell(
        self,
        place: str,
        value: str,
        sequence: int,
        invoked_us: int,
        metadata: RecordMetadata | None,
        error: KraftpyError | None,
    ) -> None:
        if value not in self._untold:
            self._told_again.append(value)  # what a callback raises nobody hears
            return
        del self._untold[value]
        known = metadata is not None
        self._history.append(
            Send(
                process=self._process,
                partition=place,
                value=value,
                sequence=sequence,
                invoked_us=invoked_us,
                completed_us=self._world.loop.now_us if known else None,
                outcome=Outcome.OK if known else Outcome.UNKNOWN,
                offset=metadata.offset if metadata is not None else None,
            )
        )
        if error is not None:
            self._world.loop.trace("undelivered", self._process, value, type(error).__name__)

    def check_all_told(self) -> None:
        """Of a producer that was closed. Raises `Refuted`."""
        if self._told_again:
            raise Refuted(f"{self._process} was told again of {', '.join(self._told_again)}, or could not send it")
        if self._untold:
            raise Refuted(f"{self._process} was never told of {', '.join(self._untold)}")


async def produce(
    world: World,
    producer: Producer,
    name: str,
    topic: str,
    partitions: int,
    history: list[Event],
    until_us: int,
    pause_s: float = 0.3,
) -> None:
    """Send unique values to partitions at random until the time is over; wait for what is under way.

    One to five at a time, with up to `pause_s` virtual seconds in between. Raises `Refuted` where the producer has not
    told of each record once.
    """
    random = Random(f"{world.seed}/producer/{name}")
    sequence = 0
    deliveries = Deliveries(world, name, history)
    async with producer:
        while world.loop.now_us < until_us:
            for _ in range(random.randint(1, 5)):
                sequence += 1
                await deliveries.send(producer, topic, random.randrange(partitions), sequence)
            await pause(world.loop.now_us, random.random() * pause_s, until_us)
        await _flush(world, producer)
    deliveries.check_all_told()


async def _flush(world: World, producer: Producer) -> None:
    try:
        await producer.flush()
    except KraftpyError as error:
        world.loop.trace("flush-failed", type(error).__name__)


async def write_to_each(
    world: World, producer: Producer, name: str, topics: dict[str, int], history: list[Event]
) -> list[str]:
    """Send a record to every partition of a calm cluster; gives the partitions that did not take it."""
    deliveries = Deliveries(world, name, history)
    places = [(topic, partition) for topic, count in topics.items() for partition in range(count)]
    async with producer:
        for sequence, (topic, partition) in enumerate(places, 1):
            await deliveries.send(producer, topic, partition, sequence)
        await _flush(world, producer)
    deliveries.check_all_told()
    taken = {
        event.partition
        for event in history
        if isinstance(event, Send) and event.process == name and event.outcome is Outcome.OK
    }
    return [place for place in (f"{topic}-{partition}" for topic, partition in places) if place not in taken]


async def consume(
    world: World, consumer: Consumer, name: str, history: list[Event], until_us: int, poll_s: float = POLL_S
) -> None:
    """Read on until the time is over, and ask now and then where a partition ends."""
    random = Random(f"{world.seed}/consumer/{name}")
    async with consumer:
        while world.loop.now_us < until_us:
            await _poll(world, consumer, name, history, poll_s)
            places = sorted(consumer.assignment())
            if places and random.random() < 0.3:
                await _ask_end(world, consumer, name, random.choice(places), history)


async def _ask_end(world: World, consumer: Consumer, name: str, place: TopicPartition, history: list[Event]) -> None:
    invoked_us = world.loop.now_us
    try:
        ends = await consumer.end_offsets([place], timeout=2)
    except KraftpyError as error:
        world.loop.trace("end-unknown", name, place, type(error).__name__)
        return
    history.append(Tail(name, str(place), ends[place], invoked_us, world.loop.now_us))


async def _poll(world: World, consumer: Consumer, name: str, history: list[Event], poll_s: float = POLL_S) -> int:
    invoked_us = world.loop.now_us
    try:
        records = await consumer.poll(timeout=poll_s)
    except KraftpyError as error:
        world.loop.trace("poll-failed", name, type(error).__name__)
        await asyncio.sleep(0.1)
        return 0
    if records:
        seen = tuple((f"{r.topic}-{r.partition}", r.offset, bytes(r.value or b"").decode()) for r in records)
        history.append(Poll(name, 1, invoked_us, world.loop.now_us, seen))
    return len(records)


async def read_to_the_end(
    world: World, consumer: Consumer, topic: str, partitions: int, history: list[Event], timeout_ms: int
) -> list[str]:
    """Read everything up to the ends that the cluster names; gives the partitions that could not be read."""
    return await read_topics_to_the_end(world, consumer, {topic: partitions}, history, timeout_ms)


async def read_topics_to_the_end(
    world: World, consumer: Consumer, topics: dict[str, int], history: list[Event], timeout_ms: int
) -> list[str]:
    """The same for several topics, given with their numbers of partitions."""
    places = [TopicPartition(topic, partition) for topic, count in topics.items() for partition in range(count)]
    deadline_us = world.loop.now_us + timeout_ms * 1000
    async with consumer:
        try:
            consumer.assign(places)
            starts = await consumer.beginning_offsets(places, timeout=timeout_ms / 1000)
            ends = await consumer.end_offsets(places, timeout=timeout_ms / 1000)
        except KraftpyError as error:
            return [f"the ends of {list(topics)} are not to be had: {type(error).__name__}: {error}"]
        positions = dict(starts)
        while world.loop.now_us < deadline_us and any(positions[place] < ends[place] for place in places):
            await _poll(world, consumer, "last", history)
            for place in places:
                positions[place] = await consumer.position(place)
    history += [End(str(place), starts[place], ends[place], "last") for place in places]
    return [
        f"{place} was read to {positions[place]} of {ends[place]}" for place in places if positions[place] < ends[place]
    ]


async def administer(world: World, admin: Admin, name: str, history: list[Event], until_us: int) -> None:
    """Create and delete the same few topics as others who do this, over and over."""
    random = Random(f"{world.seed}/admin/{name}")
    names = [f"made-{letter}" for letter in "abc"]
    async with admin:
        while world.loop.now_us < until_us:
            topic = random.choice(names)
            function = random.choice(["create", "create", "delete"])
            await change_topic(world, admin, name, topic, function, random.randint(1, 3), history)
            await asyncio.sleep(random.random())


async def meddle(world: World, admin: Admin, name: str, until_us: int, slowness: float = 1.0) -> None:
    """What operators do at the worst time: move the quorum's leadership, and leaders to where they are preferred."""
    random = Random(f"{world.seed}/meddler/{name}")
    async with admin:
        while world.loop.now_us < until_us:
            await pause(world.loop.now_us, random.random() * 6 * slowness, until_us)
            try:
                if random.random() < 0.5:
                    await admin.transfer_quorum_leadership(timeout=2)
                else:
                    await admin.elect_leaders(timeout=2)
            except KraftpyError as error:
                world.loop.trace("not-moved", name, type(error).__name__)


async def reassign(
    world: World, admin: Admin, name: str, places: list[tuple[str, int]], node_ids: list[int], until_us: int
) -> None:
    """Move partitions to any two to four brokers, throttle that or not, and cancel some of it."""
    random = Random(f"{world.seed}/mover/{name}")
    async with admin:
        while world.loop.now_us < until_us:
            await asyncio.sleep(random.random() * 2)
            place = random.choice(places)
            target = random.sample(node_ids, random.randint(2, min(4, len(node_ids))))
            try:
                if random.random() < 0.3:
                    throttled = PlannedMove(*place, tuple(node_ids), tuple(target))
                    await admin.throttle_replication([throttled], random.choice([2_000, 20_000]), timeout=2)
                elif random.random() < 0.2:
                    await admin.unthrottle_replication(timeout=2)
                wanted = None if random.random() < 0.2 else target
                for result in await admin.alter_partition_reassignments({place: wanted}, timeout=2):
                    world.loop.trace("reassigned", name, *place, str(wanted), result.error)
            except KraftpyError as error:
                world.loop.trace("not-reassigned", name, type(error).__name__)


async def unthrottle(admin: Admin) -> None:
    """Lift every throttle; what is refused meanwhile is asked for again."""
    for attempt in range(50):
        try:
            await admin.unthrottle_replication(timeout=5)
            return
        except KraftpyError:
            if attempt == 49:
                raise
            await asyncio.sleep(0.5)


async def delete_records(world: World, admin: Admin, topic: str, until_us: int, slowness: float = 1.0) -> None:
    """Delete all that is committed of a topic's first partition, now and then."""
    random = Random(f"{world.seed}/deleter/{topic}")
    async with admin:
        while world.loop.now_us < until_us:
            await pause(world.loop.now_us, random.random() * 8 * slowness, until_us)
            try:
                await admin.delete_records({(topic, 0): -1}, timeout=2)
            except KraftpyError as error:
                world.loop.trace("not-deleted", topic, type(error).__name__)


async def come_and_go(
    world: World,
    admin: Admin,
    open_producer: Callable[[], Producer],
    name: str,
    history: list[Event],
    until_us: int,
) -> dict[str, int]:
    """Create topics, each under a name of its own, send a few records to each, and delete every other one again.

    Gives the number of partitions of those that are there at the end, with their records. Raises `Refuted` as
    `produce`.
    """
    random = Random(f"{world.seed}/tenant/{name}")
    kept: dict[str, int] = {}
    number = 0
    async with admin:
        while world.loop.now_us < until_us:
            number += 1
            topic, partitions = f"{name}-{number}", random.randint(1, 3)
            if await change_topic(world, admin, name, topic, "create", partitions, history):
                deliveries = Deliveries(world, topic, history)
                try:
                    async with open_producer() as producer:
                        for sequence in range(random.randint(0, 20)):
                            await deliveries.send(producer, topic, random.randrange(partitions), sequence)
                except KraftpyError as error:
                    world.loop.trace("close-failed", topic, type(error).__name__)
                deliveries.check_all_told()
                if random.random() < 0.5:
                    kept[topic] = partitions
                else:
                    await change_topic(world, admin, name, topic, "delete", partitions, history)
            await asyncio.sleep(random.random() * 2)
    return kept


async def change_topic(
    world: World, admin: Admin, name: str, topic: str, function: str, partitions: int, history: list[Event]
) -> bool:
    """Create or delete a topic and note how it went; whether the answer was that it is done, now or before.

    The SDK tries again until it is answered. What became of the attempts before the last is unknown, and what was
    refused as done already counts as done then (see `models.RetriedTopic`).
    """
    invoked_us = world.loop.now_us
    calls_before = _calls_made(world, name, function)
    argument = partitions if function == "create" else None
    result, outcome = ("created" if function == "create" else "deleted"), Outcome.OK
    try:
        if function == "create":
            await admin.create_topic(topic, partitions=partitions, timeout=5)
        else:
            await admin.delete_topic(topic, timeout=5)
    except (TopicAlreadyExistsError, UnknownTopicOrPartitionError):
        result = "exists" if function == "create" else "unknown"
    except KraftpyError as error:
        world.loop.trace("admin-failed", name, function, topic, type(error).__name__)
        outcome = Outcome.UNKNOWN
    earlier = max(0, _calls_made(world, name, function) - calls_before - 1)
    for _ in range(earlier):  # each may have been done, or may be done still
        history.append(Operation(name, topic, function, argument, None, invoked_us, None, Outcome.UNKNOWN))
    if outcome is Outcome.UNKNOWN:
        history.append(Operation(name, topic, function, argument, None, invoked_us, None, outcome))
        return False
    told = f"{result}?" if earlier and result in ("created", "deleted") else result
    history.append(Operation(name, topic, function, argument, told, invoked_us, world.loop.now_us, outcome))
    return True


def _calls_made(world: World, name: str, function: str) -> int:
    """How often a host has asked some node for a change of topics."""
    transport = world.lives[name].ports.transport
    assert isinstance(transport, SimulatedTransport)
    return transport.calls_made.get(
        "/kraftpy.pb.Admin/" + ("CreateTopics" if function == "create" else "DeleteTopics"), 0
    )


async def describe_topics(world: World, admin: Admin, names: list[str], history: list[Event]) -> None:
    """What there is at last; every name gets an operation."""
    invoked_us = world.loop.now_us
    known = {listing.name: listing for listing in await admin.list_topics(timeout=10)}
    for name in names:
        count = known[name].partitions if name in known else None
        history.append(Operation("last", name, "describe", None, count, invoked_us, world.loop.now_us, Outcome.OK))
