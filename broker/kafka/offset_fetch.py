"""OffsetFetch (key 9), versions 1–10: where groups read on. KIP-320, 447, 709, 848; topics by id from version 10.

A partition without a committed offset is answered with -1, whether it exists or not. Version 0 (offsets in ZooKeeper)
is not served.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple
from uuid import UUID

from broker.coordinator.coordinators import Coordinators
from broker.coordinator.groups import commands
from broker.coordinator.groups.commands import NO_EPOCH, NO_OFFSET, Command, FetchedOffset
from broker.coordinator.groups.records import GroupsRecord
from broker.kafka.api import Api, ApiKey, Request
from broker.kafka.long_answers import long_answer
from broker.kafka.messages.offset_fetch import (
    FLEXIBLE_FROM,
    GROUP_ERROR_FROM,
    MANY_FROM,
    TOPIC_IDS_FROM,
    VERSION_MAX,
    VERSION_MIN,
    OffsetFetchGroup,
    OffsetFetchGroupResult,
    OffsetFetchGroupTopic,
    OffsetFetchGroupTopicResult,
    OffsetFetchPartitionResult,
    OffsetFetchRequest,
    OffsetFetchResponse,
    OffsetFetchTopicResult,
)
from broker.kafka.schema import decode, encode, writer_of
from broker.kafka.topic_names import each_once, named_topic
from broker.metadata.image import MetadataImage
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import CoordinatorNotAvailableError, KraftpyError, NotCoordinatorError, UnknownTopicIdError
from kraftpy.runtime.ports import FrameParts


class _Wanted(NamedTuple):
    """A topic of which offsets are wanted, and how the answer names it."""

    name: str
    topic_id: UUID | None
    known_id: UUID | None
    """The id of the topic that has the name now."""
    partitions: tuple[int, ...]
    code: int = NO_ERROR


class OffsetFetch:
    """The handler."""

    def __init__(self, groups: Coordinators[Command, GroupsRecord], image: Callable[[], MetadataImage]) -> None:
        self._groups = groups
        self._image = image

    def api(self) -> Api:
        return Api(
            ApiKey.OFFSET_FETCH,
            VERSION_MIN,
            VERSION_MAX,
            FLEXIBLE_FROM,
            self.handle,
            request=OffsetFetchRequest,
            response=OffsetFetchResponse,
        )

    async def handle(self, header: Request) -> FrameParts:
        version, flexible = header.version, header.version >= FLEXIBLE_FROM
        request = decode(OffsetFetchRequest, header.body, version, flexible=flexible, exact=False)
        if version < MANY_FROM:
            return [encode(await self._of_one(request, version), version, flexible=flexible)]
        stable, by_id = request.require_stable, version >= TOPIC_IDS_FROM
        return await long_answer(
            request.groups,
            lambda group: group.group_id,
            lambda group: self._group(group, stable, by_id=by_id),
            lambda group, error: _refused(group, code_of(error)),
            writer_of(OffsetFetchGroupResult, version, flexible),
            flexible=flexible,
        )

    async def _of_one(self, request: OffsetFetchRequest, version: int) -> OffsetFetchResponse:
        group = await self._group(_as_group(request), request.require_stable, by_id=False)
        if group.error and version < GROUP_ERROR_FROM:
            return OffsetFetchResponse(topics=tuple(_all_refused(request, group.error)))
        topics = tuple(OffsetFetchTopicResult(name=topic.name, partitions=topic.partitions) for topic in group.topics)
        return OffsetFetchResponse(topics=topics, error=group.error)

    async def _group(self, group: OffsetFetchGroup, require_stable: bool, *, by_id: bool) -> OffsetFetchGroupResult:
        image = self._image()
        wanted = None if group.topics is None else _all_wanted(image, group.topics, by_id=by_id)
        command = commands.FetchOffsets(
            group.group_id, _asked(wanted), require_stable, group.member_id, group.member_epoch
        )
        try:
            answer = await self._groups.submit(group.group_id, command)
        except CoordinatorNotAvailableError:
            # As in Kafka: Java's consumers before 3.9 end with this error here, and try again after the other.
            return _refused(group, code_of(NotCoordinatorError))
        except KraftpyError as error:
            return _refused(group, code_of(error))
        assert isinstance(answer, commands.FetchedOffsets)
        topics = _everything(image, answer, by_id=by_id) if wanted is None else _results(wanted, answer)
        return OffsetFetchGroupResult(group_id=group.group_id, topics=tuple(topics), error=NO_ERROR)


def _refused(group: OffsetFetchGroup, code: int) -> OffsetFetchGroupResult:
    return OffsetFetchGroupResult(group_id=group.group_id, topics=(), error=code)


def _as_group(request: OffsetFetchRequest) -> OffsetFetchGroup:
    """What the old versions ask, in the form of the new ones."""
    topics = request.topics
    return OffsetFetchGroup(
        group_id=request.group_id,
        topics=None
        if topics is None
        else tuple(OffsetFetchGroupTopic(name=topic.name, partitions=topic.partitions) for topic in topics),
    )


def _all_wanted(image: MetadataImage, topics: Iterable[OffsetFetchGroupTopic], *, by_id: bool) -> list[_Wanted]:
    asked = each_once(((topic.name, topic.topic_id), topic.partitions) for topic in topics)
    return [_wanted(image, name, topic_id, tuple(each), by_id=by_id) for (name, topic_id), each in asked.items()]


def _wanted(
    image: MetadataImage, name: str, topic_id: UUID | None, partitions: tuple[int, ...], *, by_id: bool
) -> _Wanted:
    if not by_id:
        known = image.topic(name)
        return _Wanted(name, None, None if known is None else known.topic_id, partitions)
    try:
        known = named_topic(image, "", topic_id, by_id=True)
    except UnknownTopicIdError as error:
        return _Wanted("", topic_id, None, partitions, code_of(error))
    return _Wanted(known.name, topic_id, known.topic_id, partitions)


def _asked(wanted: list[_Wanted] | None) -> tuple[tuple[str, int, UUID | None], ...] | None:
    if wanted is None:
        return None
    return tuple(
        (topic.name, partition, topic.known_id)
        for topic in wanted
        if topic.code == NO_ERROR
        for partition in topic.partitions
    )


def _results(wanted: list[_Wanted], answer: commands.FetchedOffsets) -> Iterable[OffsetFetchGroupTopicResult]:
    found = iter(answer.offsets)
    for topic in wanted:
        partitions = tuple(
            _nothing(partition, topic.code) if topic.code else _result(next(found)) for partition in topic.partitions
        )
        yield OffsetFetchGroupTopicResult(name=topic.name, topic_id=topic.topic_id, partitions=partitions)


def _everything(
    image: MetadataImage, answer: commands.FetchedOffsets, *, by_id: bool
) -> Iterable[OffsetFetchGroupTopicResult]:
    """Topics that are gone have no id to be told by."""
    by_topic: dict[str, list[OffsetFetchPartitionResult]] = {}
    for fetched in answer.offsets:
        by_topic.setdefault(fetched.topic, []).append(_result(fetched))
    for name, partitions in by_topic.items():
        topic_id = image.topic_ids.get(name)
        if topic_id is not None or not by_id:
            yield OffsetFetchGroupTopicResult(name=name, topic_id=topic_id, partitions=tuple(partitions))


def _result(fetched: FetchedOffset) -> OffsetFetchPartitionResult:
    return OffsetFetchPartitionResult(
        partition=fetched.partition,
        offset=fetched.offset,
        leader_epoch=fetched.leader_epoch,
        metadata=fetched.metadata,
        error=NO_ERROR if fetched.refusal is None else code_of(fetched.refusal),
    )


def _nothing(partition: int, code: int) -> OffsetFetchPartitionResult:
    return OffsetFetchPartitionResult(
        partition=partition, offset=NO_OFFSET, leader_epoch=NO_EPOCH, metadata="", error=code
    )


def _all_refused(request: OffsetFetchRequest, code: int) -> Iterable[OffsetFetchTopicResult]:
    for topic in request.topics or ():
        yield OffsetFetchTopicResult(
            name=topic.name, partitions=tuple(_nothing(partition, code) for partition in topic.partitions)
        )
