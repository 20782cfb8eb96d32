"""ListGroups (key 16), versions 0–5: the groups that this broker coordinates. KIP-518, 848, 1043."""

from broker.coordinator.coordinators import Coordinators
from broker.coordinator.groups import commands
from broker.coordinator.groups.commands import Command, GroupListing
from broker.coordinator.groups.records import GroupsRecord
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.list_groups import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    ListedGroup,
    ListGroupsRequest,
    ListGroupsResponse,
)
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import KraftpyError


class ListGroups:
    """The handler."""

    def __init__(self, groups: Coordinators[Command, GroupsRecord]) -> None:
        self._groups = groups

    def api(self) -> Api:
        return message_api(
            ApiKey.LIST_GROUPS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            ListGroupsRequest,
            ListGroupsResponse,
            self._respond,
        )

    async def _respond(self, request: ListGroupsRequest, header: Request) -> ListGroupsResponse:
        try:
            listings: list[GroupListing] = await self._groups.listed(commands.ListGroups(request.states, request.types))
        except KraftpyError as error:
            return ListGroupsResponse(error=code_of(error))
        return ListGroupsResponse(
            error=NO_ERROR,
            groups=tuple(
                ListedGroup(
                    group_id=each.group_id, protocol_type=each.protocol_type, state=each.state, type=each.type.value
                )
                for each in listings
            ),
        )
