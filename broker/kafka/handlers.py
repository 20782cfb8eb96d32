"""Every handler of the Kafka listener by its name, loaded when it is first asked for.

A node serves 57 APIs, and most clients need ten. All of them at once cost a quarter of a node's start and a tenth of
its memory; a single one 1 to 4 ms.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from broker.kafka.acls import acl_apis
    from broker.kafka.add_offsets_to_txn import AddOffsetsToTxn
    from broker.kafka.add_partitions_to_txn import AddPartitionsToTxn
    from broker.kafka.alter_configs import AlterConfigs
    from broker.kafka.alter_partition_reassignments import AlterPartitionReassignments
    from broker.kafka.alter_replica_log_dirs import AlterReplicaLogDirs
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
    from broker.kafka.produce import Produce
    from broker.kafka.raft_voters import RaftVoters
    from broker.kafka.sasl import sasl_apis
    from broker.kafka.scram_credentials import scram_credential_apis
    from broker.kafka.sync_group import SyncGroup
    from broker.kafka.txn_offset_commit import TxnOffsetCommit
    from broker.kafka.unregister_broker import UnregisterBroker
    from broker.kafka.update_features import UpdateFeatures
    from broker.kafka.write_txn_markers import WriteTxnMarkers
    from broker.rpc.describing_configs import DescribingConfigs

__all__ = [
    "AddOffsetsToTxn",
    "AddPartitionsToTxn",
    "AlterConfigs",
    "AlterPartitionReassignments",
    "AlterReplicaLogDirs",
    "ConsumerGroupDescribe",
    "ConsumerGroupHeartbeat",
    "CreatePartitions",
    "CreateTopics",
    "DeleteGroups",
    "DeleteRecords",
    "DeleteTopics",
    "DescribeCluster",
    "DescribeConfigs",
    "DescribeGroups",
    "DescribeLogDirs",
    "DescribeProducers",
    "DescribeQuorum",
    "DescribeTopicPartitions",
    "DescribeTransactions",
    "DescribingConfigs",
    "ElectLeaders",
    "EndTxn",
    "Fetch",
    "FindCoordinator",
    "Heartbeat",
    "IncrementalAlterConfigs",
    "InitProducerId",
    "JoinGroup",
    "LeaveGroup",
    "ListConfigResources",
    "ListGroups",
    "ListOffsets",
    "ListPartitionReassignments",
    "ListTransactions",
    "Metadata",
    "OffsetCommit",
    "OffsetDelete",
    "OffsetFetch",
    "OffsetForLeaderEpoch",
    "Produce",
    "RaftVoters",
    "SyncGroup",
    "TxnOffsetCommit",
    "UnregisterBroker",
    "UpdateFeatures",
    "WriteTxnMarkers",
    "acl_apis",
    "client_quota_apis",
    "sasl_apis",
    "scram_credential_apis",
]

_HOMES = {
    "acl_apis": "broker.kafka.acls",
    "AddOffsetsToTxn": "broker.kafka.add_offsets_to_txn",
    "AddPartitionsToTxn": "broker.kafka.add_partitions_to_txn",
    "AlterConfigs": "broker.kafka.alter_configs",
    "AlterPartitionReassignments": "broker.kafka.alter_partition_reassignments",
    "AlterReplicaLogDirs": "broker.kafka.alter_replica_log_dirs",
    "client_quota_apis": "broker.kafka.client_quotas",
    "ConsumerGroupDescribe": "broker.kafka.consumer_group_describe",
    "ConsumerGroupHeartbeat": "broker.kafka.consumer_group_heartbeat",
    "CreatePartitions": "broker.kafka.create_partitions",
    "CreateTopics": "broker.kafka.create_topics",
    "DeleteGroups": "broker.kafka.delete_groups",
    "DeleteRecords": "broker.kafka.delete_records",
    "DeleteTopics": "broker.kafka.delete_topics",
    "DescribeCluster": "broker.kafka.describe_cluster",
    "DescribeConfigs": "broker.kafka.describe_configs",
    "DescribeGroups": "broker.kafka.describe_groups",
    "DescribeLogDirs": "broker.kafka.describe_log_dirs",
    "DescribeProducers": "broker.kafka.describe_producers",
    "DescribeQuorum": "broker.kafka.describe_quorum",
    "DescribeTopicPartitions": "broker.kafka.describe_topic_partitions",
    "DescribeTransactions": "broker.kafka.describe_transactions",
    "ElectLeaders": "broker.kafka.elect_leaders",
    "EndTxn": "broker.kafka.end_txn",
    "Fetch": "broker.kafka.fetch",
    "FindCoordinator": "broker.kafka.find_coordinator",
    "Heartbeat": "broker.kafka.heartbeat",
    "IncrementalAlterConfigs": "broker.kafka.incremental_alter_configs",
    "InitProducerId": "broker.kafka.init_producer_id",
    "JoinGroup": "broker.kafka.join_group",
    "LeaveGroup": "broker.kafka.leave_group",
    "ListConfigResources": "broker.kafka.list_config_resources",
    "ListGroups": "broker.kafka.list_groups",
    "ListOffsets": "broker.kafka.list_offsets",
    "ListPartitionReassignments": "broker.kafka.list_partition_reassignments",
    "ListTransactions": "broker.kafka.list_transactions",
    "Metadata": "broker.kafka.metadata",
    "OffsetCommit": "broker.kafka.offset_commit",
    "OffsetDelete": "broker.kafka.offset_delete",
    "OffsetFetch": "broker.kafka.offset_fetch",
    "OffsetForLeaderEpoch": "broker.kafka.offset_for_leader_epoch",
    "Produce": "broker.kafka.produce",
    "RaftVoters": "broker.kafka.raft_voters",
    "sasl_apis": "broker.kafka.sasl",
    "scram_credential_apis": "broker.kafka.scram_credentials",
    "SyncGroup": "broker.kafka.sync_group",
    "TxnOffsetCommit": "broker.kafka.txn_offset_commit",
    "UnregisterBroker": "broker.kafka.unregister_broker",
    "UpdateFeatures": "broker.kafka.update_features",
    "WriteTxnMarkers": "broker.kafka.write_txn_markers",
    "DescribingConfigs": "broker.rpc.describing_configs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
