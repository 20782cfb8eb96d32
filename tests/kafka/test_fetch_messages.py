"""Every version of Fetch, read and written, against kio."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.schema.errors import ErrorCode

from broker.kafka.endpoints import AdvertisedEndpoint
from broker.kafka.fetch_codec import CorruptAnswerError, FollowerFetchCodec
from broker.kafka.fetch_request import decode_request
from broker.kafka.fetch_response import encode_response
from broker.kafka.wire import ProtocolError
from broker.replication.config import ReplicationConfig
from broker.replication.fetch_types import (
    AbortedTransaction,
    CurrentLeader,
    Diverging,
    FetchAnswer,
    FetchedPartition,
    FetchQuery,
    FetchTarget,
    ForgottenPartition,
    IsolationLevel,
)
from kraftpy.errors import (
    FencedLeaderEpochError,
    FetchSessionTopicIdError,
    InvalidFetchSessionEpochError,
    KafkaStorageError,
    KraftpyError,
    NotLeaderOrFollowerError,
    OffsetNotAvailableError,
    OffsetOutOfRangeError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
from kraftpy.runtime.limits import INT32_MAX, INT64_MAX
from tests.kafka import kio_messages
from tests.kafka.fake_replicas import join, range_of

VERSIONS = range(4, 19)
DATA = bytes(range(256)) * 20
IDS = [UUID(int=1), UUID(int=2**127 + 5)]
NAMES = {IDS[0]: "first", IDS[1]: "zweites-ä"}

int32s = st.integers(-1, 2**31 - 1)
int64s = st.integers(-1, 2**63 - 2)


# --- requests --------------------------------------------------------------------------------------------------------

targets = st.builds(
    FetchTarget,
    topic_id=st.sampled_from(IDS),
    topic=st.just(""),
    partition=int32s,
    current_leader_epoch=int32s,
    offset=int64s,
    last_fetched_epoch=int32s,
    log_start_offset=int64s,
    max_bytes=st.integers(0, 2**31 - 1),
    high_watermark=int64s,
    directory_id=st.none() | st.just(UUID(int=77)),
)
queries = st.builds(
    FetchQuery,
    replica_id=int32s,
    replica_epoch=int64s,
    max_wait_ms=st.integers(0, 2**31 - 1),
    min_bytes=st.integers(0, 2**31 - 1),
    max_bytes=st.integers(0, 2**31 - 1),
    isolation_level=st.sampled_from(IsolationLevel),
    partitions=st.lists(targets, max_size=6),
    session_id=st.integers(0, 2**31 - 1),
    session_epoch=int32s,
    forgotten=st.lists(st.builds(ForgottenPartition, st.sampled_from(IDS), st.just(""), st.integers(0, 9)), max_size=4),
    client_id=st.sampled_from(["", "reader"]),
    rack=st.sampled_from(["", "rack-1"]),
    any_replica=st.just(False),
)


def by_kio(version: int, query: FetchQuery, *, together: bool = False) -> Any:
    """The request as kio has it in this version, each target with a topic entry of its own, or all in the first's."""
    schema = kio_messages.message("fetch", version, "request")

    def named(topic_id: UUID | None) -> dict[str, Any]:
        assert topic_id is not None
        return {"topic_id": topic_id} if version >= 13 else {"topic": NAMES[topic_id]}

    def partition(target: FetchTarget) -> Any:
        fields: dict[str, Any] = {
            "partition": target.partition,
            "fetch_offset": target.offset,
            "partition_max_bytes": target.max_bytes,
        }
        if version >= 5:
            fields["log_start_offset"] = target.log_start_offset
        if version >= 9:
            fields["current_leader_epoch"] = target.current_leader_epoch
        if version >= 12:
            fields["last_fetched_epoch"] = target.last_fetched_epoch
        if version >= 17:
            fields["replica_directory_id"] = target.directory_id
        if version >= 18 and target.high_watermark >= 0:
            fields["high_watermark"] = target.high_watermark
        return schema.FetchPartition(**fields)

    fields: dict[str, Any] = {
        "max_wait": timedelta(milliseconds=query.max_wait_ms),
        "min_bytes": query.min_bytes,
        "max_bytes": query.max_bytes,
        "isolation_level": int(query.isolation_level),
        "topics": tuple(
            schema.FetchTopic(**named(group[0].topic_id), partitions=tuple(map(partition, group)))
            for group in ([query.partitions] if together else [[target] for target in query.partitions])
        ),
    }
    if version >= 7:
        fields |= {"session_id": query.session_id, "session_epoch": query.session_epoch}
        fields["forgotten_topics_data"] = tuple(
            schema.ForgottenTopic(**named(each.topic_id), partitions=(each.partition,)) for each in query.forgotten
        )
    if version >= 11:
        fields["rack_id"] = query.rack
    if version >= 15:
        fields["replica_state"] = schema.ReplicaState(replica_id=query.replica_id, replica_epoch=query.replica_epoch)
    else:
        fields["replica_id"] = query.replica_id
    return schema.FetchRequest(**fields)


def as_of(version: int, query: FetchQuery) -> FetchQuery:
    """What of `query` the version can say."""

    def target_as_of(target: FetchTarget) -> FetchTarget:
        assert target.topic_id is not None
        if version < 13:
            target = target._replace(topic_id=None, topic=NAMES[target.topic_id])
        if version < 18:
            target = target._replace(high_watermark=-1)
        if version < 17:
            target = target._replace(directory_id=None)
        if version < 12:
            target = target._replace(last_fetched_epoch=-1)
        if version < 9:
            target = target._replace(current_leader_epoch=-1)
        return target._replace(log_start_offset=-1) if version < 5 else target

    forgotten = [
        each if version >= 13 else ForgottenPartition(None, NAMES[each.topic_id], each.partition)
        for each in query.forgotten
        if each.topic_id is not None
    ]
    query = query._replace(partitions=[target_as_of(target) for target in query.partitions], forgotten=forgotten)
    if version < 15:
        query = query._replace(replica_epoch=-1)
    if version < 11:
        query = query._replace(rack="")
    query = query._replace(any_replica=version >= 11 and query.replica_id < 0)
    return query._replace(session_id=0, session_epoch=-1, forgotten=[]) if version < 7 else query


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=25, deadline=None)
@given(query=queries)
def test_requests_are_read_as_kio_writes_them(version: int, query: FetchQuery) -> None:
    body = kio_messages.encode(by_kio(version, query))
    decoded = decode_request(version, memoryview(body), query.client_id)
    assert decoded.query == as_of(version, query)
    assert decoded.cluster_id is None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("directory_id", [None, UUID(int=77)])
def test_requests_that_are_cut_off_are_refused_and_what_follows_one_is_not_looked_at(
    version: int, directory_id: UUID | None
) -> None:
    target = FetchTarget(IDS[0], "", 1, 2, 3, 4, 5, 6, 7, directory_id)
    forgotten = [ForgottenPartition(IDS[1], "", 9)]
    query = FetchQuery(1, 2, 3, 4, 5, IsolationLevel(0), [target, target], 6, 7, forgotten, "", "rack")
    body = kio_messages.encode(by_kio(version, query))
    assert decode_request(version, memoryview(body)).query == as_of(version, query)
    for size in range(len(body)):
        with pytest.raises(ProtocolError):
            decode_request(version, memoryview(body[:size]))
    assert decode_request(version, memoryview(body + b"\0")).query == as_of(version, query)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=150))
def test_garbage_is_a_request_or_a_protocol_error(version: int, data: bytes) -> None:
    try:
        decode_request(version, memoryview(data))
    except ProtocolError:
        pass


def test_a_reader_may_name_its_cluster_and_send_fields_from_the_future() -> None:
    request = by_kio(18, FetchQuery(1, 2, 3, 4, 5, IsolationLevel(0), []))
    body = kio_messages.encode(type(request)(**{**_fields(request), "cluster_id": "abc"}))
    assert decode_request(18, memoryview(body)).cluster_id == "abc"
    with_future = kio_messages.encode(request)
    # The request ends with one tagged field, the replica's state; a second of an unknown tag follows it.
    tags = with_future.rindex(b"\x01\x01\x0d")
    future = with_future[:tags] + b"\x02" + with_future[tags + 1 :] + b"\x63\x02??"
    assert decode_request(18, memoryview(future)).query.replica_id == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_old_versions_have_no_tagged_fields_whatever_their_bytes_look_like(version: int) -> None:
    """What follows the first partition are the bytes that begin a high watermark's tag."""
    lookalike = FetchTarget(IDS[0], "", 0x01010800, 2, 3, 4, 5, 6)
    query = FetchQuery(1, 2, 3, 4, 5, IsolationLevel(0), [lookalike._replace(partition=1), lookalike], 6, 7)
    body = kio_messages.encode(by_kio(version, query, together=True))
    assert decode_request(version, memoryview(body)).query == as_of(version, query)


def _fields(entity: Any) -> dict[str, Any]:
    return {name: getattr(entity, name) for name in entity.__slots__}


@settings(max_examples=100, deadline=None)
@given(queries, st.integers(0, 2**31 - 1))
def test_followers_write_requests_as_kio_does(query: FetchQuery, correlation_id: int) -> None:
    query = query._replace(replica_id=max(0, query.replica_id), client_id="broker-7-fetcher")
    frame = join(FollowerFetchCodec().encode_query(query, correlation_id))
    request_type = kio_messages.message("fetch", 18, "request").FetchRequest
    header_size = len(kio_messages.header(1, 18, client_id=b"broker-7-fetcher")) + 1
    read = kio_messages.decode(request_type, frame[header_size:])
    assert kio_messages.request_frame(read, correlation_id, "broker-7-fetcher") == frame
    assert decode_request(18, memoryview(frame)[header_size:], "broker-7-fetcher").query == query


# --- responses -------------------------------------------------------------------------------------------------------

errors = st.sampled_from([None, None, OffsetOutOfRangeError, NotLeaderOrFollowerError, UnknownTopicOrPartitionError])


@st.composite
def fetched_partitions(draw: st.DrawFn) -> FetchedPartition:
    ranges = draw(st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 900)), max_size=3))
    slices = [range_of(DATA, position, length) for position, length in ranges]
    topic_id = draw(st.sampled_from(IDS))
    return FetchedPartition(
        target=FetchTarget(topic_id, NAMES[topic_id], draw(st.integers(0, 99)), -1, 0, -1, -1, 1),
        error=draw(errors),
        high_watermark=draw(int64s),
        last_stable_offset=draw(int64s),
        log_start_offset=draw(int64s),
        slices=slices,
        size_bytes=sum(length for _, length in ranges),
        diverging=draw(st.none() | st.builds(Diverging, st.integers(0, 9), st.integers(0, 2**40))),
        leader=draw(st.none() | st.builds(CurrentLeader, st.integers(0, 3), st.integers(0, 9))),
        aborted=draw(st.lists(st.builds(AbortedTransaction, int64s, int64s), max_size=2)),
        preferred_read_replica=draw(st.integers(-1, 5)),
    )


answers = st.builds(
    FetchAnswer,
    st.lists(fetched_partitions(), max_size=5),
    st.integers(0, 2**31 - 1),
    st.none() | st.just(InvalidFetchSessionEpochError),
)


def endpoint_of(broker_id: int) -> AdvertisedEndpoint | None:
    return (
        AdvertisedEndpoint(broker_id, f"host-{broker_id}", 9092, "r" if broker_id == 1 else None) if broker_id else None
    )


def test_a_follower_can_ask_for_the_most_that_its_settings_allow() -> None:
    most = ReplicationConfig(
        replica_lag_time_max_ms=INT64_MAX,
        fetch_wait_max_ms=INT32_MAX,
        fetch_bytes_min=INT32_MAX,
        fetch_partition_bytes_max=INT32_MAX,
        fetch_response_bytes_max=INT32_MAX,
    )
    target = FetchTarget(IDS[0], "", 0, 1, 2, 3, 4, most.fetch_partition_bytes_max)
    query = FetchQuery(
        replica_id=1,
        replica_epoch=1,
        max_wait_ms=most.fetch_wait_max_ms,
        min_bytes=most.fetch_bytes_min,
        max_bytes=most.fetch_response_bytes_max,
        isolation_level=IsolationLevel.READ_UNCOMMITTED,
        partitions=[target],
    )
    assert join(FollowerFetchCodec().encode_query(query, 1))


def test_a_follower_hears_of_gaps() -> None:
    target = FetchTarget(IDS[0], "", 3, -1, 0, -1, -1, 1)
    fetched = FetchedPartition(target, None, leader=CurrentLeader(1, 2), may_have_gaps=True)
    answer = FetchAnswer([fetched, fetched._replace(may_have_gaps=False)])
    told = join(encode_response(18, answer, IsolationLevel.READ_UNCOMMITTED))
    heard = FollowerFetchCodec().decode_answer(memoryview(b"\0\0\0\5\0" + told), 5)
    assert [each.may_have_gaps for each in heard.partitions] == [True, False]
    assert [each.leader for each in heard.partitions] == [CurrentLeader(1, 2)] * 2


def response_by_kio(version: int, answer: FetchAnswer, level: IsolationLevel) -> Any:
    schema = kio_messages.message("fetch", version, "response")

    def partition(fetched: FetchedPartition) -> Any:
        fields: dict[str, Any] = {
            "partition_index": fetched.target.partition,
            "error_code": ErrorCode[fetched.error.name.lower()] if fetched.error else ErrorCode.none,
            "high_watermark": fetched.high_watermark,
            "last_stable_offset": fetched.last_stable_offset,
            "aborted_transactions": tuple(
                schema.AbortedTransaction(producer_id=each.producer_id, first_offset=each.first_offset)
                for each in fetched.aborted
            )
            if level is IsolationLevel.READ_COMMITTED
            else None,
            "records": join(fetched.slices),
        }
        if version >= 5:
            fields["log_start_offset"] = fetched.log_start_offset
        if version >= 11:
            fields["preferred_read_replica"] = fetched.preferred_read_replica
        if version >= 12 and fetched.diverging:
            epoch, end_offset = fetched.diverging
            fields["diverging_epoch"] = schema.EpochEndOffset(epoch=epoch, end_offset=end_offset)
        if version >= 12 and fetched.leader:
            leader_id, epoch = fetched.leader
            fields["current_leader"] = schema.LeaderIdAndEpoch(leader_id=leader_id, leader_epoch=epoch)
        return schema.PartitionData(**fields)

    topics: list[tuple[FetchTarget, list[Any]]] = []
    for fetched in answer.partitions:
        if not topics or topics[-1][0].topic_id != fetched.target.topic_id:
            topics.append((fetched.target, []))
        topics[-1][1].append(partition(fetched))
    responses = tuple(
        schema.FetchableTopicResponse(
            **({"topic_id": target.topic_id} if version >= 13 else {"topic": target.topic}), partitions=tuple(group)
        )
        for target, group in topics
    )
    fields: dict[str, Any] = {"throttle_time": timedelta(0), "responses": responses}
    if version >= 7:
        fields["session_id"] = answer.session_id
        fields["error_code"] = ErrorCode[answer.error.name.lower()] if answer.error else ErrorCode.none
    if version >= 16:
        leaders = {
            fetched.leader.id: None
            for fetched in answer.partitions
            if fetched.leader and fetched.leader.id and fetched.error is NotLeaderOrFollowerError
        }
        fields["node_endpoints"] = tuple(
            schema.NodeEndpoint(node_id=each, host=f"host-{each}", port=9092, rack="r" if each == 1 else None)
            for each in leaders
        )
    return schema.FetchResponse(**fields)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=25, deadline=None)
@given(answer=answers, level=st.sampled_from(IsolationLevel))
def test_responses_are_kios_byte_for_byte(version: int, answer: FetchAnswer, level: IsolationLevel) -> None:
    ours = join(encode_response(version, answer, level, endpoint_of))
    assert ours == kio_messages.encode(response_by_kio(version, answer, level))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_leader_that_does_not_know_yet_what_is_committed_is_no_error_to_consumers(version: int) -> None:
    target = FetchTarget(IDS[0], NAMES[IDS[0]], 3, -1, 7, -1, -1, 1)
    ignorant = FetchedPartition(target, OffsetNotAvailableError, log_start_offset=2)
    told = join(encode_response(version, FetchAnswer([ignorant]), IsolationLevel.READ_UNCOMMITTED))
    nothing = FetchAnswer([FetchedPartition(target, None, high_watermark=-1, log_start_offset=2)])
    assert told == kio_messages.encode(response_by_kio(version, nothing, IsolationLevel.READ_UNCOMMITTED))


@settings(max_examples=60, deadline=None)
@given(answers, st.integers(0, 2**31 - 1))
def test_followers_read_what_leaders_write(answer: FetchAnswer, correlation_id: int) -> None:
    level = IsolationLevel.READ_COMMITTED
    frame = kio_messages.response_frame(response_by_kio(18, answer, level), correlation_id)
    read = FollowerFetchCodec().decode_answer(memoryview(frame), correlation_id)
    assert (read.session_id, read.error) == (answer.session_id, answer.error)
    assert len(read.partitions) == len(answer.partitions)
    for got, sent in zip(read.partitions, answer.partitions, strict=True):
        assert (got.target.topic_id, got.target.partition) == (sent.target.topic_id, sent.target.partition)
        assert bytes(got.records) == join(sent.slices) and got.size_bytes == sent.size_bytes and not got.slices
        unlike = {"target": sent.target, "records": b"", "slices": sent.slices}
        assert got._replace(**unlike) == sent  # type: ignore[arg-type]


def test_an_answer_in_mid_air_is_corrupt_and_so_is_another_ones() -> None:
    fetched = FetchedPartition(
        FetchTarget(IDS[0], "", 0, 0, 0, 0, 0, 0),
        None,
        1,
        2,
        3,
        [range_of(DATA, 0, 50)],
        size_bytes=50,
    )
    body = join(encode_response(18, FetchAnswer([fetched], 9), IsolationLevel.READ_UNCOMMITTED))
    frame = b"\0\0\0\5\0" + body
    codec = FollowerFetchCodec()
    assert codec.decode_answer(memoryview(frame), 5).partitions[0].high_watermark == 1
    for size in range(len(frame)):
        with pytest.raises(CorruptAnswerError):
            codec.decode_answer(memoryview(frame[:size]), 5)
    for broken, number in ((frame + b"\0", 5), (frame, 6)):
        with pytest.raises(CorruptAnswerError):
            codec.decode_answer(memoryview(broken), number)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120))
def test_garbage_from_a_leader_is_an_answer_or_corrupt(data: bytes) -> None:
    try:
        FollowerFetchCodec().decode_answer(memoryview(b"\0\0\0\5\0" + data), 5)
    except CorruptAnswerError as error:
        assert isinstance(error, KraftpyError)


def test_a_null_for_records_or_transactions_is_empty() -> None:
    schema = kio_messages.message("fetch", 18, "response")
    answer = FetchAnswer([FetchedPartition(FetchTarget(IDS[0], "", 3, 0, 0, 0, 0, 0), None)])
    response = response_by_kio(18, answer, IsolationLevel.READ_UNCOMMITTED)
    (topic,) = response.responses
    (partition,) = topic.partitions
    nulled = schema.PartitionData(**{**_fields(partition), "records": None})
    topic = schema.FetchableTopicResponse(topic_id=IDS[0], partitions=(nulled,))
    frame = kio_messages.response_frame(schema.FetchResponse(**{**_fields(response), "responses": (topic,)}), 1)
    (read,) = FollowerFetchCodec().decode_answer(memoryview(frame), 1).partitions
    assert len(read.records) == 0 and read.aborted == []


@pytest.mark.parametrize(
    ("version", "error", "told"),
    [
        (12, UnknownTopicIdError, 3),
        (13, UnknownTopicIdError, 100),
        (5, KafkaStorageError, 6),
        (6, KafkaStorageError, 56),
        (12, FencedLeaderEpochError, 74),
    ],
)
def test_old_readers_are_told_errors_that_they_know(version: int, error: type[KraftpyError], told: int) -> None:
    target = FetchTarget(IDS[0], NAMES[IDS[0]], 0, 0, 0, 0, 0, 0)
    answer = FetchAnswer([FetchedPartition(target, error)])
    data = join(encode_response(version, answer, IsolationLevel.READ_UNCOMMITTED))
    response = kio_messages.decode(kio_messages.message("fetch", version, "response").FetchResponse, data)
    assert response.responses[0].partitions[0].error_code == told


@pytest.mark.parametrize(
    ("version", "topic_id", "topic"), [(13, None, "named"), (18, None, "named"), (12, IDS[0], ""), (7, IDS[0], "")]
)
def test_a_session_cannot_change_between_names_and_ids(version: int, topic_id: UUID | None, topic: str) -> None:
    answer = FetchAnswer([FetchedPartition(FetchTarget(topic_id, topic, 0, 0, 0, 0, 0, 0), None)], 7)
    data = join(encode_response(version, answer, IsolationLevel.READ_UNCOMMITTED))
    response = kio_messages.decode(kio_messages.message("fetch", version, "response").FetchResponse, data)
    assert response.error_code.name.upper() == FetchSessionTopicIdError.name
    assert response.responses == ()


@pytest.mark.parametrize("version", range(13, 19))
def test_a_topic_id_of_zeros_is_one_that_nobody_has(version: int) -> None:
    zero = UUID(int=0)
    target = FetchTarget(zero, "", 0, 0, 0, 0, 0, 0)
    query = FetchQuery(
        -1, -1, 0, 1, 1, IsolationLevel.READ_UNCOMMITTED, [target], forgotten=[ForgottenPartition(zero, "", 1)]
    )
    decoded = decode_request(version, memoryview(kio_messages.encode(by_kio(version, query))), "").query
    assert [decoded.partitions[0].topic_id, decoded.forgotten[0].topic_id] == [zero, zero]


def test_an_unknown_topic_id_is_echoed() -> None:
    answer = FetchAnswer([FetchedPartition(FetchTarget(IDS[0], "", 0, 0, 0, 0, 0, 0), UnknownTopicIdError)])
    data = join(encode_response(18, answer, IsolationLevel.READ_UNCOMMITTED))
    response = kio_messages.decode(kio_messages.message("fetch", 18, "response").FetchResponse, data)
    assert response.responses[0].topic_id == IDS[0]
