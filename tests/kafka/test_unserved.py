"""Clients that ask for versions that are gone: what the log says of them, and how often."""

import asyncio
import struct

import pytest

from broker.kafka.api import Api, ApiKey, Request
from broker.kafka.api_versions import ApiVersions
from broker.kafka.router import Router
from broker.kafka.told_lately import KINDS_MAX, SILENCE_MS
from broker.kafka.wire import ProtocolError
from kraftpy.runtime.ports import Address, FrameParts
from tests.tools.stepped_clock import SteppedClock

PEER = Address("192.0.2.1", 50_001)


async def nothing(request: Request) -> FrameParts:
    return []


def door(clock: SteppedClock) -> Router:
    return Router([Api(ApiKey.PRODUCE, 3, 13, 9, nothing, advertised_from=0)], ApiVersions(), clock)


def request(key: int = ApiKey.PRODUCE, version: int = 2, client: bytes = b"shop") -> memoryview:
    return memoryview(struct.pack(">hhih", key, version, 1, len(client)) + client)


def told(router: Router, frame: memoryview, peer: Address = PEER) -> str:
    async def whole() -> str:
        with pytest.raises(ProtocolError) as caught:
            await router.open(peer)(frame)
        return str(caught.value)

    return asyncio.run(whole())


def test_an_old_client_is_named_and_told_what_to_do() -> None:
    assert told(door(SteppedClock()), request()) == (
        "PRODUCE version 2 is not served, 3 to 13 are (client id 'shop'): clients of Kafka 0.11 and later are served; "
        "bring this one up to date"
    )


def test_a_client_that_comes_back_again_and_again_is_a_line_a_minute_with_a_count() -> None:
    clock = SteppedClock()
    router = door(clock)
    assert told(router, request())
    assert [told(router, request(), Address(PEER.host, port)) for port in range(1, 4_001)] == [""] * 4_000
    clock.now_ms += SILENCE_MS
    assert told(router, request()).endswith(" (4000 more since the last line about it)")
    assert told(router, request()) == ""


def test_another_host_api_or_version_has_a_line_of_its_own() -> None:
    router = door(SteppedClock())
    assert told(router, request()) and told(router, request(version=1))
    assert "not served" in told(router, request(), Address("192.0.2.2", 1))
    assert told(router, request(key=2)) == "API 2 is not served (client id 'shop')"
    assert told(router, request(key=2)) == ""
    assert "asks for more than ApiVersions has told it" in told(router, request(version=14))


def test_what_is_remembered_has_a_limit_and_a_header_may_end_early() -> None:
    router = door(SteppedClock())
    assert told(router, request()[:8]) and told(router, request()) == ""
    for number in range(KINDS_MAX):
        told(router, request(), Address(f"h{number}", 1))
    assert told(router, request())
