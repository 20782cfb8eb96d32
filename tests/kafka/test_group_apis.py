"""The group APIs over the wire: bytes in, bytes out, through handlers, shards and cores, on virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar
from uuid import UUID

import pytest

from broker.coordinator.coordinators import Coordinators
from broker.coordinator.finding import CoordinatorKind
from broker.coordinator.groups.codec import GroupRecordCodec
from broker.coordinator.groups.commands import Command
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.core import GroupCore
from broker.coordinator.groups.records import GroupsRecord
from broker.coordinator.shard import Shard
from broker.kafka.api import Api, ApiKey, Request
from broker.kafka.delete_groups import DeleteGroups
from broker.kafka.describe_groups import DescribeGroups
from broker.kafka.endpoints import AdvertisedEndpoint
from broker.kafka.find_coordinator import FindCoordinator
from broker.kafka.heartbeat import Heartbeat
from broker.kafka.join_group import JoinGroup
from broker.kafka.leave_group import LeaveGroup
from broker.kafka.list_groups import ListGroups
from broker.kafka.messages import (
    delete_groups,
    describe_groups,
    find_coordinator,
    heartbeat,
    join_group,
    leave_group,
    list_groups,
    offset_commit,
    offset_delete,
    offset_fetch,
    sync_group,
)
from broker.kafka.offset_commit import OffsetCommit
from broker.kafka.offset_delete import OffsetDelete
from broker.kafka.offset_fetch import OffsetFetch
from broker.kafka.schema import Structure, decode, encode
from broker.kafka.sync_group import SyncGroup
from broker.metadata.image import MetadataImage
from broker.metadata.records import MetadataRecord, PartitionRecord, TopicRecord
from broker.rpc.groups_service import SERVICE, GroupsService
from broker.rpc.methods import full_name
from kraftpy.error_codes import class_for, code_of
from kraftpy.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupIdNotFoundError,
    GroupSubscribedToTopicError,
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    InvalidCommitOffsetSizeError,
    InvalidGroupIdError,
    InvalidRequestError,
    KraftpyError,
    MemberIdRequiredError,
    NonEmptyGroupError,
    NotCoordinatorError,
    RebalanceInProgressError,
    RecordTooLargeError,
    UnknownMemberIdError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
from kraftpy.pb.groups_pb2 import ListGroupsResponse
from kraftpy.runtime.ports import Address, FileSlice
from simulation.clock import SimulatedClock
from simulation.loop import Loop
from tests.coordinator.counters import MemoryLog
from tests.coordinator.groups.stage import subscription

A = TypeVar("A", bound=Structure)
TOPIC_ID = UUID(int=7)
GROUP = "g"


class Node:
    """One broker that coordinates everything, as its handlers see it."""

    def __init__(self, loop: Loop, log: MemoryLog) -> None:
        self.log = log
        self.coordinator: int | KraftpyError = 1
        self.clock = clock = SimulatedClock(loop, loop.world)
        core = GroupCore(GroupConfig(initial_rebalance_delay_ms=0), Random(1))
        self.groups: Coordinators[Command, GroupsRecord] = Coordinators(
            "__consumer_offsets", lambda: 1, lambda *_: core, GroupRecordCodec, lambda *_: log, clock, _perform
        )
        self.shard: Shard[Command, GroupsRecord] = Shard(core, GroupRecordCodec(), log, clock, _perform)
        self.groups._shards[0] = (1, self.shard)
        records: list[MetadataRecord] = [TopicRecord("t", TOPIC_ID), *(_partition(index) for index in range(2))]
        self.image = MetadataImage.EMPTY.apply(records, 3, 1)[0]
        apis = [
            FindCoordinator(self._find, lambda broker_id: AdvertisedEndpoint(broker_id, "host", 9092)).api(),
            *(each(self.groups).api() for each in (JoinGroup, SyncGroup, Heartbeat, LeaveGroup)),
            *(each(self.groups).api() for each in (DescribeGroups, ListGroups, DeleteGroups)),
            *(each(self.groups, lambda: self.image).api() for each in (OffsetCommit, OffsetFetch, OffsetDelete)),
        ]
        self.apis: dict[ApiKey, Api] = {api.key: api for api in apis}

    def new_shard(self) -> Shard[Command, GroupsRecord]:
        """With a log of its own."""
        return Shard(GroupCore(GroupConfig(), Random(1)), GroupRecordCodec(), MemoryLog(), self.clock, _perform)

    async def _find(self, kind: CoordinatorKind, key: str) -> int:
        if isinstance(self.coordinator, KraftpyError):
            raise self.coordinator
        return self.coordinator

    async def start(self) -> None:
        self.shard.start()
        await asyncio.sleep(0.01)

    async def call(self, key: ApiKey, version: int, request: Structure) -> Any:
        api = self.apis[key]
        assert api.response is not None
        flexible = version >= api.flexible_from
        body = memoryview(bytes(encode(request, version, flexible=flexible)))
        parts = await api.handler(Request(version, 1, "client", Address("10.0.0.9", 5), body))
        data = b"".join(bytes(part) for part in parts if not isinstance(part, FileSlice))
        return decode(api.response, data, version, flexible=flexible)


async def _perform(shard: Any, effect: Any) -> None:
    raise AssertionError("groups have no effects")


def _partition(index: int) -> PartitionRecord:
    return PartitionRecord(TOPIC_ID, index, replicas=(1,), isr=(1,), leader=1, leader_epoch=0, partition_epoch=0)


def story(tell: Callable[[Node], Awaitable[None]], log: MemoryLog | None = None) -> None:
    loop = Loop(1, time_limit_ms=1_000_000)

    async def run() -> None:
        node = Node(loop, log or MemoryLog())
        await node.start()
        await tell(node)
        node.groups.stop()

    try:
        loop.run_until_complete(run())
    finally:
        loop.shutdown()


def join(member_id: str = "", version: int = 9, **changes: Any) -> join_group.JoinGroupRequest:
    values: dict[str, Any] = {
        "group_id": GROUP,
        "session_timeout_ms": 10_000,
        "rebalance_timeout_ms": 20_000,
        "member_id": member_id,
        "protocol_type": "consumer",
        "protocols": (join_group.JoinGroupProtocol(name="range", metadata=subscription(["t"])),),
        **changes,
    }
    return join_group.JoinGroupRequest(**values)


def sync(joined: Any, version: int = 5, **changes: Any) -> sync_group.SyncGroupRequest:
    values: dict[str, Any] = {
        "group_id": GROUP,
        "generation_id": joined.generation_id,
        "member_id": joined.member_id,
        "protocol_type": "consumer",
        "protocol_name": joined.protocol_name,
        "assignments": tuple(
            sync_group.SyncGroupAssignment(member_id=each.member_id, assignment=b"mine") for each in joined.members
        ),
        **changes,
    }
    return sync_group.SyncGroupRequest(**values)


async def member(node: Node, join_version: int = 9, sync_version: int = 5) -> Any:
    """The only member of a stable group."""
    joined = await node.call(ApiKey.JOIN_GROUP, join_version, join())
    if joined.error == code_of(MemberIdRequiredError):
        joined = await node.call(ApiKey.JOIN_GROUP, join_version, join(joined.member_id))
    assert joined.error == 0 and joined.leader == joined.member_id
    synced = await node.call(ApiKey.SYNC_GROUP, sync_version, sync(joined))
    assert synced.error == 0 and bytes(synced.assignment) == b"mine"
    return joined


def committed(partition: int, offset: int, **changes: Any) -> offset_commit.OffsetCommitPartition:
    return offset_commit.OffsetCommitPartition(partition=partition, offset=offset, metadata="note", **changes)


def commit(*partitions: Any, **changes: Any) -> offset_commit.OffsetCommitRequest:
    topic = offset_commit.OffsetCommitTopic(
        name=changes.pop("name", "t"), topic_id=changes.pop("topic_id", TOPIC_ID), partitions=partitions
    )
    values: dict[str, Any] = {
        "group_id": GROUP,
        "generation_or_epoch": -1,
        "member_id": "",
        "topics": (topic,),
        **changes,
    }
    return offset_commit.OffsetCommitRequest(**values)


def errors(answer: Any) -> list[type[KraftpyError] | None]:
    codes = [each.error for topic in answer.topics for each in topic.partitions]
    return [class_for(code) if code else None for code in codes]


@pytest.mark.parametrize("version", range(10))
def test_a_member_of_every_version(version: int) -> None:
    async def tell(node: Node) -> None:
        joined = await member(node, version, min(version, 5))
        key = {"group_id": GROUP, "member_id": joined.member_id, "generation_id": joined.generation_id}
        beat = await node.call(ApiKey.HEARTBEAT, min(version, 4), heartbeat.HeartbeatRequest(**key))
        assert beat.error == 0
        stale = heartbeat.HeartbeatRequest(**{**key, "generation_id": 9})
        assert (await node.call(ApiKey.HEARTBEAT, min(version, 4), stale)).error == code_of(IllegalGenerationError)
        leaving = leave_group.LeaveGroupRequest(
            group_id=GROUP,
            member_id=joined.member_id,
            members=(leave_group.LeavingMember(member_id=joined.member_id, group_instance_id=None),),
        )
        assert (await node.call(ApiKey.LEAVE_GROUP, min(version, 5), leaving)).error == 0
        again = await node.call(ApiKey.LEAVE_GROUP, min(version, 5), leaving)
        refusals = [each.error for each in again.members] if version >= 3 else [again.error]
        assert refusals == [code_of(UnknownMemberIdError)]

    story(tell)


@pytest.mark.parametrize("version", range(6))
def test_leaving_a_group_that_is_not_there(version: int) -> None:
    """Each member is told so, as in Kafka; the request as a whole is in order."""

    async def tell(node: Node) -> None:
        members = tuple(leave_group.LeavingMember(member_id=each, group_instance_id="i") for each in "ab")
        leaving = leave_group.LeaveGroupRequest(group_id="none", member_id="a", members=members)
        answer = await node.call(ApiKey.LEAVE_GROUP, version, leaving)
        unknown = code_of(UnknownMemberIdError)
        if version < 3:
            assert answer.error == unknown
        else:
            told = [(each.member_id, each.group_instance_id, each.error) for each in answer.members]
            assert (answer.error, told) == (0, [("a", "i", unknown), ("b", "i", unknown)])
        nameless = leave_group.LeaveGroupRequest(group_id="", member_id="a", members=members)
        assert (await node.call(ApiKey.LEAVE_GROUP, version, nameless)).error == code_of(InvalidGroupIdError)

    story(tell)


@pytest.mark.parametrize("version, protocol", [(0, ""), (6, ""), (7, None), (9, None)])
def test_refusals_of_a_join(version: int, protocol: str | None) -> None:
    async def tell(node: Node) -> None:
        refused = await node.call(ApiKey.JOIN_GROUP, version, join("stranger"))
        assert refused.error == code_of(UnknownMemberIdError) and refused.member_id == ""
        assert refused.protocol_name == protocol
        nameless = await node.call(ApiKey.JOIN_GROUP, version, join(group_id=""))
        assert nameless.error == code_of(InvalidGroupIdError)

    story(tell)


def test_two_members_through_a_rebalance() -> None:
    async def tell(node: Node) -> None:
        old = await member(node)
        joining = asyncio.ensure_future(node.call(ApiKey.JOIN_GROUP, 3, join()))
        await asyncio.sleep(1)
        assert not joining.done()
        again = await node.call(ApiKey.JOIN_GROUP, 9, join(old.member_id))
        new = await joining
        assert again.generation_id == new.generation_id == 2 and len(again.members) == 2
        waiting = asyncio.ensure_future(node.call(ApiKey.SYNC_GROUP, 3, sync(new)))
        assert (await node.call(ApiKey.SYNC_GROUP, 5, sync(again))).protocol_name == "range"
        assert bytes((await waiting).assignment) == b"mine"

    story(tell)


def test_a_sync_that_does_not_name_the_protocol() -> None:
    async def tell(node: Node) -> None:
        joined = await member(node)
        answer = await node.call(ApiKey.SYNC_GROUP, 5, sync(joined, protocol_name=None))
        assert answer.error == code_of(InconsistentGroupProtocolError)
        assert (await node.call(ApiKey.SYNC_GROUP, 4, sync(joined, protocol_name=None))).error == 0

    story(tell)


@pytest.mark.parametrize("version", range(2, 11))
def test_commits_of_every_version(version: int) -> None:
    async def tell(node: Node) -> None:
        answer = await node.call(ApiKey.OFFSET_COMMIT, version, commit(committed(0, 5), committed(2, 5)))
        assert errors(answer) == [None, UnknownTopicOrPartitionError]
        other = commit(committed(0, 5), name="none", topic_id=UUID(int=8))
        unknown = UnknownTopicIdError if version >= 10 else UnknownTopicOrPartitionError
        assert errors(await node.call(ApiKey.OFFSET_COMMIT, version, other)) == [unknown]
        gone = commit(committed(0, 5), group_id="none", generation_or_epoch=3, member_id="a")
        missing = GroupIdNotFoundError if version >= 9 else IllegalGenerationError
        assert errors(await node.call(ApiKey.OFFSET_COMMIT, version, gone)) == [missing]

    story(tell)


@pytest.mark.parametrize("version", range(1, 11))
def test_offsets_of_every_version(version: int) -> None:
    async def tell(node: Node) -> None:
        await node.call(ApiKey.OFFSET_COMMIT, 10, commit(committed(0, 5, leader_epoch=3)))
        request = offset_fetch.OffsetFetchRequest(
            group_id=GROUP,
            topics=(offset_fetch.OffsetFetchTopic(name="t", partitions=(0, 1)),),
            groups=(
                offset_fetch.OffsetFetchGroup(
                    group_id=GROUP,
                    topics=(offset_fetch.OffsetFetchGroupTopic(name="t", topic_id=TOPIC_ID, partitions=(0, 1)),),
                ),
                offset_fetch.OffsetFetchGroup(group_id="none", topics=None),
                offset_fetch.OffsetFetchGroup(group_id=GROUP, topics=None),
            ),
        )
        answer = await node.call(ApiKey.OFFSET_FETCH, version, request)
        group = answer.groups[0] if version >= 8 else answer
        (topic,) = group.topics
        assert [each.offset for each in topic.partitions] == [5, -1]
        assert topic.partitions[0].metadata == "note"
        assert topic.partitions[0].leader_epoch == (3 if version >= 5 else -1)
        if version >= 8:
            assert answer.groups[1].topics == () and answer.groups[1].error == 0
            assert [each.offset for each in answer.groups[2].topics[0].partitions] == [5]
        elif version >= 2:
            everything = offset_fetch.OffsetFetchRequest(group_id=GROUP, topics=None)
            answer = await node.call(ApiKey.OFFSET_FETCH, version, everything)
            assert [each.partition for each in answer.topics[0].partitions] == [0]

    story(tell)


@pytest.mark.parametrize("version", range(1, 11))
def test_a_place_that_is_named_again_is_told_once(version: int) -> None:
    async def tell(node: Node) -> None:
        await node.call(ApiKey.OFFSET_COMMIT, 10, commit(committed(0, 5), committed(1, 6)))
        named = [(0, 1, 0), (1,), (0,)]
        topics = tuple(offset_fetch.OffsetFetchTopic(name="t", partitions=each) for each in named)
        in_group = tuple(
            offset_fetch.OffsetFetchGroupTopic(name="t", topic_id=TOPIC_ID, partitions=each) for each in named
        )
        groups = (offset_fetch.OffsetFetchGroup(group_id=GROUP, topics=in_group),)
        request = offset_fetch.OffsetFetchRequest(group_id=GROUP, topics=topics, groups=groups)
        answer = await node.call(ApiKey.OFFSET_FETCH, version, request)
        (topic,) = (answer.groups[0] if version >= 8 else answer).topics
        assert [(each.partition, each.offset) for each in topic.partitions] == [(0, 5), (1, 6)]

    story(tell)


def test_a_topic_id_that_nobody_knows() -> None:
    async def tell(node: Node) -> None:
        topics = (offset_fetch.OffsetFetchGroupTopic(topic_id=UUID(int=9), partitions=(0,)),)
        group = offset_fetch.OffsetFetchGroup(group_id=GROUP, topics=topics)
        answer = await node.call(ApiKey.OFFSET_FETCH, 10, offset_fetch.OffsetFetchRequest(groups=(group,)))
        assert errors(answer.groups[0]) == [UnknownTopicIdError]

    story(tell)


@pytest.mark.parametrize("version", [1, 2, 8])
def test_offsets_that_another_broker_keeps(version: int) -> None:
    async def tell(node: Node) -> None:
        node.groups.left(0)
        request = offset_fetch.OffsetFetchRequest(
            group_id=GROUP,
            topics=(offset_fetch.OffsetFetchTopic(name="t", partitions=(0,)),),
            groups=(offset_fetch.OffsetFetchGroup(group_id=GROUP, topics=None),),
        )
        answer = await node.call(ApiKey.OFFSET_FETCH, version, request)
        if version == 1:
            assert errors(answer) == [NotCoordinatorError]
        else:
            assert (answer.groups[0] if version >= 8 else answer).error == code_of(NotCoordinatorError)
        assert errors(await node.call(ApiKey.OFFSET_COMMIT, 2, commit(committed(0, 1)))) == [NotCoordinatorError]

    story(tell)


@pytest.mark.parametrize("version", range(1, 11))
def test_offsets_while_too_few_replicas_hold_what_was_committed(version: int) -> None:
    """Java's consumers before 3.9 end with COORDINATOR_NOT_AVAILABLE; Kafka tells them NOT_COORDINATOR."""

    async def tell(node: Node) -> None:
        node.log.commits_at_once = False
        committing = asyncio.ensure_future(node.call(ApiKey.OFFSET_COMMIT, 8, commit(committed(0, 5))))
        await asyncio.sleep(0.01)
        request = offset_fetch.OffsetFetchRequest(
            group_id=GROUP,
            topics=(offset_fetch.OffsetFetchTopic(name="t", partitions=(0,)),),
            groups=(offset_fetch.OffsetFetchGroup(group_id=GROUP, topics=None),),
        )
        answer = await node.call(ApiKey.OFFSET_FETCH, version, request)
        if version == 1:
            assert errors(answer) == [NotCoordinatorError]
        else:
            assert (answer.groups[0] if version >= 8 else answer).error == code_of(NotCoordinatorError)
        assert errors(await committing) == [CoordinatorNotAvailableError]

    story(tell)


def test_a_commit_too_large_for_a_batch() -> None:
    async def tell(node: Node) -> None:
        node.log.refusal = RecordTooLargeError("too large")
        answer = await node.call(ApiKey.OFFSET_COMMIT, 8, commit(committed(0, 1), committed(7, 1)))
        assert errors(answer) == [InvalidCommitOffsetSizeError, UnknownTopicOrPartitionError]

    story(tell)


@pytest.mark.parametrize("version", range(7))
def test_describing_in_every_version(version: int) -> None:
    async def tell(node: Node) -> None:
        joined = await member(node)
        request = describe_groups.DescribeGroupsRequest(groups=(GROUP, "none"), include_authorized_operations=True)
        known, unknown = (await node.call(ApiKey.DESCRIBE_GROUPS, version, request)).groups
        assert (known.state, known.protocol_type, known.protocol) == ("Stable", "consumer", "range")
        (described,) = known.members
        assert (described.member_id, described.client_id) == (joined.member_id, "client")
        assert described.client_host == "/10.0.0.9" and bytes(described.assignment) == b"mine"
        assert unknown.state == "Dead"
        assert unknown.error == (code_of(GroupIdNotFoundError) if version >= 6 else 0)

    story(tell)


@pytest.mark.parametrize("version", range(6))
def test_listing_in_every_version(version: int) -> None:
    async def tell(node: Node) -> None:
        await member(node)
        await node.call(ApiKey.OFFSET_COMMIT, 8, commit(committed(0, 5), group_id="h"))
        states = ("Stable",) if version >= 4 else ()
        types = ("classic",) if version >= 5 else ()
        request = list_groups.ListGroupsRequest(states=states, types=types)
        answer = await node.call(ApiKey.LIST_GROUPS, version, request)
        assert [each.group_id for each in answer.groups] == (["g"] if version >= 4 else ["g", "h"])

    story(tell)


def test_listing_while_a_coordinator_loads() -> None:
    async def tell(node: Node) -> None:
        node.shard._is_active = False
        answer = await node.call(ApiKey.LIST_GROUPS, 5, list_groups.ListGroupsRequest())
        assert answer.error == code_of(CoordinatorLoadInProgressError)
        request = heartbeat.HeartbeatRequest(group_id=GROUP, generation_id=1, member_id="m")
        assert (await node.call(ApiKey.HEARTBEAT, 4, request)).error == 0

    story(tell)


@pytest.mark.parametrize("version", range(6))
def test_a_sync_while_a_coordinator_loads(version: int) -> None:
    """Java's consumers end with COORDINATOR_LOAD_IN_PROGRESS here; upon a rebalance they join again."""

    async def tell(node: Node) -> None:
        joined = await member(node)
        node.shard._is_active = False
        answer = await node.call(ApiKey.SYNC_GROUP, version, sync(joined))
        assert (answer.error, bytes(answer.assignment)) == (code_of(RebalanceInProgressError), b"")

    story(tell)


@pytest.mark.parametrize("comes_back", [False, True])
def test_listing_while_a_coordinator_moves(comes_back: bool) -> None:
    """As in Kafka, its next node lists what it has; where that is this one again, it has to load first."""

    async def tell(node: Node) -> None:
        other, again = node.new_shard(), node.new_shard()
        node.groups._shards[1] = (1, other)
        other.start()
        node.log.commits_at_once = False
        committing = asyncio.ensure_future(node.call(ApiKey.OFFSET_COMMIT, 8, commit(committed(0, 5), group_id="h")))
        await asyncio.sleep(0.01)
        service = GroupsService(node.groups, node._find, lambda: node.image)
        by_sdk = service.methods().unary[full_name(SERVICE, "ListGroups")](b"")
        listing = asyncio.gather(node.call(ApiKey.LIST_GROUPS, 5, list_groups.ListGroupsRequest()), by_sdk)
        await asyncio.sleep(0.01)
        node.groups.left(1)
        if comes_back:
            node.groups._shards[1] = (2, again)
        node.log.commit()
        wire, data = await listing
        expected = (code_of(CoordinatorLoadInProgressError), []) if comes_back else (0, ["h"])
        for answer in (wire, ListGroupsResponse.FromString(data)):
            assert (answer.error, [each.group_id for each in answer.groups]) == expected
        await committing

    story(tell)


@pytest.mark.parametrize("version", range(3))
def test_deleting_groups(version: int) -> None:
    async def tell(node: Node) -> None:
        await member(node)
        await node.call(ApiKey.OFFSET_COMMIT, 8, commit(committed(0, 5), group_id="h"))
        request = delete_groups.DeleteGroupsRequest(groups=("g", "h", "none", "h"))
        answer = await node.call(ApiKey.DELETE_GROUPS, version, request)
        assert [(each.group_id, each.error) for each in answer.results] == [
            ("g", code_of(NonEmptyGroupError)),
            ("h", 0),
            ("none", code_of(GroupIdNotFoundError)),
        ]

    story(tell)


def test_deleting_offsets() -> None:
    async def tell(node: Node) -> None:
        await member(node)
        partitions = tuple(offset_delete.OffsetDeletePartition(partition=index) for index in (0, 9))
        topics = (offset_delete.OffsetDeleteTopic(name="t", partitions=partitions),)
        request = offset_delete.OffsetDeleteRequest(group_id=GROUP, topics=topics)
        answer = await node.call(ApiKey.OFFSET_DELETE, 0, request)
        assert errors(answer) == [GroupSubscribedToTopicError, UnknownTopicOrPartitionError]
        absent = offset_delete.OffsetDeleteRequest(group_id="none", topics=topics)
        assert (await node.call(ApiKey.OFFSET_DELETE, 0, absent)).error == code_of(GroupIdNotFoundError)
        nameless = offset_delete.OffsetDeleteRequest(group_id="", topics=topics)
        assert (await node.call(ApiKey.OFFSET_DELETE, 0, nameless)).error == code_of(InvalidGroupIdError)

    story(tell)


@pytest.mark.parametrize("version", range(7))
def test_finding_a_coordinator(version: int) -> None:
    async def ask(node: Node, key_type: int) -> Any:
        request = find_coordinator.FindCoordinatorRequest(key=GROUP, key_type=key_type, keys=(GROUP,))
        answer = await node.call(ApiKey.FIND_COORDINATOR, version, request)
        return answer.coordinators[0] if version >= 4 else answer

    async def tell(node: Node) -> None:
        found = await ask(node, 0)
        assert (found.error, found.node_id, found.host, found.port) == (0, 1, "host", 9092)
        node.coordinator = CoordinatorNotAvailableError("start one more broker")
        missing = await ask(node, 0)
        assert (missing.error, missing.node_id, missing.port) == (code_of(CoordinatorNotAvailableError), -1, -1)
        if version >= 1:
            assert missing.error_message == "start one more broker"
            assert (await ask(node, 2)).error == code_of(InvalidRequestError)

    story(tell)


def test_a_group_after_a_failover() -> None:
    log = MemoryLog()
    members: list[Any] = []

    async def first(node: Node) -> None:
        members.append(await member(node))
        node.groups.left(0)
        assert (await node.call(ApiKey.SYNC_GROUP, 5, sync(members[0]))).error == code_of(NotCoordinatorError)

    async def second(node: Node) -> None:
        assert bytes((await node.call(ApiKey.SYNC_GROUP, 5, sync(members[0]))).assignment) == b"mine"
        await asyncio.sleep(11)
        request = describe_groups.DescribeGroupsRequest(groups=(GROUP,))
        assert (await node.call(ApiKey.DESCRIBE_GROUPS, 6, request)).groups[0].state == "Empty"

    story(first, log)
    story(second, log)
