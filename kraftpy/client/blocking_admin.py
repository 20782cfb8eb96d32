"""The blocking admin: `kraftpy.Admin`. Threads may share one."""

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from kraftpy.client.admin_calls import CALL_S
from kraftpy.client.admin_values import (
    ClusterDescription,
    ClusterHealth,
    ConfigEntry,
    ConfigResource,
    CreatedTopic,
    ElectionResult,
    FeatureChange,
    FeaturesDescription,
    LogDirDescription,
    NewTopic,
    NodeMetrics,
    PartitionReassignment,
    QuorumDescription,
    QuorumVoter,
    ReassignmentResult,
    TopicDescription,
    TopicListing,
)
from kraftpy.client.async_admin import Admin as AsyncAdmin
from kraftpy.client.balancing import PlannedMove, RebalancePlan
from kraftpy.client.config import AdminConfig
from kraftpy.client.group_values import GroupDescription, GroupListing
from kraftpy.client.keywords import AdminKeywords, with_bootstrap
from kraftpy.client.loop_thread import LoopThread, acquire, release
from kraftpy.client.replica_comparison import VerifiedPartition
from kraftpy.client.transaction_admin import (
    PartitionProducer,
    TransactionDescription,
    TransactionListing,
)
from kraftpy.client.values import OffsetAndMetadata, TopicPartition
from kraftpy.client.verifying import VERIFY_S, VerifyProgress
from kraftpy.errors import ClosedError
from kraftpy.runtime.ports import Clock, Transport

T = TypeVar("T")


class Admin:
    """Administers a cluster. Calls take `timeout` in seconds, at most 24 days, and raise Kafka's errors
    (`kraftpy.errors`).

    Settings are keyword arguments (`kraftpy.client.config.AdminConfig`). `kraftpy.aio.Admin` says more about each call.
    """

    def __init__(
        self,
        bootstrap: Any = None,
        *,
        _config: AdminConfig | None = None,
        _transport: Transport | None = None,
        _clock: Clock | None = None,
        _random: Random | None = None,
        **settings: Unpack[AdminKeywords],
    ) -> None:
        config = _config or AdminConfig.from_keywords(with_bootstrap(bootstrap, settings))
        self._admin = AsyncAdmin(_config=config, _transport=_transport, _clock=_clock, _random=_random)
        self._closing = threading.RLock()
        self._is_closing = False
        self._thread: LoopThread | None = acquire()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """An admin from Kafka's dotted names: `{"bootstrap.servers": "a:9093"}`."""
        return cls(_config=AdminConfig.from_dotted(config))

    def create_topic(
        self,
        name: str,
        *,
        partitions: int | None = None,
        replication_factor: int | None = None,
        config: Mapping[str, str] | None = None,
        assignment: Mapping[int, Sequence[int]] | None = None,
        validate_only: bool = False,
        timeout: float = CALL_S,
    ) -> CreatedTopic:
        """Create one topic. None takes the cluster's default.

        Raises `TopicAlreadyExistsError`, `InvalidTopicError`, `InvalidPartitionsError`,
        `InvalidReplicationFactorError`, `InvalidReplicaAssignmentError`, `InvalidConfigError`.
        """
        return self._run(
            lambda: self._admin.create_topic(
                name,
                partitions=partitions,
                replication_factor=replication_factor,
                config=config,
                assignment=assignment,
                validate_only=validate_only,
                timeout=timeout,
            )
        )

    def create_topics(
        self, topics: Iterable[NewTopic], *, validate_only: bool = False, timeout: float = CALL_S
    ) -> list[CreatedTopic]:
        """Create topics, each on its own: the first that is refused is raised after all have been tried."""
        return self._run(lambda: self._admin.create_topics(topics, validate_only=validate_only, timeout=timeout))

    def delete_topic(self, name: str, *, timeout: float = CALL_S) -> None:
        """Delete one topic. Raises `UnknownTopicOrPartitionError`, `TopicDeletionDisabledError`."""
        self._run(lambda: self._admin.delete_topic(name, timeout=timeout))

    def delete_topics(self, names: str | Iterable[str], *, timeout: float = CALL_S) -> None:
        """Delete topics, each on its own: the first that is refused is raised after all have been tried."""
        self._run(lambda: self._admin.delete_topics(names, timeout=timeout))

    def create_partitions(
        self,
        name: str,
        total: int,
        *,
        assignment: Mapping[int, Sequence[int]] | None = None,
        validate_only: bool = False,
        timeout: float = CALL_S,
    ) -> None:
        """Raise a topic's number of partitions to `total`. Raises `InvalidPartitionsError`: it never goes down."""
        self._run(
            lambda: self._admin.create_partitions(
                name, total, assignment=assignment, validate_only=validate_only, timeout=timeout
            )
        )

    def list_topics(self, *, include_internal: bool = False, timeout: float = CALL_S) -> list[TopicListing]:
        """All topics, sorted by name."""
        return self._run(lambda: self._admin.list_topics(include_internal=include_internal, timeout=timeout))

    def describe_topic(self, name: str, *, timeout: float = CALL_S) -> TopicDescription:
        """One topic. Raises `UnknownTopicOrPartitionError`."""
        return self._run(lambda: self._admin.describe_topic(name, timeout=timeout))

    def describe_topics(
        self, names: str | Iterable[str] | None = None, *, timeout: float = CALL_S
    ) -> list[TopicDescription]:
        """These topics in this order, or all of them sorted by name. Raises `UnknownTopicOrPartitionError`."""
        return self._run(lambda: self._admin.describe_topics(names, timeout=timeout))

    def delete_records(
        self, before: Mapping[tuple[str, int], int], *, timeout: float = CALL_S
    ) -> dict[TopicPartition, int]:
        """Delete what lies before an offset (-1: everything acknowledged), by partition; the new first offsets."""
        return self._run(lambda: self._admin.delete_records(before, timeout=timeout))

    def describe_configs(
        self, resources: Iterable[ConfigResource], *, timeout: float = CALL_S
    ) -> dict[ConfigResource, dict[str, ConfigEntry]]:
        """The settings of topics and brokers with their sources, by name."""
        return self._run(lambda: self._admin.describe_configs(resources, timeout=timeout))

    def alter_configs(
        self,
        changes: Mapping[ConfigResource, Mapping[str, str | None]],
        *,
        validate_only: bool = False,
        timeout: float = CALL_S,
    ) -> tuple[str, ...]:
        """Set settings, or unset those whose value is None; others stay as they are. Gives warnings, if any."""
        return self._run(lambda: self._admin.alter_configs(changes, validate_only=validate_only, timeout=timeout))

    def elect_leaders(
        self, partitions: Iterable[tuple[str, int]] | None = None, *, unclean: bool = False, timeout: float = CALL_S
    ) -> list[ElectionResult]:
        """Elect preferred leaders, or any living replica where `unclean` (which may lose records); None: everywhere."""
        return self._run(lambda: self._admin.elect_leaders(partitions, unclean=unclean, timeout=timeout))

    def describe_cluster(self, *, include_fenced: bool = True, timeout: float = CALL_S) -> ClusterDescription:
        """The brokers, the controller and the finalized features."""
        return self._run(lambda: self._admin.describe_cluster(include_fenced=include_fenced, timeout=timeout))

    def describe_log_dirs(
        self, brokers: Iterable[int] | None = None, *, topics: str | Iterable[str] = (), timeout: float = CALL_S
    ) -> list[LogDirDescription]:
        """The log directories of these brokers (None: all in service), with the replicas of `topics` (none: all)."""
        return self._run(lambda: self._admin.describe_log_dirs(brokers, topics=topics, timeout=timeout))

    def alter_replica_log_dirs(self, moves: Mapping[tuple[str, int, int], str], *, timeout: float = CALL_S) -> None:
        """Begin to move replicas, by (topic, partition, broker), to another log directory of their broker (KIP-113)."""
        self._run(lambda: self._admin.alter_replica_log_dirs(moves, timeout=timeout))

    def verify_topic(
        self,
        topic: str,
        partitions: Iterable[int] | None = None,
        *,
        progress: Callable[[VerifyProgress], None] | None = None,
        timeout: float = VERIFY_S,
    ) -> list[VerifiedPartition]:
        """Compare all replicas of these partitions (None: all) by checksums; `progress` is called on another thread."""
        return self._run(lambda: self._admin.verify_topic(topic, partitions, progress=progress, timeout=timeout))

    def describe_quorum(self, *, timeout: float = CALL_S) -> QuorumDescription:
        """The metadata quorum: leader, epoch, high watermark, voters and observers."""
        return self._run(lambda: self._admin.describe_quorum(timeout=timeout))

    def transfer_quorum_leadership(self, to: int | None = None, *, timeout: float = CALL_S) -> None:
        """Hand the quorum's leadership to voter `to`, or to the one that is furthest."""
        self._run(lambda: self._admin.transfer_quorum_leadership(to, timeout=timeout))

    def alter_partition_reassignments(
        self,
        reassignments: Mapping[tuple[str, int], Sequence[int] | None],
        *,
        allow_replication_factor_change: bool = True,
        timeout: float = CALL_S,
    ) -> list[ReassignmentResult]:
        """Begin to move partitions to these brokers, the preferred leader first; None cancels a move (KIP-455)."""
        return self._run(
            lambda: self._admin.alter_partition_reassignments(
                reassignments, allow_replication_factor_change=allow_replication_factor_change, timeout=timeout
            )
        )

    def list_partition_reassignments(
        self, partitions: Iterable[tuple[str, int]] | None = None, *, timeout: float = CALL_S
    ) -> list[PartitionReassignment]:
        """The moves that are under way, of these partitions or all, with their progress."""
        return self._run(lambda: self._admin.list_partition_reassignments(partitions, timeout=timeout))

    def plan_rebalance(self, *, empty: Collection[int] = (), timeout: float = CALL_S) -> RebalancePlan:
        """The fewest moves that make brokers even, and leave nothing on those in `empty`. Nothing is changed."""
        return self._run(lambda: self._admin.plan_rebalance(empty=empty, timeout=timeout))

    def throttle_replication(
        self, moves: Iterable[PlannedMove], bytes_per_second: int, *, timeout: float = CALL_S
    ) -> None:
        """Let these moves copy no faster than this from a leader, and to a follower (KIP-73)."""
        self._run(lambda: self._admin.throttle_replication(moves, bytes_per_second, timeout=timeout))

    def unthrottle_replication(self, *, timeout: float = CALL_S) -> None:
        """Remove every throttle of replication, of all brokers and topics."""
        self._run(lambda: self._admin.unthrottle_replication(timeout=timeout))

    def unregister_broker(self, node_id: int, *, timeout: float = CALL_S) -> None:
        """Forget a broker that has been stopped and will not come back."""
        self._run(lambda: self._admin.unregister_broker(node_id, timeout=timeout))

    def add_raft_voter(
        self,
        node_id: int,
        *,
        directory_id: str | None = None,
        timeout: float = CALL_S,
        progress: Callable[[str], None] | None = None,
    ) -> tuple[QuorumVoter, ...]:
        """Make an observer a voter of the quorum once it has caught up (KIP-853); the voters afterwards.

        `progress` is called on another thread.
        """
        return self._run(
            lambda: self._admin.add_raft_voter(node_id, directory_id=directory_id, timeout=timeout, progress=progress)
        )

    def remove_raft_voter(
        self, node_id: int, *, directory_id: str | None = None, force: bool = False, timeout: float = CALL_S
    ) -> tuple[QuorumVoter, ...]:
        """Take a voter out of the quorum; it goes on as an observer. The voters afterwards."""
        return self._run(
            lambda: self._admin.remove_raft_voter(node_id, directory_id=directory_id, force=force, timeout=timeout)
        )

    def list_groups(
        self, *, states: str | Iterable[str] = (), types: str | Iterable[str] = (), timeout: float = CALL_S
    ) -> list[GroupListing]:
        """All groups of all coordinators, or those in these states (Stable, Empty …) and of these types."""
        return self._run(lambda: self._admin.list_groups(states=states, types=types, timeout=timeout))

    def describe_group(self, group_id: str, *, timeout: float = CALL_S) -> GroupDescription:
        """One group with its members. Raises `GroupIdNotFoundError`."""
        return self._run(lambda: self._admin.describe_group(group_id, timeout=timeout))

    def delete_groups(self, group_ids: str | Iterable[str], *, timeout: float = CALL_S) -> None:
        """Delete groups with all their offsets, each on its own: the first that is refused is raised after all.

        Raises `NonEmptyGroupError`, `GroupIdNotFoundError`.
        """
        self._run(lambda: self._admin.delete_groups(group_ids, timeout=timeout))

    def list_group_offsets(
        self, group_id: str, partitions: Iterable[tuple[str, int]] | None = None, *, timeout: float = CALL_S
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        """What a group has committed, of these partitions or of all."""
        return self._run(lambda: self._admin.list_group_offsets(group_id, partitions, timeout=timeout))

    def alter_group_offsets(
        self,
        group_id: str,
        offsets: Mapping[tuple[str, int], OffsetAndMetadata | int],
        *,
        timeout: float = CALL_S,
    ) -> None:
        """Set a group's offsets. Raises `UnknownMemberIdError` while it has members."""
        self._run(lambda: self._admin.alter_group_offsets(group_id, offsets, timeout=timeout))

    def delete_group_offsets(
        self, group_id: str, partitions: Iterable[tuple[str, int]], *, timeout: float = CALL_S
    ) -> None:
        """Forget a group's offsets. Raises `GroupSubscribedToTopicError`, `GroupIdNotFoundError`."""
        self._run(lambda: self._admin.delete_group_offsets(group_id, partitions, timeout=timeout))

    # --- transactions

    def list_transactions(
        self,
        *,
        states: str | Iterable[str] = (),
        producer_ids: Iterable[int] = (),
        running_ms_min: int = 0,
        timeout: float = CALL_S,
    ) -> list[TransactionListing]:
        """The transactional ids of all coordinators, or those in these states, or open for so long at least."""
        return self._run(
            lambda: self._admin.list_transactions(
                states=states, producer_ids=producer_ids, running_ms_min=running_ms_min, timeout=timeout
            )
        )

    def describe_transaction(self, transactional_id: str, *, timeout: float = CALL_S) -> TransactionDescription:
        """One transactional id. Raises `TransactionalIdNotFoundError`."""
        return self._run(lambda: self._admin.describe_transaction(transactional_id, timeout=timeout))

    def describe_producers(self, partition: tuple[str, int], *, timeout: float = CALL_S) -> list[PartitionProducer]:
        """The producers that a partition's leader remembers."""
        return self._run(lambda: self._admin.describe_producers(partition, timeout=timeout))

    def fence_producer(self, transactional_id: str, *, timeout: float = CALL_S) -> None:
        """Abort what a transactional id has open, and fence whoever wrote it."""
        self._run(lambda: self._admin.fence_producer(transactional_id, timeout=timeout))

    def abort_transaction(self, partition: tuple[str, int], start_offset: int, *, timeout: float = CALL_S) -> None:
        """Abort, in one partition, a transaction that nobody ends any more, by where it begins (KIP-664).

        Raises `InvalidTxnStateError` where none that is open begins there.
        """
        self._run(lambda: self._admin.abort_transaction(partition, start_offset, timeout=timeout))

    # --- features

    def describe_features(self, *, timeout: float = CALL_S) -> FeaturesDescription:
        """The finalized levels of features, and what every node supports."""
        return self._run(lambda: self._admin.describe_features(timeout=timeout))

    def update_features(
        self,
        levels: Mapping[str, int] | None = None,
        *,
        release: str = "",
        validate_only: bool = False,
        timeout: float = CALL_S,
    ) -> tuple[FeatureChange, ...]:
        """Raise finalized levels, all or nothing: those given, a release's, or (None) each as far as all support it."""
        return self._run(
            lambda: self._admin.update_features(levels, release=release, validate_only=validate_only, timeout=timeout)
        )

    def describe_metrics(self, brokers: Iterable[int] | None = None, *, timeout: float = CALL_S) -> list[NodeMetrics]:
        """What these brokers (None: all in service) tell of themselves, in numbers."""
        return self._run(lambda: self._admin.describe_metrics(brokers, timeout=timeout))

    def cluster_health(self, *, ask_nodes: bool = True, timeout: float = CALL_S) -> ClusterHealth:
        """Brokers out of service, partitions without a leader or short of replicas, and what nodes complain of."""
        return self._run(lambda: self._admin.cluster_health(ask_nodes=ask_nodes, timeout=timeout))

    def close(self) -> None:
        """End. May be repeated."""
        thread = self._thread
        if thread is None:
            return
        thread.check()  # first, as in the producer
        with self._closing:
            if self._thread is None or self._is_closing:  # a handler of a signal closes what its thread is closing
                return
            self._is_closing = True
            try:
                thread.run(self._end)
            finally:
                self._thread = None
                release(thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _end(self) -> None:
        await asyncio.shield(self._admin.close())  # Ctrl-C ends the wait for it, and no more

    def _run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        thread = self._thread
        if thread is None:
            raise ClosedError("the admin is closed")
        return thread.run(work)
