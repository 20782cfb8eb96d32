"""When offsets are forgotten (KIP-211), and groups with them.

| the group | an offset is forgotten once this is older than `offsets_retention_ms` |
|---|---|
| Empty, once had members | the time at which it lost the last |
| never had members | the commit |
| Stable, of Kafka's consumers | the commit, if nobody in the group reads the topic |
| a consumer group | the commit, if nobody in the group reads the topic |
| anything else | nothing is forgotten |

A commit that came with a time of its own goes by that. An offset that an open transaction is about to replace stays. A
group that is Empty and has no offsets left is forgotten too.
"""

from collections import deque
from collections.abc import Callable, Iterator

from broker.coordinator.core import BatchRoom
from broker.coordinator.groups.administration import Administration
from broker.coordinator.groups.chores import Chores, part_room
from broker.coordinator.groups.classic_group import EMPTY, STABLE, ClassicGroup
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.consumer_group import ConsumerGroup
from broker.coordinator.groups.offsets import Offsets
from broker.coordinator.groups.records import CommittedOffset, OffsetRecord
from broker.coordinator.groups.registry import AnyGroup, Groups
from broker.coordinator.groups.timers import Timer, TimerKind, Timers
from broker.coordinator.groups.turn import Turn

LOOKED_AT_ONCE = 20_000
"""Groups and offsets that one part looks at: some milliseconds."""

_TIMER = Timer(TimerKind.EXPIRY)


class Expiry:
    """See the module's docstring."""

    def __init__(
        self,
        config: GroupConfig,
        groups: Groups,
        offsets: Offsets,
        administration: Administration,
        chores: Chores,
        timers: Timers,
    ) -> None:
        self._config = config
        self._groups = groups
        self._offsets = offsets
        self._administration = administration
        self._chores = chores
        self._timers = timers

    def look_later(self, turn: Turn) -> None:
        self._timers.set(_TIMER, turn.now.monotonic_ms + self._config.offsets_retention_check_interval_ms)

    def look(self, turn: Turn) -> None:
        self.look_later(turn)
        group_ids = deque(group.group_id for group in self._groups.all())
        self._chores.begin(lambda later: self._look(group_ids, later), turn)

    def _look(self, group_ids: deque[str], turn: Turn) -> bool:
        looked, room = 0, part_room()
        while group_ids and looked < LOOKED_AT_ONCE:
            group = self._groups.any(group_ids[0])
            if group is not None and not self._expire(group, room, turn):
                break
            group_ids.popleft()
            looked += 1 + (0 if group is None else self._offsets.count(group.group_id))
        if group_ids:
            turn.if_refused(lambda again, error: self._chores.stop_first())  # until the next look
        return bool(group_ids)

    def _expire(self, group: AnyGroup, room: BatchRoom, turn: Turn) -> bool:
        """False: it has more than fits into this part."""
        kept = 0
        for record in self._expired(group, turn):
            if record is None:
                kept += 1
                continue
            if not room.take(record.group_id, record.topic):
                return False
            turn.records.append(record)
        if not kept and _is_unused(group):
            if not room.take(group.group_id):
                return False
            turn.records += self._administration.removal(group, turn)
        return True

    def _expired(self, group: AnyGroup, turn: Turn) -> Iterator[OffsetRecord | None]:
        """For each offset its deletion, or None: it stays."""
        base_ms = _base_of(group)
        read: frozenset[str] | None = None  # asked where time is over, and once: it costs by members and their topics
        for (topic, partition), value in self._offsets.of_group(group.group_id):
            if base_ms is None or not self._is_over(value, base_ms(value), turn.now.wall_ms):
                yield None
                continue
            if read is None:
                read = frozenset(group.topics())
            stays = topic in read or self._offsets.is_unstable(group.group_id, topic, partition)
            yield None if stays else OffsetRecord(group.group_id, topic, partition, None)

    def _is_over(self, value: CommittedOffset, base_ms: int, wall_ms: int) -> bool:
        if value.expires_ms is not None:
            return wall_ms >= value.expires_ms
        return wall_ms - base_ms >= self._config.offsets_retention_ms


def _is_unused(group: AnyGroup) -> bool:
    """Nobody is in it, and nobody is about to be."""
    return group.is_empty and not (isinstance(group, ClassicGroup) and group.pending_joins)


def _base_of(group: AnyGroup) -> Callable[[CommittedOffset], int] | None:
    """What the retention is counted from; None: nothing is forgotten."""
    if isinstance(group, ConsumerGroup):
        return lambda value: value.committed_ms
    since_ms = group.state_since_ms
    if group.protocol_type is not None and group.state is EMPTY and since_ms is not None:
        return lambda value: since_ms
    if group.protocol_type is None or group.state is EMPTY or (group.state is STABLE and group.subscribed is not None):
        return lambda value: value.committed_ms
    return None
