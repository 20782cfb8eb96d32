"""Fetch as a follower speaks it: version 18, the request written and the response read, flat and by hand.

`FollowerFetchCodec` is the `FetchCodec` of `broker.replication.fetcher`. Requests are whole frames, their header
included; what the leader makes of them is in `fetch_request` and `fetch_response`.

Invariants: records are given back as views of the frame, not copied; an answer that is not one of version 18, or not
the one that was asked for, is a `CorruptAnswerError`, whatever its bytes are.
"""

from collections.abc import Iterable, Sequence
from struct import Struct
from uuid import UUID

from broker.kafka.api import ApiKey
from broker.kafka.fetch_request import TAG_DIRECTORY, TAG_HIGH_WATERMARK, TAG_REPLICA_STATE
from broker.kafka.fetch_response import TAG_MAY_HAVE_GAPS
from broker.kafka.wire import NO_TAGS, ProtocolError, RequestReader, count, string, tagged, uuid
from broker.replication.fetch_types import (
    AbortedTransaction,
    CurrentLeader,
    Diverging,
    FetchAnswer,
    FetchedPartition,
    FetchQuery,
    FetchTarget,
    ForgottenPartition,
)
from kraftpy.error_codes import NO_ERROR, class_for
from kraftpy.errors import KraftpyError, NetworkError
from kraftpy.runtime.ports import Buffer

VERSION = 18

_HEADER = Struct(">hhi")
_INT16 = Struct(">h")
_FIXED = Struct(">iiibii")
_PARTITION = Struct(">iiqiqi")
_INT32 = Struct(">i")
_HIGH_WATERMARK_ONLY = Struct(">BBBq")
_REPLICA_STATE = Struct(">BBBiqx")
_REPLICA_STATE_BYTES = 13
_FETCHED = Struct(">ihqqq")
_THROTTLE_AND_SESSION = Struct(">ihi")
_DIVERGING = Struct(">iq")
_LEADER = Struct(">ii")
_ABORTED = Struct(">qq")
_NULL_UUID_BYTES = 16


class CorruptAnswerError(NetworkError):
    """A broker answered a fetch with bytes that are no answer to it."""


class FollowerFetchCodec:
    """Requests to bytes and bytes to answers. Has no state."""

    def encode_query(self, query: FetchQuery, correlation_id: int) -> Sequence[Buffer]:
        return encode_request(query, correlation_id)

    def decode_answer(self, frame: memoryview, correlation_id: int) -> FetchAnswer:
        return decode_response(frame, correlation_id)


def encode_request(query: FetchQuery, correlation_id: int) -> Sequence[Buffer]:
    """The frame of a follower's fetch, all of whose topics have ids."""
    client_id = (query.client_id or f"broker-{query.replica_id}-fetcher").encode()
    packed = bytearray(_HEADER.pack(ApiKey.FETCH, VERSION, correlation_id & 0x7FFFFFFF))
    packed += _INT16.pack(len(client_id)) + client_id + NO_TAGS
    packed += _FIXED.pack(
        query.max_wait_ms,
        query.min_bytes,
        query.max_bytes,
        query.isolation_level,
        query.session_id,
        query.session_epoch,
    )
    targets = _by_topic(query.partitions)
    packed += count(len(targets), flexible=True)
    for topic_id, group in targets:
        packed += uuid(topic_id) + count(len(group), flexible=True)
        for target in group:
            packed += _encode_target(target)
        packed += NO_TAGS
    forgotten = _forgotten_by_topic(query.forgotten)
    packed += count(len(forgotten), flexible=True)
    for topic_id, indexes in forgotten:
        packed += uuid(topic_id) + count(len(indexes), flexible=True)
        packed += b"".join(map(_INT32.pack, indexes)) + NO_TAGS
    packed += string(query.rack, flexible=True)
    packed += _REPLICA_STATE.pack(1, TAG_REPLICA_STATE, _REPLICA_STATE_BYTES, query.replica_id, query.replica_epoch)
    return [packed]


def _encode_target(target: FetchTarget) -> bytes:
    packed = _PARTITION.pack(
        target.partition,
        target.current_leader_epoch,
        target.offset,
        target.last_fetched_epoch,
        target.log_start_offset,
        target.max_bytes,
    )
    if target.directory_id is None and target.high_watermark >= 0:  # as our fetchers ask
        return packed + _HIGH_WATERMARK_ONLY.pack(1, TAG_HIGH_WATERMARK, 8, target.high_watermark)
    fields = []
    if target.directory_id is not None:
        fields.append((TAG_DIRECTORY, target.directory_id.bytes))
    if target.high_watermark >= 0:
        fields.append((TAG_HIGH_WATERMARK, target.high_watermark.to_bytes(8, "big")))
    return packed + tagged(fields)


def _by_topic(targets: Iterable[FetchTarget]) -> list[tuple[UUID | None, list[FetchTarget]]]:
    groups: list[tuple[UUID | None, list[FetchTarget]]] = []
    for target in targets:
        if not groups or groups[-1][0] != target.topic_id:
            groups.append((target.topic_id, []))
        groups[-1][1].append(target)
    return groups


def _forgotten_by_topic(partitions: Iterable[ForgottenPartition]) -> list[tuple[UUID | None, list[int]]]:
    groups: list[tuple[UUID | None, list[int]]] = []
    for each in partitions:
        if not groups or groups[-1][0] != each.topic_id:
            groups.append((each.topic_id, []))
        groups[-1][1].append(each.partition)
    return groups


# --- answers ---------------------------------------------------------------------------------------------------------


def decode_response(frame: memoryview, correlation_id: int) -> FetchAnswer:
    """What the leader answered, with `records` as views of `frame`. Raises `CorruptAnswerError`."""
    try:
        return _decode(RequestReader(frame, flexible=True), frame, correlation_id & 0x7FFFFFFF)
    except ProtocolError as error:
        raise CorruptAnswerError(f"the answer to a fetch cannot be read: {error}") from error


def _decode(reader: RequestReader, frame: memoryview, correlation_id: int) -> FetchAnswer:
    answered = reader.int32()
    if answered != correlation_id:
        raise ProtocolError(f"it answers request {answered}, not {correlation_id}")
    reader.skip_tags()
    _, code, session_id = reader.unpack(_THROTTLE_AND_SESSION)
    partitions: list[FetchedPartition] = []
    for _ in range(reader.count(element_bytes_min=_NULL_UUID_BYTES + 2)):
        topic_id = reader.uuid()
        for _ in range(reader.count(element_bytes_min=_FETCHED.size)):
            partitions.append(_decode_partition(reader, frame, topic_id))
        reader.skip_tags()
    reader.skip_tags()
    reader.finish()
    return FetchAnswer(partitions, session_id, _error(code))


def _decode_partition(reader: RequestReader, frame: memoryview, topic_id: UUID | None) -> FetchedPartition:
    index, code, high_watermark, last_stable_offset, log_start_offset = reader.unpack(_FETCHED)
    aborted: list[AbortedTransaction] = []
    for _ in range(reader.count(element_bytes_min=_ABORTED.size)):
        aborted.append(AbortedTransaction._make(reader.unpack(_ABORTED)))
        reader.skip_tags()
    preferred_read_replica = reader.int32()
    records = reader.nullable_bytes()
    diverging = leader = None
    may_have_gaps = False
    for tag, value in reader.tags():
        if tag == 0:
            diverging = Diverging._make(value.unpack(_DIVERGING))
        elif tag == 1:
            leader = CurrentLeader._make(value.unpack(_LEADER))
        elif tag == TAG_MAY_HAVE_GAPS:
            may_have_gaps = True
    return FetchedPartition(
        target=FetchTarget(topic_id, "", index, -1, -1, -1, -1, 0),
        error=_error(code),
        high_watermark=high_watermark,
        last_stable_offset=last_stable_offset,
        log_start_offset=log_start_offset,
        records=records,
        size_bytes=len(records),
        diverging=diverging,
        leader=leader,
        aborted=aborted,
        preferred_read_replica=preferred_read_replica,
        may_have_gaps=may_have_gaps,
    )


def _error(code: int) -> type[KraftpyError] | None:
    return None if code == NO_ERROR else class_for(code)
