"""Groups, as an administrator sees and changes them: asked of each group's coordinator, or listed node by node."""

from collections.abc import Iterable, Mapping, Sequence

from kraftpy.client.any_node import Deadline
from kraftpy.client.assignors.protocol_codec import read_assignment, read_subscription
from kraftpy.client.config import ClientConfig
from kraftpy.client.coordinator_calls import CoordinatorCalls, raise_for
from kraftpy.client.group.coordinator import GROUPS
from kraftpy.client.group_values import GroupDescription, GroupListing, GroupMemberDescription
from kraftpy.client.metadata import Metadata
from kraftpy.client.values import OffsetAndMetadata, TopicPartition
from kraftpy.client.wire import ClientPorts
from kraftpy.error_codes import NO_ERROR, error_for
from kraftpy.errors import (
    CallTimeoutError,
    CoordinatorNotAvailableError,
    CorruptRecordError,
    GroupIdNotFoundError,
    KraftpyError,
    NetworkError,
)
from kraftpy.pb import groups_pb2
from kraftpy.runtime.ports import Address

CONSUMERS = "consumer"


class GroupAdmin:
    """The calls of one admin."""

    def __init__(self, config: ClientConfig, ports: ClientPorts, metadata: Metadata) -> None:
        self._calls = CoordinatorCalls(config, ports, metadata, groups_pb2.GROUP)

    async def close(self) -> None:
        await self._calls.close()

    async def list_groups(self, states: Sequence[str], types: Sequence[str], deadline: Deadline) -> list[GroupListing]:
        """Of all nodes, by id. Raises where a node does not answer: the list would lack something."""
        request = groups_pb2.ListGroupsRequest(states=states, types=types)

        async def once(address: Address) -> list[GroupListing]:
            answer = await self._calls.ask(
                address, GROUPS + "ListGroups", request, groups_pb2.ListGroupsResponse, deadline
            )
            raise_for(answer.error, answer.error_message)
            return [GroupListing(each.group_id, each.type, each.protocol_type, each.state) for each in answer.groups]

        found = await self._calls.ask_all(once, deadline)
        return sorted({each.group_id: each for part in found for each in part}.values(), key=lambda each: each.group_id)

    async def describe_group(self, group_id: str, deadline: Deadline) -> GroupDescription:
        coordinator = self._calls.coordinator(group_id)
        request = groups_pb2.DescribeGroupsRequest(group_ids=[group_id])

        async def once() -> GroupDescription:
            address = await coordinator.address()
            answer = await self._calls.ask(
                address, GROUPS + "DescribeGroups", request, groups_pb2.DescribeGroupsResponse, deadline
            )
            found = answer.groups[0]
            if found.error != NO_ERROR:
                error = error_for(found.error, found.error_message)
                coordinator.noted(error, address)
                raise error
            return _described(found, address)

        return await self._calls.repeat(once, deadline)

    async def delete_groups(self, group_ids: Iterable[str], deadline: Deadline) -> None:
        """Each on its own; the first that is refused is raised after all have been tried."""
        refused: KraftpyError | None = None
        for group_id in group_ids:
            try:
                await self._delete(group_id, deadline)
            except KraftpyError as error:
                refused = refused or error
        if refused is not None:
            raise refused

    async def _delete(self, group_id: str, deadline: Deadline) -> None:
        """That it is gone counts as success after an attempt that may have taken effect without our hearing of it."""
        coordinator = self._calls.coordinator(group_id)
        request = groups_pb2.DeleteGroupsRequest(group_ids=[group_id])
        is_uncertain = False

        async def once() -> None:
            nonlocal is_uncertain
            address = await coordinator.address()
            try:
                answer = await self._calls.ask(
                    address, GROUPS + "DeleteGroups", request, groups_pb2.DeleteGroupsResponse, deadline
                )
                found = answer.groups[0]
                if found.error != NO_ERROR:
                    error = error_for(found.error, found.error_message)
                    coordinator.noted(error, address)
                    raise error
            except (CallTimeoutError, NetworkError, CoordinatorNotAvailableError):  # the last: not committed in time
                is_uncertain = True
                raise
            except GroupIdNotFoundError:
                if not is_uncertain:
                    raise

        await self._calls.repeat(once, deadline)

    # --- offsets -----------------------------------------------------------------------------------------------------

    async def offsets(
        self, group_id: str, places: Sequence[TopicPartition] | None, deadline: Deadline
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        """What the group has committed, of these partitions or of all."""
        request = groups_pb2.FetchOffsetsRequest(group_id=group_id, all=places is None, member_epoch=-1)
        for place in places or ():
            request.partitions.add(topic=place.topic, partition=place.partition)

        async def once() -> dict[TopicPartition, OffsetAndMetadata]:
            answer = await self._calls.coordinator(group_id).call(
                GROUPS + "FetchOffsets", request, groups_pb2.FetchOffsetsResponse, self._calls.timeout_ms(deadline)
            )
            for each in answer.offsets:
                raise_for(each.error, f"{each.topic}-{each.partition}: {_words(each.error)}")
            return {
                TopicPartition(each.topic, each.partition): OffsetAndMetadata(
                    each.offset, each.metadata, each.leader_epoch
                )
                for each in answer.offsets
                if each.offset >= 0
            }

        return await self._calls.repeat(once, deadline)

    async def alter_offsets(
        self, group_id: str, offsets: Mapping[TopicPartition, OffsetAndMetadata], deadline: Deadline
    ) -> None:
        """Set them. Raises `UnknownMemberIdError` for a group that has members."""
        request = groups_pb2.CommitOffsetsRequest(group_id=group_id, generation=-1)
        for place, offset in offsets.items():
            request.offsets.add(
                topic=place.topic,
                partition=place.partition,
                offset=offset.offset,
                leader_epoch=offset.leader_epoch,
                metadata=offset.metadata,
            )
        await self._change_offsets(group_id, "CommitOffsets", request, list(offsets), deadline)

    async def delete_offsets(self, group_id: str, places: Sequence[TopicPartition], deadline: Deadline) -> None:
        """Forget them. Raises `GroupSubscribedToTopicError` for topics that members read."""
        request = groups_pb2.DeleteOffsetsRequest(group_id=group_id)
        for place in places:
            request.partitions.add(topic=place.topic, partition=place.partition)
        await self._change_offsets(group_id, "DeleteOffsets", request, places, deadline)

    async def _change_offsets(
        self,
        group_id: str,
        method: str,
        request: groups_pb2.CommitOffsetsRequest | groups_pb2.DeleteOffsetsRequest,
        places: Sequence[TopicPartition],
        deadline: Deadline,
    ) -> None:
        async def once() -> None:
            answer = await self._calls.coordinator(group_id).call(
                GROUPS + method, request, groups_pb2.OffsetResults, self._calls.timeout_ms(deadline)
            )
            for place, code in zip(places, answer.errors, strict=False):
                raise_for(code, f"{place}: {_words(code)}")

        await self._calls.repeat(once, deadline)


def _words(code: int) -> str:
    return "" if code == NO_ERROR else error_for(code).message


def _described(found: groups_pb2.GroupDescription, address: Address) -> GroupDescription:
    is_of_consumers = found.protocol_type == CONSUMERS
    return GroupDescription(
        found.group_id,
        found.type,
        found.protocol_type,
        found.state,
        found.protocol,
        str(address),
        tuple(_member(each, is_of_consumers) for each in found.members),
    )


def _member(member: groups_pb2.GroupMemberDescription, is_consumer: bool) -> GroupMemberDescription:
    topics: tuple[str, ...] = ()
    assignment: tuple[TopicPartition, ...] = ()
    if is_consumer:
        try:
            topics = read_subscription(member.metadata).topics if member.metadata else ()
            assignment = tuple(sorted(read_assignment(member.assignment)))
        except CorruptRecordError:
            pass  # metadata is the members' own affair; what cannot be read is not shown
    return GroupMemberDescription(
        member.member.member_id,
        member.member.instance_id if member.member.HasField("instance_id") else None,
        member.client_id,
        member.client_host,
        topics,
        assignment,
    )
