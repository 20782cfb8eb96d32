"""ApiVersions: what is served, told in every version, also to those who ask in one that nobody knows."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from broker.kafka.api import Api, ApiKey
from broker.kafka.api_versions import ApiVersions, Features
from broker.kafka.fetch import Fetch
from broker.kafka.list_offsets import ListOffsets
from broker.kafka.router import Later, Router
from broker.kafka.told_lately import SILENCE_MS
from broker.kafka.versions import ADVERTISED
from broker.kafka.wire import ProtocolError
from kraftpy.runtime.ports import Address, FrameParts
from tests.kafka import kio_messages
from tests.kafka.fake_replicas import FakeReplicas, join
from tests.kafka.tables import APIS
from tests.tools.stepped_clock import SteppedClock

PEER = Address("127.0.0.1", 5)
SERVED = [(1, 4, 18), (2, 1, 11), (18, 0, 4)]


def router(features: Features | None = None) -> Router:
    replicas = FakeReplicas()
    versions = ApiVersions(lambda: features or Features())
    return Router([ListOffsets(replicas).api(), Fetch(replicas).api()], versions, SteppedClock())


def ask(version: int, features: Features | None = None, *, name: str = "kafka-python", software: str = "3.0") -> Any:
    fields = {"client_software_name": name, "client_software_version": software} if version >= 3 else {}
    request = kio_messages.message("api_versions", version, "request").ApiVersionsRequest(**fields)
    frame = kio_messages.request_frame(request, 77, "c")
    answer = join(asyncio.run(router(features).handle(PEER, memoryview(frame))))
    response_type = kio_messages.message("api_versions", version, "response").ApiVersionsResponse
    correlation_id, response = kio_messages.decode_response_frame(response_type, answer)
    assert correlation_id == 77
    assert kio_messages.response_frame(response, 77) == answer
    return response


@pytest.mark.parametrize("version", range(5))
def test_just_what_is_served_is_advertised(version: int) -> None:
    response = ask(version)
    assert response.error_code == 0
    assert [(each.api_key, each.min_version, each.max_version) for each in response.api_keys] == SERVED


@pytest.mark.parametrize("version", [5, 6, 100, 32767, -1, -32768])
def test_an_unknown_version_is_answered_as_version_0(version: int) -> None:
    frame = kio_messages.header(18, version, 9) + b"whatever \xff"
    answer = join(asyncio.run(router().handle(PEER, memoryview(frame))))
    response_type = kio_messages.message("api_versions", 0, "response").ApiVersionsResponse
    correlation_id, response = kio_messages.decode_response_frame(response_type, answer)
    assert (correlation_id, response.error_code) == (9, 35)
    assert [(each.api_key, each.min_version, each.max_version) for each in response.api_keys] == [(18, 0, 4)]


@pytest.mark.parametrize(("name", "software"), [("", "1"), ("-a", "1"), ("a", ""), ("a b", "1"), ("a", "1\n")])
def test_a_client_that_calls_itself_something_odd_is_refused(name: str, software: str) -> None:
    response = ask(3, name=name, software=software)
    assert response.error_code == 42 and response.api_keys == ()


def test_features_are_told_from_version_3_and_those_from_zero_from_version_4() -> None:
    features = Features((("kraft.version", 0, 1), ("metadata.version", 7, 9)), (("metadata.version", 7, 8),), 12)
    for version, supported in ((3, ["metadata.version"]), (4, ["kraft.version", "metadata.version"])):
        response = ask(version, features)
        assert [each.name for each in response.supported_features] == supported
        (finalized,) = response.finalized_features
        assert (finalized.name, finalized.min_version_level, finalized.max_version_level) == ("metadata.version", 7, 8)
        assert response.finalized_features_epoch == 12


def test_a_change_of_the_features_is_seen_by_the_next_who_asks() -> None:
    now = [Features()]
    door = Router([], ApiVersions(lambda: now[0]), SteppedClock())
    request = kio_messages.message("api_versions", 4, "request").ApiVersionsRequest(
        client_software_name="a", client_software_version="1"
    )
    frame = memoryview(kio_messages.request_frame(request, 1, None))
    answers = [join(asyncio.run(door.handle(PEER, frame))) for _ in range(2)]
    assert answers[0] == answers[1]
    now[0] = Features(finalized_epoch=3)
    assert join(asyncio.run(door.handle(PEER, frame))) != answers[0]


def test_bytes_behind_a_request_are_not_looked_at() -> None:
    """As Kafka does: librdkafka sends some behind other requests."""
    with_more = asyncio.run(router().handle(PEER, memoryview(kio_messages.header(18, 0) + b"?")))
    assert join(with_more) == join(asyncio.run(router().handle(PEER, memoryview(kio_messages.header(18, 0)))))


def test_what_is_advertised_before_a_handler_is_loaded_is_what_it_serves() -> None:
    assert {api.key: (api.advertised_min, api.version_max) for api in APIS} == ADVERTISED


def test_a_handler_is_made_when_its_first_request_comes() -> None:
    made: list[Api] = []

    def make() -> Api:
        made.append(Fetch(FakeReplicas()).api())
        return made[-1]

    clock = SteppedClock()
    served = Router([Later(ApiKey.FETCH, *ADVERTISED[ApiKey.FETCH], make)], ApiVersions(), clock)
    handle = served.open(PEER)
    for expected in (1, 1):
        clock.now_ms += SILENCE_MS
        with pytest.raises(ProtocolError, match="version 3 is not served"):
            asyncio.run(_answered(handle(memoryview(kio_messages.header(ApiKey.FETCH, 3, 9)))))
        assert len(made) == expected
    with pytest.raises(ProtocolError, match="API 2 is not served"):
        asyncio.run(_answered(handle(memoryview(kio_messages.header(ApiKey.LIST_OFFSETS, 3, 9)))))


async def _answered(answer: Awaitable[FrameParts]) -> FrameParts:
    return await answer
