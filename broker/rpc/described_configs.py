"""Settings as DescribeConfigs tells them: what holds, and where it comes from. Pure.

| resource | told |
|---|---|
| a topic | every topic setting that holds for it on this node, the nearest source winning |
| this broker | the dynamic settings, and what it was started with |
| all brokers ("") | the settings that were given to all brokers |
"""

from broker.config import NodeConfig
from broker.configure import describe
from broker.metadata.broker_config import BY_NAME as DYNAMIC
from broker.metadata.effective import EffectiveValue, Source, broker_values, node_values, topic_values
from broker.metadata.image import MetadataImage
from broker.metadata.records import DEFAULT_BROKER, ConfigResource, broker_resource, topic_resource
from kraftpy.errors import UnknownTopicOrPartitionError
from kraftpy.pb.admin_pb2 import ConfigEntry


def topic_entries(image: MetadataImage, topic: str, config: NodeConfig) -> list[ConfigEntry]:
    """By name. Raises `UnknownTopicOrPartitionError`."""
    if image.topic(topic) is None:
        raise UnknownTopicOrPartitionError(f"there is no topic {topic}")
    values = topic_values(image, topic, config.controller.topic_defaults, config.node_id)
    return _sorted([*_entries(values), *_given(image, topic_resource(topic), Source.TOPIC, values)])


def own_entries(image: MetadataImage, config: NodeConfig) -> list[ConfigEntry]:
    """What holds on this node, by name; what it was started with is read-only."""
    told = describe(config)
    given_static = {setting.name: setting.value for setting in told if setting.given}
    values = {
        **broker_values(image, config.node_id, config.controller.topic_defaults),
        **node_values(image, config.node_id, given_static),
    }
    static = [
        ConfigEntry(
            name=setting.name,
            value=setting.value,
            source=(Source.STATIC if setting.given else Source.BUILT_IN).value,
            read_only=True,
            documentation=setting.documentation,
        )
        for setting in told
        if setting.name not in values
    ]
    given = _given(image, broker_resource(config.node_id), Source.BROKER, values)
    return _sorted([*_entries(values), *static, *given])


def default_entries(image: MetadataImage) -> list[ConfigEntry]:
    """What was given to all brokers, by name."""
    return _sorted(_given(image, DEFAULT_BROKER, Source.DEFAULT_BROKER, {}))


def dynamic_entries(image: MetadataImage, broker_id: int) -> list[ConfigEntry]:
    """What the metadata says of another broker: the settings that were given to it, or to all brokers, by name."""
    own = _given(image, broker_resource(broker_id), Source.BROKER, {})
    names = [entry.name for entry in own]
    return _sorted([*own, *[entry for entry in default_entries(image) if entry.name not in names]])


def _entries(values: dict[str, EffectiveValue]) -> list[ConfigEntry]:
    return [
        ConfigEntry(
            name=name,
            value=effective.value,
            source=effective.source.value,
            documentation=effective.setting.documentation,
        )
        for name, effective in values.items()
    ]


def _given(
    image: MetadataImage, resource: ConfigResource, source: Source, known: dict[str, EffectiveValue]
) -> list[ConfigEntry]:
    """Settings of `resource` itself that are not among `known`: for instance of an older release."""
    return [
        ConfigEntry(
            name=name,
            value=value,
            source=source.value,
            documentation=DYNAMIC[name].documentation if name in DYNAMIC else "",
        )
        for name, value in image.config(resource).items()
        if name not in known
    ]


def _sorted(entries: list[ConfigEntry]) -> list[ConfigEntry]:
    return sorted(entries, key=lambda entry: entry.name)
