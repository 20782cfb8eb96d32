"""The part of the asyncio admin that moves partitions: reassignments (KIP-455), their throttle (KIP-73), plans."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from kraftpy.client.admin_calls import CALL_S, outcome
from kraftpy.client.admin_topics import AdminTopics
from kraftpy.client.admin_values import (
    ConfigResource,
    PartitionReassignment,
    ReassignmentResult,
    ReplicaProgress,
)
from kraftpy.client.balancing import PlannedMove, RebalancePlan, plan_rebalance
from kraftpy.client.wire_numbers import milliseconds, wire_numbers
from kraftpy.errors import BrokerIdNotRegisteredError, NoReassignmentInProgressError, UnknownTopicOrPartitionError
from kraftpy.pb import admin_pb2

if TYPE_CHECKING:
    from kraftpy.client.admin_values import ClusterDescription

LEADER_RATE = "leader.replication.throttled.rate"
FOLLOWER_RATE = "follower.replication.throttled.rate"
LEADER_REPLICAS = "leader.replication.throttled.replicas"
FOLLOWER_REPLICAS = "follower.replication.throttled.replicas"


class AdminMoves(AdminTopics):
    """The calls of `kraftpy.aio.Admin` about where partitions lie."""

    if TYPE_CHECKING:

        async def describe_cluster(
            self, *, include_fenced: bool = True, timeout: float = CALL_S
        ) -> ClusterDescription: ...

    async def alter_partition_reassignments(
        self,
        reassignments: Mapping[tuple[str, int], Sequence[int] | None],
        *,
        allow_replication_factor_change: bool = True,
        timeout: float = CALL_S,
    ) -> list[ReassignmentResult]:
        """Begin to move partitions to these brokers, the preferred leader first; None cancels a move (KIP-455).

        Returns once the moves have begun; `list_partition_reassignments` tells how far they are. Results stand in the
        order of the request: UNKNOWN_TOPIC_OR_PARTITION, INVALID_REPLICA_ASSIGNMENT, NO_REASSIGNMENT_IN_PROGRESS,
        INVALID_REPLICATION_FACTOR (where it would change and must not, KIP-860). Where the answer to a cancellation was
        lost and nothing moves any more, it counts as done: a move that was completed meanwhile looks the same.
        """
        request = admin_pb2.AlterPartitionReassignmentsRequest(
            keep_replication_factor=not allow_replication_factor_change, timeout_ms=milliseconds(timeout)
        )
        with wire_numbers():
            for (topic, partition), replicas in reassignments.items():
                request.partitions.add(
                    topic=topic,
                    partition=partition,
                    cancel=replicas is None,
                    replicas=() if replicas is None else replicas,
                )
        answer_type = admin_pb2.AlterPartitionReassignmentsResponse
        answer, uncertain = await self._ask_uncertain("AlterPartitionReassignments", request, answer_type, timeout)
        results = []
        for part in answer.partitions:
            cancelled = uncertain and reassignments.get((part.topic, part.partition), ()) is None
            error = outcome(part, forgiven=NoReassignmentInProgressError if cancelled else None)
            results.append(ReassignmentResult(part.topic, part.partition, *error))
        return results

    async def list_partition_reassignments(
        self, partitions: Iterable[tuple[str, int]] | None = None, *, timeout: float = CALL_S
    ) -> list[PartitionReassignment]:
        """The moves that are under way, of these partitions or all, with what their leaders know of their progress.

        Raises `UnknownTopicOrPartitionError`.
        """
        named = None if partitions is None else list(partitions)
        if named is not None and not named:
            return []
        request = admin_pb2.ListPartitionReassignmentsRequest()
        with wire_numbers():
            for topic, partition in named or ():
                request.partitions.add(topic=topic, partition=partition)
        answer_type = admin_pb2.ListPartitionReassignmentsResponse
        answer = await self._ask("ListPartitionReassignments", request, answer_type, timeout)
        return [_listed(part) for part in answer.partitions]

    async def plan_rebalance(self, *, empty: Collection[int] = (), timeout: float = CALL_S) -> RebalancePlan:
        """The fewest moves that make brokers even in replicas and leaderships, and leave nothing on those in `empty`.

        Nothing is changed. Raises `InvalidReplicationFactorError` where too few brokers would be left, and
        `BrokerIdNotRegisteredError` for one to be emptied that neither is registered nor has a replica.
        """
        cluster = await self.describe_cluster(timeout=timeout)
        topics = await self.describe_topics(timeout=timeout)
        known = {broker.node_id for broker in cluster.brokers}
        known.update(node_id for topic in topics for each in topic.partitions for node_id in each.replicas)
        for node_id in empty:
            if node_id not in known:
                raise BrokerIdNotRegisteredError(f"broker {node_id} is not registered")
        return plan_rebalance(cluster.brokers, topics, empty)

    async def throttle_replication(
        self, moves: Iterable[PlannedMove], bytes_per_second: int, *, timeout: float = CALL_S
    ) -> None:
        """Let these moves copy no faster than this from a leader, and to a follower (KIP-73).

        Sets the rates on every broker and adds to the topics' lists of throttled replicas; `unthrottle_replication`
        takes all of it away again. Topics that are not there are passed over. Raises `InvalidConfigError`.
        """
        rate = str(bytes_per_second)
        lists: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
        for move in moves:
            leaders, followers = lists.setdefault(move.topic, ({}, {}))
            leaders.update(dict.fromkeys(f"{move.partition}:{node_id}" for node_id in move.before))
            followers.update(dict.fromkeys(f"{move.partition}:{node_id}" for node_id in move.adding))
        resources = [ConfigResource.topic(topic) for topic in lists]
        present = await self._configs(resources, timeout, gone=_GONE) if resources else {}
        changes: dict[ConfigResource, dict[str, str | None]] = {}
        for resource, entries in present.items():
            changes[resource] = {
                name: _merged(entries[name].value, wanted)
                for name, wanted in zip((LEADER_REPLICAS, FOLLOWER_REPLICAS), lists[resource.name], strict=True)
            }
        for broker in (await self.describe_cluster(timeout=timeout)).brokers:
            changes[ConfigResource.broker(broker.node_id)] = {LEADER_RATE: rate, FOLLOWER_RATE: rate}
        await self._alter_configs(changes, timeout, gone=_GONE)

    async def unthrottle_replication(self, *, timeout: float = CALL_S) -> None:
        """Remove every throttle of replication, of all brokers and topics."""
        changes: dict[ConfigResource, dict[str, str | None]] = {ConfigResource.broker(): _UNSET_RATES}
        for broker in (await self.describe_cluster(timeout=timeout)).brokers:
            changes[ConfigResource.broker(broker.node_id)] = _UNSET_RATES
        for topic in await self.describe_topics(timeout=timeout):
            changes[ConfigResource.topic(topic.name)] = {LEADER_REPLICAS: None, FOLLOWER_REPLICAS: None}
        await self._alter_configs(changes, timeout, gone=_GONE)

    async def unregister_broker(self, node_id: int, *, timeout: float = CALL_S) -> None:
        """Forget a broker that has been stopped and will not come back.

        Raises `BrokerIdNotRegisteredError`, `InvalidRequestError` (it is in service).
        """
        timeout_ms = milliseconds(timeout)
        with wire_numbers():
            request = admin_pb2.UnregisterBrokerRequest(broker_id=node_id, timeout_ms=timeout_ms)
        answer_type = admin_pb2.UnregisterBrokerResponse
        await self._ask("UnregisterBroker", request, answer_type, timeout, done_already=BrokerIdNotRegisteredError)


_GONE = (UnknownTopicOrPartitionError, BrokerIdNotRegisteredError)
"""How what was described a moment ago is refused where it is not there any more."""

_UNSET_RATES: dict[str, str | None] = {LEADER_RATE: None, FOLLOWER_RATE: None}


def _merged(present: str | None, wanted: Iterable[str]) -> str:
    listed = [each.strip() for each in (present or "").split(",") if each.strip()]
    return "*" if "*" in listed else ",".join(dict.fromkeys([*listed, *wanted]))


def _listed(part: admin_pb2.OngoingReassignment) -> PartitionReassignment:
    return PartitionReassignment(
        part.topic,
        part.partition,
        part.leader,
        tuple(part.replicas),
        tuple(part.adding_replicas),
        tuple(part.removing_replicas),
        tuple(part.original_replicas),
        tuple(part.isr),
        tuple(
            ReplicaProgress(
                each.broker_id,
                each.end_offset if each.end_offset >= 0 else None,
                each.offset_lag,
                each.bytes_lag,
                each.in_sync,
            )
            for each in part.progress
        ),
    )
