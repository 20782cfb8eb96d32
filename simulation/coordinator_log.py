"""What the log of the groups' coordinators says, read as any consumer reads it: committed offsets in their order, and
which groups were begun anew."""

import asyncio
from dataclasses import dataclass, field

from broker.coordinator.groups.codec import GroupRecordCodec
from broker.coordinator.groups.consumer_records import ConsumerGroupRecord, GroupEpoch
from broker.coordinator.groups.records import GroupRecord, GroupsRecord, OffsetRecord, StoredGroup
from kraftpy.aio import Consumer
from kraftpy.client.values import TopicPartition
from simulation.checkers.groups import Logged

CONSUMER_OFFSETS = "__consumer_offsets"
FIRST_GENERATIONS = 2
"""A group that is made anew has one of these numbers when its first record is written."""


@dataclass(slots=True)
class CoordinatorLog:
    """Offsets of aborted transactions are not in it; those of committed ones stand where they were written."""

    offsets: list[Logged] = field(default_factory=list)
    begun_anew: dict[str, None] = field(default_factory=dict)
    """Groups whose generations were counted from the beginning again, or may have been."""
    _generations: dict[str, int] = field(default_factory=dict)  # by group, the last that the log tells
    _removed: dict[str, int] = field(
        default_factory=dict
    )  # the same, of groups that are gone, or change their protocol

    def add(self, record: GroupsRecord | None) -> None:
        match record:
            case OffsetRecord(group_id, topic, partition, value) if value is not None:
                place = str(TopicPartition(topic, partition))
                self.offsets.append(Logged(group_id, place, value.offset, value.metadata))
            case GroupRecord(group_id, None) | ConsumerGroupRecord(group_id, None):
                last = self._generations.pop(group_id, None)
                if last is not None:
                    self._removed[group_id] = last
                elif group_id not in self._removed:
                    self.begun_anew[group_id] = None  # compacted: nobody knows how far they had got
            case GroupRecord(group_id, StoredGroup(generation=number)) | ConsumerGroupRecord(
                group_id, GroupEpoch(number)
            ):
                self._goes_on(group_id, number)
            case _:
                pass

    def _goes_on(self, group_id: str, number: int) -> None:
        """A group that changes its protocol goes on from where it was; one that is made anew does not."""
        last = self._removed.pop(group_id, None)
        if last is not None and (number < last or number <= FIRST_GENERATIONS):
            self.begun_anew[group_id] = None
        self._generations[group_id] = number


async def read_coordinator_log(consumer: Consumer, partitions: int, timeout_s: float) -> CoordinatorLog | None:
    """`consumer` reads what is committed only, and nothing yet. None: it did not come to the end in time."""
    places = [TopicPartition(CONSUMER_OFFSETS, partition) for partition in range(partitions)]
    found = CoordinatorLog()
    codec = GroupRecordCodec()
    ends = await consumer.end_offsets(places, timeout=timeout_s)
    consumer.assign(places)
    loop = asyncio.get_running_loop()
    gives_up_s = loop.time() + timeout_s
    while any([await consumer.position(place) < end for place, end in ends.items()]):
        if loop.time() >= gives_up_s:
            return None
        for record in await consumer.poll(timeout=0.5):
            found.add(codec.decode(bytes(record.key or b""), record.value))
    return found
