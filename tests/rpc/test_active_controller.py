"""Asking the active controller while it changes: what was never sent is sent to the next one, nothing is sent twice."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from broker.controller.commands import (
    AlterPartition,
    Command,
    IsrMember,
    IsrProposal,
    PartitionsAltered,
    ReplicaReport,
    ReportReplicas,
)
from broker.metadata.state import PartitionKey, Standing
from broker.replication.isr import InSyncProposal
from broker.rpc.active_controller import ActiveController
from broker.rpc.control import ControlService
from kraftpy.errors import NotControllerError, RequestTimedOutError
from kraftpy.pb import control_pb2 as pb
from kraftpy.runtime.ports import Address, NotConnected, Refused, RemoteFailure, Unreachable
from simulation.clock import SimulatedClock
from simulation.loop import Loop


class Loader:
    """The metadata: node 2 leads the quorum, in epoch 9."""

    epoch = 9
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
    transport = Transport(Refused("nobody listens"), NotConnected("in silence"), DONE)
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


class Controller:
    """Active, and nothing comes of what it is asked."""

    is_active = True

    def __init__(self) -> None:
        self.asked: list[Command[Any]] = []

    async def submit(self, command: Command[Any]) -> PartitionsAltered:
        self.asked.append(command)
        return PartitionsAltered(())


def asked(ask: Callable[[ActiveController], Awaitable[None]]) -> list[Command[Any]]:
    """What reaches the controller of node 2 when its own broker, of epoch 5, asks it."""
    controller, view = Controller(), SimpleNamespace(cluster_id="c", controller_id=2)
    service = ControlService(2, UUID(int=1), cast(Any, view), cast(Any, controller), cast(Any, None), lambda: 0)
    loop = Loop(1, time_limit_ms=60_000)
    clock = SimulatedClock(loop, loop.world)
    nobody: Any = None
    active = ActiveController(2, cast(Any, view), cast(Any, Loader()), service, nobody, nobody, clock)
    active.broker_epoch = 5
    try:
        loop.run_until_complete(ask(active))
    finally:
        loop.shutdown()
    return controller.asked


def test_a_proposal_reaches_the_controller_as_it_was_made() -> None:
    topic_id = UUID(int=7)

    async def propose(active: ActiveController) -> None:
        proposal = InSyncProposal(topic_id, 3, 4, 6, ((2, 5), (1, -1)), recovering=False, lacking=(0, 9))
        with pytest.raises(RemoteFailure):  # an answer for each proposal is missing
            await active.alter_partition([proposal])

    members = (IsrMember(2, 5), IsrMember(1, -1))
    proposals = (IsrProposal(topic_id, 3, 4, 6, members, False, (0, 9)),)
    assert asked(propose) == [AlterPartition(2, 5, proposals, controller_epoch=9, number=1)]


def test_every_report_of_replicas_has_a_number_and_is_for_one_epoch() -> None:
    topic_id = UUID(int=7)

    async def report(active: ActiveController) -> None:
        await active.report_replicas({PartitionKey(topic_id, 3): Standing.DAMAGED})
        await active.report_replicas({PartitionKey(topic_id, 3): Standing.ONLINE})

    assert asked(report) == [
        ReportReplicas(2, 5, (ReplicaReport(topic_id, 3, Standing.DAMAGED),), controller_epoch=9, number=1),
        ReportReplicas(2, 5, (ReplicaReport(topic_id, 3, Standing.ONLINE),), controller_epoch=9, number=2),
    ]
