"""Requests about many groups, or one many times: others have their turns, and a small one gets no huge answer."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from broker.coordinator.groups import commands
from broker.coordinator.groups.commands import MemberDescription, MemberKey
from broker.coordinator.transactions.commands import (
    DescribeTransaction,
    ProducerIdentity,
    TopicPartition,
    TransactionDescription,
)
from broker.coordinator.transactions.states import TransactionState
from broker.kafka.api import Api, Request
from broker.kafka.consumer_group_describe import ConsumerGroupDescribe
from broker.kafka.describe_groups import DescribeGroups
from broker.kafka.describe_transactions import DescribeTransactions
from broker.kafka.messages.consumer_group_describe import ConsumerGroupDescribeRequest
from broker.kafka.messages.describe_groups import DescribeGroupsRequest
from broker.kafka.messages.describe_transactions import DescribeTransactionsRequest
from broker.kafka.messages.offset_fetch import OffsetFetchGroup, OffsetFetchRequest
from broker.kafka.offset_fetch import OffsetFetch
from broker.kafka.schema import Structure, decode, encode
from broker.metadata.image import MetadataImage
from broker.rpc.limits import REPEATED_BYTES_MAX
from broker.rpc.many_names import TURN_NAMES
from kraftpy.error_codes import code_of
from kraftpy.errors import InvalidRequestError
from kraftpy.runtime.ports import Address
from tests.kafka.fake_replicas import join

ITEMS = 400
TOLD: dict[type, Any] = {
    commands.FetchOffsets: commands.FetchedOffsets(
        tuple(commands.FetchedOffset("t", index, 5, 0, "note" * 5) for index in range(ITEMS))
    ),
    commands.DescribeGroup: commands.GroupDescription(
        "g", "Stable", "consumer", "range", (MemberDescription(MemberKey("m"), "c", "/h", b"x" * 9_000, b"y" * 9_000),)
    ),
    commands.DescribeConsumerGroup: commands.ConsumerGroupDescription("g" * 9_000, "Stable", 1, 1, "uniform", ()),
    DescribeTransaction: TransactionDescription(
        "t", TransactionState.EMPTY, ProducerIdentity(1, 0), 1, -1, (TopicPartition("t" * 9_000, 0),)
    ),
}


class Coordinators:
    """As coordinators of groups, and of transactions: they know everything by any name."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def submit(self, name: str, command: Any) -> Any:
        self.asked.append(name)
        return TOLD[type(command)]


def offsets(names: tuple[str, ...]) -> OffsetFetchRequest:
    return OffsetFetchRequest(groups=tuple(OffsetFetchGroup(group_id=name, topics=None) for name in names))


Case = tuple[Callable[[Any], Any], int, Callable[[tuple[str, ...]], Structure], str]
CASES: list[Case] = [
    *((lambda it: OffsetFetch(it, lambda: MetadataImage.EMPTY), version, offsets, "groups") for version in (8, 9)),
    *(
        (DescribeGroups, version, lambda names: DescribeGroupsRequest(groups=names), "groups")
        for version in (0, 4, 5, 6)
    ),
    *(
        (
            lambda it: ConsumerGroupDescribe(it, lambda: MetadataImage.EMPTY),
            version,
            lambda names: ConsumerGroupDescribeRequest(group_ids=names, include_authorized_operations=False),
            "groups",
        )
        for version in (0, 1)
    ),
    (DescribeTransactions, 0, lambda names: DescribeTransactionsRequest(transactional_ids=names), "transactions"),
]


async def answered(api: Api, version: int, request: Structure) -> tuple[bytes, Any]:
    flexible = version >= api.flexible_from
    body = memoryview(encode(request, version, flexible=flexible))
    data = join(await api.handler(Request(version, 1, "c", Address("10.0.0.9", 5), body)))
    assert api.response is not None
    return data, decode(api.response, data, version, flexible=flexible)


@pytest.mark.parametrize("case", CASES)
def test_others_have_their_turns_between_the_parts_of_a_long_answer(case: Case) -> None:
    handler, version, request, field = case
    names = tuple(f"g{index}" for index in range(10 * TURN_NAMES + 1))

    async def story() -> None:
        known = Coordinators()
        api = handler(known).api()
        running = asyncio.create_task(answered(api, version, request(names)))
        told, most = 0, 0
        while not running.done():
            await asyncio.sleep(0)
            told, most = len(known.asked), max(most, len(known.asked) - told)
        assert known.asked == list(names) and most <= TURN_NAMES
        _, answer = running.result()
        assert len(getattr(answer, field)) == len(names) and not any(each.error for each in getattr(answer, field))

    asyncio.run(story())


@pytest.mark.parametrize("case", CASES)
def test_a_name_that_comes_again_is_told_again_in_a_small_answer_only(case: Case) -> None:
    handler, version, request, field = case

    async def story() -> None:
        api = handler(Coordinators()).api()
        data, answer = await answered(api, version, request(("g",) * 2_000))
        codes = [each.error for each in getattr(answer, field)]
        assert len(codes) == 2_000 and codes[:20] == [0] * 20 and codes[-1] == code_of(InvalidRequestError)
        assert len(data) < 1.5 * REPEATED_BYTES_MAX
        _, others = await answered(api, version, request((*("g",) * 500, "other")))
        assert getattr(others, field)[-1].error == 0, "one that was not told yet"

    asyncio.run(story())
