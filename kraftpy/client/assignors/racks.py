"""Whose rack holds a replica of what (KIP-881). Pure.

Racks count only where they can help: some member's rack must hold replicas, and not every partition have one in every
rack. Where they do not count, both tables are empty and everybody matches everything.
"""

from collections.abc import Iterable, Mapping

from kraftpy.client.assignors.model import Subscription, Topics
from kraftpy.client.values import TopicPartition


def racks_matter(consumer_racks: Iterable[str], racks_by_place: Mapping[TopicPartition, frozenset[str]]) -> bool:
    """Whether to look at racks at all."""
    everywhere = frozenset(rack for racks in racks_by_place.values() for rack in racks)
    if everywhere.isdisjoint(consumer_racks):
        return False
    return any(racks != everywhere for racks in racks_by_place.values())


class RackInfo:
    """The racks of the members and of all partitions, for the sticky assignors."""

    def __init__(self, topics: Topics, members: Mapping[str, Subscription]) -> None:
        by_member = {member_id: member.rack for member_id, member in members.items() if member.rack}
        by_place: dict[TopicPartition, frozenset[str]] = {}
        if by_member:
            for name, partitions in topics.items():
                for partition, racks in enumerate(partitions):
                    by_place[TopicPartition(name, partition)] = racks
        count_by_rack: dict[str, int] = {}
        for rack in by_member.values():
            count_by_rack[rack] = count_by_rack.get(rack, 0) + 1
        self._members_near = {
            place: sum(count_by_rack.get(rack, 0) for rack in racks) for place, racks in by_place.items()
        }
        matter = racks_matter(by_member.values(), by_place)
        self.by_member: Mapping[str, str] = by_member if matter else {}
        self.by_place: Mapping[TopicPartition, frozenset[str]] = by_place if matter else {}
        if not matter:
            self._members_near = {}

    def mismatch(self, member_id: str, place: TopicPartition) -> bool:
        """Whether the member has a rack, and the partition no replica there."""
        rack = self.by_member.get(member_id)
        return rack is not None and rack not in self.by_place.get(place, frozenset())

    def scarce_first(self, places: list[TopicPartition]) -> list[TopicPartition]:
        """Those first that the fewest members are near to."""
        return sorted(places, key=lambda place: self._members_near.get(place, 0))

    def next_near(self, place: TopicPartition, member_ids: list[str], first_index: int) -> int:
        """The index of the first member near `place`, looking around from `first_index`; -1: there is none."""
        racks = self.by_place.get(place, frozenset())
        for step in range(len(member_ids)):
            index = (first_index + step) % len(member_ids)
            if self.by_member.get(member_ids[index]) in racks:
                return index
        return -1
