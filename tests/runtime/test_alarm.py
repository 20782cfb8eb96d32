"""Alarms ring at the last time that was set, and at no other; waits with a deadline end by either."""

import asyncio
from random import Random

import pytest

from kraftpy.runtime.alarm import Alarm, is_set_within
from simulation.world import World


@pytest.mark.parametrize("seed", range(20))
def test_it_rings_once_when_it_was_last_set(seed: int) -> None:
    """Compared with a timer that is made anew for each time."""

    async def story(world: World) -> None:
        clock, random, loop = world.open_life("n1").ports.clock, Random(seed), asyncio.get_running_loop()
        rung: list[int] = []
        expected: list[int] = []
        alarm = Alarm(clock, lambda: rung.append(clock.monotonic_ms()))
        plain: asyncio.TimerHandle | None = None
        for _ in range(60):
            if plain is not None:
                plain.cancel()
            after_ms = random.choice([None, 0, 1, 5, 50, 200, 1_000])
            alarm.set(None if after_ms is None else clock.monotonic_ms() + after_ms)
            if after_ms is not None:
                plain = loop.call_later(after_ms / 1_000, lambda: expected.append(clock.monotonic_ms()))
            await asyncio.sleep(random.choice([0.001, 0.007, 0.1, 0.5]))
        alarm.cancel()
        if plain is not None:
            plain.cancel()
        await asyncio.sleep(2)
        assert rung == expected and len(rung) > 5

    World(seed).run(story)


def test_an_alarm_that_is_put_off_makes_no_timers() -> None:
    async def story(world: World) -> None:
        clock, loop = world.open_life("n1").ports.clock, world.loop
        rung: list[int] = []
        alarm = Alarm(clock, lambda: rung.append(clock.monotonic_ms()))
        alarm.set(clock.monotonic_ms() + 1_000)
        timers = loop._timer_number
        for _ in range(500):
            alarm.set(clock.monotonic_ms() + 1_000)
        assert loop._timer_number == timers
        await asyncio.sleep(3)
        assert len(rung) == 1

    World(1).run(story)


def test_waiting_for_an_event_ends_with_it_or_in_time() -> None:
    async def story(world: World) -> None:
        loop = asyncio.get_running_loop()
        event = asyncio.Event()
        began = loop.time()
        assert not await is_set_within(event, 0.5)
        assert loop.time() - began == pytest.approx(0.5)
        assert not event.is_set(), "it was not what ended the wait"
        loop.call_later(0.2, event.set)
        assert await is_set_within(event, 0.5)
        assert loop.time() - began == pytest.approx(0.7)
        assert await is_set_within(event, 0.0), "it is set"
        event.clear()
        assert not await is_set_within(event, -1.0)
        waiting = asyncio.create_task(is_set_within(event, 0.5))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(1)
        assert not event.is_set(), "nobody waits any more, and nothing rings"

    World(1).run(story)
