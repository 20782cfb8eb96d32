"""One real node and everything that may come in: it refuses with a reason, its memory stays bounded, and it serves on.

Every test here runs against the same process, which is looked at before and after each of them.
"""

import resource
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import grpc
import pytest
from crc32c import crc32c

from cli.descriptors import raise_limit
from kraftpy import Consumer, Producer
from kraftpy.error_codes import NO_ERROR, error_for
from kraftpy.pb import admin_pb2, client_pb2, control_pb2, quorum_pb2
from kraftpy.pb import client_pb2 as pb
from kraftpy.testing import Cluster
from tests.cluster.process_memory import anonymous_kib, open_files
from tests.cluster.raw import ANSWER_S, RawSocket, batch_of, raw_calls

GROWTH_KIB_MAX = 24 * 1024
"""What the node may hold more after a test than before: caches of the allocator, no leak and no queue."""
CONNECTIONS_PER_ADDRESS = 300
TOPIC = "lines"


@pytest.fixture(scope="module")
def node() -> Iterator[Cluster]:
    config = {"auto.create.topics.enable": False, "max.connections.per.ip": CONNECTIONS_PER_ADDRESS}
    with Cluster(nodes=1, config=config) as cluster:
        cluster.admin.create_topic(TOPIC, partitions=2)
        serve_once(cluster)
        yield cluster


@pytest.fixture(autouse=True)
def _serves_on_in_bounded_memory(node: Cluster) -> Iterator[None]:
    before_kib, pid = anonymous_kib(node.pid(1)), node.pid(1)
    logged = len(node.log(1))
    yield
    serve_once(node)
    assert node.running == [1] and node.pid(1) == pid
    until(lambda: anonymous_kib(pid) - before_kib < GROWTH_KIB_MAX)
    assert "Traceback" not in node.log(1)[logged:]


def serve_once(cluster: Cluster) -> None:
    """A record goes in and comes back."""
    with Producer(cluster.bootstrap) as producer, Consumer(bootstrap=cluster.bootstrap) as consumer:
        metadata = producer.send(TOPIC, b"still here", partition=1).result(20)
        consumer.assign([(TOPIC, 1)])
        consumer.seek((TOPIC, 1), metadata.offset)
        assert next(consumer).value == b"still here"


def until(happens: Callable[[], bool], timeout: float = 30.0) -> None:
    """Wait for it. Raises `AssertionError`."""
    deadline_s = time.monotonic() + timeout
    while not happens():
        assert time.monotonic() < deadline_s, f"waited {timeout:g} s in vain"
        threading.Event().wait(0.02)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


# --- frames --------------------------------------------------------------------------------------------------------


def client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = False
    try:
        context.wrap_bio(incoming, outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">i", -1) + b"x",
        struct.pack(">i", -(2**31)),
        struct.pack(">i", 2**31 - 1) + b"x" * 1000,
        struct.pack(">i", 3) + b"abc",
        struct.pack(">ihhi", 8, 9_999, 0, 1),
        struct.pack(">ihhih", 10, 1, 18, 1, 30_000),
        struct.pack(">ihhihi", 14, 1, 18, 1, -1, -1),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        client_hello(),
        bytes(range(256)) * 300,
    ],
    ids=["minus-one", "lowest", "highest", "short", "api", "client-id", "cut-fetch", "http", "tls", "bytes"],
)
def test_a_frame_that_is_none_ends_its_connection_and_nothing_else(node: Cluster, data: bytes) -> None:
    with RawSocket(node.listener(1)) as connection:
        connection.send(data)
        connection.wait_closed_by_peer()


def test_frames_that_are_cut_off_leave_nothing_behind(node: Cluster) -> None:
    before = open_files(node.pid(1))
    for size in (0, 1, 3, 4, 5, 60_000):
        with RawSocket(node.listener(1)) as connection:
            connection.send((struct.pack(">i", 100_000) + bytes(100_000))[:size])
            connection.finish()
            connection.wait_closed_by_peer()
    assert open_files(node.pid(1)) <= before


def test_random_frames_are_answered_or_end_their_connection(node: Cluster) -> None:
    random = Random(20)
    for _ in range(300):
        with RawSocket(node.listener(1)) as connection:
            api, version = random.choice(((1, 12), (1, 18), (2, 7), (2, 11), (18, 0), (18, 4), (0, 3), (3, 1)))
            header = struct.pack(">hhi", api, version, random.getrandbits(31))
            connection.send_frame(header + random.randbytes(random.choice((0, 1, 7, 30, 200))))
            connection.finish()
            connection.wait_closed_by_peer()


def test_announced_frames_take_memory_as_they_come_and_give_it_back(node: Cluster) -> None:
    connections = [RawSocket(node.listener(1)) for _ in range(200)]
    before_kib = anonymous_kib(node.pid(1))
    for connection in connections:
        connection.send(struct.pack(">i", 100 << 20) + bytes(60_000))
    serve_once(node)
    assert anonymous_kib(node.pid(1)) - before_kib < 200 * 600  # a first buffer each, of the 100 MB announced
    for connection in connections:
        connection.close()


# --- calls ---------------------------------------------------------------------------------------------------------

SERVICES = (admin_pb2, client_pb2, control_pb2, quorum_pb2)
METHODS = [
    (f"{service.name}/{method.name}", method.input_type.name)
    for module in SERVICES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


def refusal(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value.code(), raised.value.details() or ""


@pytest.mark.parametrize(("method", "request_name"), METHODS, ids=[name for name, _ in METHODS])
def test_bytes_that_are_no_message_are_refused_by_every_method(node: Cluster, method: str, request_name: str) -> None:
    broken = b"\x0a\xff\xff\xff\xff\x7f"  # a field that is longer than everything
    with raw_calls(node.address(1)) as calls:
        if method == "Client/Produce":
            status, details = refusal(lambda: list(calls.stream(method, [broken])))
        else:
            status, details = refusal(lambda: calls.call(method, broken))
    assert (status, details) == (grpc.StatusCode.INVALID_ARGUMENT, f"6 bytes that are no {request_name}")


def test_random_messages_are_answered_or_refused(node: Cluster) -> None:
    random = Random(21)
    unary = [name for name, _ in METHODS if name != "Client/Produce"]
    with raw_calls(node.address(1)) as calls:
        for _ in range(400):
            method = random.choice(unary)
            # Where one is understood it waits for that observer to catch up, for as long as the message allows.
            may_wait = method == "Admin/AddRaftVoter"
            data = random.randbytes(random.choice((0, 1, 2, 5, 20, 300)))
            try:
                calls.call(method, data, 1.0 if may_wait else ANSWER_S)
            except grpc.RpcError as error:
                if may_wait and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    continue
                assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error


def test_a_call_that_is_too_large_or_unknown_is_refused(node: Cluster) -> None:
    with raw_calls(node.address(1)) as calls:
        status, details = refusal(lambda: calls.call("Client/Fetch", bytes((64 << 20) + 1)))
        assert status is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details
        assert refusal(lambda: calls.call("Client/Nothing", b""))[0] is grpc.StatusCode.UNIMPLEMENTED
        many = pb.FetchRequest(partitions=[pb.FetchPartition(topic=TOPIC, partition=n) for n in range(20_001)])
        status, details = refusal(lambda: calls.call("Client/Fetch", many.SerializeToString()))
        assert (status, details) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "20001 partitions in one call; at most 20000",
        )


@pytest.mark.parametrize("data", [b"\0" * 10_000, b"GET / HTTP/1.1\r\n\r\n", client_hello(), b"PRI * HTTP/2.0\r\n"])
def test_bytes_that_are_no_grpc_end_their_connection(node: Cluster, data: bytes) -> None:
    with RawSocket(node.address(1)) as connection:
        connection.send(data)
        connection.finish()
        connection.wait_closed_by_peer()


# --- batches -------------------------------------------------------------------------------------------------------


def good() -> bytearray:
    return batch_of(b"one", b"two", timestamp_ms=now_ms())


def changed(position: int, layout: str, value: int, *, sum_is_right: bool = True) -> bytearray:
    """A good batch with one field changed, and usually with the checksum that belongs to it."""
    batch = good()
    struct.pack_into(layout, batch, position, value)
    if sum_is_right:
        struct.pack_into(">I", batch, 17, crc32c(bytes(batch[21:])))
    return batch


def from_producer(epoch: int, base_sequence: int) -> bytearray:
    return batch_of(b"x", timestamp_ms=now_ms(), producer_id=77, producer_epoch=epoch, base_sequence=base_sequence)


def in_the_future() -> bytearray:
    return batch_of(b"x", timestamp_ms=now_ms() + 10**10)


@pytest.mark.parametrize(
    ("batch", "name", "sentence"),
    [
        (b"", "INVALID_RECORD", "holds no batch"),
        (b"\0" * 60, "CORRUPT_MESSAGE", "60 bytes are too few for a batch header"),
        (good()[:-1], "CORRUPT_MESSAGE", "its"),
        (good() + b"\0" * 5, "CORRUPT_MESSAGE", "5 bytes are too few"),
        (changed(66, ">B", 0x55, sum_is_right=False), "CORRUPT_MESSAGE", "checksum"),
        (changed(17, ">I", 1, sum_is_right=False), "CORRUPT_MESSAGE", "checksum"),
        (changed(8, ">i", -1, sum_is_right=False), "CORRUPT_MESSAGE", "cannot have length -1"),
        (changed(8, ">i", 20, sum_is_right=False), "CORRUPT_MESSAGE", "cannot have length 20"),
        (changed(8, ">i", 2**31 - 1, sum_is_right=False), "CORRUPT_MESSAGE", "of its 2147483659 bytes"),
        (changed(16, ">b", 1, sum_is_right=False), "UNSUPPORTED_FOR_MESSAGE_FORMAT", "send format 2"),
        (changed(16, ">b", 99, sum_is_right=False), "CORRUPT_MESSAGE", "99 is no message format"),
        (changed(57, ">i", 3), "INVALID_RECORD", "3 records, but its last offset delta is 1"),
        (changed(57, ">i", 0), "INVALID_RECORD", "0 records"),
        (changed(57, ">i", -7), "INVALID_RECORD", "-7 records"),
        (changed(23, ">i", 2**31 - 1), "INVALID_RECORD", "last offset delta is 2147483647"),
        (changed(21, ">h", 7), "INVALID_RECORD", "compression 7"),
        (changed(21, ">h", 0x20), "INVALID_RECORD", "control batches"),
        (batch_of(b"x" * (2 << 20), timestamp_ms=now_ms()), "MESSAGE_TOO_LARGE", "max.message.bytes=1048588"),
        (in_the_future(), "INVALID_TIMESTAMP", "message.timestamp.after.max.ms"),
        (from_producer(0, -1), "INVALID_RECORD", "no sequence"),
        (from_producer(-1, 0), "INVALID_RECORD", "no epoch"),
    ],
)
def test_a_batch_that_is_wrong_is_refused_by_name_and_not_a_byte_of_it_is_kept(
    node: Cluster, batch: bytes, name: str, sentence: str
) -> None:
    end = pb.ListOffsetsPartition(topic=TOPIC, partition=0, timestamp_ms=-1, current_leader_epoch=-1)
    with raw_calls(node.address(1)) as calls:
        (before,) = calls.list_offsets(end)
        answer = calls.produce(TOPIC, 0, bytes(batch))
        assert error_for(answer.error).name == name
        assert sentence in answer.error_message
        assert answer.base_offset == -1
        assert calls.list_offsets(end) == [before]


def test_sequences_and_epochs_that_do_not_follow_are_refused(node: Cluster) -> None:
    with raw_calls(node.address(1)) as calls:
        first = calls.produce(TOPIC, 0, bytes(from_producer(5, 0)))
        assert first.error == NO_ERROR
        again = calls.produce(TOPIC, 0, bytes(from_producer(5, 0)))
        assert (again.error, again.base_offset) == (NO_ERROR, first.base_offset)
        gap = calls.produce(TOPIC, 0, bytes(from_producer(5, 9)))
        assert error_for(gap.error).name == "OUT_OF_ORDER_SEQUENCE_NUMBER"
        old = calls.produce(TOPIC, 0, bytes(from_producer(4, 1)))
        assert error_for(old.error).name == "INVALID_PRODUCER_EPOCH"
        open_ended = bytearray(from_producer(5, 1))
        struct.pack_into(">h", open_ended, 21, 0x10)
        struct.pack_into(">I", open_ended, 17, crc32c(bytes(open_ended[21:])))
        unknown = calls.produce(TOPIC, 0, bytes(open_ended))
        assert error_for(unknown.error).name == "INVALID_TXN_STATE"


@pytest.mark.parametrize(
    ("topic", "partition", "acks", "name"),
    [
        ("nothing", 0, -1, "UNKNOWN_TOPIC_OR_PARTITION"),
        ("", 0, -1, "UNKNOWN_TOPIC_OR_PARTITION"),
        ("../../etc/passwd", 0, -1, "UNKNOWN_TOPIC_OR_PARTITION"),
        ("__cluster_metadata", 0, -1, "UNKNOWN_TOPIC_OR_PARTITION"),
        (TOPIC, 2, -1, "UNKNOWN_TOPIC_OR_PARTITION"),
        (TOPIC, -1, -1, "UNKNOWN_TOPIC_OR_PARTITION"),
        (TOPIC, 2**31 - 1, 1, "UNKNOWN_TOPIC_OR_PARTITION"),
        (TOPIC, 0, 2, "INVALID_REQUIRED_ACKS"),
        (TOPIC, 0, -(2**31), "INVALID_REQUIRED_ACKS"),
    ],
)
def test_a_place_or_acks_that_do_not_exist_are_refused(
    node: Cluster, topic: str, partition: int, acks: int, name: str
) -> None:
    with raw_calls(node.address(1)) as calls:
        assert error_for(calls.produce(topic, partition, bytes(good()), acks).error).name == name


# --- reads ---------------------------------------------------------------------------------------------------------


def target(**changes: Any) -> pb.FetchPartition:
    fields: dict[str, Any] = {
        "topic": TOPIC,
        "partition": 1,
        "offset": 0,
        "current_leader_epoch": -1,
        "max_bytes": 1_000,
        "last_fetched_epoch": -1,
    }
    return pb.FetchPartition(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"offset": -1}, "OFFSET_OUT_OF_RANGE"),
        ({"offset": -(2**63)}, "OFFSET_OUT_OF_RANGE"),
        ({"offset": 1_000_000}, "OFFSET_OUT_OF_RANGE"),
        ({"offset": 2**63 - 1}, "OFFSET_OUT_OF_RANGE"),
        ({"current_leader_epoch": 99}, "UNKNOWN_LEADER_EPOCH"),
        ({"current_leader_epoch": -7}, "FENCED_LEADER_EPOCH"),
        ({"topic": "nothing"}, "UNKNOWN_TOPIC_OR_PARTITION"),
        ({"topic": "\0"}, "UNKNOWN_TOPIC_OR_PARTITION"),
        ({"partition": 2}, "UNKNOWN_TOPIC_OR_PARTITION"),
        ({"partition": -1}, "UNKNOWN_TOPIC_OR_PARTITION"),
    ],
)
def test_a_fetch_from_where_nothing_can_be_is_refused(node: Cluster, changes: dict[str, Any], name: str) -> None:
    with raw_calls(node.address(1)) as calls:
        (answer,) = calls.fetch(target(**changes))
        assert error_for(answer.error).name == name
        assert answer.records == b""


def test_sizes_and_times_that_are_nonsense_are_clamped(node: Cluster) -> None:
    with raw_calls(node.address(1)) as calls:
        for size in (-(2**31), -1, 0):
            (answer,) = calls.fetch(target(max_bytes=size), wait_ms=-1)
            assert answer.error == NO_ERROR and answer.records, "the first batch comes whatever its size"
            (answer,) = calls.fetch(target(), max_bytes=size, wait_ms=size)
            assert answer.error == NO_ERROR
        (answer,) = calls.fetch(target(last_fetched_epoch=50))
        assert answer.HasField("diverging_epoch") and answer.records == b""


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"timestamp_ms": -9}, "INVALID_REQUEST"),
        ({"timestamp_ms": -(2**63)}, "INVALID_REQUEST"),
        ({"current_leader_epoch": 9}, "UNKNOWN_LEADER_EPOCH"),
        ({"topic": "nothing"}, "UNKNOWN_TOPIC_OR_PARTITION"),
        ({"partition": -1}, "UNKNOWN_TOPIC_OR_PARTITION"),
    ],
)
def test_offsets_of_what_does_not_exist_are_refused(node: Cluster, changes: dict[str, Any], name: str) -> None:
    fields: dict[str, Any] = {"topic": TOPIC, "partition": 1, "timestamp_ms": -1, "current_leader_epoch": -1}
    with raw_calls(node.address(1)) as calls:
        (answer,) = calls.list_offsets(pb.ListOffsetsPartition(**fields | changes))
        assert error_for(answer.error).name == name and answer.offset == -1


# --- clients that wait ---------------------------------------------------------------------------------------------


def test_thousands_of_idle_connections_hold_up_nobody(node: Cluster) -> None:
    raise_limit(0)  # of this process, which holds the other ends
    count = min(1_500, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200) // 2)
    before = open_files(node.pid(1))
    framed = [RawSocket(node.listener(1)) for _ in range(count)]
    calls = [RawSocket(node.address(1)) for _ in range(count)]
    serve_once(node)
    for connection in framed[CONNECTIONS_PER_ADDRESS:]:
        connection.wait_closed_by_peer()
    assert open_files(node.pid(1)) - before < CONNECTIONS_PER_ADDRESS + count + 50
    for connection in (*framed, *calls):
        connection.close()


def test_a_reader_that_reads_nothing_holds_no_more_than_its_share(node: Cluster) -> None:
    with Producer(node.bootstrap) as producer:
        for _ in range(100):
            producer.send(TOPIC, bytes(500_000), partition=0)
    before_kib = anonymous_kib(node.pid(1))
    with RawSocket(node.listener(1)) as reader:
        for number in range(200):  # 200 answers of 50 MB, were they all made
            reader.send_frame(kafka_fetch(number))
        serve_once(node)
        assert anonymous_kib(node.pid(1)) - before_kib < GROWTH_KIB_MAX


def kafka_fetch(correlation_id: int) -> bytes:
    """Fetch 4, by hand: everything of the topic's first partition."""
    name = TOPIC.encode()
    partition = struct.pack(">iqi", 0, 0, 100 << 20)
    topic = struct.pack(">h", len(name)) + name + struct.pack(">i", 1) + partition
    body = struct.pack(">iiiibi", -1, 0, 1, 100 << 20, 0, 1) + topic
    return struct.pack(">hhihs", 1, 4, correlation_id, 1, b"r") + body


def test_a_producer_that_reads_no_answers_is_held_back(node: Cluster) -> None:
    request = pb.ProduceRequest(correlation_id=1, acks=-1, timeout_ms=5_000)
    request.partitions.add(topic="nothing" * 30, partition=0, records=bytes(100_000))
    data = request.SerializeToString()
    before_kib = anonymous_kib(node.pid(1))
    asked = 0

    def requests() -> Iterator[bytes]:
        nonlocal asked
        for _ in range(1_000):
            asked += 1
            yield data

    with raw_calls(node.address(1)) as calls:
        answers = calls.stream("Client/Produce", requests())
        before = 0
        while before != asked:  # until nothing moves any more
            before = asked
            threading.Event().wait(1)
        serve_once(node)
        assert before == asked < 500
        assert anonymous_kib(node.pid(1)) - before_kib < GROWTH_KIB_MAX
        assert sum(1 for _ in answers) == 1_000
