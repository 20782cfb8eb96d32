"""What the log of the groups' coordinators says, read as any consumer reads it: committed offsets in their order, and
which groups were begun anew."""

from dataclasses import dataclass, field

from broker.coordinator.groups.codec import GroupRecordCodec
from broker.coordinator.groups.consumer_records import ConsumerGroupRecord
from broker.coordinator.groups.records import GroupRecord, GroupsRecord, OffsetRecord
from kraftpy.aio import Consumer
from kraftpy.client.values import TopicPartition
from simulation.checkers.groups import Logged

CONSUMER_OFFSETS = "__consumer_offsets"


@dataclass(slots=True)
class CoordinatorLog:
    """Offsets of aborted transactions are not in it; those of committed ones stand where they were written."""

    offsets: list[Logged] = field(default_factory=list)
    begun_anew: dict[str, None] = field(default_factory=dict)
    """Groups whose generations were counted from the beginning again."""

    def add(self, record: GroupsRecord | None) -> None:
        match record:
            case OffsetRecord(group_id, topic, partition, value) if value is not None:
                place = str(TopicPartition(topic, partition))
                self.offsets.append(Logged(group_id, place, value.offset, value.metadata))
            case GroupRecord(group_id, None) | ConsumerGroupRecord(group_id, None):
                self.begun_anew[group_id] = None
            case _:
                pass


async def read_coordinator_log(consumer: Consumer, partitions: int, timeout_s: float) -> CoordinatorLog | None:
    """`consumer` reads what is committed only, and nothing yet. None: it did not come to the end in time."""
    places = [TopicPartition(CONSUMER_OFFSETS, partition) for partition in range(partitions)]
    found = CoordinatorLog()
    codec = GroupRecordCodec()
    ends = await consumer.end_offsets(places, timeout=timeout_s)
    consumer.assign(places)
    for _ in range(round(timeout_s / 0.5)):
        if not any([await consumer.position(place) < end for place, end in ends.items()]):
            return found
        for record in await consumer.poll(timeout=0.5):
            found.add(codec.decode(bytes(record.key or b""), record.value))
    return None
