"""The bytes of Produce, versions 3–13: the request read and the response written, by hand, as it is the hottest way in.

| from version | comes |
|---|---|
| 5 | the start of the log, in the answer |
| 7 | zstd may be used (KIP-110) |
| 8 | an error's text (KIP-467) |
| 9 | flexible form |
| 10 | the current leader and its address, with NOT_LEADER_OR_FOLLOWER (KIP-951) |
| 12 | transactions whose partitions the leader adds (KIP-890) |
| 13 | topic ids in place of names (KIP-516) |

Records are not copied: what is read are views of the frame, and writable as the frame is. Topics are answered in the
order of the request; neighbours of one topic share its entry. Pure.
"""

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import NamedTuple
from uuid import UUID

from broker.kafka.endpoints import AdvertisedEndpoint
from broker.kafka.wire import NO_TAGS, NO_THROTTLE, RequestReader, count, nullable_string, string, tagged, uuid
from kraftpy.runtime.ports import Buffer

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 3, 13, 9
LOG_START_FROM, ZSTD_FROM, TEXTS_FROM, LEADERS_FROM, TRANSACTIONS_V2_FROM, TOPIC_IDS_FROM = 5, 7, 8, 10, 12, 13
_ACKS_AND_TIMEOUT = Struct(">hi")
_PARTITION_V3 = Struct(">ihqq")
_PARTITION_V5 = Struct(">ihqqq")
_LEADER = Struct(">iix")
_INT32 = Struct(">i")
_TAG_LEADER = _TAG_ENDPOINTS = 0


class ProducedRecords(NamedTuple):
    """Records for one partition. `topic_id` in place of `topic` from version 13 on."""

    topic: str
    topic_id: UUID | None
    partition: int
    records: Buffer
    """Empty where the request had null."""


class DecodedProduce(NamedTuple):
    transactional_id: str | None
    acks: int
    timeout_ms: int
    partitions: list[ProducedRecords]


class AnsweredPartition(NamedTuple):
    """The answer for one `ProducedRecords`, named as that was."""

    topic: str
    topic_id: UUID | None
    partition: int
    error: int
    error_message: str | None
    base_offset: int
    log_append_time_ms: int
    log_start_offset: int
    leader: tuple[int, int] | None  # id and epoch


def decode_request(version: int, body: Buffer) -> DecodedProduce:
    """Raises `ProtocolError`."""
    reader = RequestReader(memoryview(body), flexible=version >= FLEXIBLE_FROM)
    transactional_id = reader.nullable_string()
    acks, timeout_ms = reader.unpack(_ACKS_AND_TIMEOUT)
    partitions: list[ProducedRecords] = []
    for _ in range(reader.count(element_bytes_min=2)):
        topic_id = reader.uuid() if version >= TOPIC_IDS_FROM else None
        topic = "" if version >= TOPIC_IDS_FROM else reader.string()
        for _ in range(reader.count(element_bytes_min=5)):
            index = reader.int32()
            partitions.append(ProducedRecords(topic, topic_id, index, reader.nullable_bytes()))
            reader.skip_tags()
        reader.skip_tags()
    reader.skip_tags()
    return DecodedProduce(transactional_id, acks, timeout_ms, partitions)


def encode_response(
    version: int, answers: Sequence[AnsweredPartition], endpoints: Iterable[AdvertisedEndpoint] = ()
) -> bytes:
    flexible = version >= FLEXIBLE_FROM
    groups = _by_topic(answers)
    packed = bytearray(count(len(groups), flexible=flexible))
    for group in groups:
        first = group[0]
        packed += uuid(first.topic_id) if version >= TOPIC_IDS_FROM else string(first.topic, flexible=flexible)
        packed += count(len(group), flexible=flexible)
        for answer in group:
            _put_partition(packed, version, answer)
        if flexible:
            packed += NO_TAGS
    packed += NO_THROTTLE
    if flexible:
        packed += _encode_endpoints(endpoints) if version >= LEADERS_FROM else NO_TAGS
    return bytes(packed)


def _put_partition(packed: bytearray, version: int, answer: AnsweredPartition) -> None:
    flexible = version >= FLEXIBLE_FROM
    fields = (answer.partition, answer.error, answer.base_offset, answer.log_append_time_ms)
    if version >= LOG_START_FROM:
        packed += _PARTITION_V5.pack(*fields, answer.log_start_offset)
    else:
        packed += _PARTITION_V3.pack(*fields)
    if version >= TEXTS_FROM:
        packed += count(0, flexible=flexible)  # errors of single records: a batch is opaque here
        packed += nullable_string(answer.error_message, flexible=flexible)
    if not flexible:
        return
    if version >= LEADERS_FROM and answer.leader is not None:
        packed += tagged([(_TAG_LEADER, _LEADER.pack(*answer.leader))])
    else:
        packed += NO_TAGS


def _encode_endpoints(endpoints: Iterable[AdvertisedEndpoint]) -> bytes:
    listed = list(endpoints)
    if not listed:
        return NO_TAGS
    packed = bytearray(count(len(listed), flexible=True))
    for endpoint in listed:
        packed += _INT32.pack(endpoint.broker_id) + string(endpoint.host, flexible=True)
        packed += _INT32.pack(endpoint.port) + nullable_string(endpoint.rack, flexible=True) + NO_TAGS
    return tagged([(_TAG_ENDPOINTS, bytes(packed))])


def _by_topic(answers: Iterable[AnsweredPartition]) -> list[list[AnsweredPartition]]:
    groups: list[list[AnsweredPartition]] = []
    for answer in answers:
        if not groups or (groups[-1][0].topic, groups[-1][0].topic_id) != (answer.topic, answer.topic_id):
            groups.append([])
        groups[-1].append(answer)
    return groups
