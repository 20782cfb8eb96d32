"""DescribeConfigs of as many resources as a request has room for: what is refused, and that others have their turns."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from broker.kafka import describe_configs
from broker.kafka.api import ApiKey
from broker.kafka.messages.describe_configs import DescribeConfigsRequest, DescribeConfigsResource
from broker.kafka.schema import writer_of
from broker.rpc import describing_configs
from broker.rpc.describing_configs import TURN_RESOURCES
from broker.rpc.limits import ITEMS_MAX, REPEATED_BYTES_MAX
from kraftpy.errors import InvalidRequestError
from tests.kafka.door_of_a_node import Bed, classes

TOPIC, BROKER, CLIENT_METRICS, GROUP = 2, 4, 16, 32


def asked(kind: int, *names: str, synonyms: bool = False) -> DescribeConfigsRequest:
    resources = tuple(DescribeConfigsResource(resource_type=kind, resource_name=name) for name in names)
    return DescribeConfigsRequest(resources=resources, include_synonyms=synonyms)


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, count: Callable[[], None]) -> None:
    real = getattr(module, name)

    def counting(*arguments: Any) -> Any:
        count()
        return real(*arguments)

    monkeypatch.setattr(module, name, counting)


@pytest.mark.parametrize("kind", [TOPIC, CLIENT_METRICS, GROUP])
def test_more_than_one_call_may_name_are_refused(kind: int) -> None:
    told = Bed().ask(ApiKey.DESCRIBE_CONFIGS, asked(kind, *["g"] * (ITEMS_MAX + 1))).results
    assert len(told) == ITEMS_MAX + 1 and set(classes(told)) == {InvalidRequestError}
    assert not any(each.configs for each in told) and "at most" in told[0].error_message


def test_what_groups_have_of_their_broker_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[None] = []
    counted(monkeypatch, describe_configs, "own_entries", lambda: calls.append(None))
    told = Bed().ask(ApiKey.DESCRIBE_CONFIGS, asked(GROUP, *[f"g{index}" for index in range(1_000)])).results
    assert all(len(each.configs) == 2 for each in told) and len(told) == 1_000
    assert len(calls) == 1


@pytest.mark.parametrize(
    "kind, name, described, answered",
    [(TOPIC, "a", "topic_entries", "topic_synonyms"), (BROKER, "1", "own_entries", "broker_synonyms")],
)
def test_others_have_their_turns_while_many_are_described(
    monkeypatch: pytest.MonkeyPatch, kind: int, name: str, described: str, answered: str
) -> None:
    bed = Bed()
    bed.create("a")
    resources = 10 * TURN_RESOURCES
    steps = {described: [0], answered: [0], "written": [0]}

    def count(of: str) -> None:
        steps[of][-1] += 1

    counted(monkeypatch, describing_configs, described, lambda: count(described))
    counted(monkeypatch, describe_configs, answered, lambda: count(answered))

    def watched_writer(*arguments: Any) -> Any:
        write = writer_of(*arguments)

        def counting(message: Any, encoded: bytearray) -> None:
            count("written")
            write(message, encoded)

        return counting

    monkeypatch.setattr(describe_configs, "writer_of", watched_writer)

    async def watch() -> None:
        while True:
            for each in steps.values():
                each.append(0)
            await asyncio.sleep(0)

    told = bed.ask(ApiKey.DESCRIBE_CONFIGS, asked(kind, *[name] * resources, synonyms=True), beside=watch()).results
    assert len(told) == resources and all(each.configs for each in told)
    assert sum(steps[described]) == resources and max(steps[described]) == TURN_RESOURCES
    assert sum(steps["written"]) == resources and max(steps["written"]) == TURN_RESOURCES
    assert sum(steps[answered]) >= resources and max(steps[answered]) == sum(steps[answered]) // 10


def test_a_broker_that_is_named_again_is_described_again_in_a_small_answer_only() -> None:
    bed = Bed()
    bed.create("a")
    told = bed.ask(ApiKey.DESCRIBE_CONFIGS, asked(BROKER, *["1"] * 1_000)).results
    assert len(told) == 1_000 and all(each.configs for each in told[:20])
    assert classes(told)[-1] is InvalidRequestError and not told[-1].configs
    sizes = [sum(len(each.name) + len(each.value or "") for each in result.configs) for result in told]
    assert sum(sizes) < REPEATED_BYTES_MAX
    resources = (*asked(BROKER, *["1"] * 500).resources, *asked(TOPIC, "a").resources)
    others = bed.ask(ApiKey.DESCRIBE_CONFIGS, DescribeConfigsRequest(resources=resources)).results
    assert others[-1].error == 0 and others[-1].configs, "one that was not told yet"
