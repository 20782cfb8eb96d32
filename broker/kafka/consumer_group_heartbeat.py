"""ConsumerGroupHeartbeat (key 68), versions 0–1: members of consumer groups come, stay and go. KIP-848.

Served as far as `group.version` is finalized at 1: brokers before that do not read what is written of such groups.
"""

from collections.abc import Callable

from broker.coordinator.coordinators import Coordinators
from broker.coordinator.groups import commands
from broker.coordinator.groups.commands import Command, MemberKey
from broker.coordinator.groups.consumer_records import Partitions, gathered
from broker.coordinator.groups.records import GroupsRecord
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.consumer_group_heartbeat import (
    FLEXIBLE_FROM,
    MEMBER_MAKES_ID_FROM,
    VERSION_MAX,
    VERSION_MIN,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    HeartbeatAssignment,
    HeartbeatTopic,
)
from broker.metadata.features import GROUP_VERSION
from broker.metadata.image import MetadataImage
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import InvalidRequestError, KraftpyError, UnsupportedVersionError


class ConsumerGroupHeartbeat:
    """The handler."""

    def __init__(self, groups: Coordinators[Command, GroupsRecord], image: Callable[[], MetadataImage]) -> None:
        self._groups = groups
        self._image = image

    def api(self) -> Api:
        return message_api(
            ApiKey.CONSUMER_GROUP_HEARTBEAT,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            ConsumerGroupHeartbeatRequest,
            ConsumerGroupHeartbeatResponse,
            self._respond,
        )

    async def _respond(self, request: ConsumerGroupHeartbeatRequest, header: Request) -> ConsumerGroupHeartbeatResponse:
        try:
            if not self._image().features.get(GROUP_VERSION):
                raise UnsupportedVersionError(
                    "consumer groups need the feature group.version=1: kraftpy cluster upgrade"
                )
            answer = await self._groups.submit(request.group_id, _command(request, header))
        except KraftpyError as error:
            return ConsumerGroupHeartbeatResponse(error=code_of(error), error_message=error.message)
        assert isinstance(answer, commands.ConsumerHeartbeatAnswer)
        return ConsumerGroupHeartbeatResponse(
            error=NO_ERROR,
            member_id=answer.member_id,
            member_epoch=answer.epoch,
            heartbeat_interval_ms=answer.heartbeat_interval_ms,
            assignment=None if answer.assignment is None else _assignment(answer.assignment),
        )


def _command(request: ConsumerGroupHeartbeatRequest, header: Request) -> commands.ConsumerHeartbeat:
    return commands.ConsumerHeartbeat(
        group_id=request.group_id,
        member=MemberKey(request.member_id, request.instance_id),
        epoch=request.member_epoch,
        client_id=header.client_id,
        client_host=f"/{header.peer.host}",
        rack_id=request.rack_id,
        rebalance_timeout_ms=None if request.rebalance_timeout_ms == -1 else request.rebalance_timeout_ms,
        topics=request.subscribed_topics,
        pattern=request.subscribed_regex,
        assignor=request.server_assignor,
        owned=None if request.topic_partitions is None else _owned(request.topic_partitions),
        gives_member_id=header.version < MEMBER_MAKES_ID_FROM,
    )


def _owned(topics: tuple[HeartbeatTopic, ...]) -> Partitions:
    named = [(topic.topic_id, topic.partitions) for topic in topics if topic.topic_id is not None]
    if len(named) < len(topics):
        raise InvalidRequestError("a member has partitions of a topic without an id")
    return gathered(named)


def _assignment(partitions: Partitions) -> HeartbeatAssignment:
    topics = (HeartbeatTopic(topic_id=topic_id, partitions=each) for topic_id, each in partitions.items())
    return HeartbeatAssignment(topic_partitions=tuple(topics))
