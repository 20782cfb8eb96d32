"""OffsetDelete (key 47), version 0: a group forgets offsets of topics that it does not read. KIP-496."""

from collections.abc import Callable

from broker.coordinator.coordinators import Coordinators
from broker.coordinator.groups import commands
from broker.coordinator.groups.commands import Command
from broker.coordinator.groups.records import GroupsRecord
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.offset_delete import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    OffsetDeletePartitionResult,
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetDeleteTopicResult,
)
from broker.metadata.image import MetadataImage
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import InvalidGroupIdError, KraftpyError, UnknownTopicOrPartitionError


class OffsetDelete:
    """The handler."""

    def __init__(self, groups: Coordinators[Command, GroupsRecord], image: Callable[[], MetadataImage]) -> None:
        self._groups = groups
        self._image = image

    def api(self) -> Api:
        return message_api(
            ApiKey.OFFSET_DELETE,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            OffsetDeleteRequest,
            OffsetDeleteResponse,
            self._respond,
        )

    async def _respond(self, request: OffsetDeleteRequest, header: Request) -> OffsetDeleteResponse:
        image = self._image()
        places = [(topic.name, each.partition) for topic in request.topics for each in topic.partitions]
        known = tuple(place for place in places if image.partition(*place) is not None)
        try:
            if not request.group_id:
                raise InvalidGroupIdError("a group has a name")
            answer = await self._groups.submit(request.group_id, commands.DeleteOffsets(request.group_id, known))
        except KraftpyError as error:
            return OffsetDeleteResponse(error=code_of(error))
        assert isinstance(answer, commands.OffsetResults)
        codes = {place: code_of(UnknownTopicOrPartitionError) for place in places}
        for place, refusal in zip(known, answer.refusals, strict=True):
            codes[place] = NO_ERROR if refusal is None else code_of(refusal)
        topics = tuple(
            OffsetDeleteTopicResult(
                name=topic.name,
                partitions=tuple(
                    OffsetDeletePartitionResult(partition=each.partition, error=codes[topic.name, each.partition])
                    for each in topic.partitions
                ),
            )
            for topic in request.topics
        )
        return OffsetDeleteResponse(error=NO_ERROR, topics=topics)
