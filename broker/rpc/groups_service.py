"""The Groups service: groups and their offsets, for the SDK. Requests become commands of the coordinators, one to one.

| method | answered by |
|---|---|
| FindCoordinator | any node, from the metadata; it has the internal topic made where that is missing |
| ListGroups | the node that is asked, of the groups that it coordinates |
| everything else | the group's coordinator; NOT_COORDINATOR by others |
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from broker.coordinator.coordinators import Coordinators
from broker.coordinator.finding import CoordinatorKind
from broker.coordinator.groups import commands
from broker.coordinator.groups.commands import Command, MemberKey, ProtocolOffer
from broker.coordinator.groups.consumer_records import Partitions, gathered
from broker.coordinator.groups.records import GroupsRecord
from broker.coordinator.groups.subscription import CONSUMER_PROTOCOL
from broker.metadata.features import GROUP_VERSION
from broker.metadata.image import MetadataImage
from broker.rpc.limits import check_count
from broker.rpc.many_names import told_in_turns
from broker.rpc.methods import unary
from kraftpy.client.assignors.model import Subscription
from kraftpy.client.assignors.protocol_codec import write_assignment, write_subscription
from kraftpy.client.values import TopicPartition
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import (
    CoordinatorNotAvailableError,
    GroupIdNotFoundError,
    InvalidCommitOffsetSizeError,
    InvalidRequestError,
    KraftpyError,
    MemberIdRequiredError,
    UnknownTopicOrPartitionError,
    UnsupportedVersionError,
)
from kraftpy.pb.groups_pb2 import (
    CommitOffsetsRequest,
    CommittedOffset,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    DeletedGroup,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
    DeleteOffsetsRequest,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
    FetchOffsetsRequest,
    FetchOffsetsResponse,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    GroupDescription,
    GroupHeartbeatRequest,
    GroupHeartbeatResponse,
    GroupListing,
    GroupMember,
    GroupMemberDescription,
    JoinedMember,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    ListGroupsRequest,
    ListGroupsResponse,
    OffsetResults,
    OffsetToCommit,
    OwnedPartitions,
    SyncGroupRequest,
    SyncGroupResponse,
    TopicPartitions,
)
from kraftpy.runtime.ports import Methods

SERVICE = "Groups"
CLIENT_HOST = ""
"""The transport does not tell whose call it is."""

Groups = Coordinators[Command, GroupsRecord]
Find = Callable[[CoordinatorKind, str], Awaitable[int]]
"""The broker that coordinates a key. Raises `KraftpyError`."""


class GroupsService:
    """See the module's docstring."""

    def __init__(self, groups: Groups, find: Find, image: Callable[[], MetadataImage]) -> None:
        self._groups = groups
        self._find_coordinator = find
        self._image = image

    def methods(self) -> Methods:
        return Methods(
            unary(
                SERVICE,
                {
                    "FindCoordinator": (FindCoordinatorRequest, self._find),
                    "JoinGroup": (JoinGroupRequest, self._join),
                    "SyncGroup": (SyncGroupRequest, self._sync),
                    "Heartbeat": (GroupHeartbeatRequest, self._beat),
                    "LeaveGroup": (LeaveGroupRequest, self._leave),
                    "ConsumerGroupHeartbeat": (ConsumerGroupHeartbeatRequest, self._consumer_beat),
                    "CommitOffsets": (CommitOffsetsRequest, self._commit),
                    "FetchOffsets": (FetchOffsetsRequest, self._fetch),
                    "DeleteOffsets": (DeleteOffsetsRequest, self._delete_offsets),
                    "ListGroups": (ListGroupsRequest, self._list),
                    "DescribeGroups": (DescribeGroupsRequest, self._describe_all),
                    "DeleteGroups": (DeleteGroupsRequest, self._delete_all),
                },
            ),
            {},
        )

    async def _find(self, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
        try:
            node_id = await self._find_coordinator(CoordinatorKind(request.type), request.key)
            address = self._image().grpc_address(node_id)
            if address is None:
                raise CoordinatorNotAvailableError(f"nobody knows where broker {node_id} takes calls")
        except KraftpyError as error:
            return FindCoordinatorResponse(node_id=-1, **refused(error))
        return FindCoordinatorResponse(node_id=node_id, host=address.host, port=address.port)

    # --- members -----------------------------------------------------------------------------------------------------

    async def _join(self, request: JoinGroupRequest) -> JoinGroupResponse:
        command = commands.JoinGroup(
            group_id=request.group_id,
            member=member_key(request.member),
            client_id=request.client_id,
            client_host=CLIENT_HOST,
            protocol_type=request.protocol_type,
            protocols=tuple(ProtocolOffer(each.name, each.metadata) for each in request.protocols),
            session_timeout_ms=request.session_timeout_ms,
            rebalance_timeout_ms=request.rebalance_timeout_ms,
            needs_member_id=True,
            skips_assignment=True,
            reason=request.reason,
        )
        try:
            answer = await self._groups.submit(request.group_id, command)
        except KraftpyError as error:
            return JoinGroupResponse(generation=-1, **refused(error))
        if isinstance(answer, commands.MemberIdAssigned):
            return JoinGroupResponse(
                member_id=answer.member_id, generation=-1, **refused(MemberIdRequiredError("join again with this id"))
            )
        assert isinstance(answer, commands.Joined)
        return JoinGroupResponse(
            member_id=answer.member_id,
            generation=answer.generation,
            protocol_type=answer.protocol_type or "",
            protocol=answer.protocol or "",
            leader_id=answer.leader_id,
            skip_assignment=answer.skip_assignment,
            members=[JoinedMember(member=_member(each.key), metadata=each.metadata) for each in answer.members],
        )

    async def _sync(self, request: SyncGroupRequest) -> SyncGroupResponse:
        command = commands.SyncGroup(
            request.group_id,
            member_key(request.member),
            request.generation,
            request.protocol_type or None,
            request.protocol or None,
            tuple((each.member_id, each.assignment) for each in request.assignments),
        )
        try:
            answer = await self._groups.submit(request.group_id, command)
        except KraftpyError as error:
            return SyncGroupResponse(**refused(error))
        assert isinstance(answer, commands.Synced)
        return SyncGroupResponse(
            protocol_type=answer.protocol_type or "", protocol=answer.protocol or "", assignment=answer.assignment
        )

    async def _beat(self, request: GroupHeartbeatRequest) -> GroupHeartbeatResponse:
        command = commands.Heartbeat(request.group_id, member_key(request.member), request.generation)
        try:
            await self._groups.submit(request.group_id, command)
        except KraftpyError as error:
            return GroupHeartbeatResponse(**refused(error))
        return GroupHeartbeatResponse()

    async def _leave(self, request: LeaveGroupRequest) -> LeaveGroupResponse:
        check_count(len(request.members), "members")
        command = commands.LeaveGroup(request.group_id, tuple(map(member_key, request.members)), request.reason)
        try:
            answer = await self._groups.submit(request.group_id, command)
        except KraftpyError as error:
            return LeaveGroupResponse(**refused(error))
        assert isinstance(answer, commands.MembersLeft)
        return LeaveGroupResponse(member_errors=_codes(answer.refusals))

    async def _consumer_beat(self, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse:
        try:
            if not self._image().features.get(GROUP_VERSION):
                raise UnsupportedVersionError(
                    "groups of the protocol consumer need the feature group.version=1: kraftpy cluster upgrade; until "
                    "then group_protocol=classic"
                )
            answer = await self._groups.submit(request.group_id, _consumer_heartbeat(request))
        except KraftpyError as error:
            return ConsumerGroupHeartbeatResponse(**refused(error))
        assert isinstance(answer, commands.ConsumerHeartbeatAnswer)
        assignment = None if answer.assignment is None else _owned_partitions(answer.assignment)
        return ConsumerGroupHeartbeatResponse(
            member_id=answer.member_id,
            member_epoch=answer.epoch,
            heartbeat_interval_ms=answer.heartbeat_interval_ms,
            assignment=assignment,
        )

    # --- offsets -----------------------------------------------------------------------------------------------------

    async def _commit(self, request: CommitOffsetsRequest) -> OffsetResults:
        check_count(len(request.offsets), "offsets")
        image = self._image()
        offsets = [offset_to_commit(image, each) for each in request.offsets]
        command = commands.CommitOffsets(
            request.group_id,
            member_key(request.member),
            request.generation,
            tuple(each for each in offsets if each is not None),
        )
        try:
            answer = await self._groups.submit(request.group_id, command)
        except InvalidRequestError as error:
            return OffsetResults(**refused(InvalidCommitOffsetSizeError(error.message)))
        except KraftpyError as error:
            return OffsetResults(**refused(error))
        assert isinstance(answer, commands.OffsetResults)
        return OffsetResults(errors=offset_codes(offsets, answer))

    async def _fetch(self, request: FetchOffsetsRequest) -> FetchOffsetsResponse:
        check_count(len(request.partitions), "partitions")
        image = self._image()
        wanted = [
            (each.topic, each.partition, None if (topic := image.topic(each.topic)) is None else topic.topic_id)
            for each in request.partitions
        ]
        command = commands.FetchOffsets(
            request.group_id,
            None if request.all else tuple(wanted),
            request.require_stable,
            request.member_id if request.HasField("member_id") else None,
            request.member_epoch,
        )
        try:
            answer = await self._groups.submit(request.group_id, command)
        except KraftpyError as error:
            return FetchOffsetsResponse(**refused(error))
        assert isinstance(answer, commands.FetchedOffsets)
        return FetchOffsetsResponse(
            offsets=[
                CommittedOffset(
                    topic=each.topic,
                    partition=each.partition,
                    offset=each.offset,
                    leader_epoch=each.leader_epoch,
                    metadata=each.metadata,
                    error=_code(each.refusal),
                )
                for each in answer.offsets
            ]
        )

    async def _delete_offsets(self, request: DeleteOffsetsRequest) -> OffsetResults:
        check_count(len(request.partitions), "partitions")
        image = self._image()
        places = [(each.topic, each.partition) for each in request.partitions]
        known = tuple(place for place in places if image.partition(*place) is not None)
        try:
            answer = await self._groups.submit(request.group_id, commands.DeleteOffsets(request.group_id, known))
        except KraftpyError as error:
            return OffsetResults(**refused(error))
        assert isinstance(answer, commands.OffsetResults)
        codes = dict(zip(known, _codes(answer.refusals), strict=True))
        missing = code_of(UnknownTopicOrPartitionError)
        return OffsetResults(errors=[codes.get(place, missing) for place in places])

    # --- administration ----------------------------------------------------------------------------------------------

    async def _list(self, request: ListGroupsRequest) -> ListGroupsResponse:
        command = commands.ListGroups(request.states, request.types)
        try:
            listings: list[commands.GroupListing] = await self._groups.listed(command)
        except KraftpyError as error:
            return ListGroupsResponse(**refused(error))
        return ListGroupsResponse(
            groups=[
                GroupListing(
                    group_id=each.group_id, protocol_type=each.protocol_type, state=each.state, type=each.type.value
                )
                for each in listings
            ]
        )

    async def _describe_all(self, request: DescribeGroupsRequest) -> DescribeGroupsResponse:
        check_count(len(request.group_ids), "groups")
        response, size_bytes = DescribeGroupsResponse(), 0
        described = told_in_turns(request.group_ids, str, self._describe, _refused, lambda: size_bytes)
        async for each in described:
            response.groups.append(each)
            size_bytes += each.ByteSize()
        return response

    async def _describe(self, group_id: str) -> GroupDescription:
        try:
            found = await self._groups.submit(group_id, commands.DescribeGroup(group_id))
        except GroupIdNotFoundError:
            return await self._describe_consumers(group_id)
        except KraftpyError as error:
            return _refused(group_id, error)
        assert isinstance(found, commands.GroupDescription)
        return GroupDescription(
            group_id=group_id,
            state=found.state,
            type=commands.GroupType.CLASSIC.value,
            protocol_type=found.protocol_type,
            protocol=found.protocol,
            members=[
                GroupMemberDescription(
                    member=_member(member.key),
                    client_id=member.client_id,
                    client_host=member.client_host,
                    metadata=member.metadata,
                    assignment=member.assignment,
                )
                for member in found.members
            ],
        )

    async def _describe_consumers(self, group_id: str) -> GroupDescription:
        """A group of the protocol consumer, in the same form."""
        try:
            found = await self._groups.submit(group_id, commands.DescribeConsumerGroup(group_id))
        except KraftpyError as error:
            return _refused(group_id, error)
        assert isinstance(found, commands.ConsumerGroupDescription)
        return GroupDescription(
            group_id=group_id,
            state=found.state,
            type=commands.GroupType.CONSUMER.value,
            protocol_type=CONSUMER_PROTOCOL,
            protocol=found.assignor,
            group_epoch=found.epoch,
            members=[
                GroupMemberDescription(
                    member=_member(MemberKey(each.member_id, each.member.instance_id)),
                    client_id=each.member.client_id,
                    client_host=each.member.client_host,
                    metadata=write_subscription(Subscription(each.member.topics)),
                    assignment=write_assignment(self._places(each.current.assigned)),
                    member_epoch=each.current.epoch,
                )
                for each in found.members
            ],
        )

    def _places(self, partitions: Partitions) -> list[TopicPartition]:
        """Topics that are gone have no name to be told by."""
        topics = ((self._image().topic_by_id(topic_id), each) for topic_id, each in partitions.items())
        return [TopicPartition(topic.name, index) for topic, each in topics if topic is not None for index in each]

    async def _delete_all(self, request: DeleteGroupsRequest) -> DeleteGroupsResponse:
        check_count(len(request.group_ids), "groups")
        deleted = await asyncio.gather(*[self._delete(group_id) for group_id in request.group_ids])
        return DeleteGroupsResponse(groups=deleted)

    async def _delete(self, group_id: str) -> DeletedGroup:
        try:
            await self._groups.submit(group_id, commands.DeleteGroup(group_id))
        except KraftpyError as error:
            return DeletedGroup(group_id=group_id, **refused(error))
        return DeletedGroup(group_id=group_id)


def _consumer_heartbeat(request: ConsumerGroupHeartbeatRequest) -> commands.ConsumerHeartbeat:
    """What is absent is as it was told before."""
    instance_id = request.instance_id if request.HasField("instance_id") else None
    return commands.ConsumerHeartbeat(
        group_id=request.group_id,
        member=MemberKey(request.member_id, instance_id),
        epoch=request.member_epoch,
        client_id=request.client_id,
        client_host=CLIENT_HOST,
        rack_id=request.rack if request.HasField("rack") else None,
        rebalance_timeout_ms=None if request.rebalance_timeout_ms == -1 else request.rebalance_timeout_ms,
        topics=tuple(sorted(request.subscribed.names)) if request.HasField("subscribed") else None,
        pattern=request.subscribed_regex if request.HasField("subscribed_regex") else None,
        assignor=request.server_assignor if request.HasField("server_assignor") else None,
        owned=_partitions(request.owned) if request.HasField("owned") else None,
    )


def _partitions(owned: OwnedPartitions) -> Partitions:
    """Raises `InvalidRequestError` for an id that is none."""
    if any(len(topic.topic_id) != 16 for topic in owned.topics):
        raise InvalidRequestError("a topic id has 16 bytes")
    return gathered((UUID(bytes=topic.topic_id), topic.partitions) for topic in owned.topics)


def _owned_partitions(partitions: Partitions) -> OwnedPartitions:
    topics = [TopicPartitions(topic_id=topic_id.bytes, partitions=each) for topic_id, each in partitions.items()]
    return OwnedPartitions(topics=topics)


def offset_to_commit(image: MetadataImage, offset: OffsetToCommit) -> commands.OffsetToCommit | None:
    """None for a partition that there is not."""
    topic = image.topic(offset.topic)
    if topic is None or not 0 <= offset.partition < len(topic.partitions):
        return None
    return commands.OffsetToCommit(
        topic.name, offset.partition, offset.offset, offset.leader_epoch, offset.metadata, topic.topic_id
    )


def offset_codes(offsets: Iterable[commands.OffsetToCommit | None], answer: commands.OffsetResults) -> list[int]:
    """A code for each of `offsets`; `answer` is about those that were there."""
    codes = iter(_codes(answer.refusals))
    return [code_of(UnknownTopicOrPartitionError) if each is None else next(codes) for each in offsets]


def member_key(member: GroupMember) -> MemberKey:
    return MemberKey(member.member_id, member.instance_id if member.HasField("instance_id") else None)


def _member(key: MemberKey) -> GroupMember:
    return GroupMember(member_id=key.member_id, instance_id=key.instance_id)


def refused(error: KraftpyError) -> dict[str, Any]:
    """The two fields that every answer has."""
    return {"error": code_of(error), "error_message": error.message}


def _refused(group_id: str, error: KraftpyError) -> GroupDescription:
    return GroupDescription(group_id=group_id, **refused(error))


def _code(refusal: KraftpyError | None) -> int:
    return NO_ERROR if refusal is None else code_of(refusal)


def _codes(refusals: Sequence[KraftpyError | None]) -> list[int]:
    return [_code(refusal) for refusal in refusals]
