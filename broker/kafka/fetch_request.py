"""The bytes of a Fetch request, versions 4–18, read.

| from version | comes |
|---|---|
| 5 | the start of a follower's log |
| 7 | sessions and forgotten topics (KIP-227) |
| 9 | the leader epoch that the reader believes in (KIP-320) |
| 11 | the reader's rack (KIP-392) |
| 12 | flexible form, the epoch of the reader's last record (KIP-595), cluster id |
| 13 | topic ids in place of names (KIP-516) |
| 15 | replica id and broker epoch in a tagged field (KIP-903) |
| 17 | the directory of the follower's replica |
| 18 | the high watermark that the follower knows (KIP-1166) |
"""

from struct import Struct
from typing import NamedTuple
from uuid import UUID

from broker.kafka.wire import ProtocolError, RequestReader, head_of_tag
from broker.replication.fetch_types import CONSUMER, FetchQuery, FetchTarget, ForgottenPartition, IsolationLevel

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 4, 18, 12
SESSIONS_FROM, RACK_FROM, TOPIC_IDS_FROM, REPLICA_STATE_FROM = 7, 11, 13, 15

_NO_TOPIC = UUID(int=0)
"""As an id it is one that no topic has."""
_PARTITION_V4 = Struct(">iqi")
_PARTITION_V5 = Struct(">iqqi")
_PARTITION_V9 = Struct(">iiqqi")
_PARTITION_V12 = Struct(">iiqiqi")
_WAIT_AND_SIZES = Struct(">iiib")
_SESSION = Struct(">ii")
_REPLICA_STATE = Struct(">iq")
_HIGH_WATERMARK = Struct(">q")
HIGH_WATERMARK_UNSUPPORTED = 2**63 - 1
TAG_CLUSTER_ID, TAG_REPLICA_STATE = 0, 1
TAG_DIRECTORY, TAG_HIGH_WATERMARK = 0, 1
_REPLICA_STATE_HEAD = head_of_tag(TAG_REPLICA_STATE, _REPLICA_STATE)
_HIGH_WATERMARK_HEAD = head_of_tag(TAG_HIGH_WATERMARK, _HIGH_WATERMARK)


class DecodedFetch(NamedTuple):
    """A query, and for which cluster it is meant (None: the reader does not say)."""

    query: FetchQuery
    cluster_id: str | None


def decode_request(version: int, body: memoryview, client_id: str = "") -> DecodedFetch:
    """Raises `ProtocolError`. Sizes and times below 0 count as 0."""
    reader = RequestReader(body, flexible=version >= FLEXIBLE_FROM)
    replica_id = reader.int32() if version < REPLICA_STATE_FROM else CONSUMER
    replica_epoch = -1
    max_wait_ms, min_bytes, max_bytes, level = reader.unpack(_WAIT_AND_SIZES)
    if level not in (0, 1):
        raise ProtocolError(f"{level} is no isolation level")
    session_id, session_epoch = reader.unpack(_SESSION) if version >= SESSIONS_FROM else (0, -1)
    targets = _decode_targets(version, reader)
    forgotten = _decode_forgotten(version, reader) if version >= SESSIONS_FROM else []
    rack = reader.string() if version >= RACK_FROM else ""
    cluster_id = None
    state = reader.only_tag(_REPLICA_STATE_HEAD, _REPLICA_STATE) if version >= REPLICA_STATE_FROM else None
    if state is not None:  # as our followers ask
        replica_id, replica_epoch = state
    else:
        for tag, value in reader.tags():
            if tag == TAG_CLUSTER_ID:
                cluster_id = value.nullable_string()
            elif tag == TAG_REPLICA_STATE and version >= REPLICA_STATE_FROM:
                replica_id, replica_epoch = value.unpack(_REPLICA_STATE)
    query = FetchQuery(
        replica_id=replica_id if replica_id >= 0 else CONSUMER,
        replica_epoch=replica_epoch,
        max_wait_ms=max(0, max_wait_ms),
        min_bytes=max(0, min_bytes),
        max_bytes=max(0, max_bytes),
        isolation_level=IsolationLevel(level),
        partitions=targets,
        session_id=session_id,
        session_epoch=session_epoch,
        forgotten=forgotten,
        client_id=client_id,
        rack=rack,
        any_replica=version >= RACK_FROM and replica_id < 0,
    )
    return DecodedFetch(query, cluster_id)


def _decode_targets(version: int, reader: RequestReader) -> list[FetchTarget]:
    layout = _layout(version)
    by_id = version >= TOPIC_IDS_FROM
    targets: list[FetchTarget] = []
    for _ in range(reader.count(element_bytes_min=3)):
        topic_id = reader.uuid() or _NO_TOPIC if by_id else None
        topic = "" if by_id else reader.string()
        for _ in range(reader.count(element_bytes_min=layout.size)):
            fields = reader.unpack(layout)
            targets.append(_target(topic_id, topic, fields, reader))
        reader.skip_tags()
    return targets


def _layout(version: int) -> Struct:
    if version >= 12:
        return _PARTITION_V12
    if version >= 9:
        return _PARTITION_V9
    return _PARTITION_V5 if version >= 5 else _PARTITION_V4


def _target(topic_id: UUID | None, topic: str, fields: tuple[int, ...], reader: RequestReader) -> FetchTarget:
    """One partition of a request, of whose fields the reader has only the tagged ones left."""
    leader_epoch = last_fetched_epoch = log_start_offset = -1
    match fields:
        case (partition, leader_epoch, offset, last_fetched_epoch, log_start_offset, max_bytes):
            pass
        case (partition, leader_epoch, offset, log_start_offset, max_bytes):
            pass
        case (partition, offset, log_start_offset, max_bytes):
            pass
        case (partition, offset, max_bytes):
            pass
        case _:
            raise AssertionError("a layout that no version has")
    directory_id, high_watermark = None, HIGH_WATERMARK_UNSUPPORTED
    known = reader.only_tag(_HIGH_WATERMARK_HEAD, _HIGH_WATERMARK)
    if known is not None:  # as our followers ask
        (high_watermark,) = known
    else:
        for tag, value in reader.tags():
            if tag == TAG_DIRECTORY:
                directory_id = value.uuid()
            elif tag == TAG_HIGH_WATERMARK:
                high_watermark = value.int64()
    return FetchTarget(
        topic_id=topic_id,
        topic=topic,
        partition=partition,
        current_leader_epoch=leader_epoch,
        offset=offset,
        last_fetched_epoch=last_fetched_epoch,
        log_start_offset=log_start_offset,
        max_bytes=max(0, max_bytes),
        high_watermark=-1 if high_watermark == HIGH_WATERMARK_UNSUPPORTED else high_watermark,
        directory_id=directory_id,
    )


def _decode_forgotten(version: int, reader: RequestReader) -> list[ForgottenPartition]:
    by_id = version >= TOPIC_IDS_FROM
    forgotten: list[ForgottenPartition] = []
    for _ in range(reader.count(element_bytes_min=3)):
        topic_id = reader.uuid() or _NO_TOPIC if by_id else None
        topic = "" if by_id else reader.string()
        for _ in range(reader.count(element_bytes_min=4)):
            forgotten.append(ForgottenPartition(topic_id, topic, reader.int32()))
        reader.skip_tags()
    return forgotten
