"""A request of a few hundred kilobytes may name one thing ten thousand times: its size is what that costs.

Each of these takes a fraction of a second of the processor; its square would take several.
"""

import asyncio
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from broker.coordinator.groups.commands import ListGroups
from broker.kafka.api import ApiKey, Request
from broker.kafka.consumer_group_heartbeat import _owned
from broker.kafka.messages.consumer_group_heartbeat import HeartbeatTopic
from broker.kafka.messages.describe_log_dirs import DescribableLogDirTopic, DescribeLogDirsRequest
from broker.kafka.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsTopics,
)
from broker.kafka.schema import Structure, decode, encode
from kraftpy.runtime.ports import FrameParts
from tests.coordinator.groups.stage import Stage
from tests.kafka.door_of_a_node import PEER, Bed
from tests.kafka.fake_replicas import join

TIMES = 40_000
CPU_S_MAX = 1.0


@contextmanager
def little_cpu() -> Iterator[None]:
    began_s = time.process_time()
    yield
    assert time.process_time() - began_s < CPU_S_MAX


async def answered(answer: Awaitable[FrameParts]) -> FrameParts:
    return await answer


def ask(bed: Bed, key: ApiKey, request: Structure) -> Any:
    """As `Bed.ask`, and only what the door does is counted."""
    api = bed._apis[key]
    version, flexible = api.version_max, api.version_max >= api.flexible_from
    asked = Request(version, 1, "c", PEER, memoryview(encode(request, version, flexible=flexible)))
    with little_cpu():
        answer = asyncio.run(answered(api.handler(asked)))
    assert api.response is not None
    return decode(api.response, join(answer), version, flexible=flexible)


def test_log_directories_of_one_topic() -> None:
    topics = tuple(DescribableLogDirTopic(topic="a", partitions=(index,)) for index in range(TIMES))
    told = ask(Bed(), ApiKey.DESCRIBE_LOG_DIRS, DescribeLogDirsRequest(topics=topics)).results
    assert [each.partition for topic in told[0].topics for each in topic.partitions] == [0, 1]


def test_partitions_that_a_member_has() -> None:
    topic_id = UUID(int=7)
    topics = tuple(HeartbeatTopic(topic_id=topic_id, partitions=(TIMES - index, 5)) for index in range(TIMES))
    with little_cpu():
        assert _owned(topics) == {topic_id: tuple(range(1, TIMES + 1))}


def test_reassignments_of_one_topic() -> None:
    bed = Bed()
    bed.create("a", partitions=2_000)
    topics = (
        *(ListPartitionReassignmentsTopics(name="a", partitions=(index,)) for index in range(TIMES)),
        ListPartitionReassignmentsTopics(name="a", partitions=(999_999,) * TIMES),
    )
    assert ask(bed, ApiKey.LIST_PARTITION_REASSIGNMENTS, ListPartitionReassignmentsRequest(topics=topics)).topics == ()


def test_states_of_groups() -> None:
    stage = Stage()
    for index in range(1_000):
        stage.commit(1, group_id=f"g{index}")
    with little_cpu():
        found = stage.ask(ListGroups(states=("dead",) * 5 * TIMES))
        assert found == ()
