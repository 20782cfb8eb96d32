"""The coordinators of groups on this node, with what they follow of the metadata."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from broker.coordinator.coordinators import Coordinators
from broker.coordinator.groups.codec import GroupRecordCodec
from broker.coordinator.groups.commands import Command, TopicsDeleted
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.core import GroupCore
from broker.coordinator.groups.records import GroupsRecord
from broker.coordinator.partition_log import PartitionLog
from broker.coordinator.shard import Shard
from broker.metadata.delta import MetadataDelta
from broker.metadata.image import MetadataImage
from broker.metadata.internal_topics import CONSUMER_OFFSETS
from kraftpy.errors import KraftpyError
from kraftpy.runtime.ports import Clock, Disk


class GroupCoordinators(Coordinators[Command, GroupsRecord]):
    """The shards of `__consumer_offsets` that are led here."""

    def __init__(
        self, config: GroupConfig, image: Callable[[], MetadataImage], clock: Clock, disk: Disk, random: Random
    ) -> None:
        super().__init__(
            CONSUMER_OFFSETS,
            lambda: _partitions(image()),
            lambda partition, leader_epoch: GroupCore(config, random),
            GroupRecordCodec(),
            lambda partition, leader_epoch: PartitionLog(partition, leader_epoch, disk),
            clock,
            _nothing_else,
        )
        self._tasks: dict[asyncio.Task[None], None] = {}

    def apply(self, delta: MetadataDelta) -> None:
        """Offsets of topics that were deleted go with them."""
        names = tuple(topic.name for topic in delta.topics_deleted)
        for shard in self.active() if names else ():
            task = asyncio.get_running_loop().create_task(_forget(shard, names))
            self._tasks[task] = None
            task.add_done_callback(lambda done: self._tasks.pop(done, None) and None)


def _partitions(image: MetadataImage) -> int:
    topic = image.topic(CONSUMER_OFFSETS)
    return 0 if topic is None else len(topic.partitions)


async def _nothing_else(shard: Shard[Command, GroupsRecord], effect: Any) -> None:
    raise AssertionError("a coordinator of groups does nothing but write and answer")


async def _forget(shard: Shard[Command, GroupsRecord], names: tuple[str, ...]) -> None:
    try:
        await shard.submit(TopicsDeleted(names))
    except KraftpyError:
        return  # the next leader's retention finds them
