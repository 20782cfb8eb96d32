"""Descriptions of many groups and transactions, or of one many times, over gRPC: as at the other door."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from broker.rpc import groups_service, transactions_service
from broker.rpc.groups_service import GroupsService
from broker.rpc.limits import REPEATED_BYTES_MAX
from broker.rpc.many_names import TURN_NAMES
from broker.rpc.methods import full_name
from broker.rpc.transactions_service import TransactionsService
from kraftpy.error_codes import code_of
from kraftpy.errors import InvalidRequestError
from kraftpy.pb import groups_pb2, transactions_pb2
from tests.kafka.test_long_answers import Coordinators

Ask = Callable[[Coordinators, list[str]], Awaitable[tuple[int, list[int]]]]
"""The size of the answer, and the error of each name."""


async def groups(known: Coordinators, names: list[str]) -> tuple[int, list[int]]:
    methods = GroupsService(cast(Any, known), cast(Any, None), cast(Any, None)).methods().unary
    request = groups_pb2.DescribeGroupsRequest(group_ids=names).SerializeToString()
    data = await methods[full_name(groups_service.SERVICE, "DescribeGroups")](request)
    return len(data), [each.error for each in groups_pb2.DescribeGroupsResponse.FromString(data).groups]


async def transactions(known: Coordinators, names: list[str]) -> tuple[int, list[int]]:
    methods = TransactionsService(cast(Any, known), cast(Any, None)).methods().unary
    request = transactions_pb2.DescribeTransactionsRequest(transactional_ids=names).SerializeToString()
    data = await methods[full_name(transactions_service.SERVICE, "DescribeTransactions")](request)
    return len(data), [
        each.error for each in transactions_pb2.DescribeTransactionsResponse.FromString(data).transactions
    ]


@pytest.mark.parametrize("ask", [groups, transactions])
def test_others_have_their_turns_while_many_are_described(ask: Ask) -> None:
    names = [f"g{index}" for index in range(10 * TURN_NAMES + 1)]

    async def story() -> None:
        known = Coordinators()
        running = asyncio.ensure_future(ask(known, names))
        told, most = 0, 0
        while not running.done():
            await asyncio.sleep(0)
            told, most = len(known.asked), max(most, len(known.asked) - told)
        assert known.asked == names and most <= TURN_NAMES
        assert (await running)[1] == [0] * len(names)

    asyncio.run(story())


@pytest.mark.parametrize("ask", [groups, transactions])
def test_a_name_that_comes_again_is_told_again_in_a_small_answer_only(ask: Ask) -> None:
    async def story() -> None:
        size_bytes, errors = await ask(Coordinators(), ["g"] * 2_000)
        assert len(errors) == 2_000 and errors[:20] == [0] * 20 and errors[-1] == code_of(InvalidRequestError)
        assert size_bytes < 1.5 * REPEATED_BYTES_MAX
        assert (await ask(Coordinators(), ["g"] * 1_000 + ["other"]))[1][-1] == 0, "one that was not told yet"

    asyncio.run(story())
