"""The whole door on a real socket: clients that behave, and clients that do not."""

import asyncio
import logging
import random
import resource
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.kafka.api_versions import ApiVersions
from broker.kafka.fetch import BYTES_MAX, Fetch
from broker.kafka.fetch_codec import FollowerFetchCodec
from broker.kafka.list_offsets import ListOffsets
from broker.kafka.router import Router
from broker.kafka.wire import ProtocolError
from broker.replication.fetch_types import (
    FetchAnswer,
    FetchedPartition,
    FetchQuery,
    FetchTarget,
    IsolationLevel,
    OffsetsQuery,
    OffsetTarget,
)
from broker.rpc.limits import WAIT_MAX_MS
from kraftpy.errors import InconsistentClusterIdError
from kraftpy.runtime.disk import LocalDisk
from kraftpy.runtime.framed_transport import FramedConfig, TcpFramedTransport
from kraftpy.runtime.ports import Address, Unreachable
from tests.kafka import kio_messages
from tests.kafka.fake_replicas import FakeReplicas, join, range_of
from tests.kafka.test_list_offsets import by_kio as list_offsets_by_kio
from tests.tools.stepped_clock import SteppedClock

TOPIC = UUID(int=9)
PEER = Address("127.0.0.1", 5)
TARGET = FetchTarget(TOPIC, "", 0, 1, 2, 1, 0, 1000, 2)


def query(**changes: Any) -> FetchQuery:
    fields: dict[str, Any] = {
        "replica_id": 2,
        "replica_epoch": 5,
        "max_wait_ms": 500,
        "min_bytes": 1,
        "max_bytes": 10_000,
        "isolation_level": IsolationLevel.READ_UNCOMMITTED,
        "partitions": [TARGET],
    }
    return FetchQuery(**fields | changes)


def router(replicas: FakeReplicas, cluster_id: str | None = None) -> Router:
    return Router([Fetch(replicas, cluster_id).api(), ListOffsets(replicas).api()], ApiVersions(), SteppedClock())


@asynccontextmanager
async def door(replicas: FakeReplicas, **limits: int) -> Any:
    disk = LocalDisk()
    transport = TcpFramedTransport(disk.run, FramedConfig(**limits))
    server = await transport.serve(Address("127.0.0.1", 0), router(replicas).open)
    try:
        yield transport, server.address
    finally:
        await server.stop()
        disk.close()


def test_a_follower_fetches_in_a_session() -> None:
    data = random.Random(1).randbytes(50_000)

    async def story() -> None:
        fetched = FetchedPartition(
            TARGET, None, 7, 7, 0, [range_of(data, 5, 20_000), range_of(data, 20_005, 9)], size_bytes=20_009
        )
        replicas = FakeReplicas(FetchAnswer([fetched], 42))
        codec = FollowerFetchCodec()
        async with door(replicas) as (transport, address):
            connection = await transport.connect(address, 1000)
            for number in range(1, 4):
                asked = query(session_id=42 if number > 1 else 0, session_epoch=number - 1)
                frame = await connection.request(codec.encode_query(asked, number), 2000)
                answer = codec.decode_answer(frame, number)
                assert answer.session_id == 42
                assert bytes(answer.partitions[0].records) == data[5:20_014]
            connection.close()
        assert [each.session_epoch for each in replicas.fetches] == [0, 1, 2]
        assert {each.replica_epoch for each in replicas.fetches} == {5}
        assert {each.client_id for each in replicas.fetches} == {"broker-2-fetcher"}

    asyncio.run(story())


def fetch_frame(**fields: Any) -> memoryview:
    schema = kio_messages.message("fetch", 18, "request")
    defaults = {"min_bytes": 2**31 - 1, "max_bytes": 2**31 - 1, "topics": (), "forgotten_topics_data": ()}
    request = schema.FetchRequest(**{"max_wait": timedelta(days=1), **defaults, **fields})
    return memoryview(kio_messages.request_frame(request, 3, None))


def test_a_consumers_wishes_have_limits_and_a_followers_are_its_own() -> None:
    replicas = FakeReplicas()
    schema = kio_messages.message("fetch", 18, "request")
    asyncio.run(router(replicas).handle(PEER, fetch_frame()))
    follower = schema.ReplicaState(replica_id=3, replica_epoch=1)
    asyncio.run(router(replicas).handle(PEER, fetch_frame(replica_state=follower)))
    consumer_query, follower_query = replicas.fetches
    assert consumer_query.max_bytes == consumer_query.min_bytes == BYTES_MAX
    assert consumer_query.max_wait_ms == WAIT_MAX_MS
    assert (follower_query.replica_id, follower_query.max_bytes) == (3, 2**31 - 1)


def test_a_consumer_that_wants_no_bytes_gets_one_batch_all_the_same() -> None:
    """As in Kafka from version 3 of Fetch on (KIP-74); else it would ask for ever, without a pause."""
    replicas = FakeReplicas()
    for limit in (0, -1):
        asyncio.run(router(replicas).handle(PEER, fetch_frame(max_bytes=limit)))
    assert [(each.max_bytes, each.min_bytes) for each in replicas.fetches] == [(1, 1), (1, 1)]


@pytest.mark.parametrize(("cluster_id", "served"), [(None, True), ("ours", True), ("theirs", False)])
def test_a_reader_that_means_another_cluster_is_refused(cluster_id: str | None, served: bool) -> None:
    replicas = FakeReplicas()
    frame = fetch_frame(cluster_id=cluster_id)
    answer = join(asyncio.run(router(replicas, "ours").handle(PEER, frame)))
    response_type = kio_messages.message("fetch", 18, "response").FetchResponse
    _, response = kio_messages.decode_response_frame(response_type, answer)
    assert len(replicas.fetches) == int(served)
    assert response.error_code.name.upper() == ("NONE" if served else InconsistentClusterIdError.name)


@pytest.mark.parametrize("client_id", [None, "", "client", "ä" * 100])
@pytest.mark.parametrize("version", [1, 5, 6, 11])
def test_both_forms_of_headers_are_read_and_answered(version: int, client_id: str | None) -> None:
    replicas = FakeReplicas()
    asked = OffsetsQuery(-1, IsolationLevel.READ_UNCOMMITTED, [OffsetTarget("t", 4, -1, -1)])
    schema = kio_messages.message("list_offsets", version, "request")
    body = kio_messages.decode(schema.ListOffsetsRequest, list_offsets_by_kio(version, asked))
    frame = kio_messages.request_frame(body, -5, client_id)
    answer = join(asyncio.run(router(replicas).handle(PEER, memoryview(frame))))
    response_type = kio_messages.message("list_offsets", version, "response").ListOffsetsResponse
    correlation_id, response = kio_messages.decode_response_frame(response_type, answer)
    assert correlation_id == -5
    assert response.topics[0].partitions[0].offset == 100


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0\1",
        kio_messages.header(0, 9),  # Produce is not served here yet
        kio_messages.header(3, 12),
        kio_messages.header(1, 3),
        kio_messages.header(1, 19),
        kio_messages.header(2, 0),
        kio_messages.header(-1, 0),
        kio_messages.header(2, 1)[:-1],
        kio_messages.header(2, 1, client_id=b"\xff\xfe"),
        b"\0\2\0\1\0\0\0\1\xff\xf0",  # a client id of length -16
        kio_messages.header(2, 6) + b"\xff\xff\xff\xff\x0f",  # four billion tagged fields
        kio_messages.header(2, 1) + bytes(9 * 2**20),  # larger than such a request may be
    ],
)
def test_what_is_not_served_or_not_a_request_is_a_protocol_error(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        asyncio.run(router(FakeReplicas()).handle(PEER, memoryview(frame)))


frames = st.binary(max_size=80) | st.builds(
    lambda key, version, body: kio_messages.header(key, version) + body,
    st.sampled_from([1, 2, 18, 0, 3]),
    st.integers(-1, 20),
    st.binary(max_size=100),
)
whole = fetch_frame(topics=()).tobytes()


@settings(max_examples=500, deadline=None)
@given(frames)
def test_any_frame_is_answered_or_a_protocol_error(frame: bytes) -> None:
    async def answer() -> None:
        try:
            assert join(await router(FakeReplicas()).handle(PEER, memoryview(frame)))[:4] == frame[4:8]
        except ProtocolError:
            pass

    asyncio.run(answer())


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(whole)), st.binary(max_size=6), st.integers(0, 4))
def test_damaged_requests_are_answered_or_a_protocol_error(position: int, damage: bytes, cut: int) -> None:
    frame = whole[:position] + damage + whole[position + cut :]

    async def answer() -> None:
        try:
            await router(FakeReplicas()).handle(PEER, memoryview(frame))
        except ProtocolError:
            pass

    asyncio.run(answer())


def test_under_garbage_the_node_serves_on_in_bounded_memory(caplog: pytest.LogCaptureFixture) -> None:
    rounds = 400

    async def story() -> None:
        chance = random.Random(5)
        codec = FollowerFetchCodec()
        async with door(FakeReplicas(), frame_bytes_max=2**20) as (transport, address):
            good = await transport.connect(address, 1000)
            await good.request(codec.encode_query(query(), 1), 2000)
            before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for number in range(2, rounds + 2):
                bad = await transport.connect(address, 1000)
                # Fetch 18, and after the client id what no reader can make sense of: an array of four billion.
                garbage = (
                    kio_messages.header(1, 18) + b"\0" + bytes(21) + b"\xff\xff\xff\xff\x0f" + chance.randbytes(50)
                )
                with pytest.raises(Unreachable):
                    await bad.request([garbage], 2000)
                answer = codec.decode_answer(await good.request(codec.encode_query(query(), number), 2000), number)
                assert answer.error is None
            good.close()
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 8 * 1024

    with caplog.at_level(logging.DEBUG):
        asyncio.run(story())
    lines = [record for record in caplog.records if record.name.startswith("kraftpy")]
    assert len(lines) == rounds and all(record.exc_info is None for record in lines)
