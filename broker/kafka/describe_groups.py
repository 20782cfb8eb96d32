"""DescribeGroups (key 15), versions 0–6: members of classic groups, and what they were assigned. KIP-345, 430, 1043."""

from broker.coordinator.coordinators import Coordinators
from broker.coordinator.groups import commands
from broker.coordinator.groups.classic_group import DEAD
from broker.coordinator.groups.commands import Command, GroupDescription
from broker.coordinator.groups.records import GroupsRecord
from broker.kafka.api import Api, ApiKey, Request
from broker.kafka.authorized import GROUP_OPERATIONS, NOT_ASKED
from broker.kafka.long_answers import long_answer
from broker.kafka.messages.describe_groups import (
    FLEXIBLE_FROM,
    NOT_FOUND_FROM,
    THROTTLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    DescribedGroup,
    DescribedGroupMember,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
)
from broker.kafka.schema import decode, writer_of
from kraftpy.error_codes import code_of
from kraftpy.errors import GroupIdNotFoundError, KraftpyError
from kraftpy.runtime.ports import FrameParts


class DescribeGroups:
    """The handler."""

    def __init__(self, groups: Coordinators[Command, GroupsRecord]) -> None:
        self._groups = groups

    def api(self) -> Api:
        return Api(
            ApiKey.DESCRIBE_GROUPS,
            VERSION_MIN,
            VERSION_MAX,
            FLEXIBLE_FROM,
            self.handle,
            request=DescribeGroupsRequest,
            response=DescribeGroupsResponse,
        )

    async def handle(self, header: Request) -> FrameParts:
        version, flexible = header.version, header.version >= FLEXIBLE_FROM
        request = decode(DescribeGroupsRequest, header.body, version, flexible=flexible, exact=False)
        operations = GROUP_OPERATIONS if request.include_authorized_operations else NOT_ASKED
        return await long_answer(
            request.groups,
            str,
            lambda group_id: self._describe(group_id, operations, version),
            _refused,
            writer_of(DescribedGroup, version, flexible),
            flexible=flexible,
            has_throttle_time=version >= THROTTLE_FROM,
        )

    async def _describe(self, group_id: str, operations: int, version: int) -> DescribedGroup:
        try:
            found = await self._groups.submit(group_id, commands.DescribeGroup(group_id))
        except GroupIdNotFoundError as error:
            if version < NOT_FOUND_FROM:
                return DescribedGroup(group_id=group_id, state=DEAD, authorized_operations=operations)
            return DescribedGroup(
                error=code_of(error),
                error_message=error.message,
                group_id=group_id,
                state=DEAD,
                authorized_operations=operations,
            )
        except KraftpyError as error:
            return _refused(group_id, error)
        assert isinstance(found, GroupDescription)
        return _described(found, operations)


def _refused(group_id: str, error: KraftpyError) -> DescribedGroup:
    return DescribedGroup(error=code_of(error), error_message=error.message, group_id=group_id)


def _described(found: GroupDescription, operations: int) -> DescribedGroup:
    return DescribedGroup(
        group_id=found.group_id,
        state=found.state,
        protocol_type=found.protocol_type,
        protocol=found.protocol,
        members=tuple(
            DescribedGroupMember(
                member_id=member.key.member_id,
                group_instance_id=member.key.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                metadata=member.metadata,
                assignment=member.assignment,
            )
            for member in found.members
        ),
        authorized_operations=operations,
    )
