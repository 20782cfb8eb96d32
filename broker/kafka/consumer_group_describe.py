"""ConsumerGroupDescribe (key 69), versions 0–1: members of consumer groups, what they have and are to have. KIP-848."""

from collections.abc import Callable

from broker.coordinator.coordinators import Coordinators
from broker.coordinator.groups import commands
from broker.coordinator.groups.commands import Command, ConsumerDescription, ConsumerGroupDescription
from broker.coordinator.groups.consumer_records import Partitions
from broker.coordinator.groups.records import GroupsRecord
from broker.kafka.api import Api, ApiKey, Request
from broker.kafka.authorized import GROUP_OPERATIONS, NOT_ASKED
from broker.kafka.long_answers import long_answer
from broker.kafka.messages.consumer_group_describe import (
    CLASSIC_MEMBER,
    CONSUMER_MEMBER,
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    DescribedAssignment,
    DescribedConsumer,
    DescribedConsumerGroup,
    DescribedTopic,
)
from broker.kafka.schema import decode, writer_of
from broker.metadata.image import MetadataImage
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import InvalidGroupIdError, KraftpyError
from kraftpy.runtime.ports import FrameParts


class ConsumerGroupDescribe:
    """The handler."""

    def __init__(self, groups: Coordinators[Command, GroupsRecord], image: Callable[[], MetadataImage]) -> None:
        self._groups = groups
        self._image = image

    def api(self) -> Api:
        return Api(
            ApiKey.CONSUMER_GROUP_DESCRIBE,
            VERSION_MIN,
            VERSION_MAX,
            FLEXIBLE_FROM,
            self.handle,
            request=ConsumerGroupDescribeRequest,
            response=ConsumerGroupDescribeResponse,
        )

    async def handle(self, header: Request) -> FrameParts:
        request = decode(ConsumerGroupDescribeRequest, header.body, header.version, flexible=True, exact=False)
        operations = GROUP_OPERATIONS if request.include_authorized_operations else NOT_ASKED
        return await long_answer(
            request.group_ids,
            str,
            lambda group_id: self._describe(group_id, operations),
            _refused,
            writer_of(DescribedConsumerGroup, header.version, True),
            flexible=True,
        )

    async def _describe(self, group_id: str, operations: int) -> DescribedConsumerGroup:
        try:
            if not group_id:
                raise InvalidGroupIdError("a group has a name")
            found = await self._groups.submit(group_id, commands.DescribeConsumerGroup(group_id))
        except KraftpyError as error:
            return _refused(group_id, error)
        assert isinstance(found, ConsumerGroupDescription)
        image = self._image()
        return DescribedConsumerGroup(
            error=NO_ERROR,
            group_id=found.group_id,
            state=found.state,
            group_epoch=found.epoch,
            assignment_epoch=found.target_epoch,
            assignor_name=found.assignor,
            members=tuple(_member(image, each) for each in found.members),
            authorized_operations=operations,
        )


def _refused(group_id: str, error: KraftpyError) -> DescribedConsumerGroup:
    return DescribedConsumerGroup(error=code_of(error), error_message=error.message, group_id=group_id)


def _member(image: MetadataImage, found: ConsumerDescription) -> DescribedConsumer:
    member = found.member
    return DescribedConsumer(
        member_id=found.member_id,
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        member_epoch=found.current.epoch,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topics=member.topics,
        subscribed_regex=member.pattern,
        assignment=_assignment(image, found.current.assigned),
        target_assignment=_assignment(image, found.target),
        member_type=CONSUMER_MEMBER if member.classic is None else CLASSIC_MEMBER,
    )


def _assignment(image: MetadataImage, partitions: Partitions) -> DescribedAssignment:
    """Topics that are gone have no name to be told by."""
    known = ((image.topic_by_id(topic_id), each) for topic_id, each in partitions.items())
    return DescribedAssignment(
        topic_partitions=tuple(
            DescribedTopic(topic_id=topic.topic_id, topic_name=topic.name, partitions=each)
            for topic, each in known
            if topic is not None
        )
    )
