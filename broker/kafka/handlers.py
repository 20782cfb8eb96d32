"""Every handler of the Kafka listener by its name, loaded when it is first asked for.

A node serves 57 APIs, and most clients need ten. All of them at once cost a quarter of a node's start and a tenth of
its memory; a single one 1 to 4 ms. A class is in the module of its name; what is elsewhere is listed.
"""

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from broker.kafka.acls import acl_apis as acl_apis
    from broker.kafka.add_offsets_to_txn import AddOffsetsToTxn as AddOffsetsToTxn
    from broker.kafka.add_partitions_to_txn import AddPartitionsToTxn as AddPartitionsToTxn
    from broker.kafka.alter_configs import AlterConfigs as AlterConfigs
    from broker.kafka.alter_partition_reassignments import AlterPartitionReassignments as AlterPartitionReassignments
    from broker.kafka.alter_replica_log_dirs import AlterReplicaLogDirs as AlterReplicaLogDirs
    from broker.kafka.client_quotas import client_quota_apis as client_quota_apis
    from broker.kafka.consumer_group_describe import ConsumerGroupDescribe as ConsumerGroupDescribe
    from broker.kafka.consumer_group_heartbeat import ConsumerGroupHeartbeat as ConsumerGroupHeartbeat
    from broker.kafka.create_partitions import CreatePartitions as CreatePartitions
    from broker.kafka.create_topics import CreateTopics as CreateTopics
    from broker.kafka.delete_groups import DeleteGroups as DeleteGroups
    from broker.kafka.delete_records import DeleteRecords as DeleteRecords
    from broker.kafka.delete_topics import DeleteTopics as DeleteTopics
    from broker.kafka.describe_cluster import DescribeCluster as DescribeCluster
    from broker.kafka.describe_configs import DescribeConfigs as DescribeConfigs
    from broker.kafka.describe_groups import DescribeGroups as DescribeGroups
    from broker.kafka.describe_log_dirs import DescribeLogDirs as DescribeLogDirs
    from broker.kafka.describe_producers import DescribeProducers as DescribeProducers
    from broker.kafka.describe_quorum import DescribeQuorum as DescribeQuorum
    from broker.kafka.describe_topic_partitions import DescribeTopicPartitions as DescribeTopicPartitions
    from broker.kafka.describe_transactions import DescribeTransactions as DescribeTransactions
    from broker.kafka.elect_leaders import ElectLeaders as ElectLeaders
    from broker.kafka.end_txn import EndTxn as EndTxn
    from broker.kafka.fetch import Fetch as Fetch
    from broker.kafka.find_coordinator import FindCoordinator as FindCoordinator
    from broker.kafka.heartbeat import Heartbeat as Heartbeat
    from broker.kafka.incremental_alter_configs import IncrementalAlterConfigs as IncrementalAlterConfigs
    from broker.kafka.init_producer_id import InitProducerId as InitProducerId
    from broker.kafka.join_group import JoinGroup as JoinGroup
    from broker.kafka.leave_group import LeaveGroup as LeaveGroup
    from broker.kafka.list_config_resources import ListConfigResources as ListConfigResources
    from broker.kafka.list_groups import ListGroups as ListGroups
    from broker.kafka.list_offsets import ListOffsets as ListOffsets
    from broker.kafka.list_partition_reassignments import ListPartitionReassignments as ListPartitionReassignments
    from broker.kafka.list_transactions import ListTransactions as ListTransactions
    from broker.kafka.metadata import Metadata as Metadata
    from broker.kafka.offset_commit import OffsetCommit as OffsetCommit
    from broker.kafka.offset_delete import OffsetDelete as OffsetDelete
    from broker.kafka.offset_fetch import OffsetFetch as OffsetFetch
    from broker.kafka.offset_for_leader_epoch import OffsetForLeaderEpoch as OffsetForLeaderEpoch
    from broker.kafka.produce import Produce as Produce
    from broker.kafka.raft_voters import RaftVoters as RaftVoters
    from broker.kafka.sasl import sasl_apis as sasl_apis
    from broker.kafka.scram_credentials import scram_credential_apis as scram_credential_apis
    from broker.kafka.sync_group import SyncGroup as SyncGroup
    from broker.kafka.txn_offset_commit import TxnOffsetCommit as TxnOffsetCommit
    from broker.kafka.unregister_broker import UnregisterBroker as UnregisterBroker
    from broker.kafka.update_features import UpdateFeatures as UpdateFeatures
    from broker.kafka.write_txn_markers import WriteTxnMarkers as WriteTxnMarkers
    from broker.rpc.describing_configs import DescribingConfigs as DescribingConfigs

_ELSEWHERE = {
    "acl_apis": "broker.kafka.acls",
    "client_quota_apis": "broker.kafka.client_quotas",
    "sasl_apis": "broker.kafka.sasl",
    "scram_credential_apis": "broker.kafka.scram_credentials",
    "DescribingConfigs": "broker.rpc.describing_configs",
}
_WORD_WITHIN = re.compile(r"(?<!^)(?=[A-Z])")


def __getattr__(name: str) -> Any:
    home = _ELSEWHERE.get(name) or f"broker.kafka.{_WORD_WITHIN.sub('_', name).lower()}"
    try:
        value = globals()[name] = getattr(import_module(home), name)
    except ModuleNotFoundError as error:
        if error.name != home:
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return value
