"""A member's requests as messages to its coordinator, and the answers as values."""

from kraftpy.client.config import ConsumerConfig
from kraftpy.client.group.coordinator import GROUPS, Coordinator
from kraftpy.client.group.member import (
    Answer,
    ConsumerHeartbeat,
    ConsumerHeartbeatDone,
    Heartbeat,
    HeartbeatDone,
    Identity,
    Join,
    Joined,
    Leave,
    Request,
    Sync,
    Synced,
)
from kraftpy.client.metadata import Metadata
from kraftpy.client.values import TopicPartition
from kraftpy.error_codes import NO_ERROR, error_for
from kraftpy.errors import MemberIdRequiredError
from kraftpy.pb import groups_pb2

PROTOCOL_TYPE = "consumer"
JOIN_EXTRA_MS = 5_000  # beyond the rebalance time-out: the answer's own way


class GroupCalls:
    """The calls of one member."""

    def __init__(self, config: ConsumerConfig, coordinator: Coordinator, metadata: Metadata) -> None:
        assert config.group_id is not None
        self._config = config
        self._group_id = config.group_id
        self._coordinator = coordinator
        self._metadata = metadata
        self._member_id = ""

    def take_member_id(self) -> str:
        """The id that came with MEMBER_ID_REQUIRED."""
        given, self._member_id = self._member_id, ""
        return given

    async def ask(self, request: Request) -> Answer | None:
        """Raises `KraftpyError`."""
        match request:
            case Join():
                return await self._join(request)
            case Sync():
                return await self._sync(request)
            case Heartbeat():
                return await self._beat(request)
            case Leave():
                await self._leave(request)
                return None
            case ConsumerHeartbeat():
                return await self._consumer_beat(request)

    async def _join(self, request: Join) -> Joined:
        config = self._config
        message = groups_pb2.JoinGroupRequest(
            group_id=self._group_id,
            member=self._member(Identity(request.member_id, instance_id=config.group_instance_id)),
            client_id=config.client_id,
            protocol_type=PROTOCOL_TYPE,
            session_timeout_ms=config.session_timeout_ms,
            rebalance_timeout_ms=config.max_poll_interval_ms,
            reason=request.reason,
        )
        for name, metadata in request.protocols:
            message.protocols.add(name=name, metadata=metadata)
        timeout_ms = max(config.max_poll_interval_ms + JOIN_EXTRA_MS, config.request_timeout_ms)
        answer = await self._coordinator.ask(GROUPS + "JoinGroup", message, groups_pb2.JoinGroupResponse, timeout_ms)
        if answer.error != NO_ERROR:
            error = error_for(answer.error, answer.error_message)
            if isinstance(error, MemberIdRequiredError):
                self._member_id = answer.member_id
            raise error
        members = tuple(
            (
                member.member.member_id,
                member.member.instance_id if member.member.HasField("instance_id") else None,
                member.metadata,
            )
            for member in answer.members
        )
        return Joined(
            answer.member_id,
            answer.generation,
            answer.protocol,
            answer.leader_id,
            answer.skip_assignment,
            members,
        )

    async def _sync(self, request: Sync) -> Synced:
        message = groups_pb2.SyncGroupRequest(
            group_id=self._group_id,
            member=self._member(request.identity),
            generation=request.identity.generation,
            protocol_type=PROTOCOL_TYPE,
            protocol=request.protocol,
        )
        for member_id, assignment in request.assignments:
            message.assignments.add(member_id=member_id, assignment=assignment)
        timeout_ms = max(self._config.max_poll_interval_ms + JOIN_EXTRA_MS, self._config.request_timeout_ms)
        answer = await self._coordinator.call(GROUPS + "SyncGroup", message, groups_pb2.SyncGroupResponse, timeout_ms)
        return Synced(answer.assignment)

    async def _beat(self, request: Heartbeat) -> HeartbeatDone:
        message = groups_pb2.GroupHeartbeatRequest(
            group_id=self._group_id,
            member=self._member(request.identity),
            generation=request.identity.generation,
        )
        await self._coordinator.call(
            GROUPS + "Heartbeat", message, groups_pb2.GroupHeartbeatResponse, self._heartbeat_timeout_ms
        )
        return HeartbeatDone()

    async def _leave(self, request: Leave) -> None:
        message = groups_pb2.LeaveGroupRequest(
            group_id=self._group_id, members=[self._member(request.identity)], reason=request.reason
        )
        await self._coordinator.call(
            GROUPS + "LeaveGroup", message, groups_pb2.LeaveGroupResponse, self._config.request_timeout_ms
        )

    async def _consumer_beat(self, request: ConsumerHeartbeat) -> ConsumerHeartbeatDone:
        identity = request.identity
        message = groups_pb2.ConsumerGroupHeartbeatRequest(
            group_id=self._group_id,
            member_id=identity.member_id,
            member_epoch=identity.generation,
            instance_id=identity.instance_id,
            rack=request.rack,
            rebalance_timeout_ms=-1 if request.rebalance_timeout_ms is None else request.rebalance_timeout_ms,
            subscribed_regex=request.regex,
            server_assignor=request.server_assignor,
            client_id=self._config.client_id,
        )
        if request.topics is not None:
            message.subscribed.names.extend(request.topics)
            message.subscribed.SetInParent()
        if request.owned is not None:
            message.owned.SetInParent()
            for topic_id, partitions in self._by_id(request.owned).items():
                message.owned.topics.add(topic_id=topic_id, partitions=partitions)
        answer = await self._coordinator.call(
            GROUPS + "ConsumerGroupHeartbeat",
            message,
            groups_pb2.ConsumerGroupHeartbeatResponse,
            self._heartbeat_timeout_ms,
        )
        assignment = None
        if answer.HasField("assignment"):
            assignment = tuple((topic.topic_id, tuple(topic.partitions)) for topic in answer.assignment.topics)
        return ConsumerHeartbeatDone(answer.member_id, answer.member_epoch, answer.heartbeat_interval_ms, assignment)

    def _by_id(self, owned: tuple[TopicPartition, ...]) -> dict[bytes, list[int]]:
        found: dict[bytes, list[int]] = {}
        topics = self._metadata.view.topics
        for topic, partition in owned:
            if topic in topics:
                found.setdefault(topics[topic].topic_id, []).append(partition)
        return found

    @property
    def _heartbeat_timeout_ms(self) -> int:
        """A beat that takes longer is as good as lost, and another coordinator may have to be found in time."""
        return min(self._config.request_timeout_ms, max(self._config.session_timeout_ms // 3, 1_000))

    def _member(self, identity: Identity) -> groups_pb2.GroupMember:
        return groups_pb2.GroupMember(member_id=identity.member_id, instance_id=identity.instance_id)
