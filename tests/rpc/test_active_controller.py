"""Asking the active controller while it changes: what was never sent is sent to the next one, nothing is sent twice."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from broker.rpc.active_controller import ActiveController
from kraftpy.errors import NotControllerError, RequestTimedOutError
from kraftpy.pb import control_pb2 as pb
from kraftpy.runtime.ports import Address, Refused, Unreachable
from simulation.clock import SimulatedClock
from simulation.loop import Loop


class Loader:
    """The metadata: node 2 leads the quorum."""

    leader_id = 2
    image: Any = None

    async def wait_applied(self, end_offset: int) -> None:
        return


class Transport:
    """Answers by a script."""

    def __init__(self, *answers: Exception | bytes) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def call(self, address: Address, method: str, request: bytes, timeout_ms: int) -> bytes:
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def run(transport: Transport, timeout_ms: int = 5_000) -> bytes:
    loop = Loop(1, time_limit_ms=60_000)
    view = SimpleNamespace(cluster_id="c")
    active = ActiveController(
        1,
        cast(Any, view),
        cast(Any, Loader()),
        cast(Any, None),
        lambda node_id: Address("n2", 1),
        cast(Any, transport),
        SimulatedClock(loop, loop.world),
    )
    try:
        return loop.run_until_complete(active.run("CreateTopics", b"", timeout_ms))
    finally:
        loop.shutdown()


DONE = pb.ForwardResponse(payload=b"done").SerializeToString()


def test_a_controller_that_is_gone_before_it_was_asked_is_waited_out() -> None:
    transport = Transport(Refused("nobody listens"), Refused("nobody listens"), DONE)
    assert run(transport) == b"done"
    assert transport.asked == 3


def test_nobody_comes() -> None:
    with pytest.raises(NotControllerError, match="no controller did CreateTopics: nobody listens"):
        run(Transport(Refused("nobody listens")), 300)


def test_an_answer_that_is_lost_is_not_asked_for_again() -> None:
    transport = Transport(Unreachable("the connection broke"), DONE)
    with pytest.raises(RequestTimedOutError, match="whose answer is lost"):
        run(transport)
    assert transport.asked == 1
