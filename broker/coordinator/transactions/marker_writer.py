"""Writing markers into partitions that are led here: WriteTxnMarkers, whoever calls it.

A marker in a partition of `__consumer_offsets` goes through the coordinator of groups that has this partition, so that
it learns at once which offsets count now.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from broker.coordinator.shard import Shard
from broker.metadata.internal_topics import CONSUMER_OFFSETS
from broker.replication.producing import EndMarker
from broker.replication.replicas import Replicas
from kraftpy.errors import KraftpyError, NotEnoughReplicasAfterAppendError, RequestTimedOutError
from kraftpy.runtime.ports import Clock

if TYPE_CHECKING:
    from broker.coordinator.transactions.commands import Marker, TopicPartition

MARKER_TIMEOUT_MS = 5_000
"""Until it is committed, or else the coordinator asks again."""

MarkerRequest: TypeAlias = "tuple[Marker, tuple[TopicPartition, ...]]"

ShardOfGroups = Callable[[int], Shard[Any, Any]]
"""The group coordinator of a partition of `__consumer_offsets`. Raises `NotCoordinatorError`."""


class MarkerWriter:
    """See the module's docstring."""

    def __init__(self, replicas: Replicas, clock: Clock, shard_of_groups: ShardOfGroups) -> None:
        self._replicas = replicas
        self._clock = clock
        self._shard_of_groups = shard_of_groups

    async def write(self, requests: Sequence[MarkerRequest]) -> list[list[KraftpyError | None]]:
        """For each request an answer for each of its partitions; None: the marker is committed."""
        places = [(marker, place) for marker, partitions in requests for place in partitions]
        answers = iter(await asyncio.gather(*[self._write(marker, place) for marker, place in places]))
        return [[next(answers) for _ in partitions] for _, partitions in requests]

    async def _write(self, marker: "Marker", place: "TopicPartition") -> KraftpyError | None:
        end = EndMarker(*marker.producer, marker.coordinator_epoch, marker.commit, marker.bumps_epoch)
        if place.topic == CONSUMER_OFFSETS and not self._is_written(place, marker):
            return await self._write_to_groups(place.partition, end)
        return (await self._replicas.write_marker(*place, end, MARKER_TIMEOUT_MS)).error

    def _is_written(self, place: "TopicPartition", marker: "Marker") -> bool:
        """Then it only has to be committed: see `broker.replication.producing.Producing.write_marker`."""
        try:
            log = self._replicas.partition(*place).log
        except KraftpyError:
            return False
        return marker.bumps_epoch and log.producers.epoch_of(marker.producer.producer_id) == marker.producer[1]

    async def _write_to_groups(self, partition: int, end: EndMarker) -> KraftpyError | None:
        committed: asyncio.Future[KraftpyError | None] = asyncio.get_running_loop().create_future()

        def settle(error: KraftpyError | None) -> None:
            if not committed.done():
                committed.set_result(error)

        late = RequestTimedOutError(f"the marker in {CONSUMER_OFFSETS}-{partition} is not committed yet")
        timer = asyncio.get_running_loop().call_later(MARKER_TIMEOUT_MS / 1_000, settle, late)
        try:
            batch = end.batch(self._clock.wall_ms())
            shard = self._shard_of_groups(partition)
            shard.append_marker(batch, end.producer_id, end.commit, settle, bumps_epoch=end.bumps_epoch)
            error = await committed
        except KraftpyError as refusal:
            return refusal
        finally:
            timer.cancel()
        return None if isinstance(error, NotEnoughReplicasAfterAppendError) else error
