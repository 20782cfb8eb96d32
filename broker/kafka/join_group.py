"""JoinGroup (key 11), versions 0–9: become a member, and take part in a rebalance. KIP-62, 345, 394, 559, 800, 814."""

from broker.coordinator.coordinators import Coordinators
from broker.coordinator.groups import commands
from broker.coordinator.groups.commands import Command, MemberKey, ProtocolOffer
from broker.coordinator.groups.records import GroupsRecord
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.join_group import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    JoinGroupMember,
    JoinGroupRequest,
    JoinGroupResponse,
)
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import GroupMaxSizeReachedError, KraftpyError, MemberIdRequiredError, UnknownMemberIdError

_NULL_PROTOCOL_FROM = 7
_MEMBER_ID_REQUIRED_FROM = 4
_SKIPS_ASSIGNMENT_FROM = 9


class JoinGroup:
    """The handler."""

    def __init__(self, groups: Coordinators[Command, GroupsRecord]) -> None:
        self._groups = groups

    def api(self) -> Api:
        return message_api(
            ApiKey.JOIN_GROUP,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            JoinGroupRequest,
            JoinGroupResponse,
            self._respond,
        )

    async def _respond(self, request: JoinGroupRequest, header: Request) -> JoinGroupResponse:
        try:
            answer = await self._groups.submit(request.group_id, _command(request, header))
        except KraftpyError as error:
            return _refusal(error, request, header.version)
        if isinstance(answer, commands.MemberIdAssigned):
            return JoinGroupResponse(
                error=code_of(MemberIdRequiredError),
                protocol_name=_nothing(header.version),
                member_id=answer.member_id,
            )
        assert isinstance(answer, commands.Joined)
        return _joined(answer)


def _command(request: JoinGroupRequest, header: Request) -> commands.JoinGroup:
    """What stays in a group is copied out of the frame."""
    rebalance_timeout_ms = request.rebalance_timeout_ms
    return commands.JoinGroup(
        group_id=request.group_id,
        member=MemberKey(request.member_id, request.group_instance_id),
        client_id=header.client_id,
        client_host=f"/{header.peer.host}",
        protocol_type=request.protocol_type,
        protocols=tuple(ProtocolOffer(each.name, bytes(each.metadata)) for each in request.protocols),
        session_timeout_ms=request.session_timeout_ms,
        rebalance_timeout_ms=request.session_timeout_ms if rebalance_timeout_ms < 0 else rebalance_timeout_ms,
        needs_member_id=header.version >= _MEMBER_ID_REQUIRED_FROM,
        skips_assignment=header.version >= _SKIPS_ASSIGNMENT_FROM,
        reason=request.reason or "",
    )


def _joined(answer: commands.Joined) -> JoinGroupResponse:
    return JoinGroupResponse(
        error=NO_ERROR,
        generation_id=answer.generation,
        protocol_type=answer.protocol_type,
        protocol_name=answer.protocol or "",
        leader=answer.leader_id,
        skip_assignment=answer.skip_assignment,
        member_id=answer.member_id,
        members=tuple(
            JoinGroupMember(
                member_id=each.key.member_id, group_instance_id=each.key.instance_id, metadata=each.metadata
            )
            for each in answer.members
        ),
    )


def _refusal(error: KraftpyError, request: JoinGroupRequest, version: int) -> JoinGroupResponse:
    """A client whose id is worth nothing must not keep it."""
    forgets = isinstance(error, (UnknownMemberIdError, GroupMaxSizeReachedError))
    return JoinGroupResponse(
        error=code_of(error), protocol_name=_nothing(version), member_id="" if forgets else request.member_id
    )


def _nothing(version: int) -> str | None:
    return None if version >= _NULL_PROTOCOL_FROM else ""
