"""Stories that run on both loops."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
import uvloop

from tests.runtime.framed import Run


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(story: Coroutine[Any, Any, None]) -> None:
        async def limited() -> None:
            async with asyncio.timeout(20):
                await story

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(limited())

    return run
