"""The sticky share-out where members want different topics. Pure.

Everybody keeps what they own and still want. What is free goes to whoever has least, topics that few want first. Then
partitions move, one at a time, from members that have at least two more than another who could read them, until
nothing can be moved to advantage; if that made the whole no more even, it is taken back.

A partition that has moved is noted (`_Movements`), so that none is moved from A to B while another of its topic goes
from B to A: the second stays, and the first goes back.
"""

from bisect import bisect_left, insort
from collections.abc import Mapping

from kraftpy.client.assignors.java_hash import HashOrder, place_hash
from kraftpy.client.assignors.model import Assignment, Subscription, Topics, code_units, places_of
from kraftpy.client.assignors.racks import RackInfo
from kraftpy.client.assignors.sticky_claims import Claims
from kraftpy.client.values import TopicPartition

Ranked = tuple[int, bytes, str]
"""A member by how many partitions it has, then by name."""


class GeneralShares:
    """One share-out. Invariant: `_ranked` holds every member of `_held`, with its present count."""

    def __init__(self, topics: Topics, members: Mapping[str, Subscription], claims: Claims, racks: RackInfo) -> None:
        self._topics = topics
        self._racks = racks
        self._before = claims.before
        self._wants = {
            member_id: dict.fromkeys(name for name in member.topics if name in topics)
            for member_id, member in members.items()
        }
        self._readers: dict[str, list[str]] = {name: [] for name in topics}
        for member_id, names in self._wants.items():
            for name in names:
                self._readers[name].append(member_id)
        self._held = {member_id: dict.fromkeys(places) for member_id, places in claims.owned.items()}
        self._reader = {place: member_id for member_id, places in self._held.items() for place in places}
        rare_first = sorted(topics, key=lambda name: (len(self._readers[name]), code_units(name)))
        self._places = places_of(topics, rare_first)
        self._ranked: list[Ranked] = []
        self._movements = _Movements()

    def assign(self) -> Assignment:
        free, something_was_taken = self._keep()
        self._ranked = sorted(self._rank(member_id) for member_id in self._held)
        began_empty = self._ranked[-1][0] == 0
        near = self._racks.by_member
        free_far = [place for place in free if not self._give(place, near=True)] if near else free
        for place in free_far:
            self._give(place, near=False)
        fixed = self._set_fixed_apart()
        movable = [place for place in self._places if len(self._readers[place.topic]) >= 2]
        movable_free = [place for place in free if len(self._readers[place.topic]) >= 2]
        before = {member_id: dict(places) for member_id, places in self._held.items()}
        if not something_was_taken:
            self._level(movable_free)
        moved = self._level(movable)
        if not began_empty and moved and _unevenness(self._held) >= _unevenness(before):
            self._held = before
        return {member_id: list(places) for member_id, places in (self._held | fixed).items()}

    def _keep(self) -> tuple[list[TopicPartition], bool]:
        """Take away what members no longer want or are far from; what is free, and whether anything was taken."""
        taken = False
        kept: set[TopicPartition] = set()
        for member_id, places in self._held.items():
            for place in list(places):
                if place.topic in self._wants[member_id] and not self._racks.mismatch(member_id, place):
                    kept.add(place)
                else:
                    del places[place]
                    taken = True
        return [place for place in self._places if place not in kept], taken

    def _give(self, place: TopicPartition, *, near: bool) -> bool:
        """Give a free partition to whoever has least of those who want it (and are near it)."""
        for _, _, member_id in self._ranked:
            if place.topic in self._wants[member_id] and not (near and self._racks.mismatch(member_id, place)):
                self._unrank(member_id)
                self._held[member_id][place] = None
                self._reader[place] = member_id
                insort(self._ranked, self._rank(member_id))
                return True
        return False

    def _set_fixed_apart(self) -> dict[str, dict[TopicPartition, None]]:
        """The members that have all they want, of topics that nobody else wants."""
        fixed: dict[str, dict[TopicPartition, None]] = {}
        for member_id, names in self._wants.items():
            held = self._held[member_id]
            has_all = len(held) >= sum(len(self._topics[name]) for name in names)
            if has_all and not any(len(self._readers[place.topic]) >= 2 for place in held):
                self._unrank(member_id)
                fixed[member_id] = self._held.pop(member_id)
        return fixed

    def _level(self, places: list[TopicPartition]) -> bool:
        """Move partitions of `places` to those who have too few, for as long as that helps; whether any moved."""
        moved = False
        while True:
            moved_now = False
            for place in places:
                if self._is_even():
                    break
                moved_now = self._relieve(place) or moved_now
            moved = moved or moved_now
            if not moved_now:
                return moved

    def _relieve(self, place: TopicPartition) -> bool:
        reader = self._reader[place]
        count = len(self._held[reader])
        before = self._before.get(place)
        may_return = before in self._held and place.topic in self._wants[before]
        if before is not None and may_return and count > len(self._held[before]) + 1:
            self._move(place, before)
            return True
        if any(count > len(self._held[other]) + 1 for other in self._readers[place.topic] if other in self._held):
            least = next(member_id for _, _, member_id in self._ranked if place.topic in self._wants[member_id])
            self._move(place, least)
            return True
        return False

    def _move(self, place: TopicPartition, receiver: str) -> None:
        place = self._movements.instead_of(place, self._reader[place], receiver)
        giver = self._reader[place]
        self._unrank(giver)
        if receiver != giver:
            self._unrank(receiver)
        self._movements.note(place, giver, receiver)
        del self._held[giver][place]
        self._held[receiver][place] = None
        self._reader[place] = receiver
        insort(self._ranked, self._rank(receiver))
        if receiver != giver:
            insort(self._ranked, self._rank(giver))

    def _is_even(self) -> bool:
        """Whether nobody could take a partition from somebody who has at least two more."""
        if not self._ranked or self._ranked[0][0] >= self._ranked[-1][0] - 1:
            return True
        most: dict[str, int] = {}  # by topic: how many partitions the fullest of its present readers has
        for places in self._held.values():
            for place in places:
                if len(places) > most.get(place.topic, 0):
                    most[place.topic] = len(places)
        return not any(
            count + 1 < most.get(name, 0) for count, _, member_id in self._ranked for name in self._wants[member_id]
        )

    def _rank(self, member_id: str) -> Ranked:
        return (len(self._held[member_id]), code_units(member_id), member_id)

    def _unrank(self, member_id: str) -> None:
        del self._ranked[bisect_left(self._ranked, self._rank(member_id))]


class _Movements:
    """What has moved from whom to whom in this share-out; a partition that is back home has not moved."""

    def __init__(self) -> None:
        self._way: dict[TopicPartition, tuple[str, str]] = {}
        self._moved: dict[tuple[str, str, str], HashOrder[TopicPartition]] = {}  # by topic, giver, receiver

    def note(self, place: TopicPartition, giver: str, receiver: str) -> None:
        way = self._way.pop(place, None)
        if way is not None:
            moved = self._moved[place.topic, *way]
            moved.remove(place)
            if not len(moved):
                del self._moved[place.topic, *way]
            giver = way[0]
            if giver == receiver:
                return
        self._way[place] = (giver, receiver)
        self._moved.setdefault((place.topic, giver, receiver), HashOrder(place_hash)).add(place)

    def instead_of(self, place: TopicPartition, giver: str, receiver: str) -> TopicPartition:
        """A partition of the same topic that came the opposite way, and should rather go back."""
        giver = self._way[place][0] if place in self._way else giver
        opposite = self._moved.get((place.topic, receiver, giver))
        return place if opposite is None else opposite.first()


def _unevenness(held: Mapping[str, Mapping[TopicPartition, None]]) -> int:
    """The sum of the differences between any two members' counts; with counts ascending, each counts by its rank."""
    counts = sorted(len(places) for places in held.values())
    return sum(count * (2 * rank - len(counts) + 1) for rank, count in enumerate(counts))
