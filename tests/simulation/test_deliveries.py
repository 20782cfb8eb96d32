"""The judge of what producers tell: each record once, also where it was given up."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kraftpy.client.values import OnDelivery, RecordMetadata
from kraftpy.errors import KraftpyError, RequestTimedOutError
from simulation.checkers.history import Event
from simulation.scenario import Refuted
from simulation.workloads import Deliveries


class Faulty:
    """A producer that tells of record n as often as it is told to."""

    def __init__(self, times: Callable[[int], int], error: KraftpyError | None = None) -> None:
        self._times = times
        self._error = error
        self._sent = 0

    async def send(self, topic: str, value: bytes, *, partition: int, on_delivery: OnDelivery) -> None:
        for _ in range(self._times(self._sent)):
            on_delivery(None if self._error else RecordMetadata(topic, partition, self._sent, 0), self._error)
        self._sent += 1


def judged(times: Callable[[int], int], error: KraftpyError | None = None) -> list[Event]:
    history: list[Event] = []
    world = cast(Any, SimpleNamespace(loop=SimpleNamespace(now_us=5, trace=lambda *words: None)))
    deliveries = Deliveries(world, "p1", history)

    async def play() -> None:
        producer = cast(Any, Faulty(times, error))
        for sequence in range(3):
            await deliveries.send(producer, "t", 0, sequence)

    asyncio.run(play())
    deliveries.check_all_told()
    return history


@pytest.mark.parametrize("error", [None, RequestTimedOutError("late")])
def test_told_once_is_well(error: KraftpyError | None) -> None:
    assert len(judged(lambda number: 1, error)) == 3


def test_never_told_is_found() -> None:
    with pytest.raises(Refuted, match="never told of p1/1"):
        judged(lambda number: 0 if number == 1 else 1)


@pytest.mark.parametrize("error", [None, RequestTimedOutError("late")])
def test_told_twice_is_found(error: KraftpyError | None) -> None:
    with pytest.raises(Refuted, match="told again of p1/2"):
        judged(lambda number: 1 + (number == 2), error)
