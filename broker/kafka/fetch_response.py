"""A Fetch response as bytes, versions 4–18, written by hand: the hottest message that a broker sends.

Records are not touched: they stay the ranges of files that they are, between the packed pieces around them, and leave
by sendfile. Much as in the table of `fetch_request`, fields came with versions: the log's start (5), the session and an
error of the whole (7), the preferred replica (11), divergence and the current leader (12), topic ids (13), and the
endpoints of the leaders that are named (16, KIP-951).

One tagged field of a partition is kraftpy's own: to a follower, that the log may have gaps.

Topics stand in the order of the answer; neighbours of one topic share its entry.
"""

from collections.abc import Iterable
from struct import Struct

from broker.kafka.endpoints import EndpointOf, no_endpoint
from broker.kafka.fetch_request import FLEXIBLE_FROM, RACK_FROM, SESSIONS_FROM, TOPIC_IDS_FROM
from broker.kafka.wire import NO_TAGS, NO_THROTTLE, count, nullable_string, string, tagged, uuid, varint
from broker.replication.fetch_types import CurrentLeader, FetchAnswer, FetchedPartition, IsolationLevel
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import (
    FencedLeaderEpochError,
    FetchSessionTopicIdError,
    InconsistentTopicIdError,
    KafkaStorageError,
    KraftpyError,
    NotLeaderOrFollowerError,
    OffsetNotAvailableError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
from kraftpy.runtime.ports import Buffer, FileSlice, FrameParts

LOG_START_FROM, ENDPOINTS_FROM = 5, 16
_STORAGE_ERROR_FROM = 6
_SESSION = Struct(">hi")
_PARTITION_V4 = Struct(">ihqq")
_PARTITION_V5 = Struct(">ihqqq")
_INT32 = Struct(">i")
_NULL_ARRAY = {True: b"\0", False: b"\xff\xff\xff\xff"}
_ABORTED = Struct(">qq")
_DIVERGING = Struct(">iqx")
"""Epoch and end offset, and no tagged fields behind them. The size is written before it."""
_LEADER = Struct(">iix")
_TAG_DIVERGING, _TAG_LEADER = 0, 1
TAG_MAY_HAVE_GAPS = 10_000
"""Ours, for our own followers, and far from what Kafka may come to use. Who does not know it passes over it."""
_TAG_ENDPOINTS = 0


def encode_response(
    version: int, answer: FetchAnswer, level: IsolationLevel, endpoint_of: EndpointOf = no_endpoint
) -> FrameParts:
    """The body. Raises nothing: an answer that the version cannot express becomes an error of the whole."""
    error, partitions = answer.error, answer.partitions
    if error is None and not _can_name(version, partitions):
        error, partitions = FetchSessionTopicIdError, []
    flexible = version >= FLEXIBLE_FROM
    groups = _by_topic(version, partitions)
    parts: list[Buffer | FileSlice] = []
    packed = bytearray(NO_THROTTLE)
    if version >= SESSIONS_FROM:
        packed += _SESSION.pack(_code(version, error), answer.session_id)
    packed += count(len(groups), flexible=flexible)
    for topic, group in groups:
        packed += topic
        packed += count(len(group), flexible=flexible)
        for fetched in group:
            packed += _encode_partition(version, fetched, level)
            if fetched.slices:
                parts.append(packed)
                parts += fetched.slices
                packed = bytearray()
            elif len(fetched.records):
                packed += fetched.records
            if flexible:
                packed += _encode_tags(fetched)
        if flexible:
            packed += NO_TAGS
    if flexible:
        packed += _encode_endpoints(version, partitions, endpoint_of)
    parts.append(packed)
    return parts


def _encode_partition(version: int, fetched: FetchedPartition, level: IsolationLevel) -> bytes:
    """Everything in front of the records."""
    flexible = version >= FLEXIBLE_FROM
    code = _code(version, fetched.error)
    fields = (fetched.target.partition, code, fetched.high_watermark, fetched.last_stable_offset)
    if version >= LOG_START_FROM:
        packed = _PARTITION_V5.pack(*fields, fetched.log_start_offset)
    else:
        packed = _PARTITION_V4.pack(*fields)
    if level is IsolationLevel.READ_COMMITTED:
        packed += count(len(fetched.aborted), flexible=flexible)
        for transaction in fetched.aborted:
            packed += _ABORTED.pack(*transaction)
            if flexible:
                packed += NO_TAGS
    else:
        packed += _NULL_ARRAY[flexible]
    if version >= RACK_FROM:
        packed += _INT32.pack(fetched.preferred_read_replica)
    if flexible:
        return packed + varint(fetched.size_bytes + 1)
    return packed + _INT32.pack(fetched.size_bytes)


def _encode_tags(fetched: FetchedPartition) -> bytes:
    if fetched.diverging is None and fetched.leader is None and not fetched.may_have_gaps:
        return NO_TAGS
    fields = []
    if fetched.diverging is not None:
        fields.append((_TAG_DIVERGING, _DIVERGING.pack(*fetched.diverging)))
    if fetched.leader is not None and fetched.leader != CurrentLeader(-1, -1):
        fields.append((_TAG_LEADER, _LEADER.pack(*fetched.leader)))
    if fetched.may_have_gaps:
        fields.append((TAG_MAY_HAVE_GAPS, b""))
    return tagged(fields)


def _encode_endpoints(version: int, partitions: Iterable[FetchedPartition], endpoint_of: EndpointOf) -> bytes:
    """The leaders that are named where a reader asked the wrong broker, so that it need not ask for metadata first."""
    if version < ENDPOINTS_FROM:
        return NO_TAGS
    leaders: dict[int, None] = {}
    for fetched in partitions:
        if fetched.leader is not None and fetched.error in (NotLeaderOrFollowerError, FencedLeaderEpochError):
            leaders[fetched.leader.id] = None
    endpoints = [endpoint for leader_id in leaders if (endpoint := endpoint_of(leader_id)) is not None]
    if not endpoints:
        return NO_TAGS
    packed = bytearray(count(len(endpoints), flexible=True))
    for endpoint in endpoints:
        packed += _INT32.pack(endpoint.broker_id) + string(endpoint.host, flexible=True)
        packed += _INT32.pack(endpoint.port) + nullable_string(endpoint.rack, flexible=True) + NO_TAGS
    return tagged([(_TAG_ENDPOINTS, bytes(packed))])


def _can_name(version: int, partitions: Iterable[FetchedPartition]) -> bool:
    """A session that was begun with names cannot go on with ids, nor the other way round (KIP-516)."""
    if version >= TOPIC_IDS_FROM:
        return all(fetched.target.topic_id is not None or not fetched.target.topic for fetched in partitions)
    return all(fetched.target.topic or fetched.target.topic_id is None for fetched in partitions)


def _by_topic(version: int, partitions: Iterable[FetchedPartition]) -> list[tuple[bytes, list[FetchedPartition]]]:
    """Each topic's name or id, packed, with its partitions."""
    by_id = version >= TOPIC_IDS_FROM
    groups: list[tuple[bytes, list[FetchedPartition]]] = []
    last: object = None
    for fetched in partitions:
        target = fetched.target
        name = target.topic_id if by_id else target.topic
        if not groups or name != last:
            packed = uuid(target.topic_id) if by_id else string(target.topic, flexible=version >= FLEXIBLE_FROM)
            groups.append((packed, []))
            last = name
        groups[-1][1].append(fetched)
    return groups


def _code(version: int, error: type[KraftpyError] | None) -> int:
    """The number of an error, or of the nearest that a reader of this version knows.

    A new leader that does not know yet what is committed is no error to Kafka's consumers: they find no records and no
    watermark, and ask again. Kafka's leader says OFFSET_NOT_AVAILABLE in ListOffsets alone (KIP-207); in a Fetch sarama
    reports it as a failure, and KafkaJS starts its consumer anew. Followers are never refused so.
    """
    if error is None or issubclass(error, OffsetNotAvailableError):
        return NO_ERROR
    if version < TOPIC_IDS_FROM and issubclass(error, UnknownTopicIdError | InconsistentTopicIdError):
        return code_of(UnknownTopicOrPartitionError)
    if version < _STORAGE_ERROR_FROM and issubclass(error, KafkaStorageError):
        return code_of(NotLeaderOrFollowerError)
    return code_of(error)
