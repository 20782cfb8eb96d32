"""The range assignor: topic by topic, each member a run of neighbours. Pure.

Members are sorted; of n partitions among m members each gets n div m, the first n mod m one more. Topics of equal size
and with the same members are shared alike, so that what has one key is with one member in all of them.

Where racks matter, those are given first that a member finds in its own rack, within the same shares; topics that are
to be shared alike then go partition by partition, to a member that is near in all of them.
"""

from collections.abc import Callable, Mapping, Sequence

from kraftpy.client.assignors.model import Assignment, Subscription, Topics, by_instance, by_place, wanted
from kraftpy.client.assignors.racks import racks_matter
from kraftpy.client.values import TopicPartition


class RangeAssignor:
    """See the module's docstring."""

    name = "range"
    is_cooperative = False

    def user_data(self, owned: Sequence[TopicPartition] | None, generation: int) -> bytes | None:
        return None

    def assign(self, topics: Topics, members: Mapping[str, Subscription]) -> Assignment:
        shares = [_TopicShares(name, partitions, members) for name, partitions in wanted(topics, members).items()]
        assignment: Assignment = {member_id: [] for member_id in members}
        if any(share.racks_matter for share in shares):
            _assign_near(shares, assignment)
        for share in shares:
            share.assign_ranges(lambda _member_id, _place: True, assignment)
        for places in assignment.values():
            places.sort(key=by_place)
        return assignment


class _TopicShares:
    """One topic on its way to its members."""

    def __init__(self, name: str, partitions: Sequence[frozenset[str]], members: Mapping[str, Subscription]) -> None:
        self.name = name
        self.size = len(partitions)
        interested = [member_id for member_id, member in members.items() if name in member.topics]
        self.racks = {
            member_id: members[member_id].rack or None
            for member_id in sorted(interested, key=lambda member_id: by_instance(member_id, members[member_id]))
        }  # of the members, in the order in which they are served
        self.left = dict.fromkeys(TopicPartition(name, partition) for partition in range(self.size))
        self._count = dict.fromkeys(self.racks, 0)
        self._each, self._extra = divmod(self.size, len(self.racks))
        self._racks_by_place = (
            {place: partitions[place.partition] for place in self.left} if any(self.racks.values()) else {}
        )
        self.racks_matter = racks_matter(
            [rack for rack in self.racks.values() if rack is not None], self._racks_by_place
        )

    def is_near(self, member_id: str, place: TopicPartition) -> bool:
        rack = self.racks[member_id]
        return rack is None or rack in self._racks_by_place.get(place, frozenset())

    def room(self, member_id: str) -> int:
        """How many more the member may get."""
        return max(0, self._each + (1 if self._extra > 0 else 0) - self._count[member_id])

    def assign_ranges(self, may_have: Callable[[str, TopicPartition], bool], assignment: Assignment) -> None:
        for member_id in self.racks:
            if not self.left:
                return
            allowed = [place for place in self.left if may_have(member_id, place)]
            self.give(member_id, allowed[: self.room(member_id)], assignment)

    def give(self, member_id: str, places: list[TopicPartition], assignment: Assignment) -> None:
        if not places:
            return
        assignment[member_id] += places
        self._count[member_id] += len(places)
        if self._count[member_id] > self._each:
            self._extra -= 1
        for place in places:
            del self.left[place]


def _assign_near(shares: list[_TopicShares], assignment: Assignment) -> None:
    alike: dict[object, list[_TopicShares]] = {}
    for share in shares:
        alike.setdefault((tuple(sorted(share.racks.items(), key=lambda item: item[0])), share.size), []).append(share)
    for group in alike.values():
        if len(group) > 1:
            _assign_side_by_side(group, assignment)
        elif group[0].racks_matter:
            group[0].assign_ranges(group[0].is_near, assignment)


def _assign_side_by_side(group: list[_TopicShares], assignment: Assignment) -> None:
    remaining = list(group[0].racks)
    for partition in range(group[0].size):
        found = next((member_id for member_id in remaining if _suits(group, member_id, partition)), None)
        if found is None:
            continue
        for share in group:
            share.give(found, [TopicPartition(share.name, partition)], assignment)
        if not any(share.room(found) for share in group):
            remaining.remove(found)


def _suits(group: list[_TopicShares], member_id: str, partition: int) -> bool:
    return all(
        share.is_near(member_id, TopicPartition(share.name, partition)) and share.room(member_id) > 0 for share in group
    )
