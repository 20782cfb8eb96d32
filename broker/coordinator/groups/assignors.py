"""Who is to read which partition: the two assignors of the coordinator (KIP-848). Pure, and the same for equal input.

| name | partitions | moves |
|---|---|---|
| `uniform` | as evenly as the subscriptions allow: equal ones differ by one at most | as few as that needs |
| `range` | of each topic, neighbours go to one member; the same numbers of several topics too | what that needs |

Racks are not looked at, as by Kafka's own since 4.0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final
from uuid import UUID

from broker.coordinator.groups.consumer_group import gathered, places
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
    subscriptions = list(dict.fromkeys(member.topic_ids for member in members.values()))
    if len(subscriptions) == 1:
        _level(assigned, unassigned)
    else:
        _even_out(members, topics, assigned, unassigned)
    return {member_id: gathered(each) for member_id, each in assigned.items()}


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
    read = [topic_id for topic_id in topics if any(topic_id in member.topic_ids for member in members.values())]
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
    readers = {
        topic_id: [member_id for member_id in members if topic_id in members[member_id].topic_ids]
        for topic_id in topics
    }
    order = sorted(topics, key=lambda topic_id: len(readers[topic_id]))
    by_topic: dict[UUID, list[Place]] = {}
    for place in unassigned:
        by_topic.setdefault(place[0], []).append(place)
    for topic_id in order:
        if not readers[topic_id]:
            continue
        heap = [(len(assigned[member_id]), index, member_id) for index, member_id in enumerate(readers[topic_id])]
        heapify(heap)
        for place in by_topic.get(topic_id, ()):
            load, index, member_id = heappop(heap)
            assigned[member_id].append(place)
            heappush(heap, (load + 1, index, member_id))
    has_moved = True
    while has_moved:
        has_moved = False
        for topic_id in order:
            has_moved = _move_one_topic(topic_id, readers[topic_id], assigned) or has_moved


def _move_one_topic(topic_id: UUID, readers: list[str], assigned: dict[str, list[Place]]) -> bool:
    """Whether any partition of it moved."""
    of_topic = {member_id: [place for place in assigned[member_id] if place[0] == topic_id] for member_id in readers}
    has_moved = False
    while True:
        givers = [member_id for member_id in readers if of_topic[member_id]]
        if not givers:
            return has_moved
        giver = max(givers, key=lambda member_id: len(assigned[member_id]))
        taker = min(readers, key=lambda member_id: len(assigned[member_id]))
        if len(assigned[giver]) <= len(assigned[taker]) + 1:
            return has_moved
        place = of_topic[giver].pop()
        assigned[giver].remove(place)
        assigned[taker].append(place)
        of_topic[taker].append(place)
        has_moved = True


ASSIGNORS: Final[Mapping[str, Assignor]] = {"uniform": assign_uniform, "range": assign_range}
"""By Kafka's names."""
