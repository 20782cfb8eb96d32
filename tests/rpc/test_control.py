"""The Control service on a node that does not lead, and on one that leads another cluster."""

import asyncio
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from broker.rpc.control import ControlService
from kraftpy.error_codes import error_for
from kraftpy.errors import InconsistentClusterIdError, KraftpyError, NotControllerError
from kraftpy.pb import control_pb2 as pb


def refused(request: pb.RegisterBrokerRequest, *, cluster_id: str, is_active: bool) -> KraftpyError:
    """What a registration is refused with."""
    view: Any = SimpleNamespace(cluster_id=cluster_id, controller_id=None)
    controller: Any = SimpleNamespace(is_active=is_active)
    admin: Any = None
    service = ControlService(1, UUID(int=1), view, controller, admin, lambda: 0)

    async def register() -> Any:
        return await service.handlers["RegisterBroker"][1](request)

    response = asyncio.run(register())
    return error_for(response.error, response.error_message)


def test_a_node_that_has_not_joined_its_cluster_yet_turns_nobody_away_for_good() -> None:
    """Found by the simulated cluster, seed 4: after a power failure of all, the former controller, not yet back in its
    cluster, told a broker that it belonged to another one; and that broker ended."""
    error = refused(pb.RegisterBrokerRequest(cluster_id="ours"), cluster_id="", is_active=False)
    assert isinstance(error, NotControllerError) and error.retriable


@pytest.mark.parametrize("theirs", ["", "another"])
def test_a_broker_of_another_cluster_is_refused_by_name(theirs: str) -> None:
    error = refused(pb.RegisterBrokerRequest(cluster_id=theirs), cluster_id="ours", is_active=True)
    assert isinstance(error, InconsistentClusterIdError) and "ours" in str(error)
