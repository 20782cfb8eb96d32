"""AlterConfigs (key 33), versions 0–2: all settings of a resource at once; what is not named is unset (KIP-133).

Topics and brokers have settings. What a resource may be set to is the controller's to say (`broker.kafka.altering`).
"""

from broker.kafka.altering import Alteration, alter
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.alter_configs import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    AlterConfigsRequest,
    AlterConfigsResource,
    AlterConfigsResourceResponse,
    AlterConfigsResponse,
)
from broker.rpc.ports import ControllerLink
from kraftpy.errors import InvalidRequestError
from kraftpy.pb import admin_pb2


class AlterConfigs:
    """The handler."""

    def __init__(self, link: ControllerLink) -> None:
        self._link = link

    def api(self) -> Api:
        return message_api(
            ApiKey.ALTER_CONFIGS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            AlterConfigsRequest,
            AlterConfigsResponse,
            self._respond,
        )

    async def _respond(self, request: AlterConfigsRequest, header: Request) -> AlterConfigsResponse:
        alterations: list[Alteration] = [(each.resource_type, each.resource_name) for each in request.resources]
        results = await alter(
            self._link, alterations, lambda slot: _meaning(request.resources[slot]), request.validate_only
        )
        return AlterConfigsResponse(
            responses=tuple(
                AlterConfigsResourceResponse(
                    error=error,
                    error_message=message,
                    resource_type=each.resource_type,
                    resource_name=each.resource_name,
                )
                for each, (error, message) in zip(request.resources, results, strict=True)
            )
        )


def _meaning(resource: AlterConfigsResource) -> admin_pb2.AlterConfigsResource:
    """Raises `InvalidRequestError`."""
    wanted = admin_pb2.AlterConfigsResource(replace=True)
    for config in resource.configs:
        if config.value is None:
            raise InvalidRequestError(f"{config.name} is set to null")
        if config.name in wanted.set:
            raise InvalidRequestError(f"{config.name} is set twice")
        wanted.set[config.name] = config.value
    return wanted
