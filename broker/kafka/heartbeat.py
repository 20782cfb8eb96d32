"""Heartbeat (key 12), versions 0–4: a member of a classic group lives. KIP-345."""

from broker.coordinator.coordinators import Coordinators
from broker.coordinator.groups import commands
from broker.coordinator.groups.commands import Command, MemberKey
from broker.coordinator.groups.records import GroupsRecord
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.heartbeat import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    HeartbeatRequest,
    HeartbeatResponse,
)
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import CoordinatorLoadInProgressError, KraftpyError


class Heartbeat:
    """The handler."""

    def __init__(self, groups: Coordinators[Command, GroupsRecord]) -> None:
        self._groups = groups

    def api(self) -> Api:
        return message_api(
            ApiKey.HEARTBEAT,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            HeartbeatRequest,
            HeartbeatResponse,
            self._respond,
        )

    async def _respond(self, request: HeartbeatRequest, header: Request) -> HeartbeatResponse:
        key = MemberKey(request.member_id, request.group_instance_id)
        try:
            await self._groups.submit(
                request.group_id, commands.Heartbeat(request.group_id, key, request.generation_id)
            )
        except CoordinatorLoadInProgressError:
            # Sessions begin anew once it has loaded, and some clients take this error for the end of theirs.
            return HeartbeatResponse(error=NO_ERROR)
        except KraftpyError as error:
            return HeartbeatResponse(error=code_of(error))
        return HeartbeatResponse(error=NO_ERROR)
