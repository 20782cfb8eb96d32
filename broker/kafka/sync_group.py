"""SyncGroup (key 14), versions 0–5: the leader's assignments come, everybody's own goes out. KIP-345, 559."""

from broker.coordinator.coordinators import Coordinators
from broker.coordinator.groups import commands
from broker.coordinator.groups.commands import Command, MemberKey
from broker.coordinator.groups.records import GroupsRecord
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.sync_group import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    SyncGroupRequest,
    SyncGroupResponse,
)
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import (
    CoordinatorLoadInProgressError,
    InconsistentGroupProtocolError,
    KraftpyError,
    RebalanceInProgressError,
)

_PROTOCOL_FROM = 5


class SyncGroup:
    """The handler."""

    def __init__(self, groups: Coordinators[Command, GroupsRecord]) -> None:
        self._groups = groups

    def api(self) -> Api:
        return message_api(
            ApiKey.SYNC_GROUP,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            SyncGroupRequest,
            SyncGroupResponse,
            self._respond,
        )

    async def _respond(self, request: SyncGroupRequest, header: Request) -> SyncGroupResponse:
        if header.version >= _PROTOCOL_FROM and None in (request.protocol_type, request.protocol_name):
            return SyncGroupResponse(error=code_of(InconsistentGroupProtocolError))  # KIP-559 asks for both
        command = commands.SyncGroup(
            request.group_id,
            MemberKey(request.member_id, request.group_instance_id),
            request.generation_id,
            request.protocol_type,
            request.protocol_name,
            tuple((each.member_id, bytes(each.assignment)) for each in request.assignments),
        )
        try:
            answer = await self._groups.submit(request.group_id, command)
        except CoordinatorLoadInProgressError:
            # As Kafka's classic coordinator does: Java's consumers end with this error, and join again upon the other.
            return SyncGroupResponse(error=code_of(RebalanceInProgressError))
        except KraftpyError as error:
            return SyncGroupResponse(error=code_of(error))
        assert isinstance(answer, commands.Synced)
        return SyncGroupResponse(
            error=NO_ERROR,
            protocol_type=answer.protocol_type,
            protocol_name=answer.protocol,
            assignment=answer.assignment,
        )
