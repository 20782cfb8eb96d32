"""Producer ids: each once, one request for a block at a time, failures for all who wait."""

import asyncio

import pytest

from broker.controller.commands import ProducerIdBlock
from broker.producer_ids import ProducerIds
from kraftpy.errors import CoordinatorLoadInProgressError, KraftpyError, StaleBrokerEpochError
from kraftpy.runtime.ports import TransportError, Unreachable
from tests.client.support import run


class Blocks:
    """A controller that gives blocks of three, far apart, after a while."""

    def __init__(self) -> None:
        self.given = 0
        self.failures: list[KraftpyError | TransportError] = []
        self.under_way = 0
        self.block = ProducerIdBlock(0, 3)

    async def allocate(self) -> ProducerIdBlock:
        self.under_way += 1
        assert self.under_way == 1
        await asyncio.sleep(0.1)
        self.under_way -= 1
        if self.failures:
            raise self.failures.pop(0)
        self.given += 1
        return ProducerIdBlock(self.block.first_producer_id + 100 * self.given, self.block.count)


def test_concurrent_callers_share_blocks_and_get_each_id_once() -> None:
    async def story() -> None:
        blocks = Blocks()
        ids = ProducerIds(blocks.allocate)
        assert sorted(await asyncio.gather(*[ids.next() for _ in range(7)])) == [100, 101, 102, 200, 201, 202, 300]
        assert [await ids.next() for _ in range(3)] == [301, 302, 400]
        assert blocks.given == 4

    for seed in range(1, 6):
        run(story, seed=seed)


def test_who_asks_in_the_moment_when_a_block_came_and_is_used_up_already_asks_for_another() -> None:
    """The loop stood still for good: to wait for a task that has ended is not to wait at all."""
    given = iter(range(100, 110))

    async def allocate() -> ProducerIdBlock:
        first = next(given, None)
        assert first is not None, "one block after the other, and nobody gets any"
        return ProducerIdBlock(first, 1)

    async def story() -> None:
        ids = ProducerIds(allocate)
        first = asyncio.ensure_future(ids.next())
        await asyncio.sleep(0)  # a block is on its way
        others = [asyncio.ensure_future(ids.next()) for _ in range(3)]
        assert sorted([await first, *await asyncio.gather(*others)]) == [100, 101, 102, 103]

    asyncio.run(story())


@pytest.mark.parametrize("failure", [Unreachable("gone"), StaleBrokerEpochError("an earlier life")])
def test_a_failure_reaches_all_who_wait_and_can_be_tried_again(failure: KraftpyError | TransportError) -> None:
    async def story() -> None:
        blocks = Blocks()
        blocks.failures.append(failure)
        ids = ProducerIds(blocks.allocate)
        outcomes = await asyncio.gather(*[ids.next() for _ in range(4)], return_exceptions=True)
        assert [type(each) for each in outcomes] == [CoordinatorLoadInProgressError] * 4
        assert all(isinstance(each, KraftpyError) and each.retriable for each in outcomes)
        assert await ids.next() == 100

    run(story)


def test_a_caller_that_goes_away_takes_nothing_from_the_others() -> None:
    async def story() -> None:
        blocks = Blocks()
        ids = ProducerIds(blocks.allocate)
        impatient = asyncio.get_running_loop().create_task(ids.next())
        await asyncio.sleep(0.05)
        patient = asyncio.get_running_loop().create_task(ids.next())
        await asyncio.sleep(0.01)
        impatient.cancel()
        assert await patient == 100 and blocks.given == 1

        blocks.failures.append(Unreachable("gone"))
        for _ in range(2):
            await ids.next()
        nobody = asyncio.get_running_loop().create_task(ids.next())
        await asyncio.sleep(0.05)
        nobody.cancel()
        await asyncio.sleep(1)  # the failure is nobody's, and no task fails unheard

    run(story)


@pytest.mark.parametrize("block", [ProducerIdBlock(5, 0), ProducerIdBlock(-200, 3), ProducerIdBlock(5, -1)])
def test_a_block_without_ids_is_refused(block: ProducerIdBlock) -> None:
    async def story() -> None:
        blocks = Blocks()
        blocks.block = block
        with pytest.raises(CoordinatorLoadInProgressError, match="holds no producer ids"):
            await ProducerIds(blocks.allocate).next()

    run(story)
