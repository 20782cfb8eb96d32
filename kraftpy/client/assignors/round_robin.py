"""The round-robin assignor: all partitions of all topics, one after the other, to the members in turn. Pure."""

from collections.abc import Mapping, Sequence

from kraftpy.client.assignors.model import (
    Assignment,
    Subscription,
    Topics,
    by_instance,
    code_units,
    places_of,
    wanted,
)
from kraftpy.client.values import TopicPartition


class RoundRobinAssignor:
    """See the module's docstring. A member is passed over at topics that it does not want."""

    name = "roundrobin"
    is_cooperative = False

    def user_data(self, owned: Sequence[TopicPartition] | None, generation: int) -> bytes | None:
        return None

    def assign(self, topics: Topics, members: Mapping[str, Subscription]) -> Assignment:
        assignment: Assignment = {member_id: [] for member_id in members}
        circle = sorted(members, key=lambda member_id: by_instance(member_id, members[member_id]))
        topics = wanted(topics, members)
        turn = 0
        for place in places_of(topics, sorted(topics, key=code_units)):
            while place.topic not in members[circle[turn % len(circle)]].topics:
                turn += 1
            assignment[circle[turn % len(circle)]].append(place)
            turn += 1
        return assignment
