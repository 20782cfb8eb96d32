"""The sticky share-out where all members want the same topics. Pure.

With n partitions and m members everybody gets n div m (`fewest`), and n mod m members one more (`most`). Everybody
keeps what they own up to their share; the rest goes round, first to those below `fewest`, near ones first where racks
matter.
"""

from kraftpy.client.assignors.model import Assignment, Topics, by_place, code_units, places_of
from kraftpy.client.assignors.racks import RackInfo
from kraftpy.client.assignors.sticky_claims import Claims
from kraftpy.client.values import TopicPartition


class EqualShares:
    """One share-out."""

    def __init__(self, topics: Topics, claims: Claims, racks: RackInfo) -> None:
        self.transferred: dict[TopicPartition, str] = {}  # what somebody else still reads: to whom it goes
        self._topics = topics
        self._claims = claims
        self._racks = racks
        count = sum(len(partitions) for partitions in topics.values())
        self._fewest, self._full_wanted = divmod(count, len(claims.owned))
        self._most = self._fewest + (1 if self._full_wanted else 0)
        self._full = 0  # members with `most`, where that is more than `fewest`
        self._below: list[str] = []  # members with less than `fewest`
        self._at: list[str] = []  # members with exactly `fewest` who may get one more
        self._assignment: Assignment = {member_id: [] for member_id in claims.owned}
        self._had: dict[TopicPartition, str] = {}  # what members do not keep: whose it was

    def assign(self) -> Assignment:
        for member_id in self._claims.owned:
            self._keep(member_id)
        kept = {place for places in self._assignment.values() for place in places}
        free = [place for place in places_of(self._topics, sorted(self._topics, key=code_units)) if place not in kept]
        self._below.sort(key=code_units)
        self._at.sort(key=code_units)
        free = self._racks.scarce_first(free)
        if self._racks.by_member:
            free = self._give_near(free)
        self._give_round(free)
        return self._assignment

    def _keep(self, member_id: str) -> None:
        """Leave a member what it owns, up to its share."""
        claimed = sorted(self._claims.owned[member_id], key=lambda place: (place.partition, by_place(place)))
        far = [place for place in claimed if self._racks.mismatch(member_id, place)]
        owned = [place for place in claimed if place not in far and place not in self._claims.disputed]
        self._had.update(dict.fromkeys(far, member_id))
        if len(owned) < self._fewest:
            self._below.append(member_id)
            share = len(owned)
        elif len(owned) >= self._most and self._full < self._full_wanted:
            self._full += 1
            if self._full == self._full_wanted:
                self._at.clear()
            share = self._most
        else:
            share = self._fewest
            if self._full < self._full_wanted:
                self._at.append(member_id)
        self._assignment[member_id] += owned[:share]
        self._had.update(dict.fromkeys(owned[share:], member_id))

    def _give_near(self, free: list[TopicPartition]) -> list[TopicPartition]:
        """Give partitions to members near them; what is left over."""
        turn = 0
        left: list[TopicPartition] = []
        for place in free:
            index = self._racks.next_near(place, self._below, turn)
            if index >= 0:
                member_id = self._below[index]
                if self._give(place, member_id) >= self._fewest:
                    del self._below[index]
                    if len(self._assignment[member_id]) < self._most and self._full < self._full_wanted:
                        self._at.append(member_id)
                else:
                    index += 1
                turn = index % len(self._below) if self._below else 0
                continue
            index = self._racks.next_near(place, self._at, 0)
            if index < 0:
                left.append(place)
                continue
            member_id = self._at[index]
            if self._give(place, member_id) == self._most:
                del self._at[index]
                self._full += 1
                if self._full == self._full_wanted:
                    self._at.clear()
        return left

    def _give_round(self, free: list[TopicPartition]) -> None:
        turn = 0
        for place in free:
            if not self._below:
                self._give(place, self._at.pop(0))
                continue
            turn = turn if turn < len(self._below) else 0
            member_id = self._below[turn]
            if self._give(place, member_id) == self._fewest:
                del self._below[turn]
                self._at.append(member_id)
            else:
                turn += 1

    def _give(self, place: TopicPartition, member_id: str) -> int:
        """How many the member has then."""
        self._assignment[member_id].append(place)
        if self._had.get(place, member_id) != member_id or place in self._claims.disputed:
            self.transferred[place] = member_id
        return len(self._assignment[member_id])
