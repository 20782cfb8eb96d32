"""Speaking to a node without the SDK: bytes over sockets, bytes over gRPC, and requests made by hand."""

import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import grpc

from kraftpy.pb import client_pb2 as pb
from kraftpy.record import Record, encode_batch

ANSWER_S = 20.0
CHUNK_BYTES = 65_536


class RawSocket:
    """One TCP connection. Every call fails after `ANSWER_S` seconds of silence."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), ANSWER_S)
        self.is_closed_by_peer = False

    def send(self, data: bytes) -> None:
        """A peer that has closed already is no error."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.is_closed_by_peer = True

    def finish(self) -> None:
        """Say that nothing more will come."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.is_closed_by_peer = True

    def receive(self, count: int) -> bytes:
        """This many bytes, or fewer where the peer closes first."""
        data = bytearray()
        while len(data) < count:
            try:
                piece = self._socket.recv(min(count - len(data), CHUNK_BYTES))
            except ConnectionResetError:
                piece = b""
            if not piece:
                self.is_closed_by_peer = True
                break
            data += piece
        return bytes(data)

    def send_frame(self, frame: bytes) -> None:
        self.send(struct.pack(">i", len(frame)) + frame)

    def receive_frame(self) -> bytes | None:
        """The next frame; None where the peer closes instead."""
        length = self.receive(4)
        return self.receive(struct.unpack(">i", length)[0]) if len(length) == 4 else None

    def wait_closed_by_peer(self) -> None:
        """Raises `TimeoutError` where it is not closed."""
        while not self.is_closed_by_peer:
            self.receive(CHUNK_BYTES)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "RawSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RawCalls:
    """gRPC with bytes in place of messages. Of answers that are not read it takes 64 KB, and guesses no more."""

    def __init__(self, address: str) -> None:
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.http2.bdp_probe", 0),
        ]
        self._channel = grpc.insecure_channel(address, options=options)

    def call(self, method: str, request: bytes, timeout_s: float = ANSWER_S) -> bytes:
        """`method` is "Client/Fetch". Raises `grpc.RpcError`."""
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(f"/kraftpy.pb.{method}")
        return ask(request, timeout=timeout_s)

    def stream(self, method: str, requests: Iterable[bytes]) -> Iterator[bytes]:
        """The answers of a call of many messages. Raises `grpc.RpcError` from the iterator."""
        ask: grpc.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(f"/kraftpy.pb.{method}")
        return ask(iter(requests), timeout=60)

    def produce(self, topic: str, partition: int, records: bytes, acks: int = -1) -> pb.ProducedPartition:
        """One batch on a stream of its own; the partition's answer."""
        request = pb.ProduceRequest(
            correlation_id=1,
            acks=acks,
            timeout_ms=5_000,
            partitions=[pb.ProducePartition(topic=topic, partition=partition, records=records)],
        )
        (answer,) = self.stream("Client/Produce", [request.SerializeToString()])
        (produced,) = pb.ProduceResponse.FromString(answer).partitions
        return produced

    def fetch(
        self, *targets: pb.FetchPartition, max_bytes: int = 1 << 20, wait_ms: int = 0
    ) -> list[pb.FetchedPartition]:
        request = pb.FetchRequest(max_wait_ms=wait_ms, min_bytes=1, max_bytes=max_bytes, partitions=targets)
        return list(pb.FetchResponse.FromString(self.call("Client/Fetch", request.SerializeToString())).partitions)

    def list_offsets(self, *targets: pb.ListOffsetsPartition) -> list[pb.ListedOffset]:
        request = pb.ListOffsetsRequest(partitions=targets)
        answer = self.call("Client/ListOffsets", request.SerializeToString())
        return list(pb.ListOffsetsResponse.FromString(answer).partitions)

    def close(self) -> None:
        self._channel.close()


@contextmanager
def raw_calls(address: str) -> Iterator[RawCalls]:
    calls = RawCalls(address)
    try:
        yield calls
    finally:
        calls.close()


def batch_of(
    *values: bytes, timestamp_ms: int, producer_id: int = -1, producer_epoch: int = -1, base_sequence: int = -1
) -> bytearray:
    """A batch as a producer would send it."""
    return encode_batch(
        [Record(number, timestamp_ms, b"key", value, ()) for number, value in enumerate(values)],
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
    )
