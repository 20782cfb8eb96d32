"""The small text files, in Kafka's formats."""

from collections.abc import Callable
from itertools import product
from uuid import UUID

import pytest

from log_store import file_names
from log_store.checkpoints import (
    CorruptCheckpointError,
    MetaProperties,
    decode_clean_shutdown,
    decode_epochs,
    decode_inventory,
    decode_meta_properties,
    decode_offsets,
    decode_topic_id,
    encode_clean_shutdown,
    encode_epochs,
    encode_inventory,
    encode_meta_properties,
    encode_offsets,
    encode_topic_id,
    inventory_line,
    parse_uuid,
    uuid_text,
)
from log_store.leader_epochs import EpochStart

TOPIC_ID = UUID("6f1c2d3e-4b5a-6978-8796-a5b4c3d2e1f0")


def test_offsets_by_partition() -> None:
    data = encode_offsets({"a-0": 5, "with-dash-12": 7})
    assert data == b"0\n2\na 0 5\nwith-dash 12 7\n#crc32c fffb4802\n"
    assert decode_offsets(data) == {"a-0": 5, "with-dash-12": 7}
    assert decode_offsets(encode_offsets({})) == {}


def test_leader_epochs() -> None:
    data = encode_epochs([EpochStart(1, 0), EpochStart(4, 17)])
    assert data == b"0\n2\n1 0\n4 17\n#crc32c f7e3969b\n"
    assert decode_epochs(data) == [(1, 0), (4, 17)]


def test_files_without_a_checksum_are_of_kafka_or_older_and_believed() -> None:
    assert decode_offsets(b"0\n1\ncrc32c 0 5\n") == {"crc32c-0": 5}
    assert decode_epochs(b"0\n2\n1 0\n4 17\n") == [(1, 0), (4, 17)]
    assert decode_topic_id(b"version: 0\ntopic_id: " + uuid_text(TOPIC_ID).encode()) == TOPIC_ID


@pytest.mark.parametrize(
    ("data", "decode"),
    [
        (encode_offsets({"a-0": 5, "with-dash-12": 7}), decode_offsets),
        (encode_offsets({}), decode_offsets),
        (encode_epochs([EpochStart(1, 0), EpochStart(4, 17)]), decode_epochs),
        (encode_inventory([inventory_line((TOPIC_ID, 3), UUID(int=5))]), decode_inventory),
        (encode_topic_id(TOPIC_ID), decode_topic_id),
    ],
    ids=["offsets", "no-offsets", "epochs", "inventory", "topic-id"],
)
def test_no_bit_of_what_decides_over_a_log_flips_unnoticed(data: bytes, decode: Callable[[bytes], object]) -> None:
    for position, bit in product(range(len(data)), range(8)):
        try:
            found = decode(data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :])
        except CorruptCheckpointError:
            continue
        assert found == decode(data), "only the word before the checksum has suffered"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"0",
        b"1\n0\n",  # another version
        b"0\n2\n1 0\n",  # an entry is missing
        b"0\n1\n1 0\n2 5\n",  # one too many
        b"0\n1\n1\n",
        b"0\n1\nx 0\n",
        b"0\n2\n4 0\n1 17\n",  # an epoch goes back
        b"0\n2\n1 17\n4 3\n",  # an offset goes back
        b"\xff\xfe\n",
        bytes(40),
    ],
)
def test_damaged_epochs_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptCheckpointError):
        decode_epochs(data)


@pytest.mark.parametrize("data", [b"", b"0\n1\na 0\n", b"0\n1\na b 0\n", b"0\n3\na 0 1\n", b"\0\0\0"])
def test_damaged_offsets_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptCheckpointError):
        decode_offsets(data)


def test_ids_are_written_as_kafka_writes_them() -> None:
    assert uuid_text(UUID(int=0)) == "AAAAAAAAAAAAAAAAAAAAAA"
    assert parse_uuid(uuid_text(TOPIC_ID)) == TOPIC_ID
    for text in ("", "short", "not base64 at all!!!!!", uuid_text(TOPIC_ID) + "AAAA"):
        with pytest.raises(CorruptCheckpointError):
            parse_uuid(text)


def test_partition_metadata() -> None:
    data = encode_topic_id(TOPIC_ID)
    assert data.startswith(b"version: 0\ntopic_id: " + uuid_text(TOPIC_ID).encode() + b"\n#crc32c ")
    assert decode_topic_id(data) == TOPIC_ID
    for damaged in (b"", b"version: 1\ntopic_id: x", b"version: 0\n", b"no pairs here"):
        with pytest.raises(CorruptCheckpointError):
            decode_topic_id(damaged)


def test_meta_properties() -> None:
    properties = MetaProperties(directory_id=TOPIC_ID, cluster_id="c-1", node_id=3)
    data = encode_meta_properties(properties)
    assert b"\nversion=1\n" in data and b"\nnode.id=3\n" in data
    assert decode_meta_properties(data) == properties
    anonymous = MetaProperties(directory_id=TOPIC_ID)
    assert decode_meta_properties(encode_meta_properties(anonymous)) == anonymous
    assert decode_meta_properties(b"#\n#Tue Jan 02\nversion=1\n" + data.replace(b"version=1\n", b"")) == properties
    for damaged in (b"", b"version=1\n", b"version=0\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAA\n", b"garbage"):
        with pytest.raises(CorruptCheckpointError):
            decode_meta_properties(damaged)


def test_the_marker_of_a_clean_stop() -> None:
    assert decode_clean_shutdown(encode_clean_shutdown(17)) == 17
    assert decode_clean_shutdown(encode_clean_shutdown(-1)) == -1
    for damaged in (b"", b"{}", b'{"version":1,"brokerEpoch":17}', b'{"version":0,"brokerEpoch":x}'):
        with pytest.raises(CorruptCheckpointError):
            decode_clean_shutdown(damaged)


def test_file_names() -> None:
    assert file_names.of_offset(42, ".log") == "00000000000000000042.log"
    assert file_names.offset_of("00000000000000000042.log", ".log") == 42
    for name in (
        "42.log",
        "0000000000000000004x.log",
        "00000000000000000042.index",
        "00000000000000000042.log.deleted",
    ):
        assert file_names.offset_of(name, ".log") is None
    assert file_names.split_log_name("my-topic-3") == ("my-topic", 3)
    for name in ("topic", "-3", "topic-x", "topic-", ".lock"):
        with pytest.raises(ValueError, match="not the name"):
            file_names.split_log_name(name)
