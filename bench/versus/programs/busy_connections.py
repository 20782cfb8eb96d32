"""Requests a second over many connections, each with one request at a time, beside others that are idle.

Argument: `bootstrap`, `topic`, `partitions`, `busy`, `idle`, `warm_s`, `seconds`, `request_bytes`. A request is a
Produce (version 7, acks=all) with one batch of records of 1 KB for one partition, the connections' partitions in turn;
each busy connection sends its next when the answer has come. Idle ones have asked for the API versions once. Found:
`requests_per_s`. An answer with an error, or a connection that ends, is an error.
"""

import asyncio
import json
import sys
import time
from struct import Struct
from typing import Any, cast

import uvloop
from confluent_kafka.admin import AdminClient

from kraftpy.record.builder import BatchBuilder

PRODUCE, PRODUCE_VERSION = 0, 7
API_VERSIONS, API_VERSIONS_VERSION = 18, 0
HEADER = Struct(">hhih")  # key, version, correlation id, client id (null)
SIZE = Struct(">i")
RECORD_BYTES = 1_000
WAIT_S = 60.0


def main() -> None:
    asked = json.loads(sys.argv[1])
    print(json.dumps({"requests_per_s": uvloop.run(measure(asked))}))


async def measure(asked: Any) -> float:
    leaders = leaders_of(asked)
    batch = batch_of(asked["request_bytes"])
    idle = [await connected(leaders[number % len(leaders)], Idle) for number in range(asked["idle"])]
    loop = asyncio.get_running_loop()
    busy: list[Busy] = []
    for number in range(asked["busy"]):
        partition = number % len(leaders)
        connection = await connected(leaders[partition], Busy)
        connection.frame = produce_frame(asked["topic"], partition, batch)
        connection.error_at = error_position(asked["topic"])
        busy.append(connection)
    for connection in busy:
        connection.send()
    await asyncio.sleep(asked["warm_s"])
    before, began = sum(connection.answers for connection in busy), loop.time()
    await asyncio.sleep(asked["seconds"])
    found = (sum(connection.answers for connection in busy) - before) / (loop.time() - began)
    failures = [connection.failure for connection in (*busy, *idle) if connection.failure]
    for connection in (*busy, *idle):
        connection.close()
    if failures:
        sys.exit(f"{len(failures)} connections failed: {failures[0]}")
    if silent := sum(not connection.answers for connection in busy):
        sys.exit(f"{silent} connections have had no answer")
    return found


class Connection(asyncio.Protocol):
    """Cuts answers out of what comes."""

    def __init__(self) -> None:
        self.failure = ""
        self.answers = 0
        self._closing = False
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= SIZE.size:
            end = SIZE.size + SIZE.unpack_from(self._received)[0]
            if len(self._received) < end:
                return
            answer = bytes(self._received[SIZE.size : end])
            del self._received[:end]
            self.answers += 1
            self.answered(answer)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._closing:
            self.failure = self.failure or f"closed by the node ({error})"

    def close(self) -> None:
        self._closing = True
        self._transport.close()

    def answered(self, answer: bytes) -> None:
        raise NotImplementedError


class Idle(Connection):
    """Asks once, then holds its connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._transport.write(framed(HEADER.pack(API_VERSIONS, API_VERSIONS_VERSION, 0, -1)))

    def answered(self, answer: bytes) -> None:
        pass


class Busy(Connection):
    """Sends its frame whenever the last one is answered."""

    frame = b""
    error_at = 0

    def send(self) -> None:
        self._transport.write(self.frame)

    def answered(self, answer: bytes) -> None:
        error = int.from_bytes(answer[self.error_at : self.error_at + 2], "big", signed=True)
        if error:
            self.failure = f"error {error}"
        else:
            self.send()


async def connected(address: tuple[str, int], kind: type[Any]) -> Any:
    loop = asyncio.get_running_loop()
    _, protocol = await asyncio.wait_for(loop.create_connection(kind, *address), WAIT_S)
    return protocol


def leaders_of(asked: Any) -> list[tuple[str, int]]:
    """The address of each partition's leader."""
    known = AdminClient({"bootstrap.servers": asked["bootstrap"]}).list_topics(asked["topic"], timeout=WAIT_S)
    partitions = known.topics[asked["topic"]].partitions
    brokers = [known.brokers[partitions[number].leader] for number in range(asked["partitions"])]
    return [(broker.host, broker.port) for broker in brokers]


def batch_of(size: int) -> bytes:
    builder, now_ms = BatchBuilder(), int(time.time() * 1_000)
    for _ in range(size // RECORD_BYTES):
        builder.append(now_ms, None, bytes(RECORD_BYTES))
    return bytes(builder.build())


def produce_frame(topic: str, partition: int, batch: bytes) -> bytes:
    name = topic.encode()
    parts = (
        HEADER.pack(PRODUCE, PRODUCE_VERSION, 0, -1),
        Struct(">hhii").pack(-1, -1, 30_000, 1),  # no transaction, acks=all, time-out in ms, one topic
        Struct(">h").pack(len(name)) + name,
        Struct(">iii").pack(1, partition, len(batch)),
        batch,
    )
    return framed(b"".join(parts))


def error_position(topic: str) -> int:
    """Of the error's code in an answer: after correlation id, count, name, count and partition."""
    return 4 + 4 + 2 + len(topic.encode()) + 4 + 4


def framed(message: bytes) -> bytes:
    return SIZE.pack(len(message)) + message


if __name__ == "__main__":
    main()
