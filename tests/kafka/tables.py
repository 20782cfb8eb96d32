"""The rows whose messages are dataclasses, as the tests compare them."""

from typing import Any

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages import metadata


async def _nobody(request: Any, header: Request) -> Any:
    raise AssertionError("nobody answers here")


SCHEMA_APIS: list[Api] = [
    message_api(
        ApiKey.METADATA,
        (metadata.VERSION_MIN, metadata.VERSION_MAX),
        metadata.FLEXIBLE_FROM,
        metadata.MetadataRequest,
        metadata.MetadataResponse,
        _nobody,
    ),
]
