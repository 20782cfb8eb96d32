"""What assignors are told, and what an assignor is. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kraftpy.client.values import TopicPartition

NO_GENERATION = -1

Topics = Mapping[str, Sequence[frozenset[str]]]
"""The topics that exist: for each partition the racks of its replicas, none where racks are not told."""

Assignment = dict[str, list[TopicPartition]]
"""By member: its partitions."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one member wants, and what it had."""

    topics: tuple[str, ...]
    owned: tuple[TopicPartition, ...] = ()
    """What it reads now, or read until this rebalance."""
    generation: int = NO_GENERATION
    """In which `owned` was assigned."""
    rack: str | None = None
    instance_id: str | None = None
    """Of a static member (KIP-345)."""
    user_data: bytes | None = None
    """What its assignor had to say beside; see `Assignor.user_data`."""


class Assignor(Protocol):
    """A way to share partitions among members. Without state: all that it must remember travels in subscriptions."""

    @property
    def name(self) -> str:
        """As members agree on it."""

    @property
    def is_cooperative(self) -> bool:
        """Whether members keep what they have while a rebalance goes on (KIP-429)."""

    def user_data(self, owned: Sequence[TopicPartition] | None, generation: int) -> bytes | None:
        """What a member sends beside its subscription; `owned`: its last assignment, in `generation`; None before."""

    def assign(self, topics: Topics, members: Mapping[str, Subscription]) -> Assignment:
        """Partitions for every member, by member id; `members` in the order in which the coordinator named them."""


def code_units(text: str) -> bytes:
    """A key that sorts as Java sorts strings: by UTF-16 code units."""
    return text.encode("utf-16-be", "surrogatepass")


def by_place(place: TopicPartition) -> tuple[bytes, int]:
    """A key that sorts partitions by topic and number."""
    return (code_units(place.topic), place.partition)


def by_instance(member_id: str, subscription: Subscription) -> tuple[bool, bytes]:
    """A key that sorts members: static ones first, by their instance ids, which outlive restarts; then by member id."""
    instance_id = subscription.instance_id
    return (instance_id is None, code_units(member_id if instance_id is None else instance_id))


def places_of(topics: Topics, names: Iterable[str]) -> list[TopicPartition]:
    """All partitions of the topics `names`, in that order."""
    return [TopicPartition(name, partition) for name in names for partition in range(len(topics[name]))]


def wanted(topics: Topics, members: Mapping[str, Subscription]) -> Topics:
    """The topics that exist, have partitions and are wanted by anybody."""
    names = dict.fromkeys(name for member in members.values() for name in member.topics)
    return {name: topics[name] for name in names if topics.get(name)}
