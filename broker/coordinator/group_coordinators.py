"""The coordinators of groups on this node, with what they follow of the metadata."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

from broker.coordinator import later
from broker.coordinator.coordinators import Coordinators
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.topics import KnownTopic
from broker.coordinator.partition_log import PartitionLog
from broker.coordinator.shard import Shard
from broker.metadata.delta import MetadataDelta
from broker.metadata.image import MetadataImage
from broker.metadata.internal_topics import CONSUMER_OFFSETS
from kraftpy.errors import KraftpyError
from kraftpy.runtime.ports import Clock, Disk

if TYPE_CHECKING:
    from broker.coordinator.groups.commands import Command
    from broker.coordinator.groups.records import GroupsRecord


class GroupCoordinators(Coordinators["Command", "GroupsRecord"]):
    """The shards of `__consumer_offsets` that are led here."""

    def __init__(
        self, config: GroupConfig, image: Callable[[], MetadataImage], clock: Clock, disk: Disk, random: Random
    ) -> None:
        super().__init__(
            CONSUMER_OFFSETS,
            lambda: _partitions(image()),
            lambda partition, leader_epoch: later.GroupCore(config, random, KnownTopics(image)),
            lambda: later.GroupRecordCodec(),
            lambda partition, leader_epoch: PartitionLog(partition, leader_epoch, disk),
            clock,
            _nothing_else,
            config.offsets_commit_timeout_ms,
        )
        self._tasks: dict[asyncio.Task[None], None] = {}

    def apply(self, delta: MetadataDelta) -> None:
        """Offsets of topics that were deleted go with them; groups that read what changed look again."""
        shards = self.active()
        if not shards:
            return  # most nodes, at their first topic: what would be said is not loaded yet (`later`)
        deleted = tuple(topic.name for topic in delta.topics_deleted)
        changed = tuple(dict.fromkeys(_names_of_changed(delta)))
        if deleted:
            self._tell(shards, later.TopicsDeleted(deleted))
        if changed:
            self._tell(shards, later.TopicsChanged(changed))

    def _tell(self, shards: "Iterable[Shard[Command, GroupsRecord]]", command: "Command") -> None:
        """In the background."""
        for shard in shards:
            task = asyncio.get_running_loop().create_task(_told(shard, command))
            self._tasks[task] = None
            task.add_done_callback(lambda done: self._tasks.pop(done, None) and None)


class KnownTopics:
    """`broker.coordinator.groups.topics.Topics`: those of the newest image."""

    def __init__(self, image: Callable[[], MetadataImage]) -> None:
        self._image = image

    @property
    def version(self) -> int:
        return self._image().end_offset

    def find(self, name: str) -> KnownTopic | None:
        topic = self._image().topic(name)
        return None if topic is None else KnownTopic(name, topic.topic_id, len(topic.partitions))

    def name_of(self, topic_id: UUID) -> str | None:
        topic = self._image().topic_by_id(topic_id)
        return None if topic is None else topic.name

    def names(self) -> Iterable[str]:
        return sorted(self._image().topic_ids)


def _names_of_changed(delta: MetadataDelta) -> Iterator[str]:
    """Of topics that came, went, or have more partitions; not of those whose leaders moved."""
    for topic in delta.topics:
        before, after = topic.old, topic.new
        either = after or before
        assert either is not None
        if before is None or after is None or len(before.partitions) != len(after.partitions):
            yield either.name


def _partitions(image: MetadataImage) -> int:
    topic = image.topic(CONSUMER_OFFSETS)
    return 0 if topic is None else len(topic.partitions)


async def _nothing_else(shard: "Shard[Command, GroupsRecord]", effect: Any) -> None:
    raise AssertionError("a coordinator of groups does nothing but write and answer")


async def _told(shard: "Shard[Command, GroupsRecord]", command: "Command") -> None:
    try:
        await shard.submit(command)
    except KraftpyError:
        return  # the next leader looks for itself
