"""What an admin tells of groups: small immutable values, named as Kafka names them."""

from dataclasses import dataclass

from kraftpy.client.values import TopicPartition


@dataclass(frozen=True, slots=True)
class GroupListing:
    """A group, as a list of all shows it."""

    group_id: str
    type: str
    """`classic` or `consumer`."""
    protocol_type: str
    """`consumer`, `connect` …: what its members are; empty where offsets were committed and nobody ever joined."""
    state: str
    """Kafka's: Stable, PreparingRebalance, CompletingRebalance, Empty, Dead …"""


@dataclass(frozen=True, slots=True)
class GroupMemberDescription:
    """A member and what it reads. `topics` and `assignment` are empty for groups that are not of consumers."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    topics: tuple[str, ...]
    assignment: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """A group with its members; `assignor` as they have agreed on it."""

    group_id: str
    type: str
    protocol_type: str
    state: str
    assignor: str
    coordinator: str
    """HOST:PORT."""
    members: tuple[GroupMemberDescription, ...]

    @property
    def is_active(self) -> bool:
        """Whether it has members: then its offsets are theirs."""
        return self.state not in ("Empty", "Dead")
