"""ConsumerGroupHeartbeat and ConsumerGroupDescribe over the wire: bytes in, bytes out, in every version."""

from typing import Any, cast
from uuid import UUID

import pytest

from broker.coordinator.group_coordinators import KnownTopics
from broker.coordinator.groups.commands import CommitOffsetsInTransaction
from broker.coordinator.groups.core import GroupCore
from broker.coordinator.transactions.commands import TopicPartition
from broker.coordinator.transactions.service import TransactionService
from broker.kafka.api import ApiKey
from broker.kafka.consumer_group_describe import ConsumerGroupDescribe
from broker.kafka.consumer_group_heartbeat import ConsumerGroupHeartbeat
from broker.kafka.messages import txn_offset_commit
from broker.kafka.messages.consumer_group_describe import ConsumerGroupDescribeRequest
from broker.kafka.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest, HeartbeatTopic
from broker.kafka.txn_offset_commit import TxnOffsetCommit
from broker.metadata.features import GROUP_VERSION
from broker.metadata.records import FeatureLevelRecord
from broker.replication.verification import Transaction
from kraftpy.error_codes import code_of
from kraftpy.errors import (
    FencedMemberEpochError,
    GroupIdNotFoundError,
    IllegalGenerationError,
    InvalidGroupIdError,
    InvalidRequestError,
    KraftpyError,
    StaleMemberEpochError,
    UnknownMemberIdError,
    UnsupportedVersionError,
)
from tests.kafka.test_group_apis import GROUP, TOPIC_ID, Node, commit, committed, errors, story


def serve(node: Node, *, finalized: bool = True) -> None:
    """The two APIs, beside those that the node has."""
    node.image = node.image.apply([FeatureLevelRecord(GROUP_VERSION, int(finalized))], node.image.end_offset + 1, 1)[0]
    core: Any = node.shard.core
    assert isinstance(core, GroupCore)
    core._consumers._topics = KnownTopics(lambda: node.image)
    for handler in (ConsumerGroupHeartbeat, ConsumerGroupDescribe):
        api = handler(node.groups, lambda: node.image).api()
        node.apis[api.key] = api


def beat(member_id: str = "m", epoch: int = 0, **changes: Any) -> ConsumerGroupHeartbeatRequest:
    values: dict[str, Any] = {
        "group_id": GROUP,
        "member_id": member_id,
        "member_epoch": epoch,
        "instance_id": None,
        "rack_id": None,
        "rebalance_timeout_ms": 60_000 if epoch == 0 else -1,
        "subscribed_topics": ("t",) if epoch == 0 else None,
        "subscribed_regex": None,
        "server_assignor": None,
        "topic_partitions": (),
        **changes,
    }
    return ConsumerGroupHeartbeatRequest(**values)


async def ask(node: Node, request: ConsumerGroupHeartbeatRequest, version: int = 1) -> Any:
    return await node.call(ApiKey.CONSUMER_GROUP_HEARTBEAT, version, request)


@pytest.mark.parametrize("version", [0, 1])
def test_a_member_of_every_version(version: int) -> None:
    async def tell(node: Node) -> None:
        serve(node)
        joined = await ask(node, beat("" if version == 0 else "m"), version)
        assert (joined.error, joined.member_epoch, joined.heartbeat_interval_ms) == (0, 1, 5_000)
        assert [(each.topic_id, each.partitions) for each in joined.assignment.topic_partitions] == [(TOPIC_ID, (0, 1))]
        owned = (HeartbeatTopic(topic_id=TOPIC_ID, partitions=(0, 1)),)
        stays = await ask(node, beat(joined.member_id, 1, topic_partitions=owned), version)
        assert (stays.error, stays.member_epoch, stays.assignment) == (0, 1, None)
        described = await node.call(
            ApiKey.CONSUMER_GROUP_DESCRIBE,
            version,
            ConsumerGroupDescribeRequest(group_ids=(GROUP, "other", ""), include_authorized_operations=True),
        )
        group, other, nameless = described.groups
        assert nameless.error == code_of(InvalidGroupIdError)
        assert (group.state, group.group_epoch, group.assignment_epoch, group.assignor_name) == (
            "Stable",
            1,
            1,
            "uniform",
        )
        (member,) = group.members
        assert (member.client_id, member.client_host, member.subscribed_topics) == ("client", "/10.0.0.9", ("t",))
        assert member.assignment == member.target_assignment
        assert member.assignment.topic_partitions[0].topic_name == "t"
        assert member.member_type == (1 if version else -1)
        assert other.error == code_of(GroupIdNotFoundError)
        left = await ask(node, beat(joined.member_id, -1), version)
        assert (left.error, left.member_epoch) == (0, -1)

    story(tell)


def test_refusals() -> None:
    async def tell(node: Node) -> None:
        serve(node)
        for request, error in (
            (beat("m", 3), UnknownMemberIdError),
            (beat(""), InvalidRequestError),
            (beat("m", topic_partitions=(HeartbeatTopic(topic_id=None, partitions=(1,)),)), InvalidRequestError),
            (beat("m", topic_partitions=(HeartbeatTopic(topic_id=UUID(int=1), partitions=(1,)),)), InvalidRequestError),
        ):
            refused = await ask(node, request)
            assert refused.error == code_of(error) and refused.error_message
        assert (await ask(node, beat())).error == 0
        assert (await ask(node, beat("m", 9))).error == code_of(FencedMemberEpochError)
        stale = commit(committed(0, 5), member_id="m", generation_or_epoch=7)
        assert errors(await node.call(ApiKey.OFFSET_COMMIT, 9, stale)) == [StaleMemberEpochError]
        old = commit(committed(0, 5), member_id="m", generation_or_epoch=1)
        assert errors(await node.call(ApiKey.OFFSET_COMMIT, 8, old)) == [UnsupportedVersionError]
        assert errors(await node.call(ApiKey.OFFSET_COMMIT, 9, old)) == [None]

    story(tell)


class Transactional:
    """`TransactionService`, as far as offsets need it: every transaction may begin."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.offsets = self

    async def commit(self, transaction: Transaction, command: CommitOffsetsInTransaction) -> Any:
        return await self._node.groups.submit(command.group_id, command)

    def missing(self, partitions: object) -> dict[TopicPartition, KraftpyError]:
        return {}

    def topic_id(self, topic: str) -> UUID:
        return TOPIC_ID


@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_stale_member_is_told_in_a_transaction_what_producers_know(version: int) -> None:
    """Java's aborts then; upon STALE_MEMBER_EPOCH it could only be closed."""

    async def tell(node: Node) -> None:
        serve(node)
        node.apis[ApiKey.TXN_OFFSET_COMMIT] = TxnOffsetCommit(cast(TransactionService, Transactional(node))).api()
        assert (await ask(node, beat())).error == 0
        offset = txn_offset_commit.TxnOffsetCommitPartition(partition=0, offset=5, metadata=None)
        for epoch, error in ((7, IllegalGenerationError), (1, None)):
            request = txn_offset_commit.TxnOffsetCommitRequest(
                transactional_id="t",
                group_id=GROUP,
                producer_id=100,
                producer_epoch=0,
                generation=epoch,
                member_id="m",
                topics=(txn_offset_commit.TxnOffsetCommitTopic(name="t", partitions=(offset,)),),
            )
            assert errors(await node.call(ApiKey.TXN_OFFSET_COMMIT, version, request)) == [error]

    story(tell)


def test_older_clusters_have_no_such_groups() -> None:
    async def tell(node: Node) -> None:
        serve(node, finalized=False)
        assert (await ask(node, beat())).error == code_of(UnsupportedVersionError)

    story(tell)
