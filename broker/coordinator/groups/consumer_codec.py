"""The records of consumer groups in Kafka's formats (KIP-848), beside those of `codec`.

| kind | key | value (version 0) |
|---|---|---|
| 3 | group | its epoch, and the hash of its topics as tag 0 |
| 4 | group | topics and partitions, as Kafka 4.0 wrote them; passed over: the hash replaced it |
| 5 | group, member | what the member says of itself |
| 6 | group | the epoch of the target assignment |
| 7 | group, member | its part of that |
| 8 | group, member | what it has |
| 16 | group, pattern | the topics that it stands for |
"""

from typing import TypeVar
from uuid import UUID

from broker.coordinator.groups.consumer_records import (
    ClassicProtocol,
    ConsumerGroupRecord,
    ConsumerMember,
    ConsumerMemberRecord,
    ConsumerRecord,
    CurrentAssignment,
    CurrentAssignmentRecord,
    GroupEpoch,
    MemberState,
    Partitions,
    PatternRecord,
    ResolvedPattern,
    TargetEpochRecord,
    TargetRecord,
)
from broker.kafka.schema import (
    Bytes,
    Int8,
    Int32,
    Int64,
    NullableString,
    String,
    Structure,
    Uuid,
    decode,
    structure,
    wire,
)
from kraftpy.errors import CorruptRecordError

S = TypeVar("S", bound=Structure)

CONSUMER_GROUP, CONSUMER_MEMBER, TARGET_EPOCH, TARGET, CURRENT_ASSIGNMENT, PATTERN = 3, 5, 6, 7, 8, 16
"""Kinds of keys."""


@structure
class GroupKey(Structure):
    group: String


@structure
class MemberOfGroupKey(Structure):
    group: String
    member: String


@structure
class GroupEpochValue(Structure):
    epoch: Int32
    metadata_hash: Int64 = wire(tag=0, default=0)


@structure
class ClassicOffer(Structure):
    name: String
    metadata: Bytes


@structure
class ClassicMember(Structure):
    session_timeout: Int32
    protocols: tuple[ClassicOffer, ...]


@structure
class ConsumerMemberValue(Structure):
    instance_id: NullableString
    rack_id: NullableString
    client_id: String
    client_host: String
    topics: tuple[String, ...]
    pattern: NullableString
    rebalance_timeout: Int32
    assignor: NullableString
    classic: ClassicMember | None = wire(tag=0, default=None)


@structure
class TargetEpochValue(Structure):
    epoch: Int32


@structure
class TopicPartitions(Structure):
    topic_id: Uuid
    partitions: tuple[Int32, ...]


@structure
class TargetValue(Structure):
    partitions: tuple[TopicPartitions, ...]


@structure
class CurrentAssignmentValue(Structure):
    epoch: Int32
    previous_epoch: Int32
    state: Int8
    assigned: tuple[TopicPartitions, ...]
    revoking: tuple[TopicPartitions, ...]


@structure
class PatternValue(Structure):
    topics: tuple[String, ...]
    version: Int64
    timestamp: Int64


Encoded = tuple[int, Structure, Structure | None]
"""Kind, key, value."""


def encoded(record: ConsumerRecord) -> Encoded:
    """As structures of version 0, whose keys are in the old form and whose values are flexible."""
    match record:
        case ConsumerGroupRecord(group_id, value):
            return CONSUMER_GROUP, GroupKey(group=group_id), _group_epoch(value)
        case ConsumerMemberRecord(group_id, member_id, member):
            key = MemberOfGroupKey(group=group_id, member=member_id)
            return CONSUMER_MEMBER, key, None if member is None else _member(member)
        case TargetEpochRecord(group_id, epoch):
            return TARGET_EPOCH, GroupKey(group=group_id), None if epoch is None else TargetEpochValue(epoch=epoch)
        case TargetRecord(group_id, member_id, partitions):
            target = None if partitions is None else TargetValue(partitions=_topics(partitions))
            return TARGET, MemberOfGroupKey(group=group_id, member=member_id), target
        case CurrentAssignmentRecord(group_id, member_id, current):
            key = MemberOfGroupKey(group=group_id, member=member_id)
            return CURRENT_ASSIGNMENT, key, None if current is None else _current(current)
        case PatternRecord(group_id, pattern, resolved):
            key = MemberOfGroupKey(group=group_id, member=pattern)  # laid out alike
            return PATTERN, key, None if resolved is None else _pattern(resolved)


def decoded(kind: int, key: bytes, value: bytes | None) -> ConsumerRecord | None:
    """`key` and `value` without their kind and version (0). None: a kind that is not one of these."""
    match kind:
        case 3:
            return ConsumerGroupRecord(_group_of(key), None if value is None else _read_group_epoch(value))
        case 5:
            return ConsumerMemberRecord(*_member_of(key), None if value is None else _read_member(value))
        case 6:
            return TargetEpochRecord(_group_of(key), None if value is None else _read(TargetEpochValue, value).epoch)
        case 7:
            target = None if value is None else _partitions(_read(TargetValue, value).partitions)
            return TargetRecord(*_member_of(key), target)
        case 8:
            return CurrentAssignmentRecord(*_member_of(key), None if value is None else _read_current(value))
        case 16:
            return PatternRecord(*_member_of(key), None if value is None else _read_pattern(value))
        case _:
            return None


# --- writing ---------------------------------------------------------------------------------------------------------


def _group_epoch(value: GroupEpoch | None) -> GroupEpochValue | None:
    return None if value is None else GroupEpochValue(epoch=value.epoch, metadata_hash=value.metadata_hash)


def _member(member: ConsumerMember) -> ConsumerMemberValue:
    classic = member.classic
    return ConsumerMemberValue(
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        client_id=member.client_id,
        client_host=member.client_host,
        topics=member.topics,
        pattern=member.pattern,
        rebalance_timeout=member.rebalance_timeout_ms,
        assignor=member.assignor,
        classic=None
        if classic is None
        else ClassicMember(
            session_timeout=classic.session_timeout_ms,
            protocols=tuple(ClassicOffer(name=name, metadata=metadata) for name, metadata in classic.protocols),
        ),
    )


def _topics(partitions: Partitions) -> tuple[TopicPartitions, ...]:
    return tuple(TopicPartitions(topic_id=topic_id, partitions=each) for topic_id, each in partitions.items())


def _current(current: CurrentAssignment) -> CurrentAssignmentValue:
    return CurrentAssignmentValue(
        epoch=current.epoch,
        previous_epoch=current.previous_epoch,
        state=current.state.value,
        assigned=_topics(current.assigned),
        revoking=_topics(current.revoking),
    )


def _pattern(resolved: ResolvedPattern) -> PatternValue:
    return PatternValue(topics=resolved.topics, version=resolved.metadata_version, timestamp=resolved.resolved_ms)


# --- reading ---------------------------------------------------------------------------------------------------------


def _read(cls: type[S], value: bytes) -> S:
    return decode(cls, value, 0, flexible=True)


def _group_of(key: bytes) -> str:
    return decode(GroupKey, key, 0, flexible=False).group


def _member_of(key: bytes) -> tuple[str, str]:
    read = decode(MemberOfGroupKey, key, 0, flexible=False)
    return read.group, read.member


def _read_group_epoch(value: bytes) -> GroupEpoch:
    read = _read(GroupEpochValue, value)
    return GroupEpoch(read.epoch, read.metadata_hash)


def _read_member(value: bytes) -> ConsumerMember:
    read = _read(ConsumerMemberValue, value)
    classic = read.classic
    return ConsumerMember(
        read.instance_id,
        read.rack_id,
        read.client_id,
        read.client_host,
        read.topics,
        read.pattern,
        read.rebalance_timeout,
        read.assignor,
        None
        if classic is None
        else ClassicProtocol(
            classic.session_timeout,
            tuple((each.name, bytes(each.metadata)) for each in classic.protocols),
        ),
    )


def _partitions(topics: tuple[TopicPartitions, ...]) -> Partitions:
    read: dict[UUID, tuple[int, ...]] = {}
    for each in topics:
        if each.topic_id is None or each.topic_id in read:
            raise CorruptRecordError(f"an assignment names topic {each.topic_id} twice, or no topic at all")
        read[each.topic_id] = tuple(sorted(each.partitions))
    return read


def _read_current(value: bytes) -> CurrentAssignment:
    read = _read(CurrentAssignmentValue, value)
    try:
        state = MemberState(read.state)
    except ValueError as error:
        raise CorruptRecordError(f"a member of a consumer group is in state {read.state}") from error
    return CurrentAssignment(
        read.epoch, read.previous_epoch, state, _partitions(read.assigned), _partitions(read.revoking)
    )


def _read_pattern(value: bytes) -> ResolvedPattern:
    read = _read(PatternValue, value)
    return ResolvedPattern(read.topics, read.version, read.timestamp)
