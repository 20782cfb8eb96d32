"""The rows whose messages are dataclasses, as the tests compare them."""

from typing import Any, cast

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.delete_groups import DeleteGroups
from broker.kafka.describe_groups import DescribeGroups
from broker.kafka.find_coordinator import FindCoordinator
from broker.kafka.heartbeat import Heartbeat
from broker.kafka.join_group import JoinGroup
from broker.kafka.leave_group import LeaveGroup
from broker.kafka.list_groups import ListGroups
from broker.kafka.messages import consumer_group_describe, consumer_group_heartbeat, metadata
from broker.kafka.offset_commit import OffsetCommit
from broker.kafka.offset_delete import OffsetDelete
from broker.kafka.offset_fetch import OffsetFetch
from broker.kafka.sync_group import SyncGroup

_nothing: Any = cast(Any, None)


async def _nobody(request: Any, header: Request) -> Any:
    raise AssertionError("nobody answers here")


SCHEMA_APIS: list[Api] = [
    message_api(
        ApiKey.METADATA,
        (metadata.VERSION_MIN, metadata.VERSION_MAX),
        metadata.FLEXIBLE_FROM,
        metadata.MetadataRequest,
        metadata.MetadataResponse,
        _nobody,
    ),
    OffsetCommit(_nothing, _nothing).api(),
    OffsetFetch(_nothing, _nothing).api(),
    FindCoordinator(_nothing, _nothing).api(),
    JoinGroup(_nothing).api(),
    Heartbeat(_nothing).api(),
    LeaveGroup(_nothing).api(),
    SyncGroup(_nothing).api(),
    DescribeGroups(_nothing).api(),
    ListGroups(_nothing).api(),
    DeleteGroups(_nothing).api(),
    OffsetDelete(_nothing, _nothing).api(),
    message_api(
        ApiKey.CONSUMER_GROUP_HEARTBEAT,
        (consumer_group_heartbeat.VERSION_MIN, consumer_group_heartbeat.VERSION_MAX),
        consumer_group_heartbeat.FLEXIBLE_FROM,
        consumer_group_heartbeat.ConsumerGroupHeartbeatRequest,
        consumer_group_heartbeat.ConsumerGroupHeartbeatResponse,
        _nobody,
    ),
    message_api(
        ApiKey.CONSUMER_GROUP_DESCRIBE,
        (consumer_group_describe.VERSION_MIN, consumer_group_describe.VERSION_MAX),
        consumer_group_describe.FLEXIBLE_FROM,
        consumer_group_describe.ConsumerGroupDescribeRequest,
        consumer_group_describe.ConsumerGroupDescribeResponse,
        _nobody,
    ),
]
