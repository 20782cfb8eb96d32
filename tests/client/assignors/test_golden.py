"""Our assignors against kafka-clients': the same groups, the same decisions, the same bytes."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from kraftpy.client.assignors import Subscription, assignors_of
from kraftpy.client.assignors.protocol_codec import (
    read_assignment,
    read_subscription,
    write_assignment,
    write_subscription,
)
from kraftpy.client.values import TopicPartition
from tests.tools.generate_assignments import GOLDEN

NAMES = ("range", "roundrobin", "sticky", "cooperative-sticky")


def steps(name: str) -> Iterator[tuple[str, Any]]:
    with gzip.open(GOLDEN, "rt") as lines:
        for number, line in enumerate(lines):
            story = json.loads(line)
            if story["assignor"] == name:
                for index, step in enumerate(story["steps"]):
                    yield f"line {number + 1}, step {index}", step


def places(texts: list[str]) -> list[TopicPartition]:
    return [TopicPartition(topic, int(number)) for topic, _, number in (text.rpartition("-") for text in texts)]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_decisions(name: str) -> None:
    (assignor,) = assignors_of(name)
    count = 0
    for where, step in steps(name):
        topics = {topic: [frozenset(racks) for racks in partitions] for topic, partitions in step["topics"].items()}
        members = {
            member["id"]: read_subscription(bytes.fromhex(member["bytes"]), member["instance"])
            for member in step["members"]
        }
        found = assignor.assign(topics, members)
        expected = {member_id: sorted(places(texts)) for member_id, texts in step["assignment"].items()}
        assert {member_id: sorted(part) for member_id, part in found.items()} == expected, where
        count += 1
    assert count >= 150


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bytes(name: str) -> None:
    (assignor,) = assignors_of(name)
    for where, step in steps(name):
        for member in step["members"]:
            data = bytes.fromhex(member["bytes"])
            owned, generation = tuple(places(member["owned"])), member["generation"]
            began = read_subscription(data).user_data is None
            user_data = assignor.user_data(None if began else owned, generation)
            mine = Subscription(
                tuple(member["topics"]), owned, generation, member["rack"], member["instance"], user_data
            )
            assert write_subscription(mine) == data, where
            read = read_subscription(data, member["instance"])
            assert (sorted(read.topics), sorted(read.owned), read.rack) == (
                sorted(member["topics"]),
                sorted(owned),
                member["rack"],
            ), where
        for member_id, texts in step["assignment"].items():
            data = bytes.fromhex(step["assignment_bytes"][member_id])
            assert write_assignment(places(texts)) == data, where
            assert sorted(read_assignment(data)) == sorted(places(texts)), where
