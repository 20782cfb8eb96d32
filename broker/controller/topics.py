"""Topics are created, grow and are deleted.

Every topic of a request stands or falls alone; all records of the request are one atomic entry.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from broker.controller.cluster import Cluster
from broker.controller.commands import (
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    NewPartitions,
    NewTopic,
    TopicResult,
    TopicResults,
)
from broker.controller.partition_index import collision_form
from broker.controller.placement import Assignment, Candidate, place
from broker.controller.result import Fact, Result, TopicCreated, TopicDeleted
from broker.controller.topic_names import check_topic_name
from broker.metadata.effective import is_cordoned, topic_value
from broker.metadata.records import (
    ConfigRecord,
    MetadataRecord,
    PartitionRecord,
    RemoveTopicRecord,
    TopicRecord,
    topic_resource,
)
from broker.metadata.state import TopicImage
from broker.metadata.topic_config import check_topic_config, topic_config_warnings
from kraftpy.errors import (
    InvalidPartitionsError,
    InvalidReplicaAssignmentError,
    InvalidReplicationFactorError,
    InvalidRequestError,
    InvalidTopicError,
    KraftpyError,
    PolicyViolationError,
    TopicAlreadyExistsError,
    TopicDeletionDisabledError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)

if TYPE_CHECKING:
    from random import Random

REPLICATION_FACTOR_MAX = 32767
"""What fits into the protocol's int16."""


class Topics:
    def __init__(self, cluster: Cluster, random: "Random") -> None:
        self._cluster = cluster
        self._random = random

    # --- creation ---

    def create(self, command: CreateTopics) -> Result[TopicResults]:
        """Raises `PolicyViolationError` where the request is too large; other errors stand in the results."""
        self._check_size(len(command.topics), sum(self._partitions_of(topic) for topic in command.topics))
        draft = _Draft(self._cluster)
        repeated = _repeated([topic.name for topic in command.topics])
        results = []
        for topic in command.topics:
            try:
                if topic.name in repeated:
                    raise InvalidRequestError(f"the request names {topic.name} twice")
                results.append(self._create(topic, draft))
            except KraftpyError as error:
                results.append(TopicResult(topic.name, error))
        response = TopicResults(tuple(results))
        return Result(response) if command.validate_only else Result(response, draft.records, facts=tuple(draft.facts))

    def _create(self, topic: NewTopic, draft: "_Draft") -> TopicResult:
        self._check_name(topic.name, draft)
        check_topic_config(topic.config)
        assignment = self._assignment(topic, draft)
        replication_factor = len(assignment[0])
        topic_id = UUID(bytes=self._random.randbytes(16), version=4)
        records: list[MetadataRecord] = [TopicRecord(topic.name, topic_id)]
        records += self._partition_records(topic_id, 0, assignment)
        resource = topic_resource(topic.name)
        records += [ConfigRecord(resource, name, topic.config[name].strip()) for name in sorted(topic.config)]
        draft.accept(topic.name, records, assignment)
        draft.facts.append(TopicCreated(topic.name, len(assignment), replication_factor))
        warnings = topic_config_warnings(topic.config, self._policy_of(topic), replication_factor)
        return TopicResult(topic.name, None, topic_id, len(assignment), replication_factor, warnings)

    def _check_name(self, name: str, draft: "_Draft") -> None:
        check_topic_name(name)
        if name in self._cluster.image.topic_ids:
            raise TopicAlreadyExistsError(f"topic {name} exists already")
        other = self._cluster.index.name_in_use_like(name) or draft.name_like(name)
        if other is not None and other != name:
            raise InvalidTopicError(f"{name} cannot be told from {other} in metrics, where '.' and '_' are the same")

    def _partitions_of(self, topic: NewTopic) -> int:
        if topic.assignment:
            return len(topic.assignment)
        return self._cluster.config.num_partitions if topic.partitions == -1 else max(topic.partitions, 0)

    def _assignment(self, topic: NewTopic, draft: "_Draft") -> Sequence[Assignment]:
        if topic.assignment:
            if topic.partitions != -1 or topic.replication_factor != -1:
                raise InvalidRequestError("give replicas, or the numbers of partitions and replicas, not both")
            return self._check_assignment(topic.assignment)
        partitions = self._partitions_of(topic)
        if partitions < 1:
            raise InvalidPartitionsError(f"a topic has at least one partition, not {topic.partitions}")
        replication_factor = topic.replication_factor
        if replication_factor == -1:
            replication_factor = self._cluster.config.default_replication_factor
        if not 1 <= replication_factor <= REPLICATION_FACTOR_MAX:
            raise InvalidReplicationFactorError(f"a replication factor is at least 1, not {replication_factor}")
        return place(draft.candidates(), partitions, replication_factor, self._random)

    def _check_assignment(
        self, assignment: Sequence[Assignment], replication_factor: int | None = None
    ) -> Sequence[Assignment]:
        wanted = len(assignment[0]) if replication_factor is None else replication_factor
        for replicas in assignment:
            if len(replicas) != wanted or not replicas:
                raise InvalidReplicaAssignmentError(
                    f"{list(replicas)}: every partition needs {wanted or 'some'} replicas"
                )
            self._cluster.check_target(replicas)
            if not any(self._cluster.is_live(broker_id) for broker_id in replicas):
                raise InvalidReplicaAssignmentError(f"none of the brokers {list(replicas)} is live at the moment")
        return assignment

    def _partition_records(self, topic_id: UUID, first: int, assignment: Sequence[Assignment]) -> list[PartitionRecord]:
        """New partitions: in sync is who is live, and the first of them leads."""
        records = []
        for number, replicas in enumerate(assignment, first):
            isr = tuple(broker_id for broker_id in replicas if self._cluster.is_live(broker_id))
            records.append(PartitionRecord(topic_id, number, tuple(replicas), isr, isr[0], 0, 0))
        return records

    def _policy_of(self, topic: NewTopic) -> str:
        own = topic.config.get("cleanup.policy")
        if own is not None:
            return own
        return topic_value(self._cluster.image, "cleanup.policy", None, self._cluster.config.topic_defaults).value

    # --- growth ---

    def grow(self, command: CreatePartitions) -> Result[TopicResults]:
        """Raises `PolicyViolationError` where the request is too large; other errors stand in the results."""
        growth = 0
        for item in command.topics:
            topic = self._cluster.image.topic(item.name)
            growth += max(0, item.total - len(topic.partitions)) if topic else 0
        self._check_size(len(command.topics), growth)
        draft = _Draft(self._cluster)
        repeated = _repeated([item.name for item in command.topics])
        results = []
        for item in command.topics:
            try:
                if item.name in repeated:
                    raise InvalidRequestError(f"the request names {item.name} twice")
                results.append(self._grow(item, draft))
            except KraftpyError as error:
                results.append(TopicResult(item.name, error))
        response = TopicResults(tuple(results))
        return Result(response) if command.validate_only else Result(response, draft.records)

    def _grow(self, item: NewPartitions, draft: "_Draft") -> TopicResult:
        topic = self._cluster.image.topic(item.name)
        if topic is None:
            raise UnknownTopicOrPartitionError(f"there is no topic {item.name}")
        count = _growth(topic, item.total)
        replication_factor = len(topic.partitions[0].target_replicas)
        if item.assignment:
            if len(item.assignment) != count:
                raise InvalidReplicaAssignmentError(
                    f"{item.total} partitions are {count} more than now; replicas are given for {len(item.assignment)}"
                )
            assignment = self._check_assignment(item.assignment, replication_factor)
        else:
            existing = [partition.replicas for partition in topic.partitions]
            assignment = place(draft.candidates(), count, replication_factor, self._random, existing)
        records = self._partition_records(topic.topic_id, len(topic.partitions), assignment)
        draft.accept(item.name, records, assignment)
        return TopicResult(item.name, None, topic.topic_id, item.total, replication_factor)

    # --- deletion ---

    def delete(self, command: DeleteTopics) -> Result[TopicResults]:
        if not self._cluster.config.delete_topic_enable:
            raise TopicDeletionDisabledError("delete.topic.enable is false: topics cannot be deleted")
        self._check_size(len(command.topics), 0)
        deleted: dict[UUID, TopicImage] = {}
        results = []
        for named in command.topics:
            topic = (
                self._cluster.image.topics.get(named) if isinstance(named, UUID) else self._cluster.image.topic(named)
            )
            if topic is None:
                results.append(TopicResult("" if isinstance(named, UUID) else named, _unknown(named)))
            elif topic.topic_id in deleted:
                results.append(TopicResult(topic.name, InvalidRequestError(f"the request names {topic.name} twice")))
            else:
                deleted[topic.topic_id] = topic
                results.append(TopicResult(topic.name, None, topic.topic_id))
        records = [RemoveTopicRecord(topic_id) for topic_id in deleted]
        facts = tuple(TopicDeleted(topic.name) for topic in deleted.values())
        return Result(TopicResults(tuple(results)), records, facts=facts)

    def _check_size(self, items: int, partitions: int) -> None:
        config = self._cluster.config
        if items > config.items_per_request_max:
            raise PolicyViolationError(f"a request may name {config.items_per_request_max} topics, not {items}")
        if partitions > config.partitions_per_request_max:
            raise PolicyViolationError(
                f"a request may create {config.partitions_per_request_max} partitions, not {partitions}"
            )


class _Draft:
    """What a request has been granted so far, which its later items must see."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.records: list[MetadataRecord] = []
        self.facts: list[Fact] = []
        self._leaders: dict[int, int] = {}
        self._replicas: dict[int, int] = {}
        self._forms: dict[str, str] = {}

    def candidates(self) -> list[Candidate]:
        index = self._cluster.index
        return [
            Candidate(
                broker_id,
                broker.registration.rack,
                broker.registration.host_label,
                broker.is_active,
                index.preferred_count(broker_id) + self._leaders.get(broker_id, 0),
                index.replica_count(broker_id) + self._replicas.get(broker_id, 0),
                is_cordoned(self._cluster.image, broker_id),
            )
            for broker_id, broker in sorted(self._cluster.image.brokers.items())
        ]

    def accept(self, name: str, records: Sequence[MetadataRecord], assignment: Sequence[Assignment]) -> None:
        self.records += records
        self._forms[collision_form(name)] = name
        for replicas in assignment:
            self._leaders[replicas[0]] = self._leaders.get(replicas[0], 0) + 1
            for broker_id in replicas:
                self._replicas[broker_id] = self._replicas.get(broker_id, 0) + 1

    def name_like(self, name: str) -> str | None:
        return self._forms.get(collision_form(name))


def _growth(topic: TopicImage, total: int) -> int:
    """How many partitions are to be added. Raises `InvalidPartitionsError` unless some are."""
    now = len(topic.partitions)
    if total == now:
        raise InvalidPartitionsError(f"topic {topic.name} has {now} partitions already")
    if total < now:
        raise InvalidPartitionsError(
            f"topic {topic.name} has {now} partitions, and {total} would be fewer: they can only be added, as the "
            f"records in them have nowhere to go; create a new topic with {max(total, 1)} and copy what you need"
        )
    return total - now


def _repeated(names: Sequence[str]) -> Mapping[str, None]:
    seen: dict[str, None] = {}
    twice: dict[str, None] = {}
    for name in names:
        (twice if name in seen else seen)[name] = None
    return twice


def _unknown(named: str | UUID) -> KraftpyError:
    if isinstance(named, UUID):
        return UnknownTopicIdError(f"there is no topic with the id {named}")
    return UnknownTopicOrPartitionError(f"there is no topic {named}")
