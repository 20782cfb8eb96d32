"""What a newer image changes, told in the words of a trace."""

from uuid import UUID

from broker.metadata.image import MetadataImage
from broker.metadata.records import (
    BrokerChangeRecord,
    MetadataRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RegisterBrokerRecord,
    RemoveTopicRecord,
    TopicRecord,
)
from simulation.metadata_changes import changes_between

TOPIC = UUID(int=7)


def registered(life: int, disk: int) -> RegisterBrokerRecord:
    return RegisterBrokerRecord(2, UUID(int=life), UUID(int=disk), ())


def told(*steps: list[MetadataRecord]) -> list[list[str]]:
    """What each step changes."""
    image, found = MetadataImage.EMPTY, []
    for records in steps:
        newer, delta = image.apply(records, image.end_offset + len(records), 1)
        found.append([" ".join(words) for words in changes_between(image, newer, delta)])
        image = newer
    return found


def test_brokers_and_their_lives() -> None:
    assert told(
        [registered(1, 1)],
        [BrokerChangeRecord(2, 0, fenced=False)],
        [BrokerChangeRecord(2, 0, in_controlled_shutdown=True)],
        [BrokerChangeRecord(2, 0, fenced=True)],
        [registered(2, 9)],
    ) == [
        ["broker 2 registered epoch=0"],
        ["broker 2 unfenced"],
        ["broker 2 shutting-down"],
        ["broker 2 fenced"],
        ["broker 2 registered epoch=4 new-disk"],
    ]


def test_topics_and_partitions() -> None:
    made: list[MetadataRecord] = [TopicRecord("lines", TOPIC), PartitionRecord(TOPIC, 0, (2, 1), (2, 1), 2, 0, 0)]
    assert told(
        made,
        [PartitionChangeRecord(TOPIC, 0, isr=(1,), leader=1, eligible_replicas=(2,))],
        [RemoveTopicRecord(TOPIC)],
    ) == [
        ["topic-created lines 1", "partition lines-0 leader=->2 epoch=->0 isr=->2,1 replicas=->2,1"],
        ["partition lines-0 leader=2->1 epoch=0->1 isr=2,1->1 elr=->2"],
        ["topic-deleted lines"],
    ]


def test_what_several_nodes_publish_is_told_against_what_is_known() -> None:
    """A node whose last image is older brings a delta in which there is more than what is new."""
    first: list[MetadataRecord] = [registered(1, 1)]
    image, _ = MetadataImage.EMPTY.apply(first, 1, 1)
    newer, _ = image.apply([BrokerChangeRecord(2, 0, fenced=False)], 2, 1)
    _, delta = MetadataImage.EMPTY.apply([*first, BrokerChangeRecord(2, 0, fenced=False)], 2, 1)
    assert list(changes_between(image, newer, delta)) == [("broker", "2", "unfenced")]
