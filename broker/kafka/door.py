"""All handlers of a Kafka listener, put together: the only place that knows them all.

`apis` is the table of what is served; the router, ApiVersions, `docs/compatibility.md` and the tests follow from it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from broker.config import NodeConfig
from broker.coordinator.coordinators import Coordinators
from broker.coordinator.finding import CoordinatorFinder
from broker.coordinator.groups.commands import Command as GroupCommand
from broker.coordinator.groups.records import GroupsRecord
from broker.coordinator.transactions.service import TransactionService
from broker.kafka.acls import acl_apis
from broker.kafka.add_offsets_to_txn import AddOffsetsToTxn
from broker.kafka.add_partitions_to_txn import AddPartitionsToTxn
from broker.kafka.alter_configs import AlterConfigs
from broker.kafka.alter_partition_reassignments import AlterPartitionReassignments
from broker.kafka.alter_replica_log_dirs import AlterReplicaLogDirs
from broker.kafka.api import Api
from broker.kafka.api_versions import ApiVersions
from broker.kafka.client_quotas import client_quota_apis
from broker.kafka.consumer_group_describe import ConsumerGroupDescribe
from broker.kafka.consumer_group_heartbeat import ConsumerGroupHeartbeat
from broker.kafka.create_partitions import CreatePartitions
from broker.kafka.create_topics import CreateTopics
from broker.kafka.delete_groups import DeleteGroups
from broker.kafka.delete_records import DeleteRecords
from broker.kafka.delete_topics import DeleteTopics
from broker.kafka.describe_cluster import DescribeCluster
from broker.kafka.describe_configs import DescribeConfigs
from broker.kafka.describe_groups import DescribeGroups
from broker.kafka.describe_log_dirs import DescribeLogDirs
from broker.kafka.describe_producers import DescribeProducers
from broker.kafka.describe_quorum import DescribeQuorum
from broker.kafka.describe_topic_partitions import DescribeTopicPartitions
from broker.kafka.describe_transactions import DescribeTransactions
from broker.kafka.elect_leaders import ElectLeaders
from broker.kafka.end_txn import EndTxn
from broker.kafka.endpoints import EndpointOf
from broker.kafka.fetch import Fetch
from broker.kafka.find_coordinator import FindCoordinator
from broker.kafka.heartbeat import Heartbeat
from broker.kafka.incremental_alter_configs import IncrementalAlterConfigs
from broker.kafka.init_producer_id import InitProducerId
from broker.kafka.join_group import JoinGroup
from broker.kafka.leave_group import LeaveGroup
from broker.kafka.list_config_resources import ListConfigResources
from broker.kafka.list_groups import ListGroups
from broker.kafka.list_offsets import ListOffsets
from broker.kafka.list_partition_reassignments import ListPartitionReassignments
from broker.kafka.list_transactions import ListTransactions
from broker.kafka.metadata import Metadata
from broker.kafka.offset_commit import OffsetCommit
from broker.kafka.offset_delete import OffsetDelete
from broker.kafka.offset_fetch import OffsetFetch
from broker.kafka.offset_for_leader_epoch import OffsetForLeaderEpoch
from broker.kafka.ports import Creation, Replicas
from broker.kafka.produce import Produce
from broker.kafka.raft_voters import RaftVoters
from broker.kafka.router import Router
from broker.kafka.sasl import sasl_apis
from broker.kafka.scram_credentials import scram_credential_apis
from broker.kafka.sync_group import SyncGroup
from broker.kafka.txn_offset_commit import TxnOffsetCommit
from broker.kafka.unregister_broker import UnregisterBroker
from broker.kafka.update_features import UpdateFeatures
from broker.kafka.write_txn_markers import WriteTxnMarkers
from broker.metadata.image import MetadataImage
from broker.node_view import NodeView
from broker.producer_ids import ProducerIds
from broker.rpc.describing_configs import DescribingConfigs
from broker.rpc.ports import ControllerLink
from kraftpy.runtime.ports import Clock, Transport


@dataclass(frozen=True, slots=True)
class KafkaDoor:
    """What the handlers need of the node, and nothing more."""

    view: NodeView
    config: NodeConfig
    replicas: Replicas
    creation: Creation
    producer_ids: ProducerIds
    link: ControllerLink
    transport: Transport
    clock: Clock
    finder: CoordinatorFinder
    groups: Coordinators[GroupCommand, GroupsRecord]
    transactions: TransactionService

    def router(self, listener: str) -> Router:
        """What the listener of that name serves. Addresses that clients are told are this listener's of each broker."""
        endpoint_of: EndpointOf = partial(self.view.endpoint, listener=listener)
        return Router(self.apis(endpoint_of), ApiVersions(self.view.features))

    def apis(self, endpoint_of: EndpointOf) -> list[Api]:
        """Everything but ApiVersions."""
        return [
            *self._records(endpoint_of),
            *self._cluster(endpoint_of),
            *self._administration(),
            *self._this_broker(),
            *self._coordinated_groups(endpoint_of),
            *self._coordinated_transactions(),
            *_security(),
        ]

    def _records(self, endpoint_of: EndpointOf) -> Iterable[Api]:
        """Producing and consuming."""
        return (
            Produce(self.replicas, self.view, endpoint_of).api(),
            Fetch(self.replicas, self.view.cluster_id, endpoint_of).api(),
            ListOffsets(self.replicas).api(),
            Metadata(self.view, self.creation, endpoint_of, self.replicas.wait_leaders_known).api(),
            InitProducerId(self.producer_ids.next, self.transactions).api(),
            OffsetForLeaderEpoch(self.replicas).api(),
        )

    def _cluster(self, endpoint_of: EndpointOf) -> Iterable[Api]:
        """What there is."""
        return (
            DescribeCluster(self.view, endpoint_of).api(),
            DescribeTopicPartitions(self.view).api(),
            DescribeConfigs(DescribingConfigs(self.view, self.config, self.transport), self.view, self.config).api(),
            ListConfigResources(self.view).api(),
            ListPartitionReassignments(self.view).api(),
            DescribeQuorum(self.link, self.clock.wall_ms).api(),
        )

    def _administration(self) -> Iterable[Api]:
        """What the controller changes."""
        voters = RaftVoters(self.link, self.view)
        return (
            CreateTopics(self.link, self.view, self.config).api(),
            DeleteTopics(self.link).api(),
            CreatePartitions(self.link).api(),
            AlterConfigs(self.link).api(),
            IncrementalAlterConfigs(self.link).api(),
            ElectLeaders(self.link).api(),
            AlterPartitionReassignments(self.link).api(),
            UpdateFeatures(self.link).api(),
            UnregisterBroker(self.link).api(),
            voters.adding_api(),
            voters.removing_api(),
        )

    def _this_broker(self) -> Iterable[Api]:
        """What each broker tells of itself, or does to what it leads."""
        return (
            DeleteRecords(self.replicas).api(),
            DescribeLogDirs(self.replicas, self.view, self.config.node_id).api(),
            AlterReplicaLogDirs(self.replicas).api(),
            DescribeProducers(self.replicas).api(),
        )

    def _coordinated_groups(self, endpoint_of: EndpointOf) -> Iterable[Api]:
        """Groups and their offsets, by whoever coordinates them."""
        return (
            FindCoordinator(self.finder.find, endpoint_of).api(),
            JoinGroup(self.groups).api(),
            SyncGroup(self.groups).api(),
            Heartbeat(self.groups).api(),
            LeaveGroup(self.groups).api(),
            ConsumerGroupHeartbeat(self.groups, self._image).api(),
            ConsumerGroupDescribe(self.groups, self._image).api(),
            OffsetCommit(self.groups, self._image).api(),
            OffsetFetch(self.groups, self._image).api(),
            OffsetDelete(self.groups, self._image).api(),
            DescribeGroups(self.groups).api(),
            ListGroups(self.groups).api(),
            DeleteGroups(self.groups).api(),
        )

    def _image(self) -> MetadataImage:
        return self.view.image

    def _coordinated_transactions(self) -> Iterable[Api]:
        """Transactions, and what is left to their administrators."""
        return (
            AddPartitionsToTxn(self.transactions).api(),
            AddOffsetsToTxn(self.transactions).api(),
            EndTxn(self.transactions).api(),
            TxnOffsetCommit(self.transactions).api(),
            WriteTxnMarkers(self.transactions).api(),
            DescribeTransactions(self.transactions).api(),
            ListTransactions(self.transactions).api(),
        )


def _security() -> Iterable[Api]:
    """What a cluster without security answers."""
    return (*acl_apis(), *sasl_apis(), *client_quota_apis(), *scram_credential_apis())
