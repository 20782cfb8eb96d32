"""Settings of topics and brokers change, one by one (incremental, KIP-339). Each resource stands or falls alone, and
all settings of a request are one entry of the quorum's log.

A resource that is named twice is not changed at all. To unset what is not set is no error, whatever it is.

Three settings say something about partitions as they are, and so records of what follows come with them:
- a lower min.insync.replicas lets a high watermark move on that had rested, so nobody stays eligible for having seen
  where it rested (KIP-966): those records stand first, because the new value must never hold without them;
- with flush.messages=1 a stop that was not clean loses nothing. Brokers that are there flush what counted by the old
  value; who is away may have lost it before, and would be judged by the new value when it registers: it is eligible no
  longer. Those records stand first, too;
- with unclean.leader.election.enable, partitions without a leader get one at once.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from broker.controller.brokers import unclean_facts
from broker.controller.cluster import Cluster, TopicRules
from broker.controller.commands import (
    AlterConfigs,
    AlteredConfig,
    ConfigAlteration,
    ConfigChange,
    ConfigsAltered,
    Operation,
)
from broker.controller.elections import Election, resettle
from broker.controller.eligible import difference
from broker.controller.result import Result
from broker.metadata.broker_config import broker_setting
from broker.metadata.effective import broker_values, topic_value
from broker.metadata.records import ConfigRecord, MetadataRecord, PartitionChangeRecord, ResourceType
from broker.metadata.setting import DynamicSetting, Kind, check_length
from broker.metadata.state import PartitionKey
from broker.metadata.topic_config import check_compaction_lags, topic_config_warnings, topic_setting
from kraftpy.errors import (
    BrokerIdNotRegisteredError,
    InvalidConfigError,
    InvalidRequestError,
    KraftpyError,
    UnknownTopicOrPartitionError,
)

MIN_ISR = "min.insync.replicas"
UNCLEAN = "unclean.leader.election.enable"
FLUSH_MESSAGES = ("flush.messages", "log.flush.interval.messages")  # of topics, and of brokers
POLICY = "cleanup.policy"
RETENTION_OF_TOMBSTONES = "delete.retention.ms"
ID_DIGITS_MAX = 10


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
        mentions = Counter(alteration.resource for alteration in command.resources)
        for alteration in command.resources:
            try:
                if mentions[alteration.resource] > 1:
                    raise InvalidRequestError(f"the request names {alteration.resource.name or 'the default'} twice")
                changes, warnings = self._alter(alteration)
                records += changes
                results.append(AlteredConfig(alteration.resource, None, warnings))
            except KraftpyError as error:
                results.append(AlteredConfig(alteration.resource, error))
        response = ConfigsAltered(tuple(results))
        if command.validate_only or not records:
            return Result(response)
        shrunk, elections = self._consequences(records)
        followed: list[MetadataRecord] = [*shrunk, *records, *(election.record for election in elections)]
        settings = range(len(shrunk), len(shrunk) + len(records))
        facts = unclean_facts(self._cluster, elections)
        return Result(response, followed, atomic=False, unit=settings, facts=facts)

    def _consequences(self, records: Sequence[ConfigRecord]) -> tuple[list[PartitionChangeRecord], list[Election]]:
        """What changed settings mean for partitions: ELRs that end, and elections that are allowed now."""
        cluster = self._cluster
        names = [record.name for record in records]
        ends, allows = any(name in names for name in (MIN_ISR, *FLUSH_MESSAGES)), UNCLEAN in names
        if not ends and not allows:
            return [], []
        after, _ = cluster.image.apply(records, cluster.image.end_offset + len(records), cluster.epoch)
        before, rules = cluster.topic_rules(), TopicRules(after, cluster.config.topic_defaults)
        shrunk = []
        for key in cluster.index.with_eligible() if ends else ():
            state = cluster.partition(key)
            eligible = self._still_eligible(key, before, rules)
            record = difference(key, state, replace(state, eligible_replicas=eligible))
            if record is not None:
                shrunk.append(record)
        elections = []
        for key in cluster.index.without_leader() if allows else ():
            election = resettle(key, cluster.partition(key), cluster.can_serve(key), rules.of(key.topic_id))
            if election is not None and election.moved:
                elections.append(election)
        return shrunk, elections

    def _still_eligible(self, key: PartitionKey, before: TopicRules, after: TopicRules) -> tuple[int, ...]:
        """Who of the partition's ELR has everything under the new rules, too."""
        cluster, state = self._cluster, self._cluster.partition(key)
        eligible = state.eligible_replicas
        if state.isr:  # else nobody can commit anything, whatever the minimum
            eligible = after.of(key.topic_id).eligible(state, state)
        return tuple(
            broker_id
            for broker_id in eligible
            if cluster.is_live(broker_id)
            or before.flushes_first(key.topic_id, broker_id)
            or not after.flushes_first(key.topic_id, broker_id)
        )

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
        return records, (*self._without_effect(alteration), *self._warnings(alteration, records))

    def _check_resource(self, alteration: ConfigAlteration) -> None:
        kind, name = alteration.resource
        if kind == ResourceType.TOPIC:
            if self._cluster.image.topic(name) is None:
                raise UnknownTopicOrPartitionError(f"there is no topic {name}")
        elif name:
            is_number = name.isascii() and name.isdigit() and len(name) <= ID_DIGITS_MAX
            if not is_number or str(int(name)) != name:  # "01" would be stored beside "1", and nobody reads it
                raise InvalidRequestError(f'"{name[:60]}" is no broker id')
            if int(name) not in self._cluster.image.brokers:
                raise BrokerIdNotRegisteredError(f"broker {name} is not registered")

    def _new_value(self, alteration: ConfigAlteration, change: ConfigChange) -> str | None:
        """The text that the setting has afterwards; None: it is unset. Raises `InvalidConfigError`."""
        if change.operation == Operation.DELETE:
            return None  # also of a name that an older release knew, or that only Kafka knows
        setting = self._setting(alteration, change.name)
        if change.value is None:
            raise InvalidConfigError(f"{change.name} is set to nothing")
        check_length(change.name, change.value)
        if change.operation == Operation.SET:
            setting.parse(change.value)
            return change.value.strip()
        return self._changed_list(alteration, change, setting, change.value)

    def _setting(self, alteration: ConfigAlteration, name: str) -> DynamicSetting:
        if alteration.resource.type == ResourceType.TOPIC:
            return topic_setting(name)
        return broker_setting(name, cluster_wide=not alteration.resource.name)

    def _changed_list(
        self, alteration: ConfigAlteration, change: ConfigChange, setting: DynamicSetting, value: str
    ) -> str:
        if setting.kind is not Kind.LIST:
            raise InvalidConfigError(f"{change.name} is not a list: it can be set, not added to")
        present = _elements(self._effective(alteration, change.name))
        given = dict.fromkeys(_elements(value))  # looked up: a list of throttled replicas may be long
        if change.operation == Operation.APPEND:
            known = dict.fromkeys(present)
            elements = present + [element for element in given if element not in known]
            check_length(change.name, ",".join(elements))
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

    def _without_effect(self, alteration: ConfigAlteration) -> tuple[str, ...]:
        """The first that was to be unset, is not set, and could not be: as an error would say it."""
        own = self._cluster.image.config(alteration.resource)
        for change in alteration.changes:
            if change.operation == Operation.DELETE and change.name not in own:
                try:
                    self._setting(alteration, change.name)
                except InvalidConfigError as error:
                    return (error.message,)
        return ()

    def _warnings(self, alteration: ConfigAlteration, records: list[ConfigRecord]) -> tuple[str, ...]:
        if alteration.resource.type != ResourceType.TOPIC:
            return ()
        given = {record.name: record.value for record in records if record.value is not None}
        topic = self._cluster.image.topic(alteration.resource.name)
        assert topic is not None
        policy = self._effective(alteration, POLICY)
        if any(record.name == POLICY for record in records):
            image, defaults = self._cluster.image, self._cluster.config.topic_defaults
            policy = given.get(POLICY) or topic_value(image, POLICY, None, defaults).value
            kept = image.config(alteration.resource).get(RETENTION_OF_TOMBSTONES)
            if kept is not None and all(record.name != RETENTION_OF_TOMBSTONES for record in records):
                given[RETENTION_OF_TOMBSTONES] = kept  # it has no effect under the new policy, perhaps
        return topic_config_warnings(given, policy, len(topic.partitions[0].replicas))


def _elements(text: str) -> list[str]:
    return [element.strip() for element in text.split(",") if element.strip()]
