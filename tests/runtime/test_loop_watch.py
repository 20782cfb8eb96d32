"""The watch over the event loop tells how long it stood still, and by whose doing."""

import asyncio
import threading
import time

import pytest

from kraftpy.runtime import loop_watch
from kraftpy.runtime.loop_watch import LoopWatch, Stall


def watched(hold: float, tell: list[Stall] | None = None) -> LoopWatch:
    watch = LoopWatch(([] if tell is None else tell).append)

    async def story() -> None:
        watch.start()
        await asyncio.sleep(0.03)
        if hold:
            time.sleep(hold)  # noqa: ASYNC251 - what nobody may do
        await asyncio.sleep(0.03)
        watch.stop()
        watch.stop()

    asyncio.run(story())
    return watch


def test_a_blocked_loop_is_seen() -> None:
    told: list[Stall] = []
    watch = watched(0.5, told)
    assert watch.longest_own_ms >= 500 - loop_watch.INTERVAL_S * 1000 - 5
    assert watch.longest_ms >= watch.longest_own_ms
    assert watch.longest_run_ms < 200, "it slept"
    assert [stall.own_ms for stall in told] == [watch.longest_own_ms]


def test_at_rest_it_looks_less_often_until_there_is_something_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    ran_s = 0.0
    monkeypatch.setattr(time, "thread_time", lambda: ran_s)
    rests: list[float] = []
    watch = LoopWatch(rested=lambda: rests.append(ran_s))

    def look(computed_s: float, times: int) -> float:
        """The interval until the next look."""
        nonlocal ran_s
        for _ in range(times):
            assert watch._timer is not None
            watch._timer.cancel()
            ran_s += computed_s
            watch._look()
        return watch._interval_s

    async def story() -> None:
        watch.start()
        assert look(0.001, loop_watch.REST_AFTER_LOOKS - 1) == loop_watch.INTERVAL_S
        assert look(0.001, 1) == loop_watch.REST_INTERVAL_S
        assert look(0.006, 1) == loop_watch.REST_INTERVAL_S, "several at once"
        assert look(0.012, 1) == loop_watch.INTERVAL_S
        assert look(0.001, loop_watch.REST_AFTER_LOOKS // 2 - 1) == loop_watch.INTERVAL_S
        assert len(rests) == 1
        assert look(0.001, 1) == loop_watch.REST_INTERVAL_S
        assert len(rests) == 2, "told once each time that rest begins"
        watch.stop()

    asyncio.run(story())


def test_what_it_computed_is_told_apart() -> None:
    watch = LoopWatch()

    async def story() -> None:
        watch.start()
        await asyncio.sleep(0.03)
        until = time.thread_time() + 0.1
        while time.thread_time() < until:
            pass
        await asyncio.sleep(0.03)
        watch.stop()

    asyncio.run(story())
    assert 100 <= watch.longest_run_ms < 150
    assert watch.longest_own_ms >= 80


def test_a_short_one_is_counted_and_not_told() -> None:
    told: list[Stall] = []
    watch = watched(0.08, told)
    assert watch.longest_ms >= 65
    assert not [stall for stall in told if stall.own_ms < loop_watch.TOLD_MS]


def test_waiting_for_a_processor_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = iter(range(0, 10**15, 10**9))  # another second each time it is read
    monkeypatch.setattr(LoopWatch, "_read_waited_ns", lambda self: next(waited))
    told: list[Stall] = []
    watch = watched(0.4, told)
    assert watch.longest_ms >= 385
    assert watch.longest_own_ms == 0
    assert not told


def test_where_the_system_tells_nothing_all_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "get_native_id", lambda: -1)
    assert watched(0.1).longest_own_ms >= 85


def test_the_same_is_not_told_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Stall] = []
    watch = LoopWatch(told.append)
    for lasted_ms in (150.0, 300.0, 250.0, 299.0, 301.0):
        watch._note(Stall(lasted_ms, 0.0))
    assert [stall.lasted_ms for stall in told] == [300.0, 301.0]
    monkeypatch.setattr(loop_watch, "TOLD_AGAIN_S", 0.0)
    watch._note(Stall(250.0, 0.0))
    assert told[-1].lasted_ms == 250.0
    watch._note(Stall(150.0, 0.0))
    assert len(told) == 3


def test_a_long_wait_for_a_processor_is_told() -> None:
    told: list[Stall] = []
    watch = LoopWatch(told.append)
    for lasted_ms in (900.0, 1100.0, 1050.0, 1300.0):
        watch._note(Stall(lasted_ms, lasted_ms - 10))
    assert [stall.lasted_ms for stall in told] == [1100.0, 1300.0]
