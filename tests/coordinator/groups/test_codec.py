"""Records of groups in Kafka's formats: the offsets decoder of Kafka 4.1's DumpLogSegments reads the same in them."""

from struct import pack
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.coordinator.groups.codec import GroupRecordCodec
from broker.coordinator.groups.consumer_records import (
    ClassicProtocol,
    ConsumerGroupRecord,
    ConsumerMember,
    ConsumerMemberRecord,
    CurrentAssignment,
    CurrentAssignmentRecord,
    GroupEpoch,
    MemberState,
    PatternRecord,
    ResolvedPattern,
    TargetEpochRecord,
    TargetRecord,
)
from broker.coordinator.groups.records import (
    CommittedOffset,
    GroupRecord,
    GroupsRecord,
    OffsetRecord,
    StoredGroup,
    StoredMember,
)
from kraftpy.errors import CorruptRecordError

CODEC = GroupRecordCodec()
KEY = bytes.fromhex("0001 0001 67 0001 75 00000001".replace(" ", ""))  # kind 1, "g", "u", 1


def test_an_offset_as_kafka_writes_it() -> None:
    record = OffsetRecord("g", "u", 1, CommittedOffset(9, 7, "né", 1_000_000, None, UUID(int=5)))
    key, value = CODEC.encode(record)
    assert key == KEY
    assert value == (
        pack(">hqi", 4, 9, 7)
        + b"\x04n\xc3\xa9"
        + pack(">q", 1_000_000)
        + b"\x01\x00\x10"  # one tagged field: 0, of 16 bytes
        + UUID(int=5).bytes
    )


@pytest.mark.parametrize(
    "value, expected",
    [
        (pack(">hqh2sq", 0, 9, 2, b"no", 5), CommittedOffset(9, -1, "no", 5)),
        (pack(">hqh2sqq", 1, 9, 2, b"no", 5, 6), CommittedOffset(9, -1, "no", 5, 6)),
        (pack(">hqh2sqq", 1, 9, 2, b"no", 5, -1), CommittedOffset(9, -1, "no", 5)),
        (pack(">hqh2sq", 2, 9, 2, b"no", 5), CommittedOffset(9, -1, "no", 5)),
        (pack(">hqih2sq", 3, 9, 7, 2, b"no", 5), CommittedOffset(9, 7, "no", 5)),
        (pack(">hqi3sqB", 4, 9, 7, b"\x03no", 5, 0), CommittedOffset(9, 7, "no", 5)),
    ],
)
def test_offsets_of_every_version_are_read(value: bytes, expected: CommittedOffset) -> None:
    assert CODEC.decode(KEY, value) == OffsetRecord("g", "u", 1, expected)
    assert CODEC.decode(b"\0\0" + KEY[2:], value) == OffsetRecord("g", "u", 1, expected)


def test_a_group_of_the_first_version_is_read() -> None:
    member = pack(">h1sh1sh1si", 1, b"m", 1, b"c", 1, b"h", 7) + pack(">i1si1s", 1, b"s", 1, b"a")
    value = pack(">hh1sih1sh1si", 0, 1, b"p", 3, 1, b"r", 1, b"m", 1) + member
    stored = StoredGroup("p", 3, "r", "m", -1, (StoredMember("m", None, "c", "h", 7, 7, b"s", b"a"),))
    assert CODEC.decode(b"\0\x02\0\x01g", value) == GroupRecord("g", stored)


@pytest.mark.parametrize(
    "key, value",
    [
        (b"", b"\0\0"),
        (b"\0", None),
        (KEY[:-1], None),
        (KEY + b"x", None),
        (KEY, b""),
        (KEY, b"\0"),
        (KEY, pack(">h", 5)),
        (KEY, pack(">h", -1)),
        (KEY, pack(">hq", 0, 9)),
        (b"\0\x02\0\x01g", pack(">h", 3)),
        (b"\0\x03\0\x01g", pack(">h", 1)),
        (b"\0\x03\0\x01g", pack(">hi", 0, 1)),
        (b"\0\x05\0\x01g", None),
        (b"\0\x08\0\x01g\0\x01m", pack(">hiibBBB", 0, 1, 1, 9, 1, 1, 0)),
        (b"\0\x07\0\x01g\0\x01m", b"\0\0\x02" + bytes(16) + b"\x01\0\0"),
    ],
)
def test_what_cannot_be_read_is_corrupt(key: bytes, value: bytes | None) -> None:
    with pytest.raises(CorruptRecordError):
        CODEC.decode(key, value)


def test_kinds_of_later_versions_are_passed_over() -> None:
    assert CODEC.decode(pack(">h", 999) + b"anything", b"at all") is None
    assert CODEC.decode(pack(">h", 4) + b"\0\x01g", b"\0\0\x01\0") is None, "what Kafka 4.0 wrote of a group's topics"


def test_a_member_of_a_consumer_group_as_kafka_writes_it() -> None:
    member = ConsumerMember(None, "r", "c", "/h", ("t", "u"), None, 9, "range", ClassicProtocol(7, (("p", b"x"),)))
    key, value = CODEC.encode(ConsumerMemberRecord("g", "m", member))
    assert key == b"\0\x05\0\x01g\0\x01m"
    assert value == (
        b"\0\0"  # the version
        b"\0\x02r\x02c\x03/h\x03\x02t\x02u\0"
        + pack(">i", 9)
        + b"\x06range"
        + b"\x01\0\x0c\x01"  # one tagged field: 0, of 12 bytes, and something is there
        + pack(">i", 7)
        + b"\x02\x02p\x02x\0\0"
    )


def test_what_a_member_has_as_kafka_writes_it() -> None:
    topic_id = UUID(int=5)
    current = CurrentAssignment(3, 2, MemberState.UNREVOKED_PARTITIONS, {topic_id: (0, 2)}, {topic_id: (1,)})
    key, value = CODEC.encode(CurrentAssignmentRecord("g", "m", current))
    assert key == b"\0\x08\0\x01g\0\x01m"
    assert value == (
        pack(">hiib", 0, 3, 2, 1)
        + b"\x02"
        + topic_id.bytes
        + pack(">Bii", 3, 0, 2)
        + b"\0\x02"
        + topic_id.bytes
        + pack(">Bi", 2, 1)
        + b"\0\0"
    )


def test_an_epoch_as_kafka_writes_it() -> None:
    assert CODEC.encode(ConsumerGroupRecord("g", GroupEpoch(5))) == (b"\0\x03\0\x01g", pack(">hiB", 0, 5, 0))
    hashed = pack(">hi", 0, 5) + b"\x01\0\x08" + pack(">q", -2)
    assert CODEC.encode(ConsumerGroupRecord("g", GroupEpoch(5, -2))) == (b"\0\x03\0\x01g", hashed)


_TEXT = st.text(max_size=8)
_MILLISECONDS = st.integers(0, 2**40)
_INT32 = st.integers(0, 2**31 - 1)
_PLAIN_OFFSETS = st.builds(
    CommittedOffset, st.integers(-1, 2**62), _INT32, _TEXT, _MILLISECONDS, topic_id=st.none() | st.uuids()
)
_EXPIRING_OFFSETS = st.builds(CommittedOffset, st.integers(0, 2**62), st.just(-1), _TEXT, _MILLISECONDS, _MILLISECONDS)
_OFFSETS = _PLAIN_OFFSETS | _EXPIRING_OFFSETS
_DATA = st.binary(max_size=20)
_MEMBERS = st.builds(StoredMember, _TEXT, st.none() | _TEXT, _TEXT, _TEXT, _INT32, _INT32, _DATA, _DATA)
_GROUPS = st.builds(
    StoredGroup,
    _TEXT,
    st.integers(0, 2**31 - 1),
    st.none() | _TEXT,
    st.none() | _TEXT,
    st.integers(-1, 2**40),
    st.lists(_MEMBERS, max_size=3).map(tuple),
)
_TEXTS = st.lists(_TEXT, max_size=3).map(tuple)
_PARTITIONS = st.dictionaries(
    st.uuids().filter(lambda topic_id: topic_id.int > 0),
    st.sets(_INT32, min_size=1, max_size=3).map(lambda partitions: tuple(sorted(partitions))),
    max_size=3,
)
_CLASSIC = st.builds(ClassicProtocol, _INT32, st.lists(st.tuples(_TEXT, _DATA), max_size=2).map(tuple))
_MAYBE = st.none() | _TEXT
_CONSUMERS = st.builds(
    ConsumerMember, _MAYBE, _MAYBE, _TEXT, _TEXT, _TEXTS, _MAYBE, _INT32, _MAYBE, st.none() | _CLASSIC
)
_EPOCHS = st.builds(GroupEpoch, _INT32, st.integers(-(2**63), 2**63 - 1))
_CURRENT = st.builds(CurrentAssignment, _INT32, _INT32, st.sampled_from(MemberState), _PARTITIONS, _PARTITIONS)
_PATTERNS = st.builds(ResolvedPattern, _TEXTS, st.integers(0, 2**60), _MILLISECONDS)
_CONSUMER_RECORDS: Any = (
    st.builds(ConsumerGroupRecord, _TEXT, st.none() | _EPOCHS)
    | st.builds(ConsumerMemberRecord, _TEXT, _TEXT, st.none() | _CONSUMERS)
    | st.builds(TargetEpochRecord, _TEXT, st.none() | _INT32)
    | st.builds(TargetRecord, _TEXT, _TEXT, st.none() | _PARTITIONS)
    | st.builds(CurrentAssignmentRecord, _TEXT, _TEXT, st.none() | _CURRENT)
    | st.builds(PatternRecord, _TEXT, _TEXT, st.none() | _PATTERNS)
)
_RECORDS: Any = st.builds(OffsetRecord, _TEXT, _TEXT, st.integers(0, 2**31 - 1), st.none() | _OFFSETS) | st.builds(
    GroupRecord, _TEXT, st.none() | _GROUPS
)


@settings(max_examples=200, deadline=None)
@given(record=_RECORDS | _CONSUMER_RECORDS)
def test_what_is_written_is_read_again(record: GroupsRecord) -> None:
    assert CODEC.decode(*CODEC.encode(record)) == record
