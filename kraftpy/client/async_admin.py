"""The asyncio admin: `kraftpy.aio.Admin`.

Any node may be asked; one that is unreachable, or that knows no controller at the moment, is passed over until
`timeout` seconds are spent. A change whose answer was lost, or whose controller died with it, is asked for again; that
it then finds its work done counts as success.
"""

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from kraftpy.client.admin_calls import CALL_S, NOT_JOINED, outcome, raise_for
from kraftpy.client.admin_moves import AdminMoves
from kraftpy.client.admin_values import (
    ClusterDescription,
    ClusterHealth,
    ConfigResource,
    ElectionResult,
    FeatureChange,
    FeaturesDescription,
    LogDirDescription,
    NodeDescription,
    NodeMetrics,
    QuorumDescription,
    QuorumReplica,
    QuorumVoter,
)
from kraftpy.client.any_node import Deadline
from kraftpy.client.group.offsets import offsets_of
from kraftpy.client.group_admin import GroupAdmin
from kraftpy.client.group_values import GroupDescription, GroupListing
from kraftpy.client.health import cluster_health
from kraftpy.client.log_dirs import alter_replica_log_dirs, describe_log_dirs
from kraftpy.client.metrics import describe_metrics
from kraftpy.client.quorum_admin import QuorumAdmin
from kraftpy.client.replica_comparison import VerifiedPartition
from kraftpy.client.transaction_admin import (
    PartitionProducer,
    TransactionAdmin,
    TransactionDescription,
    TransactionListing,
)
from kraftpy.client.values import OffsetAndMetadata, TopicPartition, names_of
from kraftpy.client.verifying import VERIFY_S, Verifying, VerifyProgress
from kraftpy.client.wire_numbers import milliseconds, wire_numbers
from kraftpy.errors import (
    BrokerNotAvailableError,
    CallTimeoutError,
    ElectionNotNeededError,
    KraftpyError,
    LeaderNotAvailableError,
    NoBrokersAvailableError,
    UnknownTopicOrPartitionError,
)
from kraftpy.pb import admin_pb2
from kraftpy.shown_ids import shown_id


class Admin(AdminMoves):
    """Administers a cluster. Belongs to the event loop on which it is first used. Calls take `timeout` in seconds, at
    most 24 days, and raise Kafka's errors (`kraftpy.errors`).

    Settings are keyword arguments (`kraftpy.client.config.AdminConfig`). Topics are in `admin_topics`, their moves
    in `admin_moves`, how calls are made in `admin_calls`; here is the rest.
    """

    # --- cluster

    async def elect_leaders(
        self,
        partitions: Iterable[tuple[str, int]] | None = None,
        *,
        unclean: bool = False,
        timeout: float = CALL_S,
    ) -> list[ElectionResult]:
        """Elect preferred leaders, or any living replica where `unclean` (which may lose records); None: everywhere.

        Results may be ELECTION_NOT_NEEDED, PREFERRED_LEADER_NOT_AVAILABLE, ELIGIBLE_LEADERS_NOT_AVAILABLE. One that is
        not needed any more after an answer was lost counts as done.
        """
        named = None if partitions is None else list(partitions)
        if named is not None and not named:
            return []
        request = admin_pb2.ElectLeadersRequest(unclean=unclean, timeout_ms=milliseconds(timeout))
        with wire_numbers():
            for topic, partition in named or ():
                request.partitions.add(topic=topic, partition=partition)
        answer, uncertain = await self._ask_uncertain("ElectLeaders", request, admin_pb2.ElectLeadersResponse, timeout)
        forgiven = ElectionNotNeededError if uncertain else None
        return [ElectionResult(part.topic, part.partition, *outcome(part, forgiven)) for part in answer.partitions]

    async def describe_cluster(self, *, include_fenced: bool = True, timeout: float = CALL_S) -> ClusterDescription:
        """The brokers, the controller and the finalized features."""
        request = admin_pb2.DescribeClusterRequest(include_fenced=include_fenced)
        answer = await self._ask("DescribeCluster", request, admin_pb2.DescribeClusterResponse, timeout)
        brokers = tuple(
            NodeDescription(
                broker.id,
                broker.host,
                broker.port,
                broker.rack if broker.HasField("rack") else None,
                broker.fenced,
                broker.listener_host,
                broker.listener_port,
                broker.host_label,
                broker.cordoned,
            )
            for broker in sorted(answer.brokers, key=lambda broker: broker.id)
        )
        features = dict(sorted(answer.features.items()))
        return ClusterDescription(answer.cluster_id, answer.controller_id, brokers, features, answer.metadata_offset)

    async def describe_log_dirs(
        self, brokers: Iterable[int] | None = None, *, topics: str | Iterable[str] = (), timeout: float = CALL_S
    ) -> list[LogDirDescription]:
        """The log directories of these brokers (None: of all in service), with the replicas of `topics` (none: of all).

        Raises `BrokerNotAvailableError` for a broker that is not registered, and where one does not answer.
        """
        deadline = Deadline(self._world_ports(), timeout)
        asked = await self._registered(brokers, deadline)
        answers = await describe_log_dirs(self._world_ports(), asked, names_of(topics), deadline)
        described: list[LogDirDescription] = []
        for broker_id, answer in answers.items():
            if isinstance(answer, KraftpyError):
                raise type(answer)(f"broker {broker_id}: {answer.message}")
            described += answer
        return described

    async def alter_replica_log_dirs(
        self, moves: Mapping[tuple[str, int, int], str], *, timeout: float = CALL_S
    ) -> None:
        """Begin to move replicas, by (topic, partition, broker), to another log directory of their broker (KIP-113).

        Where a replica is there already, a move of it that is under way is cancelled. `describe_log_dirs` shows how far
        moves are. Raises `LogDirNotFoundError`, `ReplicaNotAvailableError`, `KafkaStorageError`,
        `BrokerNotAvailableError`.
        """
        deadline = Deadline(self._world_ports(), timeout)
        cluster = await self._joined_cluster(deadline)
        await alter_replica_log_dirs(self._world_ports(), cluster.brokers, moves, deadline)

    async def verify_topic(
        self,
        topic: str,
        partitions: Iterable[int] | None = None,
        *,
        progress: Callable[[VerifyProgress], None] | None = None,
        timeout: float = VERIFY_S,
    ) -> list[VerifiedPartition]:
        """Compare all replicas of these partitions (None: of all) by checksums of what is committed.

        Every broker reads its own replica, in a process of its own at the lowest priority; `progress` is told how far
        that is. What has been compacted is compared record by record, as far as two replicas both keep it. Raises
        `UnknownTopicOrPartitionError`; a replica that does not answer is named in `VerifiedPartition.unreachable`.
        """
        deadline = Deadline(self._world_ports(), timeout)
        described = (await self.describe_topics([topic], timeout=min(deadline.left_s, CALL_S)))[0]
        wanted = range(len(described.partitions)) if partitions is None else sorted(set(partitions))
        for number in wanted:
            if not 0 <= number < len(described.partitions):
                raise UnknownTopicOrPartitionError(f"topic {topic} has no partition {number}")
        cluster = await self.describe_cluster(timeout=deadline.left_s)
        verifying = Verifying(self._world_ports(), cluster.brokers, deadline, progress)
        return [await verifying.verify(topic, number, described.partitions[number].replicas) for number in wanted]

    async def describe_quorum(self, *, timeout: float = CALL_S) -> QuorumDescription:
        """The metadata quorum: leader, epoch, high watermark, voters and observers."""
        answer = await self._ask(
            "DescribeQuorum", admin_pb2.DescribeQuorumRequest(), admin_pb2.DescribeQuorumResponse, timeout
        )
        return QuorumDescription(
            answer.leader_id,
            answer.leader_epoch,
            answer.high_watermark,
            tuple(_quorum_replica(replica) for replica in answer.voters),
            tuple(_quorum_replica(replica) for replica in answer.observers),
        )

    async def transfer_quorum_leadership(self, to: int | None = None, *, timeout: float = CALL_S) -> None:
        """Hand the quorum's leadership to voter `to`, or to the one that is furthest."""
        with wire_numbers():
            request = admin_pb2.TransferQuorumLeadershipRequest(to=-1 if to is None else to)
        answer_type = admin_pb2.TransferQuorumLeadershipResponse
        answer = await self._ask("TransferQuorumLeadership", request, answer_type, timeout)
        raise_for(answer.error, answer.error_message, "")

    async def add_raft_voter(
        self,
        node_id: int,
        *,
        directory_id: str | None = None,
        timeout: float = CALL_S,
        progress: Callable[[str], None] | None = None,
    ) -> tuple[QuorumVoter, ...]:
        """Make an observer a voter of the quorum once it has caught up (KIP-853); the voters afterwards.

        `directory_id` names its disk; None: whichever it fetches from. `progress` is told now and then what is waited
        for. Raises `DuplicateVoterError`, `InvalidVoterKeyError`, `InvalidRequestError` (a broker only),
        `RequestTimedOutError` (it is not there, or not caught up; or another change is under way).
        """
        return await self._quorum_admin().add_voter(node_id, directory_id, timeout, progress)

    async def remove_raft_voter(
        self, node_id: int, *, directory_id: str | None = None, force: bool = False, timeout: float = CALL_S
    ) -> tuple[QuorumVoter, ...]:
        """Take a voter out of the quorum; it goes on as an observer. The voters afterwards.

        Raises `VoterNotFoundError`, and `InvalidRequestError` where those left are no living majority (unless `force`).
        """
        return await self._quorum_admin().remove_voter(node_id, directory_id, force, timeout)

    async def describe_features(self, *, timeout: float = CALL_S) -> FeaturesDescription:
        """The finalized levels of features, and what every node supports."""
        return await self._quorum_admin().describe_features(timeout)

    async def update_features(
        self,
        levels: Mapping[str, int] | None = None,
        *,
        release: str = "",
        validate_only: bool = False,
        timeout: float = CALL_S,
    ) -> tuple[FeatureChange, ...]:
        """Raise finalized levels, all or nothing: those given, a release's, or (None) each as far as all support it.

        Gives what changed, or would change. Raises `InvalidUpdateVersionError` (a node does not support a level, or it
        would go back), `FeatureUpdateFailedError` (a voter is silent).
        """
        if levels is not None and not levels and not release:
            return ()
        return await self._quorum_admin().update_features(levels or {}, release, validate_only, timeout)

    async def describe_metrics(
        self, brokers: Iterable[int] | None = None, *, timeout: float = CALL_S
    ) -> list[NodeMetrics]:
        """What these brokers (None: all in service) tell of themselves, in numbers.

        Raises `BrokerNotAvailableError` for a broker that is not registered, and where one does not answer.
        """
        deadline = Deadline(self._world_ports(), timeout)
        asked = await self._registered(brokers, deadline)
        answers = await describe_metrics(self._world_ports(), asked, deadline)
        described = []
        for broker_id, answer in answers.items():
            if isinstance(answer, KraftpyError):
                raise type(answer)(f"broker {broker_id}: {answer.message}")
            described.append(answer)
        return described

    async def cluster_health(self, *, ask_nodes: bool = True, timeout: float = CALL_S) -> ClusterHealth:
        """Brokers out of service, partitions without a leader or short of replicas, in one look.

        `ask_nodes`: every node in service is asked, too, what is wrong with it that nobody else can see; one that does
        not answer is passed over.
        """
        deadline = Deadline(self._world_ports(), timeout)
        cluster = await self.describe_cluster(timeout=deadline.left_s)
        try:
            topics = await self.describe_topics(timeout=deadline.left_s)
        except LeaderNotAvailableError as error:  # nobody who answers knows the cluster as it is now
            return cluster_health(cluster, (), {}, [error.message])
        resources = [ConfigResource.topic(topic.name) for topic in topics]
        configs = (
            await self._configs(resources, deadline.left_s, gone=UnknownTopicOrPartitionError) if resources else {}
        )
        topics = [topic for topic in topics if ConfigResource.topic(topic.name) in configs]  # else deleted meanwhile
        min_isr = {
            resource.name: int(entries["min.insync.replicas"].value or 1)
            for resource, entries in configs.items()
            if "min.insync.replicas" in entries
        }
        told: list[str] = []
        if ask_nodes:
            in_service = [node for node in cluster.brokers if not node.fenced]
            answers = await describe_metrics(self._world_ports(), in_service, deadline)
            told = [
                f"broker {broker_id}: {problem}"
                for broker_id, answer in answers.items()
                if not isinstance(answer, KraftpyError)
                for problem in answer.problems
            ]
        return cluster_health(cluster, topics, min_isr, told)

    async def close(self) -> None:
        """End. May be repeated."""
        self._home.check()
        self._closed = True
        metadata, self._metadata = self._metadata, None
        groups, self._groups = self._groups, None
        transactions, self._transactions = self._transactions, None
        if groups is not None:
            await groups.close()
        if transactions is not None:
            await transactions.close()
        ports, self._ports = self._ports, None
        if metadata is not None:
            await metadata.close()
        if ports is not None and self._owns_transport:
            await ports.transport.close()

    async def __aenter__(self) -> Self:
        self._world_ports()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- groups

    async def list_groups(
        self, *, states: str | Iterable[str] = (), types: str | Iterable[str] = (), timeout: float = CALL_S
    ) -> list[GroupListing]:
        """All groups of all coordinators, or those in these states (Stable, Empty …) and of these types."""
        deadline = Deadline(self._world_ports(), timeout)
        return await self._group_admin().list_groups(names_of(states), names_of(types), deadline)

    async def describe_group(self, group_id: str, *, timeout: float = CALL_S) -> GroupDescription:
        """One group with its members. Raises `GroupIdNotFoundError`."""
        return await self._group_admin().describe_group(group_id, Deadline(self._world_ports(), timeout))

    async def delete_groups(self, group_ids: str | Iterable[str], *, timeout: float = CALL_S) -> None:
        """Delete groups with all their offsets, each on its own: the first that is refused is raised after all.

        Raises `NonEmptyGroupError`, `GroupIdNotFoundError`.
        """
        await self._group_admin().delete_groups(names_of(group_ids), Deadline(self._world_ports(), timeout))

    async def list_group_offsets(
        self, group_id: str, partitions: Iterable[tuple[str, int]] | None = None, *, timeout: float = CALL_S
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        """What a group has committed, of these partitions or of all."""
        places = None if partitions is None else [TopicPartition(*place) for place in partitions]
        return await self._group_admin().offsets(group_id, places, Deadline(self._world_ports(), timeout))

    async def alter_group_offsets(
        self,
        group_id: str,
        offsets: Mapping[tuple[str, int], OffsetAndMetadata | int],
        *,
        timeout: float = CALL_S,
    ) -> None:
        """Set a group's offsets. Raises `UnknownMemberIdError` while it has members."""
        await self._group_admin().alter_offsets(
            group_id, offsets_of(dict(offsets)), Deadline(self._world_ports(), timeout)
        )

    async def delete_group_offsets(
        self, group_id: str, partitions: Iterable[tuple[str, int]], *, timeout: float = CALL_S
    ) -> None:
        """Forget a group's offsets. Raises `GroupSubscribedToTopicError`, `GroupIdNotFoundError`."""
        places = [TopicPartition(*place) for place in partitions]
        await self._group_admin().delete_offsets(group_id, places, Deadline(self._world_ports(), timeout))

    # --- transactions

    async def list_transactions(
        self,
        *,
        states: str | Iterable[str] = (),
        producer_ids: Iterable[int] = (),
        running_ms_min: int = 0,
        timeout: float = CALL_S,
    ) -> list[TransactionListing]:
        """The transactional ids of all coordinators, or those in these states, or open for so long at least."""
        deadline = Deadline(self._world_ports(), timeout)
        admin = self._transaction_admin()
        return await admin.list_transactions(names_of(states), producer_ids, running_ms_min, deadline)

    async def describe_transaction(self, transactional_id: str, *, timeout: float = CALL_S) -> TransactionDescription:
        """One transactional id. Raises `TransactionalIdNotFoundError`."""
        return await self._transaction_admin().describe_transaction(
            transactional_id, Deadline(self._world_ports(), timeout)
        )

    async def describe_producers(
        self, partition: tuple[str, int], *, timeout: float = CALL_S
    ) -> list[PartitionProducer]:
        """The producers that a partition's leader remembers."""
        return await self._transaction_admin().producers(
            TopicPartition(*partition), Deadline(self._world_ports(), timeout)
        )

    async def fence_producer(self, transactional_id: str, *, timeout: float = CALL_S) -> None:
        """Abort what a transactional id has open, and fence whoever wrote it."""
        await self._transaction_admin().fence(transactional_id, Deadline(self._world_ports(), timeout))

    async def abort_transaction(
        self, partition: tuple[str, int], start_offset: int, *, timeout: float = CALL_S
    ) -> None:
        """Abort, in one partition, a transaction that nobody ends any more, by where it begins (KIP-664).

        Raises `InvalidTxnStateError` where none that is open begins there.
        """
        place = TopicPartition(*partition)
        await self._transaction_admin().abort_partition(place, start_offset, Deadline(self._world_ports(), timeout))

    # --- asking

    async def _registered(self, brokers: Iterable[int] | None, deadline: Deadline) -> list[NodeDescription]:
        """These brokers, or all in service. Raises `BrokerNotAvailableError`."""
        cluster = await self._joined_cluster(deadline)
        known = {broker.node_id: broker for broker in cluster.brokers}
        wanted = [broker.node_id for broker in cluster.brokers if not broker.fenced] if brokers is None else [*brokers]
        for broker_id in wanted:
            if broker_id not in known:
                raise BrokerNotAvailableError(f"there is no broker {broker_id}")
        return [known[broker_id] for broker_id in dict.fromkeys(wanted)]

    async def _joined_cluster(self, deadline: Deadline) -> ClusterDescription:
        """As a node describes it that knows any brokers. Raises `LeaderNotAvailableError`."""
        cluster = await self.describe_cluster(timeout=deadline.left_s)
        while not cluster.brokers:
            unjoined = LeaderNotAvailableError(NOT_JOINED)
            self._nodes().pass_over()
            await self._pause(deadline, unjoined)
            try:
                cluster = await self.describe_cluster(timeout=deadline.left_s)
            except (NoBrokersAvailableError, CallTimeoutError):
                raise unjoined from None
        return cluster

    def _quorum_admin(self) -> QuorumAdmin:
        return QuorumAdmin(self._nodes(), self._world_ports())

    def _group_admin(self) -> GroupAdmin:
        if self._groups is None:
            self._groups = GroupAdmin(self._config, self._world_ports(), self._known_metadata())
        return self._groups

    def _transaction_admin(self) -> TransactionAdmin:
        if self._transactions is None:
            self._transactions = TransactionAdmin(self._config, self._world_ports(), self._known_metadata())
        return self._transactions


def _quorum_replica(replica: admin_pb2.QuorumReplica) -> QuorumReplica:
    return QuorumReplica(
        replica.node_id,
        shown_id(replica.directory_id),
        replica.host,
        replica.port,
        *(
            None if number < 0 else number
            for number in (replica.log_end_offset, replica.last_fetch_age_ms, replica.last_caught_up_age_ms)
        ),
    )
