"""The parts of a consumer, put together; what the asyncio consumer and the blocking one have in common.

Everything here runs on the loop. Records leave as bytes: deserializers are a user's code and run on the user's thread
(`Deserialization`), where a slow one stops nobody else.
"""

import asyncio
import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any

from kraftpy.client.cluster_view import ClusterView
from kraftpy.client.config import ConsumerConfig
from kraftpy.client.fetch_position import EARLIEST_MS, LATEST_MS, FetchPosition
from kraftpy.client.fetcher import Fetcher
from kraftpy.client.group.handover import Handover, RebalanceListener
from kraftpy.client.group.offsets import checked_offset, checked_place
from kraftpy.client.group.reading import GroupReading
from kraftpy.client.metadata import Metadata
from kraftpy.client.offset_lookup import OffsetLookup
from kraftpy.client.serializers import Deserialize, RecordDeserializationError, deserializer
from kraftpy.client.starting import RESETS
from kraftpy.client.values import ConsumerRecord, OffsetAndMetadata, OffsetAndTimestamp, TopicPartition
from kraftpy.client.wire import ClientPorts
from kraftpy.error_codes import error_for
from kraftpy.errors import (
    CallTimeoutError,
    KraftpyError,
    NotAssignedError,
    SubscriptionError,
    UnknownTopicOrPartitionError,
)
from kraftpy.pb import client_pb2
from kraftpy.topic_names import check_topic_name

ASIDE_MAX = 10_000  # partitions of topics that are not named any more, of which it is remembered where they were left

_log = logging.getLogger(__name__)


class Consuming:
    """One consumer's parts. Made on the loop.

    In a group, `group` says which partitions are read and where they begin; else the partitions of its topics are
    followed here.
    """

    def __init__(self, config: ConsumerConfig, ports: ClientPorts, topics: Sequence[str]) -> None:
        self.config = config
        self.ports = ports
        self.metadata = Metadata(config, ports, auto_create=config.allow_auto_create_topics)
        self.fetcher = Fetcher(config, ports, self.metadata)
        self._lookup = OffsetLookup(config, ports, self.metadata, config.isolation)
        self._topics: tuple[str, ...] = ()
        self._pattern: re.Pattern[str] | None = None
        self._missed: dict[TopicPartition, None] = {}  # partitions that were said to be missing
        self._seen: dict[str, bytes] = {}  # topics of this subscription whose partitions have been assigned, with ids
        self._aside: dict[TopicPartition, FetchPosition] = {}  # of those that a node has not named lately
        self._has_to_follow = False  # topics have gone, once nothing is taken
        self.group = None if config.group_id is None else GroupReading(config, ports, self.metadata, self.fetcher)
        self._is_started = False
        self._has_chosen = False  # topics or partitions, at least once
        self.metadata.on_update(self._follow_topics)
        if topics:
            self.subscribe(topics, None, RebalanceListener())

    def start(self) -> None:
        """The fetcher begins with the first choice: nothing would hold the task of one that has nothing to do."""
        self._is_started = True
        if self._has_chosen:
            self.fetcher.start()

    def _choose(self) -> None:
        self._has_chosen = True
        if self._is_started:
            self.fetcher.start()

    async def close(self) -> None:
        await self.fetcher.close()  # first: who waits in `poll` ends here, and asks nothing of a group that is closed
        if self.group is not None:
            await self.group.close()
        await self.metadata.close()

    # --- assignment

    @property
    def assignment(self) -> list[TopicPartition]:
        return list(self.fetcher.positions)

    def assign(self, places: Iterable[TopicPartition]) -> None:
        """Read exactly these partitions from now on, and no longer all of some topics.

        Raises `SubscriptionError`, `InvalidTopicError`, `ValueError`, `TypeError`.
        """
        chosen = [checked_place(place) for place in places]
        self.fetcher.give_back()
        if self.group is not None:
            self.group.assign(chosen)
        else:
            start_ms = RESETS[self.config.auto_offset_reset]
            self.fetcher.assign(chosen, lambda _place: start_ms)
        self._choose()
        self._topics, self._pattern, self._seen, self._aside = (), None, {}, {}
        self.metadata.watch_all(False)
        self.metadata.pin(list(dict.fromkeys(place.topic for place in chosen)))
        self.metadata.invalidate()

    def subscribe(self, topics: Sequence[str], pattern: re.Pattern[str] | None, listener: RebalanceListener) -> None:
        """Read these topics, or those whose names match: a share of them in a group, else all partitions.

        Raises `InvalidTopicError`.
        """
        for name in topics:
            check_topic_name(name)
        self.fetcher.give_back()
        self._choose()
        if self.group is not None:
            self.group.subscribe(topics, pattern, listener)
            return
        is_wanted = topics.__contains__ if pattern is None else pattern.search
        self._keep_only([place for place in self.fetcher.positions if is_wanted(place.topic)])
        read_on = frozenset(place.topic for place in self.fetcher.positions)
        self._seen = {name: topic_id for name, topic_id in self._seen.items() if name in read_on}
        self._aside = {}
        self._topics, self._pattern = tuple(dict.fromkeys(topics)), pattern
        self.metadata.watch_all(pattern is not None)
        self.metadata.pin(self._topics)
        self.metadata.invalidate()
        self._follow_topics()

    def unsubscribe(self) -> None:
        """Read nothing from now on. In a group: once everything was handed over (`leaving`)."""
        self.fetcher.give_back()
        self._topics, self._pattern, self._seen, self._aside = (), None, {}, {}
        self.metadata.watch_all(False)
        self.metadata.pin(())
        self._keep_only([])

    @property
    def subscription(self) -> list[str]:
        return list(self._topics if self.group is None else self.group.membership.subscription)

    def _keep_only(self, places: list[TopicPartition]) -> None:
        self.fetcher.assign(places, lambda _place: None)

    def _follow_topics(self) -> None:
        """Take up the partitions of the consumer's topics as they become known.

        Partitions that a topic gains later are read from their beginning, whatever auto_offset_reset says: what was
        written before they were noticed is not older than the consumer.
        """
        view = self.metadata.view
        if self._pattern is not None:
            self._follow_pattern(self._pattern)
        places = [
            TopicPartition(name, partition.partition)
            for name in self._topics
            if name in view.topics
            for partition in view.topics[name].partitions
        ]
        self._tell_missing_partitions(view)
        known = self.fetcher.positions
        if self._topics and any(place not in known for place in places):
            first_start_ms = RESETS[self.config.auto_offset_reset]
            seen = self._seen

            def start_ms(place: TopicPartition) -> int | None:
                return EARLIEST_MS if place.topic in seen else first_start_ms

            self.fetcher.assign(dict.fromkeys([*known, *places]), start_ms)
            for place in places:
                self._take_up_again(place, view.topics[place.topic].topic_id)
        self._seen.update((place.topic, view.topics[place.topic].topic_id) for place in places)

    def _follow_pattern(self, pattern: re.Pattern[str]) -> None:
        """A node that lags behind does not name what there is: who is left out goes on where it was, once it is back.

        Where that is, is certain while nothing is taken that may be given back.
        """
        matching = tuple(name for name in self.metadata.public_topics if pattern.search(name))
        there = frozenset(matching)
        gone = {place: position for place, position in self.fetcher.positions.items() if place.topic not in there}
        self._has_to_follow = bool(gone and self.fetcher.taken)
        if matching == self._topics or self._has_to_follow:
            return
        self._topics = matching
        self.metadata.pin(matching)
        self._keep_only([place for place in self.fetcher.positions if place not in gone])
        self._aside.update(gone)
        for place in list(self._aside)[: max(len(self._aside) - ASIDE_MAX, 0)]:
            del self._aside[place]

    def _take_up_again(self, place: TopicPartition, topic_id: bytes) -> None:
        position = self._aside.pop(place, None)
        if position is not None and self._seen.get(place.topic) == topic_id:
            self.fetcher.positions[place].go_on_from(position)

    def _tell_missing_partitions(self, view: ClusterView) -> None:
        """Of those that were assigned: a reader of a partition that there is not would wait without a word."""
        for place in self.fetcher.positions:
            topic, partition = place
            found = view.topics.get(topic)
            count = 0 if found is None else len(found.partitions)
            if found is not None and not 0 <= partition < count and place not in self._missed:
                self._missed[place] = None
                _log.warning(
                    "topic %s has no partition %d, it has %d partitions; waiting for it", topic, partition, count
                )

    # --- records

    async def poll(self, timeout_s: float, count_max: int) -> list[ConsumerRecord] | Handover:
        """Up to `count_max` records, as soon as there is one; none after `timeout_s`.

        Or a step of a rebalance that has a callback of the user's: it must be done (`GroupReading.begin`, the callback,
        `GroupReading.end`) before polling on.

        Raises what a partition has run into, once everything before it has been handed out, what ended the membership
        of the group, `SubscriptionError` where nothing was ever chosen to read, and `ClosedError` where another task
        closes the consumer meanwhile.
        """
        if not self._has_chosen:
            raise SubscriptionError("there is nothing to read: name topics, subscribe() or assign() first")
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout_s
        if self._has_to_follow:
            self._has_to_follow = False
            self._follow_topics()
        while True:
            if self.group is not None:
                handover = await self.group.polled()
                if handover is not None:
                    return handover
            records = self.fetcher.take(count_max)
            if records:
                return records
            error = self.fetcher.take_error()
            if error is not None:
                raise error
            left_s = ends - loop.time()
            slice_s = left_s if self.group is None else min(left_s, self.group.patience_s)
            if left_s <= 0:
                await asyncio.sleep(0)  # who polls without waiting lets others run all the same
                return self.fetcher.take(count_max)
            if not await self.fetcher.wait(slice_s) and slice_s == left_s:
                return self.fetcher.take(count_max)

    # --- positions; before one is moved, what was taken and not handed out is given back

    def seek(self, place: TopicPartition, to: int | OffsetAndMetadata) -> None:
        target = checked_offset(to)
        self.fetcher.give_back()
        self._position(place).seek(target.offset, target.leader_epoch, target.leader_epoch)
        self.fetcher.changed()

    def reset(self, places: Sequence[TopicPartition], *, to_end: bool) -> None:
        self.fetcher.give_back()
        for place in places or self._all():
            self._position(place).reset(LATEST_MS if to_end else EARLIEST_MS)
        self.fetcher.changed()

    def pause(self, places: Sequence[TopicPartition], *, paused: bool) -> None:
        if paused:
            self.fetcher.give_back()
        for place in places or (self._all() if paused else self.assignment):
            self._position(place).paused = paused
        self.fetcher.changed()

    def paused(self) -> list[TopicPartition]:
        return [place for place, position in self.fetcher.positions.items() if position.paused]

    def high_watermark(self, place: TopicPartition) -> int | None:
        known = self._position(place).high_watermark
        return None if known < 0 else known

    async def position(self, place: TopicPartition, timeout_s: float) -> int:
        """The offset of the next record; waits for the starting point to be found."""
        position = self._position(place)
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout_s
        if position.offset < 0:
            self.fetcher.give_back()  # so that no error of another partition overtakes its records
        while position.offset < 0:
            error = self.fetcher.take_error()
            if error is not None:
                raise error
            if self.group is not None:
                self.group.ask_again()
            if not await self.fetcher.wait_for_change(ends - loop.time()):
                raise CallTimeoutError(f"the position of {place} was not found within {timeout_s} s")
        return self.fetcher.standing()[position.place].offset

    async def offsets(self, wanted: dict[TopicPartition, int], timeout_s: float) -> dict[TopicPartition, int]:
        """Offsets by time (-1: the end, -2: the beginning)."""
        found = await self._list_offsets(wanted, timeout_s)
        return {place: found[place].offset for place in wanted}

    async def offsets_for_times(
        self, wanted: dict[TopicPartition, int], timeout_s: float
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """The first record at or after each time (milliseconds since 1970); None where there is none."""
        if any(time_ms < 0 for time_ms in wanted.values()):
            raise ValueError("times are milliseconds since 1970, not negative")
        found = await self._list_offsets(wanted, timeout_s)
        return {
            place: OffsetAndTimestamp(found[place].offset, found[place].timestamp_ms)
            if found[place].offset >= 0
            else None
            for place in wanted
        }

    async def partitions_of(self, topic: str, timeout_s: float) -> int:
        view = await self.metadata.topic(topic, timeout_s * 1_000, min(timeout_s * 1_000, 1_000))
        return len(view.partitions)

    async def _list_offsets(
        self, wanted: dict[TopicPartition, int], timeout_s: float
    ) -> dict[TopicPartition, client_pb2.ListedOffset]:
        for topic in dict.fromkeys(checked_place(place).topic for place in wanted):
            count = await self.partitions_of(topic, timeout_s)
            wrong = next((place for place in wanted if place.topic == topic and place.partition >= count), None)
            if wrong is not None:
                raise UnknownTopicOrPartitionError(f"{topic} has no partition {wrong.partition}")
        found: dict[TopicPartition, client_pb2.ListedOffset] = {}
        await self._lookup.find(wanted, timeout_s * 1_000, found.__setitem__)
        return found

    def _all(self) -> list[TopicPartition]:
        """What a call without partitions means. Raises `NotAssignedError` before the first assignment, when nothing
        would come of it; a member's share may well be empty later."""
        if not self.assignment and self._awaits_assignment:
            raise NotAssignedError(
                "no partition is assigned to this consumer yet: poll() until assignment() names some"
            )
        return self.assignment

    @property
    def _awaits_assignment(self) -> bool:
        if self.group is not None and self.group.membership.is_active:
            return not self.group.has_share
        return not self._has_chosen or bool(self._topics) or self._pattern is not None

    def _position(self, place: TopicPartition) -> FetchPosition:
        position = self.fetcher.positions.get(TopicPartition(*place))
        if position is None:
            missing = self.metadata.view.errors.get(place[0])
            reason = f" ({error_for(missing).name})" if missing else ""
            raise NotAssignedError(f"{place[0]}-{place[1]} is not assigned to this consumer{reason}")
        return position


class Deserialization:
    """Bytes into keys and values, record by record."""

    def __init__(self, config: ConsumerConfig) -> None:
        self._key = deserializer(config.key_deserializer)
        self._value = deserializer(config.value_deserializer)
        self.is_needed = self._key is not None or self._value is not None

    def one(self, record: ConsumerRecord) -> ConsumerRecord:
        """Raises `RecordDeserializationError`."""
        return record._replace(
            key=_deserialized(self._key, record, "key", record.key),
            value=_deserialized(self._value, record, "value", record.value),
        )

    def many(
        self, records: list[ConsumerRecord]
    ) -> tuple[list[ConsumerRecord], list[ConsumerRecord], KraftpyError | None]:
        """What could be deserialized, what is left from the first that could not, and why."""
        if not self.is_needed:
            return records, [], None
        done: list[ConsumerRecord] = []
        for index, record in enumerate(records):
            try:
                done.append(self.one(record))
            except RecordDeserializationError as error:
                return done, records[index:], error
        return done, [], None


def _deserialized(with_: Deserialize | None, record: ConsumerRecord, what: str, data: bytes | None) -> Any:
    if with_ is None or data is None:
        return data
    try:
        return with_(record.topic, data)
    except Exception as error:
        raise RecordDeserializationError(record.topic, record.partition, record.offset, what, error) from error
