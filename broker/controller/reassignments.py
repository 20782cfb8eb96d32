"""Partitions move to other brokers, on demand (KIP-455): who may ask for what. The move itself is `reassignment`'s."""

from collections.abc import Sequence

from broker.controller.cluster import Cluster, TopicRules
from broker.controller.commands import (
    AlteredReassignment,
    AlterPartitionReassignments,
    Reassignment,
    ReassignmentsAltered,
)
from broker.controller.reassignment import cancel, reassign
from broker.controller.result import Fact, ReassignmentBegun, ReassignmentEnded, Result
from broker.metadata.features import METADATA_VERSION, REASSIGNMENTS
from broker.metadata.records import PartitionChangeRecord
from broker.metadata.state import PartitionKey, PartitionState
from kraftpy.errors import (
    InvalidReplicaAssignmentError,
    InvalidReplicationFactorError,
    InvalidRequestError,
    KraftpyError,
    UnknownTopicOrPartitionError,
    UnsupportedVersionError,
)


class Reassignments:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def alter(self, command: AlterPartitionReassignments) -> Result[ReassignmentsAltered]:
        """Other errors than these stand in the results.

        Raises `InvalidRequestError` where the request is too large, `UnsupportedVersionError` below the
        metadata.version that has words for it.
        """
        level = self._cluster.image.features.get(METADATA_VERSION, 0)
        if level < REASSIGNMENTS:
            raise UnsupportedVersionError(
                f"moving partitions needs {METADATA_VERSION}={REASSIGNMENTS}, and the cluster works with {level}: once "
                "every node runs the newer release, raise it (kraftpy cluster upgrade)"
            )
        limit = self._cluster.config.items_per_request_max
        if len(command.partitions) > limit:
            raise InvalidRequestError(f"a request may move {limit} partitions, not {len(command.partitions)}")
        records: list[PartitionChangeRecord] = []
        facts: list[Fact] = []
        results = []
        seen: dict[tuple[str, int], None] = {}
        rules = self._cluster.topic_rules()
        for item in command.partitions:
            try:
                if (item.topic, item.partition) in seen:
                    raise InvalidRequestError(f"the request names {item.topic}-{item.partition} twice")
                seen[item.topic, item.partition] = None
                record = self._alter(item, command.keep_replication_factor, rules)
                if record is not None:
                    records.append(record)
                    facts.append(self._fact(item, record))
                results.append(AlteredReassignment(item.topic, item.partition))
            except KraftpyError as error:
                results.append(AlteredReassignment(item.topic, item.partition, error))
        return Result(ReassignmentsAltered(tuple(results)), records, atomic=False, facts=tuple(facts))

    def _alter(
        self, item: Reassignment, keep_replication_factor: bool, rules: TopicRules
    ) -> PartitionChangeRecord | None:
        topic = self._cluster.image.topic(item.topic)
        if topic is None or not 0 <= item.partition < len(topic.partitions):
            raise UnknownTopicOrPartitionError(f"there is no partition {item.partition} of a topic {item.topic}")
        key = PartitionKey(topic.topic_id, item.partition)
        state = self._cluster.partition(key)
        can_serve = self._cluster.can_serve(key)
        if item.replicas is None:
            return cancel(key, state, can_serve, rules.of(topic.topic_id))
        if not item.replicas:
            raise InvalidReplicaAssignmentError("a partition needs at least one replica; none are given")
        self._cluster.check_target(item.replicas, present=state.replicas)
        if keep_replication_factor:
            _check_factor(item.replicas, state)
        return reassign(key, state, item.replicas, can_serve, rules.of(topic.topic_id))

    def _fact(self, item: Reassignment, record: PartitionChangeRecord) -> Fact:
        topic = self._cluster.image.topic(item.topic)
        assert topic is not None
        after = topic.partitions[item.partition].changed(record)
        if after.is_reassigning:
            return ReassignmentBegun(item.topic, item.partition, after.adding_replicas, after.removing_replicas)
        return ReassignmentEnded(item.topic, item.partition, after.replicas)


def _check_factor(target: Sequence[int], state: PartitionState) -> None:
    """KIP-860: a tool that only moves can be sure that nobody changed the factor meanwhile."""
    factor = len(state.original_replicas or state.replicas)
    if len(target) != factor:
        raise InvalidReplicationFactorError(
            f"{list(target)} would change the replication factor from {factor} to {len(target)}, and the request says "
            "that it stays"
        )
