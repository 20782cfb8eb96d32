"""The loop: time, order, lanes, refusals, and the same run twice."""

import asyncio
import gc
import itertools
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from simulation.loop import Deadlock, Livelock, Loop, NodeCrashed, Refused, TimeLimit


def run(main: Callable[[Loop], Awaitable[object]], seed: int = 0, time_limit_ms: int | None = None) -> Loop:
    loop = Loop(seed, time_limit_ms=time_limit_ms)
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.shutdown()
    return loop


def test_time_jumps_to_the_next_timer() -> None:
    async def main(loop: Loop) -> None:
        await asyncio.sleep(3600)
        assert loop.time() == 3600.0
        async with asyncio.timeout(0.25):
            await asyncio.sleep(0.1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.25):
                await asyncio.sleep(1)
        assert loop.now_us == 3600_350_000

    run(main)


def test_asyncio_itself_works_on_it() -> None:
    async def main(loop: Loop) -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(2)
        seen = []

        async def consume() -> None:
            for _ in range(10):
                seen.append(await queue.get())

        async with asyncio.TaskGroup() as group:
            group.create_task(consume())
            for number in range(10):
                await queue.put(number)
        assert seen == list(range(10))
        event, lock, condition = asyncio.Event(), asyncio.Lock(), asyncio.Condition()
        loop.call_later(1, event.set)
        await asyncio.wait_for(event.wait(), 2)
        async with lock, condition:
            condition.notify_all()
        assert tuple(await asyncio.gather(asyncio.sleep(1, "a"), asyncio.sleep(0.5, "b"))) == ("a", "b")

    run(main)


def test_ready_callbacks_of_one_lane_keep_their_order() -> None:
    async def main(loop: Loop) -> None:
        order: list[int] = []
        for number in range(100):
            loop.call_soon(order.append, number)
        await asyncio.sleep(0)
        assert order == list(range(100))

    run(main)


def turns_of(seed: int) -> str:
    """Which of two lanes and which of several timers go first."""
    order: list[str] = []

    async def work(name: str) -> None:
        for _ in range(8):
            order.append(name)
            await asyncio.sleep(0)

    async def main(loop: Loop) -> None:
        for name in "ab":
            loop.new_lane(name).context.run(loop.create_task, work(name))
        for name in "wxyz":
            loop.call_later(1, order.append, name)
        await asyncio.sleep(2)

    run(main, seed)
    return "".join(order)


def test_the_seed_chooses_between_lanes_and_between_timers_of_one_instant() -> None:
    assert len({turns_of(seed) for seed in range(10)}) > 5
    assert [turns_of(seed) for seed in range(10)] == [turns_of(seed) for seed in range(10)]


def test_a_paused_lane_stands_still_and_its_late_timers_fire_after_what_it_received() -> None:
    async def main(loop: Loop) -> None:
        order: list[str] = []
        lane = loop.new_lane("n")
        lane.context.run(loop.call_later, 1, order.append, "timer")
        lane.context.run(loop.call_later, 9, order.append, "later")
        loop.pause(lane)
        await asyncio.sleep(2)
        loop.call_soon(order.append, "message", context=lane.context)
        await asyncio.sleep(2)
        assert order == []
        loop.resume(lane)
        await asyncio.sleep(0)
        assert order == ["message", "timer"]
        await asyncio.sleep(6)
        assert order == ["message", "timer", "later"]

    run(main)


def test_nothing_of_a_killed_lane_runs_again() -> None:
    async def main(loop: Loop) -> None:
        seen: list[str] = []
        lane = loop.new_lane("n")
        waiting: asyncio.Future[None] = loop.create_future()

        async def stubborn() -> None:
            try:
                await asyncio.sleep(5)
                seen.append("slept")
            finally:
                try:
                    await asyncio.sleep(0)
                    seen.append("awaited in finally")
                finally:
                    with pytest.raises(NodeCrashed):
                        asyncio.get_running_loop().create_task(asyncio.sleep(0))

        async def wait_for_others() -> None:
            await waiting
            seen.append("woken")

        lane.context.run(loop.create_task, stubborn())
        lane.context.run(loop.create_task, wait_for_others())
        lane.context.run(loop.call_later, 2, seen.append, "timer")
        await asyncio.sleep(1)
        lane.context.run(loop.call_soon, seen.append, "soon")
        lane.context.run(loop.create_task, stubborn())  # never begun
        loop.kill(lane)
        waiting.set_result(None)
        loop.call_soon(seen.append, "from outside", context=lane.context)
        await asyncio.sleep(10)
        assert seen == []

    loop = run(main)
    gc.collect()  # a coroutine that was left over would complain here
    assert loop.failures == []


def test_a_lane_that_kills_itself_stops_at_once() -> None:
    async def main(loop: Loop) -> None:
        seen: list[str] = []
        lane = loop.new_lane("n")

        async def suicide() -> None:
            loop.kill(lane)
            raise NodeCrashed

        lane.context.run(loop.call_soon, seen.append, "before")
        lane.context.run(loop.create_task, suicide())
        lane.context.run(loop.call_soon, seen.append, "after")
        await asyncio.sleep(1)
        assert seen == ["before"]

    assert run(main).failures == []


def test_a_lane_whose_clock_runs_fast_sees_its_timers_early() -> None:
    async def main(loop: Loop) -> None:
        lane = loop.new_lane("n")
        await asyncio.sleep(10)
        loop.set_clock(lane, 1.25)

        async def sleep() -> tuple[float, float, int]:
            began = loop.time()
            await asyncio.sleep(10)
            async with asyncio.timeout_at(loop.time() + 10):
                await asyncio.sleep(0)
            return began, loop.time(), loop.now_us

        assert await lane.context.run(loop.create_task, sleep()) == (10.0, 20.0, 18_000_000)

    run(main)


def test_waiting_for_nothing_is_a_deadlock_that_says_who_waits() -> None:
    async def main(loop: Loop) -> None:
        async def wait_for_ever() -> None:
            await loop.create_future()

        await loop.create_task(wait_for_ever(), name="forgotten")

    with pytest.raises(Deadlock, match=r"forgotten .*wait_for_ever.* at .*test_loop\.py"):
        run(main)


def test_a_run_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def for_ever(_: Loop) -> None:
        for _second in itertools.count():
            await asyncio.sleep(1)

    with pytest.raises(TimeLimit):
        run(for_ever, time_limit_ms=60_000)

    async def busy(_: Loop) -> None:
        for _second in itertools.count():
            await asyncio.sleep(0)

    monkeypatch.setattr("simulation.loop.CALLBACKS_IN_ONE_INSTANT_MAX", 100_000)
    with pytest.raises(Livelock):
        run(busy)


def test_threads_and_sockets_are_refused() -> None:
    async def main(loop: Loop) -> None:
        for attempt in (
            lambda: asyncio.to_thread(threading.get_ident),
            lambda: asyncio.open_connection("127.0.0.1", 1),
            lambda: asyncio.start_server(lambda *_: None, "127.0.0.1", 0),
            lambda: asyncio.create_subprocess_exec("true"),
        ):
            with pytest.raises(Refused):
                await attempt()
        with pytest.raises(Refused):
            loop.add_signal_handler(2, lambda: None)

    run(main)


def test_what_nobody_handles_is_reported() -> None:
    async def main(loop: Loop) -> None:
        loop.call_soon(lambda: 1 // 0)
        loop.create_task(_fail())
        await asyncio.sleep(1)

    async def _fail() -> None:
        raise ValueError("forgotten")

    loop = run(main)
    assert any("ZeroDivisionError" in failure for failure in loop.failures)
    assert any("forgotten" in failure for failure in loop.failures)


def test_abandoned_generators_are_closed_in_their_lane() -> None:
    async def main(loop: Loop) -> None:
        closed: list[str] = []
        lane = loop.new_lane("n")

        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
                yield 2
            finally:
                await asyncio.sleep(0)
                closed.append(loop.lane.name)

        async def take_one() -> None:
            async for _ in numbers():
                break

        await lane.context.run(loop.create_task, take_one())
        await asyncio.sleep(1)
        assert closed == ["n"]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(main)


def test_sets_of_tasks_are_walked_in_one_order() -> None:
    async def main(loop: Loop) -> None:
        async def work() -> None:
            loop.trace("worked")
            await asyncio.sleep(loop._random.random())

        for _ in range(5):
            done, pending = await asyncio.wait([loop.create_task(work()) for _ in range(20)], timeout=0.5)
            for task in done | pending:
                loop.trace("task", task.get_name())
                task.cancel()

    assert run(main, 3).trace_hash() == run(main, 3).trace_hash()


def test_the_trace_hash_sees_what_happened() -> None:
    def traced(text: str, seed: int = 0) -> str:
        async def main(loop: Loop) -> None:
            await asyncio.sleep(1)
            loop.trace("said", text)

        return run(main, seed).trace_hash()

    assert traced("a") == traced("a")
    assert len({traced("a"), traced("b"), traced("a", 1)}) == 3


@pytest.mark.parametrize("collector", [True, False])
def test_the_collector_is_left_as_it_was(collector: bool) -> None:
    was = gc.isenabled()
    (gc.enable if collector else gc.disable)()
    try:
        run(lambda _: asyncio.sleep(1))
        assert gc.isenabled() is collector
    finally:
        (gc.enable if was else gc.disable)()


def test_what_dies_at_the_end_still_finds_its_loop() -> None:
    """`gather()` of nothing asks for the running loop, and would be given a new one that nobody closes."""
    loops = []

    async def dying() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            loops.append(asyncio.get_running_loop())
            await asyncio.gather()

    async def main(loop: Loop) -> None:
        loop.new_lane("node").context.copy().run(loop.create_task, dying())
        await asyncio.sleep(0.1)

    assert loops == [run(main)]
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
