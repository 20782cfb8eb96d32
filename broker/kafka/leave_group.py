"""LeaveGroup (key 13), versions 0–5: members go, or administrators have them go. KIP-345, 800."""

from broker.coordinator.coordinators import Coordinators
from broker.coordinator.groups import commands
from broker.coordinator.groups.commands import Command, MemberKey
from broker.coordinator.groups.records import GroupsRecord
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.leave_group import (
    FLEXIBLE_FROM,
    MANY_FROM,
    VERSION_MAX,
    VERSION_MIN,
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberGone,
)
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import KraftpyError, UnknownMemberIdError


class LeaveGroup:
    """The handler."""

    def __init__(self, groups: Coordinators[Command, GroupsRecord]) -> None:
        self._groups = groups

    def api(self) -> Api:
        return message_api(
            ApiKey.LEAVE_GROUP,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            LeaveGroupRequest,
            LeaveGroupResponse,
            self._respond,
        )

    async def _respond(self, request: LeaveGroupRequest, header: Request) -> LeaveGroupResponse:
        many = header.version >= MANY_FROM
        keys = (
            tuple(MemberKey(each.member_id, each.group_instance_id) for each in request.members)
            if many
            else (MemberKey(request.member_id),)
        )
        reason = next((each.reason for each in request.members if each.reason), "")
        try:
            answer = await self._groups.submit(request.group_id, commands.LeaveGroup(request.group_id, keys, reason))
        except UnknownMemberIdError as error:  # there is no such group, which Kafka tells of each member
            answer = commands.MembersLeft((error,) * len(keys))
        except KraftpyError as error:
            return LeaveGroupResponse(error=code_of(error))
        assert isinstance(answer, commands.MembersLeft)
        codes = [NO_ERROR if refusal is None else code_of(refusal) for refusal in answer.refusals]
        if not many:
            return LeaveGroupResponse(error=codes[0])
        gone = tuple(
            MemberGone(member_id=key.member_id, group_instance_id=key.instance_id, error=code)
            for key, code in zip(keys, codes, strict=True)
        )
        return LeaveGroupResponse(error=NO_ERROR, members=gone)
