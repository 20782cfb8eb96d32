"""DeleteGroups (key 42), versions 0–2: groups that nobody is in, with their offsets. KIP-229."""

import asyncio

from broker.coordinator.coordinators import Coordinators
from broker.coordinator.groups import commands
from broker.coordinator.groups.commands import Command
from broker.coordinator.groups.records import GroupsRecord
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.delete_groups import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    DeletedGroup,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
)
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import KraftpyError


class DeleteGroups:
    """The handler."""

    def __init__(self, groups: Coordinators[Command, GroupsRecord]) -> None:
        self._groups = groups

    def api(self) -> Api:
        return message_api(
            ApiKey.DELETE_GROUPS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            DeleteGroupsRequest,
            DeleteGroupsResponse,
            self._respond,
        )

    async def _respond(self, request: DeleteGroupsRequest, header: Request) -> DeleteGroupsResponse:
        group_ids = list(dict.fromkeys(request.groups))
        codes = await asyncio.gather(*[self._delete(group_id) for group_id in group_ids])
        results = tuple(
            DeletedGroup(group_id=group_id, error=code) for group_id, code in zip(group_ids, codes, strict=True)
        )
        return DeleteGroupsResponse(results=results)

    async def _delete(self, group_id: str) -> int:
        try:
            await self._groups.submit(group_id, commands.DeleteGroup(group_id))
        except KraftpyError as error:
            return code_of(error)
        return NO_ERROR
