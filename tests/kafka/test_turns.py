"""The order in which a connection's answers leave, for handlers that wait for it."""

import asyncio

from broker.kafka.turns import Turns


def test_a_request_waits_for_all_before_it_and_for_none_behind_it() -> None:
    async def story() -> list[int]:
        turns, order = Turns(), list[int]()
        first, second, third, fourth = (turns.arrived() for _ in range(4))

        async def wait(number: int) -> None:
            await turns.wait(number)
            order.append(number)

        waiting = [asyncio.create_task(wait(number)) for number in (third, second)]
        await asyncio.sleep(0)
        turns.answered(fourth)
        await asyncio.sleep(0)
        assert not order
        turns.answered(first)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == [second]
        turns.answered(second)
        await asyncio.gather(*waiting)
        return order

    assert asyncio.run(story()) == [2, 3]


def test_a_request_that_is_alone_does_not_wait() -> None:
    async def story() -> None:
        turns = Turns()
        await turns.wait(turns.arrived())

    asyncio.run(story())
