"""Running a client's story on virtual time against a `FakeCluster`: time-outs cost nothing, and a seed replays."""

from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

from kraftpy.aio import Admin, Consumer, Producer
from simulation.loop import Loop
from tests.client.fake_broker import FakeCluster, TestClock

T = TypeVar("T")

TIME_LIMIT_MS = 4 * 3_600_000


def run(story: Callable[[], Coroutine[Any, Any, T]], *, seed: int = 1) -> T:
    """Run `story` to its end on a loop of its own; it fails if a task failed unheard."""
    loop = Loop(seed, time_limit_ms=TIME_LIMIT_MS)
    try:
        return loop.run_until_complete(story())
    finally:
        loop.shutdown()


def producer(cluster: FakeCluster, **settings: Any) -> Producer:
    settings.setdefault("bootstrap", cluster.bootstrap)
    return Producer(_transport=cluster, _clock=TestClock(), _random=Random(7), **settings)


def consumer(cluster: FakeCluster, *topics: str, **settings: Any) -> Consumer:
    settings.setdefault("bootstrap", cluster.bootstrap)
    settings.setdefault("auto_offset_reset", "earliest")
    return Consumer(*topics, _transport=cluster, _clock=TestClock(), _random=Random(7), **settings)


def admin(cluster: FakeCluster, **settings: Any) -> Admin:
    settings.setdefault("bootstrap", cluster.bootstrap)
    return Admin(_transport=cluster, _clock=TestClock(), _random=Random(7), **settings)
