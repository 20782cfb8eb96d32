"""How Kafka's protocol calls settings: where a value comes from, what type it has, what it belongs to. Pure."""

from enum import IntEnum
from typing import Final

from broker.metadata.effective import Source
from broker.metadata.setting import Kind


class ResourceKind(IntEnum):
    """ConfigResource.Type."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


ROOT_LOGGER_SOURCE: Final = "dynamic-broker-logger"
"""Where the level of `root_logger` comes from: among loggers Kafka tells no further."""

SOURCES: Final[dict[str, int]] = {
    Source.TOPIC.value: 1,
    Source.BROKER.value: 2,
    Source.DEFAULT_BROKER.value: 3,
    Source.STATIC.value: 4,
    Source.BUILT_IN.value: 5,
    ROOT_LOGGER_SOURCE: 6,
}
"""ConfigSource, by what `ConfigEntry.source` says."""

TYPES: Final = {
    Kind.BOOLEAN: 1,
    Kind.STRING: 2,
    Kind.INT: 3,
    Kind.LONG: 5,
    Kind.DOUBLE: 6,
    Kind.LIST: 7,
}
UNKNOWN_TYPE: Final = 0
