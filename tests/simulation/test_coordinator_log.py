"""Reading the coordinators' log: however long it is, as long as it can be read."""

import asyncio
from typing import Any

from kraftpy.client.values import TopicPartition
from simulation.coordinator_log import CONSUMER_OFFSETS, CoordinatorLog, read_coordinator_log
from simulation.loop import Loop

END = 1_000
PLACE = TopicPartition(CONSUMER_OFFSETS, 0)


class Reader:
    """A consumer that needs `polls` polls for the whole log, and stops at `stuck_at`."""

    def __init__(self, polls: int, stuck_at: int = END) -> None:
        self._step, self._stuck_at = END // polls, stuck_at
        self._position = 0

    async def end_offsets(self, places: list[TopicPartition], timeout: float) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, END)

    def assign(self, places: list[TopicPartition]) -> None:
        assert places == [PLACE]

    async def position(self, place: TopicPartition) -> int:
        return self._position

    async def poll(self, timeout: float) -> list[Any]:
        await asyncio.sleep(0.001 if self._position < self._stuck_at else timeout)
        self._position = min(self._position + self._step, self._stuck_at)
        return []


def read(reader: Any) -> tuple[CoordinatorLog | None, float]:
    loop = Loop()
    try:
        return loop.run_until_complete(read_coordinator_log(reader, 1, 30)), loop.time()
    finally:
        loop.close()


def test_a_log_of_many_polls_is_read_to_its_end() -> None:
    log, seconds = read(Reader(polls=500))
    assert log is not None and seconds < 1


def test_one_that_stops_being_readable_is_given_up_after_the_time() -> None:
    log, seconds = read(Reader(polls=10, stuck_at=900))
    assert log is None and 30 <= seconds <= 31
