"""Kafka's clients at the port of the calls: what the log says of them, and how often."""

import asyncio
import struct

import pytest

from broker.kafka.api import ApiKey
from broker.kafka.misdirected import Misdirected
from broker.kafka.told_lately import KINDS_MAX, SILENCE_MS
from broker.metadata.records import Endpoint
from kraftpy.runtime.ports import Address
from tests.tools.stepped_clock import SteppedClock

CALLS = Endpoint("GRPC", "broker1.example", 9093)
INSIDE = Endpoint("PLAINTEXT", "broker1.example", 9092)
OUTSIDE = Endpoint("EXTERNAL", "198.51.100.1", 9192)
PEER = Address("192.0.2.1", 50_001)


def request(key: int = ApiKey.API_VERSIONS, version: int = 3, client: bytes | None = b"shop") -> memoryview:
    name = struct.pack(">h", -1) if client is None else struct.pack(">h", len(client)) + client
    return memoryview(struct.pack(">hhi", key, version, 1) + name + b"\0")


def told(misdirected: Misdirected, frame: memoryview, peer: Address = PEER) -> str:
    async def whole() -> str:
        with pytest.raises(ConnectionError) as caught:
            await misdirected.open(peer)(frame)
        return str(caught.value)

    return asyncio.run(whole())


@pytest.mark.parametrize(
    ("client", "named"), [(b"shop", " (client id 'shop')"), (None, ""), (b"", ""), (b"a\nb", " (client id 'a\\nb')")]
)
def test_a_client_is_named_and_told_all_the_right_ports(client: bytes | None, named: str) -> None:
    misdirected = Misdirected(SteppedClock(), [CALLS, INSIDE, OUTSIDE])
    assert told(misdirected, request(client=client)) == (
        f"a Kafka client{named} came to the port of the gRPC calls: let its bootstrap.servers name "
        "broker1.example:9092 (PLAINTEXT) or 198.51.100.1:9192 (EXTERNAL)"
    )


def test_a_node_without_a_port_for_it_names_another_broker_until_it_has_one() -> None:
    clock, endpoints = SteppedClock(), [CALLS]
    misdirected = Misdirected(clock, endpoints)
    assert "name another broker: this node has no port for Kafka clients, or not yet" in told(misdirected, request())
    endpoints.append(INSIDE)
    clock.now_ms += SILENCE_MS
    assert told(misdirected, request()).endswith("name broker1.example:9092 (PLAINTEXT)")


@pytest.mark.parametrize(
    "frame",
    [
        memoryview(b""),
        memoryview(b"1234567"),
        request(key=30_000),
        request(key=-1),
        request(version=1_000),
        request()[:12],
        request(client=b"\xff\xfe"),
    ],
)
def test_what_is_no_request_of_kafka_is_no_client_of_it(frame: memoryview) -> None:
    misdirected = Misdirected(SteppedClock(), [CALLS, INSIDE])
    assert told(misdirected, frame) == "it speaks neither gRPC, as everybody does at this port, nor Kafka's protocol"


def test_a_host_that_comes_again_and_again_is_one_line_a_minute() -> None:
    clock = SteppedClock()
    misdirected = Misdirected(clock, [CALLS, INSIDE])
    assert told(misdirected, request())
    clock.now_ms += SILENCE_MS - 1
    assert told(misdirected, request()) == told(misdirected, request(), PEER._replace(port=50_002)) == ""
    assert told(misdirected, request(), Address("192.0.2.2", 50_001))
    clock.now_ms += 1
    assert told(misdirected, request())


def test_only_so_many_hosts_are_remembered() -> None:
    misdirected = Misdirected(SteppedClock(), [CALLS, INSIDE])
    for number in range(KINDS_MAX + 1):
        assert told(misdirected, request(), Address(f"host{number}", 1))
    assert told(misdirected, request(), Address("host0", 1)), "the earliest is forgotten"
    assert told(misdirected, request(), Address(f"host{KINDS_MAX}", 1)) == ""
