"""All handlers of a Kafka listener, put together: the only place that knows what each needs.

Its rows are what is served; the router, ApiVersions, `docs/compatibility.md` and the tests follow from them. A handler
is made, and its module loaded, when its first request comes.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from broker.config import NodeConfig
from broker.coordinator.coordinators import Coordinators
from broker.coordinator.finding import CoordinatorFinder
from broker.coordinator.transactions.service import TransactionService
from broker.kafka import handlers
from broker.kafka.api import Api, ApiKey
from broker.kafka.api_versions import ApiVersions
from broker.kafka.endpoints import EndpointOf
from broker.kafka.ports import Creation, Replicas
from broker.kafka.router import Later, Router
from broker.kafka.versions import ADVERTISED
from broker.metadata.image import MetadataImage
from broker.node_view import NodeView
from broker.producer_ids import ProducerIds
from broker.rpc.ports import ControllerLink
from kraftpy.runtime.ports import Clock, Transport

if TYPE_CHECKING:
    from broker.coordinator.groups.commands import Command as GroupCommand
    from broker.coordinator.groups.records import GroupsRecord

Rows = Mapping[ApiKey, Callable[[], Api]]


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
    groups: "Coordinators[GroupCommand, GroupsRecord]"
    transactions: TransactionService

    def router(self, listener: str) -> Router:
        """What the listener of that name serves. Addresses that clients are told are this listener's of each broker."""
        endpoint_of: EndpointOf = partial(self.view.endpoint, listener=listener)
        return Router(
            (Later(key, *ADVERTISED[key], make) for key, make in self._rows(endpoint_of).items()),
            ApiVersions(self.view.features),
            self.clock,
        )

    def apis(self, endpoint_of: EndpointOf) -> list[Api]:
        """Everything but ApiVersions, loaded."""
        return [make() for make in self._rows(endpoint_of).values()]

    def _rows(self, endpoint_of: EndpointOf) -> Rows:
        return {
            **self._records(endpoint_of),
            **self._cluster(endpoint_of),
            **self._administration(),
            **self._this_broker(),
            **self._coordinated_groups(endpoint_of),
            **self._coordinated_transactions(),
            **_security(),
        }

    def _records(self, endpoint_of: EndpointOf) -> Rows:
        """Producing and consuming."""
        return {
            ApiKey.PRODUCE: lambda: handlers.Produce(self.replicas, self.view, endpoint_of).api(),
            ApiKey.FETCH: lambda: handlers.Fetch(self.replicas, self.view.cluster_id, endpoint_of).api(),
            ApiKey.LIST_OFFSETS: lambda: handlers.ListOffsets(self.replicas).api(),
            ApiKey.METADATA: lambda: handlers.Metadata(
                self.view, self.creation, endpoint_of, self.replicas.wait_leaders_known
            ).api(),
            ApiKey.INIT_PRODUCER_ID: lambda: handlers.InitProducerId(self.producer_ids.next, self.transactions).api(),
            ApiKey.OFFSET_FOR_LEADER_EPOCH: lambda: handlers.OffsetForLeaderEpoch(self.replicas).api(),
        }

    def _cluster(self, endpoint_of: EndpointOf) -> Rows:
        """What there is."""
        return {
            ApiKey.DESCRIBE_CLUSTER: lambda: handlers.DescribeCluster(self.view, endpoint_of).api(),
            ApiKey.DESCRIBE_TOPIC_PARTITIONS: lambda: handlers.DescribeTopicPartitions(self.view).api(),
            ApiKey.DESCRIBE_CONFIGS: lambda: self._describe_configs(),
            ApiKey.LIST_CONFIG_RESOURCES: lambda: handlers.ListConfigResources(self.view).api(),
            ApiKey.LIST_PARTITION_REASSIGNMENTS: lambda: handlers.ListPartitionReassignments(self.view).api(),
            ApiKey.DESCRIBE_QUORUM: lambda: handlers.DescribeQuorum(self.link, self.clock.wall_ms).api(),
        }

    def _describe_configs(self) -> Api:
        configs = handlers.DescribingConfigs(self.view, self.config, self.transport)
        return handlers.DescribeConfigs(configs, self.view, self.config).api()

    def _administration(self) -> Rows:
        """What the controller changes."""
        return {
            ApiKey.CREATE_TOPICS: lambda: handlers.CreateTopics(self.link, self.view, self.config).api(),
            ApiKey.DELETE_TOPICS: lambda: handlers.DeleteTopics(self.link).api(),
            ApiKey.CREATE_PARTITIONS: lambda: handlers.CreatePartitions(self.link).api(),
            ApiKey.ALTER_CONFIGS: lambda: handlers.AlterConfigs(self.link).api(),
            ApiKey.INCREMENTAL_ALTER_CONFIGS: lambda: handlers.IncrementalAlterConfigs(self.link).api(),
            ApiKey.ELECT_LEADERS: lambda: handlers.ElectLeaders(self.link).api(),
            ApiKey.ALTER_PARTITION_REASSIGNMENTS: lambda: handlers.AlterPartitionReassignments(self.link).api(),
            ApiKey.UPDATE_FEATURES: lambda: handlers.UpdateFeatures(self.link).api(),
            ApiKey.UNREGISTER_BROKER: lambda: handlers.UnregisterBroker(self.link).api(),
            ApiKey.ADD_RAFT_VOTER: lambda: handlers.RaftVoters(self.link, self.view).adding_api(),
            ApiKey.REMOVE_RAFT_VOTER: lambda: handlers.RaftVoters(self.link, self.view).removing_api(),
        }

    def _this_broker(self) -> Rows:
        """What each broker tells of itself, or does to what it leads."""
        return {
            ApiKey.DELETE_RECORDS: lambda: handlers.DeleteRecords(self.replicas).api(),
            ApiKey.DESCRIBE_LOG_DIRS: lambda: handlers.DescribeLogDirs(
                self.replicas, self.view, self.config.node_id
            ).api(),
            ApiKey.ALTER_REPLICA_LOG_DIRS: lambda: handlers.AlterReplicaLogDirs(self.replicas).api(),
            ApiKey.DESCRIBE_PRODUCERS: lambda: handlers.DescribeProducers(self.replicas).api(),
        }

    def _coordinated_groups(self, endpoint_of: EndpointOf) -> Rows:
        """Groups and their offsets, by whoever coordinates them."""
        return {
            ApiKey.FIND_COORDINATOR: lambda: handlers.FindCoordinator(self.finder.find, endpoint_of).api(),
            ApiKey.JOIN_GROUP: lambda: handlers.JoinGroup(self.groups).api(),
            ApiKey.SYNC_GROUP: lambda: handlers.SyncGroup(self.groups).api(),
            ApiKey.HEARTBEAT: lambda: handlers.Heartbeat(self.groups).api(),
            ApiKey.LEAVE_GROUP: lambda: handlers.LeaveGroup(self.groups).api(),
            ApiKey.CONSUMER_GROUP_HEARTBEAT: lambda: handlers.ConsumerGroupHeartbeat(self.groups, self._image).api(),
            ApiKey.CONSUMER_GROUP_DESCRIBE: lambda: handlers.ConsumerGroupDescribe(self.groups, self._image).api(),
            ApiKey.OFFSET_COMMIT: lambda: handlers.OffsetCommit(self.groups, self._image).api(),
            ApiKey.OFFSET_FETCH: lambda: handlers.OffsetFetch(self.groups, self._image).api(),
            ApiKey.OFFSET_DELETE: lambda: handlers.OffsetDelete(self.groups, self._image).api(),
            ApiKey.DESCRIBE_GROUPS: lambda: handlers.DescribeGroups(self.groups).api(),
            ApiKey.LIST_GROUPS: lambda: handlers.ListGroups(self.groups).api(),
            ApiKey.DELETE_GROUPS: lambda: handlers.DeleteGroups(self.groups).api(),
        }

    def _image(self) -> MetadataImage:
        return self.view.image

    def _coordinated_transactions(self) -> Rows:
        """Transactions, and what is left to their administrators."""
        return {
            ApiKey.ADD_PARTITIONS_TO_TXN: lambda: handlers.AddPartitionsToTxn(self.transactions).api(),
            ApiKey.ADD_OFFSETS_TO_TXN: lambda: handlers.AddOffsetsToTxn(self.transactions).api(),
            ApiKey.END_TXN: lambda: handlers.EndTxn(self.transactions).api(),
            ApiKey.TXN_OFFSET_COMMIT: lambda: handlers.TxnOffsetCommit(self.transactions).api(),
            ApiKey.WRITE_TXN_MARKERS: lambda: handlers.WriteTxnMarkers(self.transactions).api(),
            ApiKey.DESCRIBE_TRANSACTIONS: lambda: handlers.DescribeTransactions(self.transactions).api(),
            ApiKey.LIST_TRANSACTIONS: lambda: handlers.ListTransactions(self.transactions).api(),
        }


def _security() -> Rows:
    """What a cluster without security answers."""
    return {
        ApiKey.DESCRIBE_ACLS: lambda: _of(ApiKey.DESCRIBE_ACLS, handlers.acl_apis()),
        ApiKey.CREATE_ACLS: lambda: _of(ApiKey.CREATE_ACLS, handlers.acl_apis()),
        ApiKey.DELETE_ACLS: lambda: _of(ApiKey.DELETE_ACLS, handlers.acl_apis()),
        ApiKey.SASL_HANDSHAKE: lambda: _of(ApiKey.SASL_HANDSHAKE, handlers.sasl_apis()),
        ApiKey.SASL_AUTHENTICATE: lambda: _of(ApiKey.SASL_AUTHENTICATE, handlers.sasl_apis()),
        ApiKey.DESCRIBE_CLIENT_QUOTAS: lambda: _of(ApiKey.DESCRIBE_CLIENT_QUOTAS, handlers.client_quota_apis()),
        ApiKey.ALTER_CLIENT_QUOTAS: lambda: _of(ApiKey.ALTER_CLIENT_QUOTAS, handlers.client_quota_apis()),
        ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS: lambda: _of(
            ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS, handlers.scram_credential_apis()
        ),
        ApiKey.ALTER_USER_SCRAM_CREDENTIALS: lambda: _of(
            ApiKey.ALTER_USER_SCRAM_CREDENTIALS, handlers.scram_credential_apis()
        ),
    }


def _of(key: ApiKey, apis: Iterable[Api]) -> Api:
    return next(api for api in apis if api.key is key)
