"""The asyncio admin: `kraftpy.aio.Admin`.

Any node may be asked; one that is unreachable, or that knows no controller at the moment, is passed over until
`timeout` seconds are spent. A creation or deletion whose answer was lost is asked for again; that it then finds its
work done counts as success.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from kraftpy.client.admin_moves import CALL_S, AdminMoves
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
    NodeDescription,
    NodeMetrics,
    PartitionDescription,
    QuorumDescription,
    QuorumReplica,
    QuorumVoter,
    TopicDescription,
    TopicListing,
    shown_id,
)
from kraftpy.client.any_node import AnyNode, Attempts, Deadline
from kraftpy.client.cluster_view import TopicView
from kraftpy.client.config import AdminConfig
from kraftpy.client.group.offsets import offsets_of
from kraftpy.client.group_admin import GroupAdmin
from kraftpy.client.group_values import GroupDescription, GroupListing
from kraftpy.client.health import cluster_health
from kraftpy.client.keywords import AdminKeywords, with_bootstrap
from kraftpy.client.log_dirs import alter_replica_log_dirs, describe_log_dirs
from kraftpy.client.metadata import Metadata, view_of
from kraftpy.client.metrics import describe_metrics
from kraftpy.client.quorum_admin import QuorumAdmin
from kraftpy.client.system import client_ports
from kraftpy.client.transaction_admin import (
    PartitionProducer,
    TransactionAdmin,
    TransactionDescription,
    TransactionListing,
)
from kraftpy.client.values import OffsetAndMetadata, TopicPartition
from kraftpy.client.wire import ADMIN, CLIENT, ClientPorts, Message, as_kraftpy_error
from kraftpy.client.wire_numbers import wire_numbers
from kraftpy.error_codes import NO_ERROR, class_for, error_for
from kraftpy.errors import (
    BrokerNotAvailableError,
    CallTimeoutError,
    ClosedError,
    KraftpyError,
    LeaderNotAvailableError,
    NotControllerError,
    StaleMetadataError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from kraftpy.pb import admin_pb2, client_pb2
from kraftpy.runtime.ports import Address, Clock, Transport, TransportError

M = TypeVar("M", bound=Message)


class Admin(AdminMoves):
    """Administers a cluster. Calls take `timeout` in seconds and raise Kafka's errors (`kraftpy.errors`).

    Settings are keyword arguments (`kraftpy.client.config.AdminConfig`).
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
        self._config = _config or AdminConfig.from_keywords(with_bootstrap(bootstrap, settings))
        self._world = (_transport, _clock, _random)
        self._ports: ClientPorts | None = None
        self._metadata: Metadata | None = None
        self._owns_transport = False
        self._any_node: AnyNode | None = None
        self._groups: GroupAdmin | None = None
        self._transactions: TransactionAdmin | None = None
        self._closed = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """An admin from Kafka's dotted names: `{"bootstrap.servers": "a:9093"}`."""
        return cls(_config=AdminConfig.from_dotted(config))

    # --- topics

    async def create_topic(
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
        placed = {index: tuple(replicas) for index, replicas in (assignment or {}).items()}
        topic = NewTopic(name, partitions, replication_factor, config or {}, placed)
        return (await self.create_topics([topic], validate_only=validate_only, timeout=timeout))[0]

    async def create_topics(
        self, topics: Iterable[NewTopic], *, validate_only: bool = False, timeout: float = CALL_S
    ) -> list[CreatedTopic]:
        """Create topics, each on its own: the first that is refused is raised after all have been tried."""
        request = admin_pb2.CreateTopicsRequest(validate_only=validate_only, timeout_ms=round(timeout * 1_000))
        with wire_numbers():
            for topic in topics:
                new = request.topics.add(
                    name=topic.name,
                    partitions=-1 if topic.partitions is None else topic.partitions,
                    replication_factor=-1 if topic.replication_factor is None else topic.replication_factor,
                    config={name: str(value) for name, value in topic.config.items()},
                )
                for partition, replicas in topic.assignment.items():
                    new.assignment.add(partition=partition, replicas=replicas)
        results = await self._change_topics("CreateTopics", request, timeout, TopicAlreadyExistsError)
        return [
            CreatedTopic(
                result.name,
                shown_id(result.topic_id),
                result.partitions,
                result.replication_factor,
                tuple(result.warnings),
            )
            for result in results
        ]

    async def delete_topic(self, name: str, *, timeout: float = CALL_S) -> None:
        """Delete one topic. Raises `UnknownTopicOrPartitionError`, `TopicDeletionDisabledError`."""
        await self.delete_topics([name], timeout=timeout)

    async def delete_topics(self, names: Iterable[str], *, timeout: float = CALL_S) -> None:
        """Delete topics, each on its own: the first that is refused is raised after all have been tried."""
        request = admin_pb2.DeleteTopicsRequest(names=names, timeout_ms=round(timeout * 1_000))
        await self._change_topics("DeleteTopics", request, timeout, UnknownTopicOrPartitionError)

    async def create_partitions(
        self,
        name: str,
        total: int,
        *,
        assignment: Mapping[int, Sequence[int]] | None = None,
        validate_only: bool = False,
        timeout: float = CALL_S,
    ) -> None:
        """Raise a topic's number of partitions to `total`. Raises `InvalidPartitionsError`: it never goes down."""
        request = admin_pb2.CreatePartitionsRequest(validate_only=validate_only, timeout_ms=round(timeout * 1_000))
        with wire_numbers():
            new = request.topics.add(name=name, total=total)
            for partition, replicas in (assignment or {}).items():
                new.assignment.add(partition=partition, replicas=replicas)
        await self._change_topics("CreatePartitions", request, timeout, None)

    async def list_topics(self, *, include_internal: bool = False, timeout: float = CALL_S) -> list[TopicListing]:
        """All topics, sorted by name."""
        topics = await self._views([], timeout)
        return [
            TopicListing(
                view.name,
                shown_id(view.topic_id),
                view.internal,
                len(view.partitions),
                max((len(partition.replicas) for partition in view.partitions), default=0),
            )
            for view in sorted(topics, key=lambda view: view.name)
            if include_internal or not view.internal
        ]

    async def describe_topic(self, name: str, *, timeout: float = CALL_S) -> TopicDescription:
        """One topic. Raises `UnknownTopicOrPartitionError`."""
        return (await self.describe_topics([name], timeout=timeout))[0]

    async def describe_topics(
        self, names: Iterable[str] | None = None, *, timeout: float = CALL_S
    ) -> list[TopicDescription]:
        """These topics in this order, or all of them sorted by name. Raises `UnknownTopicOrPartitionError`."""
        wanted = None if names is None else list(names)
        if wanted is not None and not wanted:
            return []
        found = {view.name: _described(view) for view in await self._views(wanted or [], timeout)}
        return [found[name] for name in (sorted(found) if wanted is None else wanted)]

    async def delete_records(
        self, before: Mapping[tuple[str, int], int], *, timeout: float = CALL_S
    ) -> dict[TopicPartition, int]:
        """Delete what lies before an offset (-1: everything acknowledged), by partition; the new first offsets.

        Raises `OffsetOutOfRangeError`, `UnknownTopicOrPartitionError`.
        """
        left = {TopicPartition(*place): offset for place, offset in before.items()}
        done: dict[TopicPartition, int] = {}
        deadline = Deadline(self._world_ports(), timeout)
        while left:
            last = await self._delete_records_once(left, done, deadline)
            if left:
                await self._pause(deadline, last)
        return {TopicPartition(*place): done[TopicPartition(*place)] for place in before}

    # --- settings

    async def describe_configs(
        self, resources: Iterable[ConfigResource], *, timeout: float = CALL_S
    ) -> dict[ConfigResource, dict[str, ConfigEntry]]:
        """The settings of topics and brokers with their sources, by name."""
        request = admin_pb2.DescribeConfigsRequest()
        for resource in resources:
            request.resources.add(type=resource.type, name=resource.name)
        answer = await self._ask("DescribeConfigs", request, admin_pb2.DescribeConfigsResponse, timeout)
        described = {}
        for part in answer.resources:
            _raise_for(part.error, part.error_message, part.resource.name)
            described[ConfigResource(part.resource.type, part.resource.name)] = {
                entry.name: ConfigEntry(
                    entry.name,
                    entry.value if entry.HasField("value") else None,
                    entry.source,
                    entry.read_only,
                    entry.documentation,
                )
                for entry in part.entries
            }
        return described

    async def alter_configs(
        self,
        changes: Mapping[ConfigResource, Mapping[str, str | None]],
        *,
        validate_only: bool = False,
        timeout: float = CALL_S,
    ) -> tuple[str, ...]:
        """Set settings, or unset those whose value is None; others stay as they are. Gives warnings, if any.

        Raises `InvalidConfigError`, `UnknownTopicOrPartitionError`.
        """
        request = admin_pb2.AlterConfigsRequest(validate_only=validate_only, timeout_ms=round(timeout * 1_000))
        for resource, values in changes.items():
            change = request.resources.add(
                set={name: str(value) for name, value in values.items() if value is not None},
                unset=[name for name, value in values.items() if value is None],
            )
            change.resource.type, change.resource.name = resource.type, resource.name
        answer = await self._ask("AlterConfigs", request, admin_pb2.AlterConfigsResponse, timeout)
        for part in answer.resources:
            _raise_for(part.error, part.error_message, part.resource.name)
        return tuple(warning for part in answer.resources for warning in part.warnings)

    # --- cluster

    async def elect_leaders(
        self,
        partitions: Iterable[tuple[str, int]] | None = None,
        *,
        unclean: bool = False,
        timeout: float = CALL_S,
    ) -> list[ElectionResult]:
        """Elect preferred leaders, or any living replica where `unclean` (which may lose records); None: everywhere."""
        request = admin_pb2.ElectLeadersRequest(unclean=unclean, timeout_ms=round(timeout * 1_000))
        with wire_numbers():
            for topic, partition in partitions or ():
                request.partitions.add(topic=topic, partition=partition)
        answer = await self._ask("ElectLeaders", request, admin_pb2.ElectLeadersResponse, timeout)
        _raise_for(answer.error, answer.error_message, "")
        return [
            ElectionResult(
                part.topic,
                part.partition,
                class_for(part.error).name if part.error != NO_ERROR else "",
                part.error_message,
            )
            for part in answer.partitions
        ]

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
        self, brokers: Iterable[int] | None = None, *, topics: Iterable[str] = (), timeout: float = CALL_S
    ) -> list[LogDirDescription]:
        """The log directories of these brokers (None: of all in service), with the replicas of `topics` (none: of all).

        Raises `BrokerNotAvailableError` for a broker that is not registered, and where one does not answer.
        """
        deadline = Deadline(self._world_ports(), timeout)
        asked = await self._registered(brokers, deadline)
        answers = await describe_log_dirs(self._world_ports(), asked, list(topics), deadline)
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
        cluster = await self.describe_cluster(timeout=deadline.left_s)
        await alter_replica_log_dirs(self._world_ports(), cluster.brokers, moves, deadline)

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
        _raise_for(answer.error, answer.error_message, "")

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
        """Raise finalized levels, all or nothing: those given, a release's, or each as far as all nodes support it.

        Gives what changed, or would change. Raises `InvalidUpdateVersionError` (a node does not support a level, or it
        would go back), `FeatureUpdateFailedError` (a voter is silent).
        """
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
        topics = await self.describe_topics(timeout=deadline.left_s)
        resources = [ConfigResource.topic(topic.name) for topic in topics]
        configs = await self.describe_configs(resources, timeout=deadline.left_s) if resources else {}
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
        self, *, states: Iterable[str] = (), types: Iterable[str] = (), timeout: float = CALL_S
    ) -> list[GroupListing]:
        """All groups of all coordinators, or those in these states (Stable, Empty …) and of these types."""
        deadline = Deadline(self._world_ports(), timeout)
        return await self._group_admin().list_groups(list(states), list(types), deadline)

    async def describe_group(self, group_id: str, *, timeout: float = CALL_S) -> GroupDescription:
        """One group with its members. Raises `GroupIdNotFoundError`."""
        return await self._group_admin().describe_group(group_id, Deadline(self._world_ports(), timeout))

    async def delete_groups(self, group_ids: Iterable[str], *, timeout: float = CALL_S) -> None:
        """Delete groups with all their offsets, each on its own: the first that is refused is raised after all.

        Raises `NonEmptyGroupError`, `GroupIdNotFoundError`.
        """
        await self._group_admin().delete_groups(group_ids, Deadline(self._world_ports(), timeout))

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
        states: Iterable[str] = (),
        producer_ids: Iterable[int] = (),
        running_ms_min: int = 0,
        timeout: float = CALL_S,
    ) -> list[TransactionListing]:
        """The transactional ids of all coordinators, or those in these states, or open for so long at least."""
        deadline = Deadline(self._world_ports(), timeout)
        admin = self._transaction_admin()
        return await admin.list_transactions(list(states), producer_ids, running_ms_min, deadline)

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
        cluster = await self.describe_cluster(timeout=deadline.left_s)
        known = {broker.node_id: broker for broker in cluster.brokers}
        wanted = [broker.node_id for broker in cluster.brokers if not broker.fenced] if brokers is None else [*brokers]
        for broker_id in wanted:
            if broker_id not in known:
                raise BrokerNotAvailableError(f"there is no broker {broker_id}")
        return [known[broker_id] for broker_id in dict.fromkeys(wanted)]

    async def _ask(
        self, method: str, request: Message, answer_type: type[M], timeout: float, *, service: str = ADMIN
    ) -> M:
        """One answered call that was not refused as a whole for a reason that passes."""
        deadline = Deadline(self._world_ports(), timeout)
        attempts = Attempts(self._nodes(), service + method, request, answer_type, deadline)
        while True:
            answer = await attempts.next()
            error = _passing_error(answer)
            if error is None:
                return answer
            self._nodes().pass_over()
            await self._pause(deadline, error)

    async def _change_topics(
        self, method: str, request: Message, timeout: float, done_already: type[KraftpyError] | None
    ) -> list[admin_pb2.TopicResult]:
        """Topic by topic results. `done_already` is forgiven where an earlier attempt may have done the work."""
        deadline = Deadline(self._world_ports(), timeout)
        attempts = Attempts(self._nodes(), ADMIN + method, request, admin_pb2.TopicResults, deadline)
        while True:
            answer = await attempts.next()
            error = _passing_error(answer)
            if error is None:
                break
            attempts.uncertain = attempts.uncertain or any(result.error == NO_ERROR for result in answer.topics)
            self._nodes().pass_over()
            await self._pause(deadline, error)
        for result in answer.topics:
            if result.error == NO_ERROR:
                continue
            failure = error_for(result.error, result.error_message)
            if attempts.uncertain and done_already is not None and isinstance(failure, done_already):
                continue
            raise failure
        return list(answer.topics)

    async def _views(self, names: Sequence[str], timeout: float) -> list[TopicView]:
        request = client_pb2.MetadataRequest(topics=names, all_topics=not names, client_id=self._config.client_id)
        answer = await self._ask("GetMetadata", request, client_pb2.MetadataResponse, timeout, service=CLIENT)
        for topic in answer.topics:
            _raise_for(topic.error, "", topic.name)
        return [view_of(topic) for topic in answer.topics]

    async def _delete_records_once(
        self, left: dict[TopicPartition, int], done: dict[TopicPartition, int], deadline: "Deadline"
    ) -> KraftpyError | None:
        """Ask each leader once; what was done moves from `left` to `done`."""
        ports, metadata = self._world_ports(), self._known_metadata()
        for topic in dict.fromkeys(place.topic for place in left):
            await metadata.topic(topic, deadline.left_ms, 0)
        requests: dict[Address, admin_pb2.DeleteRecordsRequest] = {}
        for place, offset in left.items():
            leader = metadata.leader(*place)
            if leader is not None:
                address = metadata.view.brokers[leader.node_id]
                request = requests.setdefault(address, admin_pb2.DeleteRecordsRequest(timeout_ms=deadline.left_ms))
                request.partitions.add(topic=place.topic, partition=place.partition, before_offset=offset)
        last: KraftpyError | None = None
        for address, request in requests.items():
            try:
                answer = await ports.call(
                    address, ADMIN + "DeleteRecords", request, admin_pb2.DeleteRecordsResponse, deadline.left_ms
                )
            except TransportError as error:
                last = as_kraftpy_error(error)
                continue
            for part in answer.partitions:
                place = TopicPartition(part.topic, part.partition)
                if part.error == NO_ERROR:
                    done[place] = part.low_watermark
                    left.pop(place, None)
                    continue
                last = error_for(part.error, f"{place}: {error_for(part.error).message}")
                if not isinstance(last, StaleMetadataError):
                    raise last
        if left:
            await metadata.updated(deadline.left_ms)
        return last

    async def _pause(self, deadline: "Deadline", reason: KraftpyError | None) -> None:
        if deadline.left_ms <= 0:
            raise reason or CallTimeoutError("nobody leads the partitions")
        await asyncio.sleep(min(self._config.retry_backoff_ms, deadline.left_ms) / 1_000)

    def _world_ports(self) -> ClientPorts:
        if self._ports is None:
            if self._closed:
                raise ClosedError("the admin is closed")
            self._ports, self._owns_transport = client_ports(*self._world)
        return self._ports

    def _nodes(self) -> AnyNode:
        if self._any_node is None:
            self._any_node = AnyNode(self._config, self._world_ports())
        return self._any_node

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

    def _known_metadata(self) -> Metadata:
        if self._metadata is None:
            self._metadata = Metadata(self._config, self._world_ports(), auto_create=False)
        return self._metadata


def _passing_error(answer: Any) -> KraftpyError | None:
    """The answer's error where the whole of it only has to be asked for again; other errors of the whole are raised."""
    if isinstance(answer, client_pb2.MetadataResponse) and not answer.brokers:
        if answer.cluster_id:
            return LeaderNotAvailableError("no broker is in service: the last ones are stopping, or not back yet")
        return LeaderNotAvailableError("the node has not joined the cluster yet")
    codes = [answer.error] if hasattr(answer, "error") else []
    for parts in ("topics", "resources"):
        codes += [part.error for part in getattr(answer, parts, ())]
    errors = [error_for(code) for code in codes if code != NO_ERROR]
    passing = next((error for error in errors if isinstance(error, NotControllerError)), None)
    if passing is None and hasattr(answer, "error"):
        _raise_for(answer.error, answer.error_message, "")
    return passing


def _raise_for(code: int, message: str, what: str) -> None:
    if code != NO_ERROR:
        raise error_for(code, message or (f"{what}: {error_for(code).message}" if what else ""))


def _described(view: TopicView) -> TopicDescription:
    partitions = tuple(
        PartitionDescription(
            partition.partition,
            partition.leader,
            partition.leader_epoch,
            partition.replicas,
            partition.isr,
            partition.offline_replicas,
            partition.adding_replicas,
            partition.removing_replicas,
            partition.eligible_replicas,
            partition.last_known_elr,
        )
        for partition in view.partitions
    )
    return TopicDescription(view.name, shown_id(view.topic_id), view.internal, partitions)


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
