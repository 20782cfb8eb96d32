"""What holds for a topic or a broker: settings from five places, the nearest first, and where each value came from.

    topic's own  >  one broker's (dynamic)  >  all brokers' (dynamic)  >  the broker's file (static)  >  built in

A topic's setting is looked for under its own name at the topic and in the file's `topic_defaults`, and under its broker
name (`log.retention.ms` for `retention.ms`) among the dynamic settings of brokers.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final, NamedTuple

from broker.metadata.broker_config import (
    ALL_LOG_DIRS,
    BROKER_SETTINGS,
    CORDONED_LOG_DIRS,
    NODE_SETTINGS,
    TOPIC_NAME_OF,
)
from broker.metadata.broker_config import BY_NAME as BROKER_SETTINGS_BY_NAME
from broker.metadata.image import MetadataImage
from broker.metadata.records import DEFAULT_BROKER, broker_resource, topic_resource
from broker.metadata.setting import DynamicSetting, Value
from broker.metadata.topic_config import BY_NAME, TOPIC_SETTINGS, log_fields

_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_BROKER_SETTING: Final = {
    TOPIC_NAME_OF[setting.name]: setting for setting in BROKER_SETTINGS if setting.name in TOPIC_NAME_OF
}
"""The broker's setting that is the default of a topic's, by the latter's name."""


class Source(Enum):
    """Where a value comes from, as `ConfigEntry.source` says it."""

    TOPIC = "dynamic-topic"
    BROKER = "dynamic-broker"
    DEFAULT_BROKER = "dynamic-default"
    STATIC = "static"
    BUILT_IN = "default"


class EffectiveValue(NamedTuple):
    setting: DynamicSetting
    value: str
    source: Source


def topic_value(
    image: MetadataImage,
    name: str,
    topic: str | None,
    topic_defaults: Mapping[str, str],
    broker_id: int | None = None,
) -> EffectiveValue:
    """What holds for the setting `name` of `topic` (None: of a topic that sets nothing), on `broker_id` if given."""
    setting = BY_NAME[name]
    if topic is not None:
        own = image.config(topic_resource(topic)).get(name)
        if own is not None:
            return EffectiveValue(setting, own, Source.TOPIC)
    return _default_of(image, setting, topic_defaults, broker_id)


def topic_values(
    image: MetadataImage, topic: str | None, topic_defaults: Mapping[str, str], broker_id: int | None = None
) -> dict[str, EffectiveValue]:
    """Everything that holds for `topic`, by name."""
    return {
        setting.name: topic_value(image, setting.name, topic, topic_defaults, broker_id) for setting in TOPIC_SETTINGS
    }


def broker_values(
    image: MetadataImage, broker_id: int | None, topic_defaults: Mapping[str, str]
) -> dict[str, EffectiveValue]:
    """What holds for the dynamic settings of a broker (None: of all brokers), by name."""
    values = {}
    for setting in BROKER_SETTINGS:
        if setting.name not in TOPIC_NAME_OF:
            values[setting.name] = _own_value(image, setting, broker_id)
            continue
        topic_setting = BY_NAME[TOPIC_NAME_OF[setting.name]]
        values[setting.name] = _default_of(image, topic_setting, topic_defaults, broker_id)._replace(setting=setting)
    return values


def broker_value(image: MetadataImage, name: str, broker_id: int) -> int:
    """What holds on the broker for a whole number that is no topic's default."""
    effective = _own_value(image, BROKER_SETTINGS_BY_NAME[name], broker_id)
    return int(effective.value)


def is_cordoned(image: MetadataImage, broker_id: int) -> bool:
    """Whether no new replicas are to come to the broker (KIP-1066)."""
    listed = image.config(broker_resource(broker_id)).get(CORDONED_LOG_DIRS, "")
    return ALL_LOG_DIRS in map(str.strip, listed.split(","))


def node_values(image: MetadataImage, broker_id: int, static: Mapping[str, str]) -> dict[str, EffectiveValue]:
    """What holds for the node's own settings that can change while it runs; `static`: given at its start."""
    return {setting.name: _own_value(image, setting, broker_id, static) for setting in NODE_SETTINGS}


def log_config_fields(
    image: MetadataImage, topic: str, topic_defaults: Mapping[str, str], broker_id: int
) -> dict[str, Value]:
    """Arguments for `log_store.config.LogConfig` of `topic`'s logs on `broker_id`, as far as there are settings for
    them."""
    values = topic_values(image, topic, topic_defaults, broker_id)
    return log_fields({name: effective.value for name, effective in values.items()})


def topic_synonyms(
    image: MetadataImage, name: str, topic: str, topic_defaults: Mapping[str, str], broker_id: int
) -> list[EffectiveValue]:
    """Every place that sets `name` of `topic` on `broker_id`, the nearest first: the first holds."""
    setting = BY_NAME[name]
    own = image.config(topic_resource(topic)).get(name)
    nearest = [] if own is None else [EffectiveValue(setting, own, Source.TOPIC)]
    return [*nearest, *_defaults_of(image, setting, topic_defaults, broker_id)]


def broker_synonyms(
    image: MetadataImage, name: str, broker_id: int, topic_defaults: Mapping[str, str]
) -> list[EffectiveValue]:
    """Every place that sets `name` on `broker_id`, the nearest first."""
    if name not in TOPIC_NAME_OF:
        return _own_values(image, BROKER_SETTINGS_BY_NAME[name], broker_id)
    return _defaults_of(image, BY_NAME[TOPIC_NAME_OF[name]], topic_defaults, broker_id)


def _own_value(
    image: MetadataImage, setting: DynamicSetting, broker_id: int | None, static: Mapping[str, str] = _NONE
) -> EffectiveValue:
    return _own_values(image, setting, broker_id, static)[0]


def _own_values(
    image: MetadataImage, setting: DynamicSetting, broker_id: int | None, static: Mapping[str, str] = _NONE
) -> list[EffectiveValue]:
    found = _dynamic_values(image, setting, broker_id)
    if setting.name in static:
        found.append(EffectiveValue(setting, static[setting.name], Source.STATIC))
    return [*found, EffectiveValue(setting, setting.default, Source.BUILT_IN)]


def _dynamic_values(image: MetadataImage, setting: DynamicSetting, broker_id: int | None) -> list[EffectiveValue]:
    """Of a broker (None: of all brokers), the nearest first."""
    everywhere = (DEFAULT_BROKER, Source.DEFAULT_BROKER)
    places = [everywhere] if broker_id is None else [(broker_resource(broker_id), Source.BROKER), everywhere]
    given = [(image.config(resource).get(setting.name), source) for resource, source in places]
    return [EffectiveValue(setting, value, source) for value, source in given if value is not None]


def _default_of(
    image: MetadataImage, setting: DynamicSetting, topic_defaults: Mapping[str, str], broker_id: int | None
) -> EffectiveValue:
    nearest = _defaults_of(image, setting, topic_defaults, broker_id)[0]
    return nearest._replace(setting=setting)


def _defaults_of(
    image: MetadataImage, setting: DynamicSetting, topic_defaults: Mapping[str, str], broker_id: int | None
) -> list[EffectiveValue]:
    """Each under the name that it has there."""
    named = _BROKER_SETTING.get(setting.name, setting)
    found = _dynamic_values(image, named, broker_id) if setting.broker_name else []
    static = topic_defaults.get(setting.name)
    if static is not None:
        found.append(EffectiveValue(named, static, Source.STATIC))
    found.append(EffectiveValue(named, setting.default, Source.BUILT_IN))
    return found
