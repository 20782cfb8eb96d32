"""IncrementalAlterConfigs (key 44), versions 0–1: settings changed one by one, lists by their elements (KIP-339).

Topics and brokers have settings. What a resource may be set to is the controller's to say (`broker.kafka.altering`).
"""

from broker.controller.commands import Operation
from broker.kafka.altering import Alteration, alter
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.incremental_alter_configs import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    AlterConfigsResource,
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from broker.rpc.ports import ControllerLink
from kraftpy.errors import InvalidRequestError
from kraftpy.pb import admin_pb2


class IncrementalAlterConfigs:
    """The handler."""

    def __init__(self, link: ControllerLink) -> None:
        self._link = link

    def api(self) -> Api:
        return message_api(
            ApiKey.INCREMENTAL_ALTER_CONFIGS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            IncrementalAlterConfigsRequest,
            IncrementalAlterConfigsResponse,
            self._respond,
        )

    async def _respond(
        self, request: IncrementalAlterConfigsRequest, header: Request
    ) -> IncrementalAlterConfigsResponse:
        alterations: list[Alteration] = [(each.resource_type, each.resource_name) for each in request.resources]
        results = await alter(
            self._link, alterations, lambda slot: _meaning(request.resources[slot]), request.validate_only
        )
        return IncrementalAlterConfigsResponse(
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
    wanted = admin_pb2.AlterConfigsResource()
    seen: dict[str, None] = {}
    for config in resource.configs:
        if config.name in seen:
            raise InvalidRequestError(f"{config.name} is changed twice")
        seen[config.name] = None
        if config.config_operation == Operation.DELETE:
            wanted.unset.append(config.name)
            continue
        if config.value is None:
            raise InvalidRequestError(f"{config.name} is set to null; to unset it, delete it")
        match config.config_operation:
            case Operation.SET:
                wanted.set[config.name] = config.value
            case Operation.APPEND:
                wanted.append[config.name] = config.value
            case Operation.SUBTRACT:
                wanted.subtract[config.name] = config.value
            case unknown:
                raise InvalidRequestError(f"{unknown} is no way to change a setting")
    return wanted
