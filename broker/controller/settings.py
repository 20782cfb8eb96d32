"""Settings of topics and brokers change, one by one (incremental, KIP-339). Each resource stands or falls alone."""

from collections.abc import Sequence

from broker.controller.brokers import unclean_facts
from broker.controller.cluster import Cluster, unclean_allowed
from broker.controller.commands import (
    AlterConfigs,
    AlteredConfig,
    ConfigAlteration,
    ConfigChange,
    ConfigsAltered,
    Operation,
)
from broker.controller.elections import Election, elect_uncleanly
from broker.controller.result import Result
from broker.metadata.broker_config import broker_setting
from broker.metadata.effective import broker_values, topic_value
from broker.metadata.records import ConfigRecord, MetadataRecord, ResourceType
from broker.metadata.setting import Kind, Setting
from broker.metadata.topic_config import check_compaction_lags, topic_config_warnings, topic_setting
from kraftpy.errors import (
    BrokerIdNotRegisteredError,
    InvalidConfigError,
    InvalidRequestError,
    KraftpyError,
    UnknownTopicOrPartitionError,
)

UNCLEAN = "unclean.leader.election.enable"


class Settings:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def alter(self, command: AlterConfigs) -> Result[ConfigsAltered]:
        """Raises `InvalidRequestError` where the request is too large; other errors stand in the results."""
        limit = self._cluster.config.items_per_request_max
        if sum(len(alteration.changes) for alteration in command.resources) > limit:
            raise InvalidRequestError(f"a request may change {limit} settings")
        records: list[ConfigRecord] = []
        results = []
        seen: dict[object, None] = {}
        for alteration in command.resources:
            try:
                if alteration.resource in seen:
                    raise InvalidRequestError(f"the request names {alteration.resource.name or 'the default'} twice")
                seen[alteration.resource] = None
                changes, warnings = self._alter(alteration)
                records += changes
                results.append(AlteredConfig(alteration.resource, None, warnings))
            except KraftpyError as error:
                results.append(AlteredConfig(alteration.resource, error))
        response = ConfigsAltered(tuple(results))
        if command.validate_only or not records:
            return Result(response)
        elections = self._elections(records)
        followed: list[MetadataRecord] = [*records, *(election.record for election in elections)]
        facts = unclean_facts(self._cluster, elections)
        return Result(response, followed, atomic=not elections, facts=facts)

    def _elections(self, records: Sequence[ConfigRecord]) -> list[Election]:
        """Partitions without a leader whose topics allow unclean elections from now on get one at once."""
        if all(record.name != UNCLEAN for record in records):
            return []
        cluster = self._cluster
        after, _ = cluster.image.apply(records, cluster.image.end_offset + len(records), cluster.epoch)
        elections: list[Election] = []
        for key in cluster.index.without_leader():
            if unclean_allowed(after, key.topic_id, cluster.config.topic_defaults):
                election = elect_uncleanly(key, cluster.partition(key), cluster.can_serve(key))
                elections += () if election is None else (election,)
        return elections

    def _alter(self, alteration: ConfigAlteration) -> tuple[list[ConfigRecord], tuple[str, ...]]:
        self._check_resource(alteration)
        names = [change.name for change in alteration.changes]
        if len(dict.fromkeys(names)) < len(names):
            raise InvalidConfigError("the request changes a setting twice")
        own = self._cluster.image.config(alteration.resource)
        unset = [name for name in own if name not in names] if alteration.replace else []
        records = [ConfigRecord(alteration.resource, name, None) for name in unset]
        for change in alteration.changes:
            value = self._new_value(alteration, change)
            if value != own.get(change.name):
                records.append(ConfigRecord(alteration.resource, change.name, value))
        if alteration.resource.type == ResourceType.TOPIC:
            after = {**own, **{record.name: record.value for record in records}}
            check_compaction_lags({name: value for name, value in after.items() if value is not None})
        return records, self._warnings(alteration, records)

    def _check_resource(self, alteration: ConfigAlteration) -> None:
        kind, name = alteration.resource
        if kind == ResourceType.TOPIC:
            if self._cluster.image.topic(name) is None:
                raise UnknownTopicOrPartitionError(f"there is no topic {name}")
        elif name:
            if not (name.isascii() and name.isdigit()):
                raise InvalidRequestError(f'"{name}" is no broker id')
            if int(name) not in self._cluster.image.brokers:
                raise BrokerIdNotRegisteredError(f"broker {name} is not registered")

    def _new_value(self, alteration: ConfigAlteration, change: ConfigChange) -> str | None:
        """The text that the setting has afterwards; None: it is unset. Raises `InvalidConfigError`."""
        resource = alteration.resource
        if change.operation == Operation.DELETE and change.name in self._cluster.image.config(resource):
            return None  # also of a name that an older release knew
        setting = self._setting(alteration, change.name)
        if change.operation == Operation.DELETE:
            return None
        if change.value is None:
            raise InvalidConfigError(f"{change.name} is set to nothing")
        if change.operation == Operation.SET:
            setting.parse(change.value)
            return change.value.strip()
        return self._changed_list(alteration, change, setting, change.value)

    def _setting(self, alteration: ConfigAlteration, name: str) -> Setting:
        if alteration.resource.type == ResourceType.TOPIC:
            return topic_setting(name)
        return broker_setting(name, cluster_wide=not alteration.resource.name)

    def _changed_list(self, alteration: ConfigAlteration, change: ConfigChange, setting: Setting, value: str) -> str:
        if setting.kind is not Kind.LIST:
            raise InvalidConfigError(f"{change.name} is not a list: it can be set, not added to")
        present = _elements(self._effective(alteration, change.name))
        given = _elements(value)
        if change.operation == Operation.APPEND:
            elements = present + [element for element in given if element not in present]
        else:
            elements = [element for element in present if element not in given]
        text = ",".join(elements)
        setting.parse(text)
        return text

    def _effective(self, alteration: ConfigAlteration, name: str) -> str:
        image, defaults = self._cluster.image, self._cluster.config.topic_defaults
        if alteration.resource.type == ResourceType.TOPIC:
            return topic_value(image, name, alteration.resource.name, defaults).value
        broker_id = int(alteration.resource.name) if alteration.resource.name else None
        return broker_values(image, broker_id, defaults)[name].value

    def _warnings(self, alteration: ConfigAlteration, records: list[ConfigRecord]) -> tuple[str, ...]:
        if alteration.resource.type != ResourceType.TOPIC:
            return ()
        given = {record.name: record.value for record in records if record.value is not None}
        topic = self._cluster.image.topic(alteration.resource.name)
        assert topic is not None
        policy = given.get("cleanup.policy") or self._effective(alteration, "cleanup.policy")
        return topic_config_warnings(given, policy, len(topic.partitions[0].replicas))


def _elements(text: str) -> list[str]:
    return [element.strip() for element in text.split(",") if element.strip()]
