"""Replicas here that are damaged, until they are whole again: carries out what `damaged` says.

Invariants
- Nothing is cut before metadata shows that another replica leads and this one counts for nothing.
- While a log is being cut nobody fetches for it (`is_cutting`).
- As the last replica in sync nothing is cut: it serves what can be read, its readers are refused the rest, and an
  operator decides.
"""

import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from broker.metadata.features import DAMAGED_REPLICAS, METADATA_VERSION
from broker.metadata.image import MetadataImage
from broker.metadata.state import PartitionKey, PartitionState, Standing
from broker.replication.availability import Availability
from broker.replication.damaged import Progress, Step, next_step
from broker.replication.fetchers import Fetchers
from broker.replication.partition import Partition
from broker.replication.replicating import cut_damage
from kraftpy.errors import KafkaStorageError
from log_store.log import Log

logger = logging.getLogger(__name__)


class Repair:
    """One damaged replica."""

    __slots__ = ("is_cutting", "is_over", "is_returning", "progress", "reported")

    def __init__(self) -> None:
        self.progress = Progress.DAMAGED
        self.is_cutting = False
        self.is_returning = False  # an old mark may still be there, which says nothing about new damage
        self.is_over = False
        self.reported: PartitionState | None = None  # at which state that was done last


class Repairs:
    """Those of this broker. `look` after metadata has moved, and now and then."""

    def __init__(
        self,
        node_id: int,
        availability: Availability,
        fetchers: Fetchers,
        image: Callable[[], MetadataImage],
        flush: Callable[[Partition], Awaitable[None]],
        cancel_move: Callable[[PartitionKey], None],
        spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], None],
    ) -> None:
        """`flush(partition)` makes its log durable. `cancel_move`: a copy of what was damaged may go on from nothing
        that the leader sends, which has compacted perhaps what the copy still has."""
        self._cancel_move = cancel_move
        self.on_cut: Callable[[Log], None] = lambda log: None
        self.completed = 0
        """Replicas that were cut and fetched anew."""
        self._node_id = node_id
        self._availability = availability
        self._fetchers = fetchers
        self._image = image
        self._flush = flush
        self._spawn = spawn
        self._repairs: dict[Partition, Repair] = {}

    def __len__(self) -> int:
        return len(self._repairs)

    def note(self, partition: Partition) -> None:
        """Something new is in the `damages` of its log. It is served here."""
        repair = self._repairs.setdefault(partition, Repair())
        repair.reported = None
        repair.is_over = False
        if not repair.is_cutting:
            repair.progress = Progress.DAMAGED
            self._take_step(partition, repair)

    def forget(self, partition: Partition) -> None:
        """The replica is no longer here, or not served any more."""
        self._repairs.pop(partition, None)

    def is_cutting(self, partition: Partition) -> bool:
        """Whether its log is being cut at this moment: `follow` it later."""
        repair = self._repairs.get(partition)
        return repair is not None and repair.is_cutting

    def fetched(self, partition: Partition) -> None:
        """Its leader has answered a fetch from where its log ends now."""
        repair = self._repairs.get(partition)
        if repair is not None and repair.progress is Progress.CUT and not repair.is_cutting:
            repair.progress = Progress.FETCHED
            self._take_step(partition, repair)

    def look(self, *, again: bool = False) -> None:
        """Metadata may have moved. `again`: repeat reports from which nothing has followed so far."""
        for partition, repair in list(self._repairs.items()):
            if again:
                repair.reported = None
            if not repair.is_cutting and self._repairs.get(partition) is repair:
                self._take_step(partition, repair)

    def _take_step(self, partition: Partition, repair: Repair) -> None:
        state, key, image = partition.state, partition.key, self._image()
        own = image.brokers.get(self._node_id)
        is_marked = own is not None and not own.serves(*key)
        if repair.is_returning:
            if is_marked or key in self._availability.pending():
                return
            repair.is_returning = False
        if repair.is_over:
            del self._repairs[partition]
            return
        if repair.progress is Progress.DAMAGED and not partition.log.damages:
            self._return(partition, repair)  # it could be read again, or retention has taken it
            repair.is_over = True
            return
        if image.features.get(METADATA_VERSION, 0) < DAMAGED_REPLICAS:
            return  # a controller of an older release would not understand
        match next_step(state, self._node_id, repair.progress, is_marked=is_marked):
            case Step.REPORT:
                if repair.reported is not state:
                    repair.reported = state
                    self._availability.note(key, Standing.DAMAGED)
            case Step.CUT:
                repair.is_cutting = True
                self._fetchers.leave(key)
                self._spawn(partial(self._cut, partition, repair))
            case Step.RETURN:
                if repair.progress is Progress.FETCHED:
                    self.completed += 1
                    logger.warning(
                        "%s is whole again as far as it goes, and is fetched from its leader", partition.name
                    )
                self._return(partition, repair)
                repair.is_over = repair.progress is not Progress.DAMAGED
            case Step.WAIT:
                pass

    def _return(self, partition: Partition, repair: Repair) -> None:
        repair.is_returning = True
        self._availability.note(partition.key, Standing.ONLINE)

    async def _cut(self, partition: Partition, repair: Repair) -> None:
        log = partition.log
        if self._repairs.get(partition) is not repair:
            return
        logger.warning(
            "%s is damaged, and broker %d leads it: cutting %s",
            partition.name,
            partition.state.leader,
            "all of it, because its log is or was compacted"
            if log.may_have_gaps
            else "it to its first damaged segment",
        )
        self._cancel_move(partition.key)
        try:
            if log.damages:
                cut_damage(partition)
            self.on_cut(log)
            await self._flush(partition)
        except KafkaStorageError as error:
            # Its directory has failed; or a descriptor lacked, and `look` tries it again.
            logger.error("%s could not be repaired: %s", partition.name, error)
            repair.is_cutting = False
            return
        repair.progress = Progress.CUT
        repair.is_cutting = False
        if self._repairs.get(partition) is not repair:
            return
        if log.damages:
            repair.progress = Progress.DAMAGED  # found meanwhile
        elif partition.state.has_leader and partition.state.leader != self._node_id:
            self._fetchers.follow(partition)
        self._take_step(partition, repair)
