"""OffsetCommit (key 8), versions 2–10: where a group reads on. KIP-211, 320, 345, 848; topics by id from version 10.

Partitions that are not there are refused one by one, and the others are committed.
"""

from collections.abc import Callable

from broker.coordinator.coordinators import Coordinators
from broker.coordinator.groups import commands
from broker.coordinator.groups.commands import Command, MemberKey, OffsetToCommit
from broker.coordinator.groups.records import GroupsRecord
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.offset_commit import (
    FLEXIBLE_FROM,
    MEMBER_EPOCHS_FROM,
    TOPIC_IDS_FROM,
    VERSION_MAX,
    VERSION_MIN,
    OffsetCommitPartition,
    OffsetCommitPartitionResult,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitTopic,
    OffsetCommitTopicResult,
)
from broker.kafka.topic_names import named_topic
from broker.metadata.image import MetadataImage
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import InvalidCommitOffsetSizeError, InvalidRequestError, KraftpyError, UnknownTopicOrPartitionError


class OffsetCommit:
    """The handler."""

    def __init__(self, groups: Coordinators[Command, GroupsRecord], image: Callable[[], MetadataImage]) -> None:
        self._groups = groups
        self._image = image

    def api(self) -> Api:
        return message_api(
            ApiKey.OFFSET_COMMIT,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            OffsetCommitRequest,
            OffsetCommitResponse,
            self._respond,
        )

    async def _respond(self, request: OffsetCommitRequest, header: Request) -> OffsetCommitResponse:
        by_id = header.version >= TOPIC_IDS_FROM
        offsets: list[OffsetToCommit | int] = []  # an error's code, where it is refused already
        for topic in request.topics:
            offsets += _offsets(self._image(), topic, by_id=by_id)
        codes = iter(await self._commit(request, offsets, header.version))
        topics = tuple(
            OffsetCommitTopicResult(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=tuple(
                    OffsetCommitPartitionResult(partition=each.partition, error=next(codes))
                    for each in topic.partitions
                ),
            )
            for topic in request.topics
        )
        return OffsetCommitResponse(topics=topics)

    async def _commit(
        self, request: OffsetCommitRequest, offsets: list[OffsetToCommit | int], version: int
    ) -> list[int]:
        """A code for each of `offsets`."""
        command = commands.CommitOffsets(
            request.group_id,
            MemberKey(request.member_id, request.group_instance_id),
            request.generation_or_epoch,
            tuple(each for each in offsets if isinstance(each, OffsetToCommit)),
            request.retention_ms if request.retention_ms >= 0 else None,
            knows_member_epochs=version >= MEMBER_EPOCHS_FROM,
        )
        if not command.offsets:
            return [each if isinstance(each, int) else NO_ERROR for each in offsets]
        try:
            answer = await self._groups.submit(request.group_id, command)
        except InvalidRequestError:
            return _filled(offsets, [code_of(InvalidCommitOffsetSizeError)] * len(command.offsets))
        except KraftpyError as error:
            return _filled(offsets, [code_of(error)] * len(command.offsets))
        assert isinstance(answer, commands.OffsetResults)
        return _filled(offsets, [NO_ERROR if each is None else code_of(each) for each in answer.refusals])


def _filled(offsets: list[OffsetToCommit | int], codes: list[int]) -> list[int]:
    remaining = iter(codes)
    return [each if isinstance(each, int) else next(remaining) for each in offsets]


def _offsets(image: MetadataImage, topic: OffsetCommitTopic, *, by_id: bool) -> list[OffsetToCommit | int]:
    try:
        known = named_topic(image, topic.name, topic.topic_id, by_id=by_id)
    except KraftpyError as error:
        return [code_of(error)] * len(topic.partitions)

    def offset(each: OffsetCommitPartition) -> OffsetToCommit | int:
        if not 0 <= each.partition < len(known.partitions):
            return code_of(UnknownTopicOrPartitionError)
        return OffsetToCommit(
            known.name, each.partition, each.offset, each.leader_epoch, each.metadata or "", known.topic_id
        )

    return [offset(each) for each in topic.partitions]
