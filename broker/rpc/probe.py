"""Looking whether a broker is there: `Control.Ping`, which every node answers with its incarnation.

A refused connection is proof that it is not. One that breaks is none: a broker that has too many closes the next at
once, and a connection may break by itself. As a killed process does the same for a moment, it is then asked again until
it answers, refuses, or the time is over.
"""

import asyncio

from google.protobuf.message import DecodeError

from broker.quorum.loader import MetadataLoader
from broker.rpc.control import SERVICE
from broker.rpc.methods import full_name
from kraftpy.pb import control_pb2 as pb
from kraftpy.runtime.ports import Address, NotConnected, Refused, Transport, TransportError, Unreachable

TIMEOUT_MS = 500  # in all
AGAIN_MS = 50


class BrokerProbe:
    """`broker.controller.shell.BrokerProbe`: call it with a broker's id and the epoch of the life in question."""

    def __init__(self, loader: MetadataLoader, transport: Transport) -> None:
        self._loader = loader
        self._transport = transport

    async def __call__(self, broker_id: int, broker_epoch: int) -> bool:
        """False only where that life is certainly over: nobody listens, or another life answers."""
        broker = self._loader.image.brokers.get(broker_id)
        if broker is None or broker.epoch != broker_epoch:
            return True  # this node's metadata lags behind the question, or the answer has come already
        address = self._loader.image.grpc_address(broker_id)
        if address is None:
            return True
        answer = await self._ping(address)
        return answer is None or answer == broker.registration.incarnation_id.bytes

    async def _ping(self, address: Address) -> bytes | None:
        """The incarnation that answers; b"" where nobody is there; None where that cannot be told."""
        try:
            async with asyncio.timeout(TIMEOUT_MS / 1_000):
                while True:
                    try:
                        return await self._ask(address)
                    except Refused:
                        return b""
                    except (Unreachable, NotConnected):
                        await asyncio.sleep(AGAIN_MS / 1_000)
        except (TransportError, DecodeError, TimeoutError):
            return None

    async def _ask(self, address: Address) -> bytes:
        request = pb.PingRequest().SerializeToString()
        answer = await self._transport.call(address, full_name(SERVICE, "Ping"), request, TIMEOUT_MS)
        return pb.PingResponse.FromString(answer).incarnation_id
