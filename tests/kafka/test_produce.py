"""Produce: the bytes against kio in every version, and what becomes of records that cannot be taken."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.kafka.api import Request
from broker.kafka.endpoints import AdvertisedEndpoint
from broker.kafka.produce import Produce, ProducerMisledError
from broker.kafka.produce_messages import (
    AnsweredPartition,
    decode_request,
    encode_response,
)
from broker.kafka.wire import ProtocolError
from broker.metadata.image import MetadataImage
from broker.metadata.records import PartitionRecord, TopicRecord
from broker.replication.fetch_types import CurrentLeader
from broker.replication.producing import Produced
from kraftpy.error_codes import class_for, code_of
from kraftpy.errors import (
    InvalidRecordError,
    NotLeaderOrFollowerError,
    UnknownTopicIdError,
    UnsupportedCompressionTypeError,
)
from kraftpy.record import Compression, Record, encode_batch
from kraftpy.runtime.ports import Address
from tests.kafka import kio_messages
from tests.kafka.fake_replicas import join

VERSIONS = range(3, 14)
TOPIC_ID = UUID(int=7)
PEER = Address("127.0.0.1", 5)
BATCH = bytes(encode_batch([Record(0, 1, None, b"value", ())]))

parts = st.lists(st.tuples(st.sampled_from(["a", "b", "ünï"]), st.integers(0, 9), st.binary(max_size=30)), max_size=5)


def request_by_kio(
    version: int, listed: list[tuple[str, int, bytes | None]], acks: int = -1, transactional_id: str | None = None
) -> bytes:
    schema = kio_messages.message("produce", version, "request")

    def topic(name: str, index: int, records: bytes | None) -> Any:
        named = {"topic_id": UUID(int=len(name))} if version >= 13 else {"name": name}
        data = (schema.PartitionProduceData(index=index, records=records),)
        return schema.TopicProduceData(partition_data=data, **named)

    return kio_messages.encode(
        schema.ProduceRequest(
            transactional_id=transactional_id,
            acks=acks,
            timeout=timedelta(milliseconds=1500),
            topic_data=tuple(topic(*each) for each in listed),
        )
    )


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=20, deadline=None)
@given(listed=parts, acks=st.sampled_from([-1, 0, 1]), transactional_id=st.none() | st.text(max_size=5))
def test_requests_are_read_as_kio_writes_them(
    version: int, listed: list[tuple[str, int, bytes | None]], acks: int, transactional_id: str | None
) -> None:
    body = request_by_kio(version, listed, acks, transactional_id)
    decoded = decode_request(version, memoryview(body))
    assert (decoded.transactional_id, decoded.acks, decoded.timeout_ms) == (transactional_id, acks, 1500)
    assert [(each.partition, bytes(each.records)) for each in decoded.partitions] == [each[1:] for each in listed]
    if version >= 13:
        assert [each.topic_id for each in decoded.partitions] == [UUID(int=len(each[0])) for each in listed]
    else:
        assert [each.topic for each in decoded.partitions] == [each[0] for each in listed]
    for size in range(len(body)):
        with pytest.raises(ProtocolError):
            decode_request(version, memoryview(body[:size]))


def test_records_are_not_copied() -> None:
    frame = bytearray(request_by_kio(12, [("a", 0, BATCH)]))
    (part,) = decode_request(12, memoryview(frame)).partitions
    assert isinstance(part.records, memoryview) and part.records.obj is frame and not part.records.readonly


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=100))
def test_garbage_is_a_request_or_a_protocol_error(version: int, data: bytes) -> None:
    try:
        decode_request(version, memoryview(data))
    except ProtocolError:
        pass


answers = st.lists(
    st.builds(
        AnsweredPartition,
        st.sampled_from(["a", "b"]),
        st.none() | st.uuids(),
        st.integers(0, 2**31 - 1),
        st.sampled_from([0, 3, 6, 100]),
        st.none() | st.text(max_size=9),
        st.integers(-1, 2**62),
        st.just(-1) | st.integers(0, 2**40),
        st.integers(-1, 2**62),
        st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9)),
    ),
    max_size=4,
)
endpoints = st.lists(
    st.builds(
        AdvertisedEndpoint, st.integers(0, 9), st.text(max_size=9), st.integers(0, 65535), st.none() | st.just("r")
    ),
    max_size=2,
)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=25, deadline=None)
@given(given_answers=answers, given_endpoints=endpoints)
def test_responses_are_kios_byte_for_byte(
    version: int, given_answers: list[AnsweredPartition], given_endpoints: list[AdvertisedEndpoint]
) -> None:
    ours = encode_response(version, given_answers, given_endpoints)
    response = kio_messages.decode(kio_messages.message("produce", version, "response").ProduceResponse, ours)
    assert kio_messages.encode(response) == ours
    read = [each for topic in response.responses for each in topic.partition_responses]
    assert [(each.index, each.error_code, each.base_offset) for each in read] == [
        (each.partition, each.error, each.base_offset) for each in given_answers
    ]
    if version >= 10:
        assert [(each.current_leader.leader_id, each.current_leader.leader_epoch) for each in read] == [
            each.leader or (-1, -1) for each in given_answers
        ]
        assert [(each.node_id, each.host) for each in response.node_endpoints] == [
            (each.broker_id, each.host) for each in given_endpoints
        ]


# --- the handler -----------------------------------------------------------------------------------------------------


class _Replicas:
    def __init__(self, error: Exception | None = None) -> None:
        self.batches: list[Any] = []
        self.transaction: Any = None
        self._error: Any = error

    async def produce(self, batches: Any, acks: int, timeout_ms: int, transaction: Any) -> list[Produced]:
        self.batches += batches
        self.transaction = transaction
        leader = CurrentLeader(4, 2) if isinstance(self._error, NotLeaderOrFollowerError) else None
        return [Produced(topic, index, self._error, 5, -1, 0, leader) for topic, index, _ in batches]


class _View:
    image, _ = MetadataImage.EMPTY.apply(
        [TopicRecord("a", UUID(int=1)), PartitionRecord(UUID(int=1), 0, (1,), (1,), 1, 0, 0)], 2, 1
    )


def ask(version: int, body: bytes, replicas: _Replicas) -> Any:
    handler: Any = Produce
    produce = handler(replicas, _View(), lambda broker_id: AdvertisedEndpoint(broker_id, "there", 9))
    request = Request(version, 1, "c", PEER, memoryview(bytearray(body)))
    data = join(asyncio.run(produce.handle(request)))
    if not data:
        return None
    return kio_messages.decode(kio_messages.message("produce", version, "response").ProduceResponse, data)


@pytest.mark.parametrize("version", VERSIONS)
def test_records_reach_their_partition_in_every_version(version: int) -> None:
    replicas = _Replicas()
    response = ask(version, request_by_kio(version, [("a", 0, BATCH)]), replicas)
    assert [(topic, index, bytes(records)) for topic, index, records in replicas.batches] == [("a", 0, BATCH)]
    assert response.responses[0].partition_responses[0].base_offset == 5


def old_format(magic: int) -> bytes:
    return BATCH[:16] + bytes([magic]) + BATCH[17:]


@pytest.mark.parametrize(
    "version, listed, error",
    [
        (13, ("no such topic", 0, BATCH), UnknownTopicIdError),
        (9, ("a", 0, b""), InvalidRecordError),
        (9, ("a", 0, None), InvalidRecordError),
        (3, ("a", 0, old_format(0)), InvalidRecordError),
        (13, ("a", 0, old_format(1)), InvalidRecordError),
        (6, ("a", 0, bytes(encode_batch([Record(0, 1, None, b"v" * 99, ())], compression=Compression.ZSTD))),
         UnsupportedCompressionTypeError),
    ],
)  # fmt: skip
def test_what_is_refused_here_is_refused_alone(version: int, listed: Any, error: Any) -> None:
    replicas = _Replicas()
    response = ask(version, request_by_kio(version, [("a", 0, BATCH), listed]), replicas)
    first, second = [each for topic in response.responses for each in topic.partition_responses]
    assert (first.error_code, class_for(second.error_code), second.base_offset) == (0, error, -1)
    assert len(replicas.batches) == 1


def test_who_leads_is_told_with_the_address() -> None:
    response = ask(10, request_by_kio(10, [("a", 0, BATCH)]), _Replicas(NotLeaderOrFollowerError("elsewhere")))
    (partition,) = response.responses[0].partition_responses
    assert partition.error_code == code_of(NotLeaderOrFollowerError) and partition.error_message == "elsewhere"
    assert partition.current_leader.leader_id == 4
    assert [(each.node_id, each.host, each.port) for each in response.node_endpoints] == [(4, "there", 9)]


def test_acks_0_is_not_answered_and_a_failure_closes_the_connection() -> None:
    body = request_by_kio(9, [("a", 0, BATCH)], acks=0)
    assert ask(9, body, _Replicas()) is None
    with pytest.raises(ProducerMisledError):
        ask(9, body, _Replicas(NotLeaderOrFollowerError("elsewhere")))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_transaction_is_told_and_from_version_12_on_its_partitions_are_the_leaders_to_add(version: int) -> None:
    replicas = _Replicas()
    ask(version, request_by_kio(version, [("a", 0, BATCH)], transactional_id="t"), replicas)
    assert replicas.transaction == ("t", version >= 12)
    ask(version, request_by_kio(version, [("a", 0, BATCH)]), replicas)
    assert replicas.transaction is None
