"""Who is to read which partition: the two assignors of the coordinator (KIP-848). Pure, and the same for equal input.

| name | partitions | moves |
|---|---|---|
| `uniform` | as evenly as the subscriptions allow: equal ones differ by one at most | as few as that needs |
| `range` | of each topic, neighbours go to one member; the same numbers of several topics too | what that needs |

Racks are not looked at, as by Kafka's own since 4.0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from typing import Final
from uuid import UUID

from broker.coordinator.groups.consumer_group import ConsumerGroup, gathered, places
from broker.coordinator.groups.consumer_records import Partitions, Place


@dataclass(frozen=True, slots=True)
class MemberToAssign:
    """One member, for an assignor."""

    instance_id: str | None
    topic_ids: frozenset[UUID]
    """What it reads, as far as it exists."""
    target: Partitions
    """What it was to have before."""


Members = Mapping[str, MemberToAssign]
PartitionCounts = Mapping[UUID, int]
"""How many partitions each topic has that anybody reads, in the order in which they are dealt with."""
Assignor = Callable[[Members, PartitionCounts], dict[str, Partitions]]
"""The new target of each member."""


def members_to_assign(group: ConsumerGroup, topic_ids: Mapping[str, UUID]) -> dict[str, MemberToAssign]:
    """All of a group. `topic_ids`: of the topics that exist."""
    read: dict[tuple[tuple[str, ...], str | None], frozenset[UUID]] = {}  # most members say the same
    members: dict[str, MemberToAssign] = {}
    for member_id, member in group.members.items():
        said = (member.topics, member.pattern)
        if said not in read:
            names = (name for name in group.topics_of(member) if name in topic_ids)
            read[said] = frozenset(topic_ids[name] for name in names)
        members[member_id] = MemberToAssign(member.instance_id, read[said], group.target(member_id))
    return members


# --- range -----------------------------------------------------------------------------------------------------------


def assign_range(members: Members, topics: PartitionCounts) -> dict[str, Partitions]:
    """Members in the order of their instance ids, or else of their ids, which every topic has in common."""
    ordered = sorted(members, key=lambda member_id: (members[member_id].instance_id or member_id, member_id))
    assigned: dict[str, dict[UUID, tuple[int, ...]]] = {member_id: {} for member_id in members}
    for topic_id, count in topics.items():
        readers = [member_id for member_id in ordered if topic_id in members[member_id].topic_ids]
        if not readers:
            continue
        size, extra = divmod(count, len(readers))
        first = 0
        for index, member_id in enumerate(readers):
            end = first + size + (index < extra)
            if end > first:
                assigned[member_id][topic_id] = tuple(range(first, end))
            first = end
    return dict(assigned)


# --- uniform ---------------------------------------------------------------------------------------------------------


def assign_uniform(members: Members, topics: PartitionCounts) -> dict[str, Partitions]:
    """Keep what is still wanted, give what nobody has to whoever has least, then even out."""
    assigned, unassigned = _kept(members, topics)
    if len(_subscriptions(members)) == 1:
        _level(assigned, unassigned)
    else:
        _even_out(members, topics, assigned, unassigned)
    return {member_id: gathered(each) for member_id, each in assigned.items()}


def _subscriptions(members: Members) -> dict[frozenset[UUID], int]:
    """What members read, each once, and numbered: there are few of them where there are many members."""
    found: dict[frozenset[UUID], int] = {}
    for member in members.values():
        found.setdefault(member.topic_ids, len(found))
    return found


def _kept(members: Members, topics: PartitionCounts) -> tuple[dict[str, list[Place]], list[Place]]:
    """What members keep, and what nobody has."""
    assigned: dict[str, list[Place]] = {}
    taken: dict[Place, None] = {}
    for member_id, member in members.items():
        kept = [
            (topic_id, partition)
            for topic_id, partition in places(member.target)
            if topic_id in member.topic_ids
            and partition < topics.get(topic_id, 0)
            and (topic_id, partition) not in taken
        ]
        taken.update(dict.fromkeys(kept))
        assigned[member_id] = kept
    subscriptions = _subscriptions(members)
    read = [topic_id for topic_id in topics if any(topic_id in each for each in subscriptions)]
    everything = ((topic_id, partition) for topic_id in read for partition in range(topics[topic_id]))
    return assigned, [place for place in everything if place not in taken]


def _level(assigned: dict[str, list[Place]], unassigned: list[Place]) -> None:
    """Everybody reads the same: quotas are known, and whoever has most keeps the places of the larger ones."""
    least, extra = divmod(sum(map(len, assigned.values())) + len(unassigned), len(assigned))
    by_load = sorted(assigned, key=lambda member_id: -len(assigned[member_id]))
    quotas = {member_id: least + (index < extra) for index, member_id in enumerate(by_load)}
    for member_id, kept in assigned.items():
        unassigned += kept[quotas[member_id] :]
        del kept[quotas[member_id] :]
    heap = [(len(kept), index, member_id) for index, (member_id, kept) in enumerate(assigned.items())]
    heap = [each for each in heap if each[0] < quotas[each[2]]]
    heapify(heap)
    for place in unassigned:
        load, index, member_id = heap[0]
        assigned[member_id].append(place)
        if load + 1 < quotas[member_id]:
            heapreplace(heap, (load + 1, index, member_id))
        else:
            heappop(heap)


def _even_out(
    members: Members, topics: PartitionCounts, assigned: dict[str, list[Place]], unassigned: list[Place]
) -> None:
    """Topics with few readers first: what many can take fills up the differences.

    Then partitions move from readers that have most to those of the same topic that have least, while that makes two
    members more equal. Each move makes the sum of squares of the loads smaller, so it ends.
    """
    readers = _readers(members, topics)
    order = sorted(topics, key=lambda topic_id: len(readers[topic_id].member_ids))
    _give_out(order, readers, assigned, unassigned)
    moves = _Moves(readers, assigned)
    has_moved = True
    while has_moved:
        has_moved = False
        for topic_id in order:
            has_moved = moves.of_topic(topic_id) or has_moved
    assigned.update(moves.assigned())


@dataclass(slots=True, eq=False)
class _Readers:
    """Of one topic, or of several that the same members read."""

    member_ids: list[str]
    least: str = ""
    """Who of them had least, when `moves_seen` partitions had moved."""
    moves_seen: int = -1


def _readers(members: Members, topics: PartitionCounts) -> dict[UUID, _Readers]:
    subscriptions = _subscriptions(members)
    numbers = {member_id: subscriptions[member.topic_ids] for member_id, member in members.items()}
    known: dict[tuple[bool, ...], _Readers] = {}
    found: dict[UUID, _Readers] = {}
    for topic_id in topics:
        who = tuple(topic_id in each for each in subscriptions)
        if who not in known:
            known[who] = _Readers([member_id for member_id, number in numbers.items() if who[number]])
        found[topic_id] = known[who]
    return found


def _give_out(
    order: list[UUID], readers: Mapping[UUID, _Readers], assigned: dict[str, list[Place]], unassigned: list[Place]
) -> None:
    """Each to the reader that has least."""
    by_topic: dict[UUID, list[Place]] = {}
    for place in unassigned:
        by_topic.setdefault(place[0], []).append(place)
    heap: list[tuple[int, int, str]] = []
    heap_of: _Readers | None = None
    for topic_id in order:
        if topic_id not in by_topic:
            continue
        if readers[topic_id] is not heap_of:
            heap_of = readers[topic_id]
            heap = [(len(assigned[member_id]), index, member_id) for index, member_id in enumerate(heap_of.member_ids)]
            heapify(heap)
        for place in by_topic[topic_id]:
            load, index, member_id = heap[0]
            assigned[member_id].append(place)
            heapreplace(heap, (load + 1, index, member_id))


class _Moves:
    """Partitions on their way from one member to another. A look at a topic costs by those who have partitions of it;
    a move, by its readers."""

    def __init__(self, readers: Mapping[UUID, _Readers], assigned: Mapping[str, list[Place]]) -> None:
        self._readers = readers
        self._has = {member_id: dict.fromkeys(each) for member_id, each in assigned.items()}  # as they came
        self._loads = {member_id: len(each) for member_id, each in assigned.items()}
        self._ranks = {member_id: -index for index, member_id in enumerate(assigned)}  # the first of equals is chosen
        self._holders: dict[UUID, dict[str, list[Place]]] = {}
        for member_id, each in assigned.items():
            for place in each:
                self._holders.setdefault(place[0], {}).setdefault(member_id, []).append(place)
        self._count = 0

    def assigned(self) -> dict[str, list[Place]]:
        return {member_id: list(each) for member_id, each in self._has.items()}

    def of_topic(self, topic_id: UUID) -> bool:
        """Whether any partition of it moved."""
        loads, holders = self._loads, self._holders.get(topic_id, {})
        has_moved = False
        while holders:
            giver = max(holders, key=lambda member_id: (loads[member_id], self._ranks[member_id]))
            taker = self._least(self._readers[topic_id])
            if loads[giver] <= loads[taker] + 1:
                break
            self._move(holders, giver, taker)
            has_moved = True
        return has_moved

    def _least(self, readers: _Readers) -> str:
        if readers.moves_seen != self._count:
            readers.least = min(readers.member_ids, key=self._loads.__getitem__)
            readers.moves_seen = self._count
        return readers.least

    def _move(self, holders: dict[str, list[Place]], giver: str, taker: str) -> None:
        place = holders[giver].pop()
        if not holders[giver]:
            del holders[giver]
        holders.setdefault(taker, []).append(place)
        del self._has[giver][place]
        self._has[taker][place] = None
        self._loads[giver] -= 1
        self._loads[taker] += 1
        self._count += 1


ASSIGNORS: Final[Mapping[str, Assignor]] = {"uniform": assign_uniform, "range": assign_range}
"""By Kafka's names."""
