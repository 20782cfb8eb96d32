"""The records of groups in Kafka's formats of `__consumer_offsets`, byte by byte: its tools read them.

A key begins with its kind (int16), a value with its version (int16). Keys are in Kafka's old form, without tags; values
from the version on that is named.

| kind | key | value, versions read | written | flexible from |
|---|---|---|---|---|
| 0, 1 | group, topic, partition | a committed offset, 0–4 | 4; 1 where it has a time of its own | 4 |
| 2 | group | a classic group, 0–4 | 3 | 4 |
| 3–8, 16 | | consumer groups: see `consumer_codec`, 0 | 0 | 0 |

Kinds that this version does not know are passed over: those of share groups (10–15), of streams groups (17–23).
"""

from struct import Struct

from broker.coordinator.groups import consumer_codec
from broker.coordinator.groups.records import (
    CommittedOffset,
    GroupRecord,
    GroupsRecord,
    OffsetRecord,
    StoredGroup,
    StoredMember,
)
from broker.kafka.schema import (
    Bytes,
    Int32,
    Int64,
    NullableString,
    String,
    Structure,
    Uuid,
    decode,
    encode,
    structure,
    wire,
)
from broker.kafka.wire import ProtocolError
from kraftpy.errors import CorruptRecordError

OLD_OFFSET, OFFSET, GROUP = 0, 1, 2
"""Kinds of keys."""

_KIND = Struct(">h")
_OFFSET_VERSION, _OFFSET_VERSION_WITH_EXPIRY, _OFFSET_VERSION_MAX, _OFFSET_FLEXIBLE_FROM = 4, 1, 4, 4
_GROUP_VERSION, _GROUP_VERSION_MAX, _GROUP_FLEXIBLE_FROM = 3, 4, 4


@structure
class OffsetCommitKey(Structure):
    group: String
    topic: String
    partition: Int32


@structure
class OffsetCommitValue(Structure):
    offset: Int64
    leader_epoch: Int32 = wire(since=3, default=-1)
    metadata: String
    commit_timestamp: Int64
    expire_timestamp: Int64 = wire(since=1, end=2, default=-1)
    topic_id: Uuid = wire(since=4, tag=0, default=None)


@structure
class GroupMetadataKey(Structure):
    group: String


@structure
class MemberMetadata(Structure):
    member_id: String
    group_instance_id: NullableString = wire(since=3, default=None)
    client_id: String
    client_host: String
    rebalance_timeout: Int32 = wire(since=1, default=0)
    session_timeout: Int32
    subscription: Bytes
    assignment: Bytes


@structure
class GroupMetadataValue(Structure):
    protocol_type: String
    generation: Int32
    protocol: NullableString
    leader: NullableString
    current_state_timestamp: Int64 = wire(since=2, default=-1)
    members: tuple[MemberMetadata, ...]


class GroupRecordCodec:
    """`broker.coordinator.core.RecordCodec`."""

    def encode(self, record: GroupsRecord) -> tuple[bytes, bytes | None]:
        if isinstance(record, OffsetRecord):
            key = OffsetCommitKey(group=record.group_id, topic=record.topic, partition=record.partition)
            return _key(OFFSET, key), None if record.value is None else _offset_value(record.value)
        if isinstance(record, GroupRecord):
            key_of_group = GroupMetadataKey(group=record.group_id)
            return _key(GROUP, key_of_group), None if record.value is None else _group_value(record.value)
        kind, key_of_kind, value = consumer_codec.encoded(record)
        return _key(kind, key_of_kind), None if value is None else _KIND.pack(0) + bytes(
            encode(value, 0, flexible=True)
        )

    def decode(self, key: bytes, value: bytes | None) -> GroupsRecord | None:
        if len(key) < _KIND.size:
            raise CorruptRecordError("a record of the group coordinator has no kind")
        try:
            match _KIND.unpack_from(key)[0]:
                case 0 | 1:
                    return _offset_record(key, value)
                case 2:
                    return _group_record(key, value)
                case 3 | 5 | 6 | 7 | 8 | 16 as kind:
                    return _consumer_record(kind, key, value)
                case _:
                    return None
        except ProtocolError as error:
            raise CorruptRecordError(f"a record of the group coordinator cannot be read: {error}") from error


def _key(kind: int, key: Structure) -> bytes:
    return _KIND.pack(kind) + bytes(encode(key, 0, flexible=False))


def _version_of(value: bytes, version_max: int) -> int:
    if len(value) < _KIND.size:
        raise CorruptRecordError("a record of the group coordinator has no version")
    version: int = _KIND.unpack_from(value)[0]
    if not 0 <= version <= version_max:
        raise CorruptRecordError(f"a record of the group coordinator has version {version}, known is {version_max}")
    return version


# --- offsets ---------------------------------------------------------------------------------------------------------


def _offset_value(value: CommittedOffset) -> bytes:
    version = _OFFSET_VERSION if value.expires_ms is None else _OFFSET_VERSION_WITH_EXPIRY
    stored = OffsetCommitValue(
        offset=value.offset,
        leader_epoch=value.leader_epoch,
        metadata=value.metadata,
        commit_timestamp=value.committed_ms,
        expire_timestamp=-1 if value.expires_ms is None else value.expires_ms,
        topic_id=value.topic_id,
    )
    return _KIND.pack(version) + bytes(encode(stored, version, flexible=version >= _OFFSET_FLEXIBLE_FROM))


def _offset_record(key: bytes, value: bytes | None) -> OffsetRecord:
    about = decode(OffsetCommitKey, key[_KIND.size :], 0, flexible=False)
    if value is None:
        return OffsetRecord(about.group, about.topic, about.partition, None)
    version = _version_of(value, _OFFSET_VERSION_MAX)
    stored = decode(OffsetCommitValue, value[_KIND.size :], version, flexible=version >= _OFFSET_FLEXIBLE_FROM)
    committed = CommittedOffset(
        stored.offset,
        stored.leader_epoch,
        stored.metadata,
        stored.commit_timestamp,
        stored.expire_timestamp if stored.expire_timestamp >= 0 else None,
        stored.topic_id,
    )
    return OffsetRecord(about.group, about.topic, about.partition, committed)


# --- classic groups --------------------------------------------------------------------------------------------------


def _group_value(group: StoredGroup) -> bytes:
    stored = GroupMetadataValue(
        protocol_type=group.protocol_type,
        generation=group.generation,
        protocol=group.protocol,
        leader=group.leader_id,
        current_state_timestamp=group.state_since_ms,
        members=tuple(
            MemberMetadata(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                rebalance_timeout=member.rebalance_timeout_ms,
                session_timeout=member.session_timeout_ms,
                subscription=member.subscription,
                assignment=member.assignment,
            )
            for member in group.members
        ),
    )
    return _KIND.pack(_GROUP_VERSION) + bytes(encode(stored, _GROUP_VERSION, flexible=False))


def _group_record(key: bytes, value: bytes | None) -> GroupRecord:
    group_id = decode(GroupMetadataKey, key[_KIND.size :], 0, flexible=False).group
    if value is None:
        return GroupRecord(group_id, None)
    version = _version_of(value, _GROUP_VERSION_MAX)
    stored = decode(GroupMetadataValue, value[_KIND.size :], version, flexible=version >= _GROUP_FLEXIBLE_FROM)
    members = tuple(
        StoredMember(
            member.member_id,
            member.group_instance_id,
            member.client_id,
            member.client_host,
            # before version 1 there was one time for both
            member.rebalance_timeout if version >= 1 else member.session_timeout,
            member.session_timeout,
            bytes(member.subscription),
            bytes(member.assignment),
        )
        for member in stored.members
    )
    return GroupRecord(
        group_id,
        StoredGroup(
            stored.protocol_type,
            stored.generation,
            stored.protocol,
            stored.leader,
            stored.current_state_timestamp,
            members,
        ),
    )


# --- consumer groups -------------------------------------------------------------------------------------------------


def _consumer_record(kind: int, key: bytes, value: bytes | None) -> GroupsRecord | None:
    if value is not None:
        _version_of(value, 0)
    return consumer_codec.decoded(kind, key[_KIND.size :], None if value is None else value[_KIND.size :])
