"""UnregisterBroker (key 64), version 0: a broker that will not come back is forgotten (KIP-500)."""

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.controller_calls import ask_controller
from broker.kafka.messages.unregister_broker import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    UnregisterBrokerRequest,
    UnregisterBrokerResponse,
)
from broker.rpc.ports import ControllerLink
from kraftpy.error_codes import code_of
from kraftpy.errors import KraftpyError
from kraftpy.pb import admin_pb2


class UnregisterBroker:
    """The handler."""

    def __init__(self, link: ControllerLink) -> None:
        self._link = link

    def api(self) -> Api:
        return message_api(
            ApiKey.UNREGISTER_BROKER,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            UnregisterBrokerRequest,
            UnregisterBrokerResponse,
            self._respond,
        )

    async def _respond(self, request: UnregisterBrokerRequest, header: Request) -> UnregisterBrokerResponse:
        wanted = admin_pb2.UnregisterBrokerRequest(broker_id=request.broker_id)
        try:
            await ask_controller(self._link, "UnregisterBroker", wanted, admin_pb2.UnregisterBrokerResponse)
        except KraftpyError as error:
            return UnregisterBrokerResponse(error=code_of(error), error_message=error.message)
        return UnregisterBrokerResponse()
