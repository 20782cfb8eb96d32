"""Images are values: records build them, deltas say what changed, snapshots give them back."""

from uuid import UUID

import pytest

from broker.metadata.image import MetadataConflictError, MetadataImage, PartitionDelta, delta_between
from broker.metadata.records import (
    BrokerChangeRecord,
    ConfigRecord,
    Endpoint,
    FeatureLevelRecord,
    MetadataRecord,
    PartitionChangeRecord,
    PartitionRecord,
    ProducerIdsRecord,
    RegisterBrokerRecord,
    RemoveTopicRecord,
    TopicRecord,
    UnregisterBrokerRecord,
    broker_resource,
    topic_resource,
)

TOPIC, OTHER = UUID(int=1), UUID(int=2)
BROKER = RegisterBrokerRecord(1, UUID(int=11), UUID(int=12), (Endpoint("GRPC", "localhost", 9093),))


def partition(index: int, topic_id: UUID = TOPIC) -> PartitionRecord:
    return PartitionRecord(topic_id, index, (1, 2), (1, 2), 1, 0, 0)


def built(*records: MetadataRecord, image: MetadataImage = MetadataImage.EMPTY) -> MetadataImage:
    return image.apply(records, image.end_offset + len(records), 3)[0]


FULL = built(
    FeatureLevelRecord("metadata.version", 1),
    BROKER,
    BrokerChangeRecord(1, 1, fenced=False),
    TopicRecord("orders", TOPIC),
    partition(0),
    partition(1),
    ConfigRecord(topic_resource("orders"), "retention.ms", "5"),
    ConfigRecord(broker_resource(1), "log.retention.ms", "6"),
    ProducerIdsRecord(1000),
)


def test_a_brokers_epoch_is_the_offset_of_its_registration() -> None:
    assert FULL.brokers[1].epoch == 1
    again = built(BROKER, image=FULL)
    assert again.brokers[1].epoch == FULL.end_offset
    assert again.brokers[1].fenced


def test_a_snapshot_gives_the_image_back() -> None:
    assert MetadataImage.load(FULL.records(), FULL.end_offset, FULL.epoch) == FULL


def test_an_image_never_changes() -> None:
    before = MetadataImage.load(FULL.records(), FULL.end_offset, FULL.epoch)
    built(RemoveTopicRecord(TOPIC), UnregisterBrokerRecord(1, 1), FeatureLevelRecord("metadata.version", 0), image=FULL)
    assert before == FULL


def test_a_change_raises_the_partition_epoch_and_the_leader_epoch_only_with_a_leader() -> None:
    shrunk = built(PartitionChangeRecord(TOPIC, 0, isr=(1,)), image=FULL).topics[TOPIC].partitions[0]
    assert (shrunk.isr, shrunk.leader_epoch, shrunk.partition_epoch) == ((1,), 0, 1)
    same = built(PartitionChangeRecord(TOPIC, 0, leader=1), image=FULL).topics[TOPIC].partitions[0]
    assert (same.leader, same.leader_epoch, same.partition_epoch) == (1, 1, 1)


def test_a_delta_names_what_changed_and_nothing_else() -> None:
    change = PartitionChangeRecord(TOPIC, 1, leader=2)
    image, delta = FULL.apply([change], FULL.end_offset + 1, 4)
    old, new = FULL.topics[TOPIC].partitions[1], image.topics[TOPIC].partitions[1]
    assert list(delta.partitions()) == [PartitionDelta("orders", TOPIC, 1, old, new)]
    assert not delta.brokers and not delta.configs and not delta.topics_created
    assert image.topics[TOPIC].partitions[0] is FULL.topics[TOPIC].partitions[0]
    assert (image.end_offset, image.epoch) == (FULL.end_offset + 1, 4)


def test_a_topic_deleted_and_made_again_in_one_batch_is_two_topics() -> None:
    records: list[MetadataRecord] = [RemoveTopicRecord(TOPIC), TopicRecord("orders", OTHER), partition(0, OTHER)]
    image, delta = FULL.apply(records, FULL.end_offset + 3, 3)
    assert [topic.topic_id for topic in delta.topics_deleted] == [TOPIC]
    assert [topic.topic_id for topic in delta.topics_created] == [OTHER]
    assert image.topic("orders") == image.topics[OTHER]
    assert topic_resource("orders") not in image.configs, "settings go with the topic"


def test_a_topic_made_and_deleted_in_one_batch_leaves_nothing() -> None:
    records: list[MetadataRecord] = [TopicRecord("brief", OTHER), partition(0, OTHER), RemoveTopicRecord(OTHER)]
    image, delta = FULL.apply(records, FULL.end_offset + 3, 3)
    assert image.topics == FULL.topics and image.topic_ids == FULL.topic_ids
    assert delta.is_empty


def test_the_last_setting_that_goes_takes_its_resource_along() -> None:
    image, delta = FULL.apply([ConfigRecord(topic_resource("orders"), "retention.ms", None)], FULL.end_offset + 1, 3)
    assert topic_resource("orders") not in image.configs
    assert [(config.resource, config.old, config.new) for config in delta.configs] == [
        (topic_resource("orders"), {"retention.ms": "5"}, {})
    ]


def test_the_delta_between_two_images_is_the_delta_of_the_records() -> None:
    records: list[MetadataRecord] = [
        RemoveTopicRecord(TOPIC),
        TopicRecord("bills", OTHER),
        partition(0, OTHER),
        BrokerChangeRecord(1, 1, fenced=True),
        ConfigRecord(broker_resource(1), "log.retention.ms", None),
        FeatureLevelRecord("group.version", 1),
    ]
    image, delta = FULL.apply(records, FULL.end_offset + len(records), 4)
    between = delta_between(FULL, image)
    assert (between.topics, between.brokers, between.features) == (delta.topics, delta.brokers, delta.features)
    assert {config.resource for config in between.configs} == {topic_resource("orders"), broker_resource(1)}
    assert delta_between(image, image).is_empty


@pytest.mark.parametrize(
    "record",
    [
        PartitionChangeRecord(OTHER, 0),
        PartitionChangeRecord(TOPIC, 2),
        partition(3),
        TopicRecord("orders", OTHER),
        TopicRecord("new", TOPIC),
        RemoveTopicRecord(OTHER),
        BrokerChangeRecord(1, 99, fenced=True),
        BrokerChangeRecord(5, 1, fenced=True),
        UnregisterBrokerRecord(1, 99),
    ],
)
def test_records_that_contradict_the_image_are_refused(record: MetadataRecord) -> None:
    with pytest.raises(MetadataConflictError):
        built(record, image=FULL)
