"""The codec gives back what it was given, and refuses by name what a newer release wrote."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from broker.metadata.codec import VERSIONS, UnsupportedMetadataError, decode, decode_batch, encode, encode_batch
from broker.metadata.features import INITIAL_LEVELS, RELEASE, RELEASES, SUPPORTED_FEATURES
from broker.metadata.records import (
    MetadataRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RegisterBrokerRecord,
    TopicRecord,
)
from kraftpy.errors import CorruptRecordError
from kraftpy.pb import metadata_pb2
from tests.metadata.strategies import RECORDS, SOME_ID


@settings(max_examples=200, deadline=None)
@given(RECORDS)
def test_every_record_survives_the_round_trip(record: MetadataRecord) -> None:
    assert decode(encode(record)) == record


def test_a_batch_keeps_its_order() -> None:
    records: list[MetadataRecord] = [TopicRecord(name, SOME_ID) for name in ("b", "a", "c")]
    assert decode_batch(encode_batch(records)) == records


def test_a_newer_version_is_refused_by_name() -> None:
    message = metadata_pb2.MetadataRecord(version=2, topic=metadata_pb2.TopicRecord(name="x", topic_id=SOME_ID.bytes))
    with pytest.raises(UnsupportedMetadataError, match="topic has version 2, this node knows up to 1"):
        decode(message.SerializeToString())


def test_an_unknown_type_is_refused_by_its_number() -> None:
    version_1_and_field_99 = bytes([8, 1, 0x9A, 0x06, 0])
    with pytest.raises(UnsupportedMetadataError, match="unknown type 99"):
        decode(version_1_and_field_99)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xff\xff",
        metadata_pb2.MetadataRecord(topic=metadata_pb2.TopicRecord(name="x")).SerializeToString(),
        metadata_pb2.MetadataRecord(version=1, topic=metadata_pb2.TopicRecord(topic_id=b"short")).SerializeToString(),
        metadata_pb2.MetadataRecord(
            version=1, config=metadata_pb2.ConfigRecord(resource_type=77, name="x")
        ).SerializeToString(),
    ],
    ids=["empty", "garbage", "version 0", "short id", "resource type 77"],
)
def test_what_is_no_record_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptRecordError):
        decode(data)


def test_every_type_of_the_message_has_a_version() -> None:
    assert sorted(VERSIONS) == sorted(
        field.name for field in metadata_pb2.MetadataRecord.DESCRIPTOR.oneofs_by_name["record"].fields
    )


def test_what_an_older_release_can_read_is_written_as_it_did() -> None:
    """A record is written in the oldest version that says all of it."""
    plain = RegisterBrokerRecord(1, SOME_ID, SOME_ID, ())
    partition, change = PartitionRecord(SOME_ID, 0, (1,), (1,), 1, 0, 0), PartitionChangeRecord(SOME_ID, 0, leader=1)
    for record, version in (
        (plain, 1),
        (replace(plain, release="0.2"), 2),
        (TopicRecord("x", SOME_ID), 1),
        (replace(partition, eligible_replicas=(2,), adding_replicas=(3,)), 1),
        (replace(partition, original_replicas=(1, 2)), 2),
        (replace(change, isr=(1,), eligible_replicas=(2,), replicas=(1, 2)), 1),
        (replace(change, original_replicas=()), 2),
    ):
        assert metadata_pb2.MetadataRecord.FromString(encode(record)).version == version


def test_the_release_is_the_last_of_those_that_are_known_and_the_distributions() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["version"].startswith(f"{RELEASE}.")
    assert list(RELEASES)[-1] == RELEASE and RELEASES[RELEASE] == INITIAL_LEVELS
    assert {feature.name: feature.max_level for feature in SUPPORTED_FEATURES} == INITIAL_LEVELS
