"""Whether a broker's life is over: only where somebody says so."""

import asyncio
import socket
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from broker.config import GRPC_LISTENER
from broker.rpc.probe import BrokerProbe
from kraftpy.runtime.grpc_transport import GrpcTransport
from kraftpy.runtime.ports import Address


def looked_for(address: Address) -> bool:
    """Whether broker 1, in its life with epoch 5, may be alive."""
    endpoint = SimpleNamespace(name=GRPC_LISTENER, host=address.host, port=address.port)
    registration = SimpleNamespace(endpoints=[endpoint], incarnation_id=UUID(int=7))
    image = SimpleNamespace(brokers={1: SimpleNamespace(epoch=5, registration=registration)})
    loader: Any = SimpleNamespace(image=image)

    async def story() -> bool:
        transport = GrpcTransport()
        try:
            return await BrokerProbe(loader, transport)(1, 5)
        finally:
            await transport.close()

    return asyncio.run(story())


def test_where_nobody_listens_it_is_over() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        assert not looked_for(Address(*reserved.getsockname()))


@pytest.mark.parametrize("name", ["no-such-host.invalid", "a..b"])
def test_a_name_that_cannot_be_looked_up_proves_nothing(name: str) -> None:
    assert looked_for(Address(name, 9093))
