"""ListOffsets in every version, against kio."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.kafka.api import Request
from broker.kafka.list_offsets import ListOffsets, decode_request, encode_response
from broker.kafka.wire import ProtocolError
from broker.replication.fetch_types import FoundOffset, IsolationLevel, OffsetSpec, OffsetsQuery, OffsetTarget
from kraftpy.error_codes import code_of
from kraftpy.errors import (
    KraftpyError,
    LeaderNotAvailableError,
    OffsetNotAvailableError,
    UnknownTopicOrPartitionError,
)
from kraftpy.runtime.ports import Address
from tests.kafka import kio_messages
from tests.kafka.fake_replicas import FakeReplicas, join

VERSIONS = range(1, 12)

int64s = st.integers(-(2**63), 2**63 - 1)
targets = st.builds(
    OffsetTarget,
    st.sampled_from(["a", "ünï", "b" * 249]),
    st.integers(-1, 2**31 - 1),
    st.integers(-1, 2**31 - 1),
    st.integers(-6, 2**63 - 1),
)
queries = st.builds(
    OffsetsQuery,
    st.integers(-1, 9),
    st.sampled_from(IsolationLevel),
    st.lists(targets, max_size=6),
    st.integers(0, 2**31 - 1),
)


def by_kio(version: int, query: OffsetsQuery) -> bytes:
    schema = kio_messages.message("list_offsets", version, "request")

    def topic(target: OffsetTarget) -> Any:
        fields: dict[str, Any] = {"partition_index": target.partition, "timestamp": target.timestamp_ms}
        if version >= 4:
            fields["current_leader_epoch"] = target.current_leader_epoch
        return schema.ListOffsetsTopic(name=target.topic, partitions=(schema.ListOffsetsPartition(**fields),))

    fields: dict[str, Any] = {"replica_id": query.replica_id, "topics": tuple(map(topic, query.partitions))}
    if version >= 2:
        fields["isolation_level"] = int(query.isolation_level)
    if version >= 10:
        fields["timeout"] = timedelta(milliseconds=query.timeout_ms)
    return kio_messages.encode(schema.ListOffsetsRequest(**fields))


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=25, deadline=None)
@given(query=queries)
def test_requests_are_read_as_kio_writes_them(version: int, query: OffsetsQuery) -> None:
    body = by_kio(version, query)
    decoded = decode_request(version, memoryview(body))
    assert decoded.replica_id == query.replica_id
    assert decoded.isolation_level == (query.isolation_level if version >= 2 else IsolationLevel.READ_UNCOMMITTED)
    assert decoded.timeout_ms == (query.timeout_ms if version >= 10 else 0)
    expected = [
        OffsetTarget(each.topic, each.partition, each.current_leader_epoch if version >= 4 else -1, each.timestamp_ms)
        for each in query.partitions
    ]
    assert decoded.partitions == expected
    for size in range(len(body)):
        with pytest.raises(ProtocolError):
            decode_request(version, memoryview(body[:size]))


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=100))
def test_garbage_is_a_request_or_a_protocol_error(version: int, data: bytes) -> None:
    try:
        decode_request(version, memoryview(data))
    except ProtocolError:
        pass


def code_in(version: int, error: type[KraftpyError] | None) -> int:
    """OFFSET_NOT_AVAILABLE came with version 5 (KIP-207): to those before it is an unknown error, which ends them."""
    if error is OffsetNotAvailableError and version < 5:
        error = LeaderNotAvailableError
    return code_of(error) if error else 0


errors = st.sampled_from([None, UnknownTopicOrPartitionError, LeaderNotAvailableError, OffsetNotAvailableError])


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=25, deadline=None)
@given(answers=st.lists(st.builds(FoundOffset, targets, errors, int64s, int64s, st.integers(-1, 99)), max_size=6))
def test_responses_are_kios_byte_for_byte(version: int, answers: list[FoundOffset]) -> None:
    ours = encode_response(version, answers)
    response_type = kio_messages.message("list_offsets", version, "response").ListOffsetsResponse
    response = kio_messages.decode(response_type, ours)
    assert kio_messages.encode(response) == ours
    read = [
        (topic.name, each.partition_index, each.error_code, each.timestamp, each.offset)
        + ((each.leader_epoch,) if version >= 4 else ())
        for topic in response.topics
        for each in topic.partitions
    ]
    assert read == [
        (
            found.target.topic,
            found.target.partition,
            code_in(version, found.error),
            found.timestamp_ms,
            found.offset,
        )
        + ((found.leader_epoch,) if version >= 4 else ())
        for found in answers
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_who_may_not_know_yet_what_is_committed_is_asked_again(version: int) -> None:
    ours = encode_response(version, [FoundOffset(OffsetTarget("a", 0, -1, OffsetSpec.LATEST), OffsetNotAvailableError)])
    response_type = kio_messages.message("list_offsets", version, "response").ListOffsetsResponse
    (found,) = kio_messages.decode(response_type, ours).topics[0].partitions
    assert found.error_code == (5 if version < 5 else 78)


def ask(version: int, *asked: OffsetTarget) -> tuple[list[tuple[int, int]], FakeReplicas]:
    """Error and offset for each, in order, and who was asked for them."""
    replicas = FakeReplicas()
    body = by_kio(version, OffsetsQuery(-1, IsolationLevel.READ_UNCOMMITTED, list(asked)))
    request = Request(version, 1, "c", Address("::1", 1), memoryview(body))
    data = join(asyncio.run(ListOffsets(replicas).handle(request)))
    response = kio_messages.decode(kio_messages.message("list_offsets", version, "response").ListOffsetsResponse, data)
    return [(each.error_code, each.offset) for topic in response.topics for each in topic.partitions], replicas


@pytest.mark.parametrize(
    ("spec", "since"),
    [
        (OffsetSpec.LATEST, 1),
        (OffsetSpec.EARLIEST, 1),
        (OffsetSpec.MAX_TIMESTAMP, 7),
        (OffsetSpec.EARLIEST_LOCAL, 8),
        (OffsetSpec.LATEST_TIERED, 9),
        (OffsetSpec.EARLIEST_PENDING_UPLOAD, 11),
        (-7, 99),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_came_later_cannot_be_asked_for_earlier(version: int, spec: int, since: int) -> None:
    answers, replicas = ask(version, OffsetTarget("a", 0, -1, spec), OffsetTarget("a", 1, -1, 1234))
    assert answers == [(0, 100), (0, 101)] if version >= since else [(35, -1), (0, 100)]
    assert len(replicas.offset_queries[0].partitions) == (2 if version >= since else 1)


def test_a_partition_that_is_listed_twice_is_refused_and_nobody_is_asked() -> None:
    answers, replicas = ask(7, OffsetTarget("a", 0, -1, -1), OffsetTarget("a", 0, -1, -2))
    assert answers == [(42, -1), (42, -1)]
    assert replicas.offset_queries == []
