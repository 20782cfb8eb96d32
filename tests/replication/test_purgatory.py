"""Who waits, for what, and how long."""

import asyncio

from broker.replication.purgatory import COMPACT_FROM, Deadlines, OffsetWaits
from kraftpy.errors import KraftpyError, NotLeaderOrFollowerError
from simulation.world import World


class Request:
    def __init__(self) -> None:
        self.settled: list[tuple[int, KraftpyError | None]] = []

    def settle(self, slot: int, error: KraftpyError | None) -> None:
        self.settled.append((slot, error))

    @property
    def is_done(self) -> bool:
        return bool(self.settled)


def test_those_whose_offset_was_passed_are_settled_in_offset_order() -> None:
    waits, request = OffsetWaits(), Request()
    for slot, offset in enumerate((7, 3, 5, 3)):
        waits.add(offset, request, slot)
    waits.passed(5)
    assert request.settled == [(1, None), (3, None), (2, None)]
    assert len(waits) == 1


def test_a_lost_leadership_settles_everybody() -> None:
    waits, request, error = OffsetWaits(), Request(), NotLeaderOrFollowerError()
    waits.add(9, request, 0)
    waits.add(4, request, 1)
    waits.fail(error)
    assert request.settled == [(1, error), (0, error)]
    assert not len(waits)


def test_what_timed_out_elsewhere_does_not_pile_up() -> None:
    waits = OffsetWaits()
    for offset in range(50 * COMPACT_FROM):
        request = Request()
        waits.add(offset, request, 0)
        request.settle(0, None)
    assert len(waits) <= 2 * COMPACT_FROM


def test_deadlines_ring_in_time_and_in_order() -> None:
    async def story(world: World) -> None:
        clock = world.open_life("n1").ports.clock
        deadlines, rung = Deadlines(clock), []
        start_ms = clock.monotonic_ms()

        def ring(name: str) -> None:
            rung.append((name, clock.monotonic_ms() - start_ms))

        deadlines.add(start_ms + 300, lambda: ring("late"))
        deadlines.add(start_ms + 100, lambda: ring("early"))
        cancelled = deadlines.add(start_ms + 200, lambda: ring("never"))
        cancelled.cancel()
        assert len(deadlines) == 2
        await asyncio.sleep(1)
        assert [name for name, _ in rung] == ["early", "late"]
        assert all(0 <= at - due <= 2 for (_, at), due in zip(rung, (100, 300), strict=True))
        deadlines.close()

    World(1).run(story)


def test_cancelled_deadlines_do_not_pile_up() -> None:
    async def story(world: World) -> None:
        clock = world.open_life("n1").ports.clock
        deadlines = Deadlines(clock)
        for _ in range(1_000):
            deadlines.add(clock.monotonic_ms() + 30_000, lambda: None).cancel()
        assert len(deadlines) == 0 and len(deadlines._heap) <= COMPACT_FROM
        many = [deadlines.add(clock.monotonic_ms() + 20_000 + at, lambda: None) for at in range(10 * COMPACT_FROM)]
        for each in many[: 8 * COMPACT_FROM]:
            each.cancel()
        assert len(deadlines) == 2 * COMPACT_FROM and len(deadlines._heap) <= 4 * COMPACT_FROM
        kept = deadlines.add(clock.monotonic_ms() + 10, lambda: None)
        await asyncio.sleep(1)
        kept.cancel()  # it was called already
        assert len(deadlines) == 2 * COMPACT_FROM
        deadlines.close()
        for each in many:
            each.cancel()
        assert len(deadlines) == 0

    World(1).run(story)
