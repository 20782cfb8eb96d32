"""A node that is no broker waits for its quorum, whatever it is told meanwhile."""

import asyncio
import logging
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from broker.server import Server
from kraftpy.errors import RequestTimedOutError
from simulation.clock import SimulatedClock
from simulation.loop import Loop


class Active:
    """The way to a controller that fails at once, for so many milliseconds."""

    def __init__(self, clock: SimulatedClock, for_ms: int) -> None:
        self._clock = clock
        self._for_ms = for_ms
        self.asked = 0

    async def run(self, method: str, payload: bytes, timeout_ms: int) -> bytes:
        self.asked += 1
        assert self.asked < 1_000, "it does nothing else any more"
        if self._clock.monotonic_ms() < self._for_ms:
            raise RequestTimedOutError("the answer is lost")
        return b""


def test_it_pauses_after_what_fails_at_once(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop(1, time_limit_ms=60_000)
    clock = SimulatedClock(loop, loop.world)
    active = Active(clock, 25_000)
    server: Any = SimpleNamespace(
        _active=active,
        _closing=AsyncExitStack(),
        _config=SimpleNamespace(node_id=1),
        _leave_quorum=lambda: asyncio.sleep(0),
        _ports=SimpleNamespace(clock=clock),
        _quorum_service=SimpleNamespace(own_address=None),
        _view=SimpleNamespace(joined=lambda: None),
    )
    try:
        with caplog.at_level(logging.INFO):
            loop.run_until_complete(Server._control_only(server))
    finally:
        loop.shutdown()
    assert 40 < active.asked < 300
    assert caplog.text.count("waiting for the quorum") == 3
