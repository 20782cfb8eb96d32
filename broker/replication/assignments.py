"""Which part each replica here plays: changes of partitions, as metadata tells them, become leaders and followers.

Invariants
- Changes are acted by in metadata's order, each at once, without waiting, so that no request meets half of one.
- A min.insync.replicas that rises counts at once, and one that falls after the states of its image: nobody may count by
  a smaller in-sync set and the minimum of before (the answer to a proposal does not wait behind changes), or by a
  smaller minimum and a leadership that is over.
- Many of them let others in between: while some are left, `is_behind` is true.
- A partition is fetched only while another broker leads it, and not while it is cut or its directory has failed.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol

from broker.metadata.delta import PartitionDelta
from broker.metadata.image import MetadataImage
from broker.metadata.state import PartitionKey, PartitionState
from broker.replication.directory_moves import DirectoryMoves
from broker.replication.fetchers import Fetchers
from broker.replication.hosting import Hosting
from broker.replication.partition import Partition
from broker.replication.repairs import Repairs
from kraftpy.errors import NotLeaderOrFollowerError, UnknownTopicOrPartitionError

CHANGES_PER_TURN = 50
"""Partitions that metadata begins, moves or ends before others are let in: a new one costs about 1 ms of system calls,
and a thousand at once cost the quorum its leader."""


class LeadershipListener(Protocol):
    """Somebody whose work goes with the leaderships of a topic: its coordinators."""

    def led(self, partition: Partition) -> None:
        """This broker leads it: told at each change of its state, so perhaps again in the same epoch."""

    def left(self, partition: int) -> None:
        """This broker does not lead it, or not any more."""


class Assignments:
    """Those of this broker."""

    def __init__(
        self,
        node_id: int,
        image: Callable[[], MetadataImage],
        hosting: Hosting,
        moves: DirectoryMoves,
        fetchers: Fetchers,
        repairs: Repairs,
        moving: dict[Partition, None],
        spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], None],
    ) -> None:
        """`moving`: what is led here and perhaps has a follower that lags or may join."""
        self.listeners: dict[str, LeadershipListener] = {}  # by topic
        self._node_id = node_id
        self._image = image
        self._hosting = hosting
        self._moves = moves
        self._fetchers = fetchers
        self._repairs = repairs
        self._moving = moving
        self._spawn = spawn
        self._changes: deque[PartitionDelta | Callable[[], None]] = deque()  # not acted by yet, in metadata's order
        self._minimums: deque[Sequence[tuple[Partition, int]]] = deque()  # likewise; `_lower` acts by the first
        self._is_catching_up = False

    def is_behind(self) -> bool:
        """Whether metadata has told more than was acted by."""
        return bool(self._changes)

    def take(self, changes: Iterable[PartitionDelta], minimums: Sequence[tuple[Partition, int]] = ()) -> None:
        """Act by these, after those before them: by the first at once, and by the rest in turns with everything else.
        Requests for the rest are told to wait. `minimums`: the min.insync.replicas that came with them."""
        self._raise(minimums)
        self._changes.extend(changes)
        if minimums:
            self._minimums.append(minimums)
            self._changes.append(self._lower)
        if not self._is_catching_up:
            self._take_turn()
            self._repairs.look()
            if self._changes:
                self._is_catching_up = True
                self._spawn(self._catch_up)

    async def _catch_up(self) -> None:
        while self._changes:
            await asyncio.sleep(0)
            self._take_turn()
        self._is_catching_up = False
        self._repairs.look()

    def _take_turn(self) -> None:
        for _ in range(min(CHANGES_PER_TURN, len(self._changes))):
            change = self._changes.popleft()
            if isinstance(change, PartitionDelta):
                self._change(change)
            else:
                change()

    def _raise(self, minimums: Sequence[tuple[Partition, int]]) -> None:
        for partition, min_isr in minimums:
            partition.set_min_isr(max(min_isr, partition.min_isr))

    def _lower(self) -> None:
        """To the minimums of the image that was acted by, but not below any that was told since."""
        minimums = self._minimums.popleft()
        later = [dict(each) for each in self._minimums]
        for partition, min_isr in minimums:
            if self._hosting.partitions.get(partition.key) is partition:
                partition.set_min_isr(max([min_isr, *(each.get(partition, 0) for each in later)]))

    def _change(self, change: PartitionDelta) -> None:
        key = PartitionKey(change.topic_id, change.partition)
        state = change.new
        if state is None or self._node_id not in state.replicas:
            self._let_go(key, change.topic, is_deleted=state is None)
            return
        partition = self._hosting.partitions.get(key)
        is_new = partition is None
        if partition is None:
            partition = self._hosting.host(self._image(), change.topic, key, state)
            if partition is None:
                return  # it cannot be served, and the controller hears of it
            self._moves.resume(partition)
        if state.leader == self._node_id:
            self._lead(partition, state)
        else:
            self._follow(partition, state, is_new=is_new)

    def _lead(self, partition: Partition, state: PartitionState) -> None:
        self._fetchers.leave(partition.key)
        partition.lead(state)
        self._moving[partition] = None
        listener = self.listeners.get(partition.topic)
        if listener is not None:
            listener.led(partition)

    def _follow(self, partition: Partition, state: PartitionState, *, is_new: bool) -> None:
        before = partition.state
        self._moving.pop(partition, None)
        partition.follow(state)
        self._tell_left(partition)
        if not state.has_leader or partition.is_offline:
            self._fetchers.leave(partition.key)
        elif self._repairs.is_cutting(partition):
            self._fetchers.leave(partition.key)  # it will be followed once it is cut
        elif is_new or before.leader_epoch != state.leader_epoch:
            self._fetchers.follow(partition)

    def _let_go(self, key: PartitionKey, topic: str, is_deleted: bool) -> None:
        partition = self._hosting.partitions.get(key)
        if partition is None:
            self._hosting.delete_unserved(key, f"{topic}-{key.partition}")
            return
        self._forget(partition)
        self._moves.cancel(key)
        self._hosting.delete(partition)
        partition.retire(
            UnknownTopicOrPartitionError(f"topic {partition.topic} was deleted")
            if is_deleted
            else NotLeaderOrFollowerError(f"broker {self._node_id} holds no replica of {partition.name} any more")
        )
        self._tell_left(partition)

    def gone_offline(self, partition: Partition) -> None:
        """Its log directory failed."""
        self._forget(partition)
        partition.fail()
        self._tell_left(partition)

    def _forget(self, partition: Partition) -> None:
        self._fetchers.leave(partition.key)
        self._moving.pop(partition, None)
        self._repairs.forget(partition)

    def _tell_left(self, partition: Partition) -> None:
        listener = self.listeners.get(partition.topic)
        if listener is not None:
            listener.left(partition.key.partition)
