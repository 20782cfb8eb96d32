"""What the members of a group say that they had, and what of it is believed. Pure."""

from collections.abc import Mapping, Sequence

from kraftpy.client.assignors.model import NO_GENERATION, Subscription, Topics
from kraftpy.client.values import TopicPartition


class Claims:
    """Invariant: `owned` names a partition once, except one that three members claimed."""

    def __init__(
        self,
        topics: Topics,
        members: Mapping[str, Subscription],
        told: Mapping[str, tuple[Sequence[TopicPartition], int | None]],
    ) -> None:
        """`told`: by member, what it had and in which generation; `members` in the order of Java's table."""
        self.owned: dict[str, list[TopicPartition]] = {}
        self.disputed: set[TopicPartition] = set()
        self._owner: dict[TopicPartition, str] = {}
        self._members = members
        for member_id in members:
            places, generation = told[member_id]
            self.owned[member_id] = []
            for place in places:
                if place.topic in topics:
                    self._claim(member_id, place, NO_GENERATION if generation is None else generation)
        self.before = _before(members, told)

    def _claim(self, member_id: str, place: TopicPartition, generation: int) -> None:
        other = self._owner.get(place)
        if other is None:
            self.owned[member_id].append(place)
            self._owner[place] = member_id
            return
        other_generation = self._members[other].generation
        if generation < other_generation:
            return
        if generation == other_generation:
            self.disputed.add(place)
        else:
            self.owned[member_id].append(place)
        if place in self.owned[other]:
            self.owned[other].remove(place)
        self._owner[place] = member_id


def _before(
    members: Mapping[str, Subscription], told: Mapping[str, tuple[Sequence[TopicPartition], int | None]]
) -> dict[TopicPartition, str]:
    """Who had a partition in the newest generation but the last: what is moved is rather moved back there."""
    newest = max((generation for _, generation in told.values() if generation is not None), default=NO_GENERATION)
    newest = max(newest, NO_GENERATION)
    found: dict[TopicPartition, tuple[int, str]] = {}
    for member_id in members:
        places, generation = told[member_id]
        generation = NO_GENERATION if generation is None else generation
        if generation >= newest:
            continue
        for place in places:
            if place not in found or generation > found[place][0]:
                found[place] = (generation, member_id)
    return {place: member_id for place, (_, member_id) in found.items()}
