"""The sticky assignors: as even as can be, and then as few changes as can be (KIP-54, KIP-429). Pure.

Where all members want the same topics, everybody's share is known beforehand (`sticky_equal`); else partitions are
moved for as long as that makes the group more even (`sticky_general`).

What members owned is believed by generation: of two who claim one partition the one of the newer generation had it; two
of the same generation contradict each other, and neither keeps it.

The cooperative assignor takes out of its result whatever changes hands: its owner must stop first, which it learns from
this assignment, and the next rebalance, which follows at once, hands it over.
"""

from collections.abc import Mapping, Sequence
from struct import Struct
from struct import error as StructError

from kraftpy.client.assignors.java_hash import in_hash_order
from kraftpy.client.assignors.model import NO_GENERATION, Assignment, Subscription, Topics, by_place, wanted
from kraftpy.client.assignors.protocol_codec import read_places, write_places
from kraftpy.client.assignors.racks import RackInfo
from kraftpy.client.assignors.sticky_claims import Claims
from kraftpy.client.assignors.sticky_equal import EqualShares
from kraftpy.client.assignors.sticky_general import GeneralShares
from kraftpy.client.values import TopicPartition
from kraftpy.errors import CorruptRecordError

_GENERATION = Struct(">i")


class StickyAssignor:
    """Eager: members stop, rejoin with what they had, and most of it comes back."""

    name = "sticky"
    is_cooperative = False

    def user_data(self, owned: Sequence[TopicPartition] | None, generation: int) -> bytes | None:
        if owned is None:
            return None
        by_topic = in_hash_order(place.topic for place in owned)  # the order in which Java's members write them
        return write_places(sorted(owned, key=lambda place: by_topic.index(place.topic))) + _GENERATION.pack(generation)

    def assign(self, topics: Topics, members: Mapping[str, Subscription]) -> Assignment:
        return _shared(topics, members, {member_id: _told(member) for member_id, member in members.items()})[0]


class CooperativeStickyAssignor:
    """Cooperative: members go on reading what they keep."""

    name = "cooperative-sticky"
    is_cooperative = True

    def user_data(self, owned: Sequence[TopicPartition] | None, generation: int) -> bytes | None:
        return _GENERATION.pack(generation)

    def assign(self, topics: Topics, members: Mapping[str, Subscription]) -> Assignment:
        claims = {member_id: _claimed(member) for member_id, member in members.items()}
        assignment, transferred = _shared(topics, members, claims)
        if transferred is None:
            transferred = _transferred(members, assignment)
        for place, member_id in transferred.items():
            if place in assignment[member_id]:
                assignment[member_id].remove(place)
        return assignment


def _shared(
    topics: Topics, members: Mapping[str, Subscription], told: Mapping[str, tuple[Sequence[TopicPartition], int | None]]
) -> tuple[Assignment, dict[TopicPartition, str] | None]:
    """The assignment, and what changes hands where that is known."""
    topics = wanted(topics, members)
    members = {member_id: members[member_id] for member_id in in_hash_order(members)}
    claims = Claims(topics, members, told)
    racks = RackInfo(topics, members)
    wishes = {frozenset(member.topics) for member in members.values()}
    transferred: dict[TopicPartition, str] | None = None
    if len(wishes) <= 1:
        equal = EqualShares(topics, claims, racks)
        assignment = equal.assign()
        transferred = equal.transferred
    else:
        assignment = GeneralShares(topics, members, claims, racks).assign()
    for places in assignment.values():
        places.sort(key=by_place)
    return assignment, transferred


def _told(member: Subscription) -> tuple[Sequence[TopicPartition], int | None]:
    """What the member had, from its user data: a member of an eager group owns nothing when it joins."""
    data = member.user_data
    if not data:
        return (), None
    try:
        places, position = read_places(data, 0)
    except CorruptRecordError:
        return (), NO_GENERATION
    try:
        return places, int(_GENERATION.unpack_from(data, position)[0])
    except StructError:
        return places, None  # as members before Kafka 2.3 write it


def _claimed(member: Subscription) -> tuple[Sequence[TopicPartition], int | None]:
    if member.generation >= 0:
        return member.owned, member.generation
    if member.user_data is None:
        return member.owned, None
    try:
        return member.owned, int(_GENERATION.unpack_from(member.user_data)[0])
    except StructError:
        return member.owned, NO_GENERATION


def _transferred(members: Mapping[str, Subscription], assignment: Assignment) -> dict[TopicPartition, str]:
    """What one member has been given of what another has."""
    added: dict[TopicPartition, str] = {}
    lost: set[TopicPartition] = set()
    for member_id, places in assignment.items():
        owned, assigned = frozenset(members[member_id].owned), frozenset(places)
        added.update((place, member_id) for place in places if place not in owned)
        lost |= owned - assigned
    return {place: member_id for place, member_id in added.items() if place in lost}
