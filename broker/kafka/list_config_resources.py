"""ListConfigResources (key 74), versions 0–1: what has settings of its own (KIP-1142).

Version 0 asks for subscriptions to client metrics, of which there are none. Of groups nothing is listed here.
"""

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.list_config_resources import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    ConfigResource,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)
from broker.kafka.ports import ClusterView
from broker.kafka.setting_words import ResourceKind
from kraftpy.error_codes import code_of
from kraftpy.errors import UnsupportedVersionError


class ListConfigResources:
    """The handler."""

    def __init__(self, view: ClusterView) -> None:
        self._view = view

    def api(self) -> Api:
        return message_api(
            ApiKey.LIST_CONFIG_RESOURCES,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            ListConfigResourcesRequest,
            ListConfigResourcesResponse,
            self._respond,
        )

    async def _respond(self, request: ListConfigResourcesRequest, header: Request) -> ListConfigResourcesResponse:
        if header.version == 0:
            return ListConfigResourcesResponse(config_resources=())
        kinds = [int(kind) for kind in ResourceKind]
        if any(kind not in kinds for kind in request.resource_types):
            return ListConfigResourcesResponse(error=code_of(UnsupportedVersionError), config_resources=())
        wanted = list(dict.fromkeys(request.resource_types)) or kinds
        image = self._view.image
        brokers = [str(broker_id) for broker_id in sorted(image.brokers)]
        names = {
            ResourceKind.TOPIC: sorted(image.topic_ids),
            ResourceKind.BROKER: brokers,
            ResourceKind.BROKER_LOGGER: brokers,
        }
        return ListConfigResourcesResponse(
            config_resources=tuple(
                ConfigResource(resource_name=name, resource_type=kind)
                for kind in wanted
                for name in names.get(ResourceKind(kind), ())
            )
        )
