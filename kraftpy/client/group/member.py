"""What the two kinds of members have in common: settings, requests as values, the face they show to the shell. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from kraftpy.client.assignors import Assignor
from kraftpy.client.assignors.model import NO_GENERATION
from kraftpy.client.group.handover import Handover
from kraftpy.client.values import TopicPartition
from kraftpy.errors import KraftpyError

NO_MEMBER_ID = ""
NEVER_MS = 1 << 62


@dataclass(frozen=True, slots=True)
class MemberConfig:
    """As `kraftpy.client.config.ConsumerConfig` says."""

    group_id: str
    instance_id: str | None
    rack: str | None
    assignors: tuple[Assignor, ...]
    server_assignor: str | None
    session_timeout_ms: int
    heartbeat_interval_ms: int
    max_poll_interval_ms: int
    retry_backoff_ms: int
    retry_backoff_max_ms: int


@dataclass(frozen=True, slots=True)
class Interest:
    """What a consumer has subscribed to. `regex` is of the protocol "consumer" only, where the coordinator reads it."""

    topics: tuple[str, ...] = ()
    regex: str | None = None

    def __bool__(self) -> bool:
        return bool(self.topics) or self.regex is not None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who commits: a member in its generation (or epoch), or nobody's member."""

    member_id: str = NO_MEMBER_ID
    generation: int = NO_GENERATION
    instance_id: str | None = None


# --- requests --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Join:
    member_id: str
    protocols: tuple[tuple[str, bytes], ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Joined:
    member_id: str
    generation: int
    protocol: str
    leader_id: str
    skip_assignment: bool
    members: tuple[tuple[str, str | None, bytes], ...]
    """For the leader: member id, instance id, metadata."""


@dataclass(frozen=True, slots=True)
class Sync:
    identity: Identity
    protocol: str
    assignments: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Synced:
    assignment: bytes


@dataclass(frozen=True, slots=True)
class Heartbeat:
    identity: Identity


@dataclass(frozen=True, slots=True)
class HeartbeatDone:
    pass


@dataclass(frozen=True, slots=True)
class Leave:
    identity: Identity
    reason: str


@dataclass(frozen=True, slots=True)
class ConsumerHeartbeat:
    """None: as told before."""

    identity: Identity
    rebalance_timeout_ms: int | None = None
    rack: str | None = None
    topics: tuple[str, ...] | None = None
    regex: str | None = None
    server_assignor: str | None = None
    owned: tuple[TopicPartition, ...] | None = None


@dataclass(frozen=True, slots=True)
class ConsumerHeartbeatDone:
    member_id: str
    epoch: int
    heartbeat_interval_ms: int
    assignment: tuple[tuple[bytes, tuple[int, ...]], ...] | None
    """By topic id; None: nothing has changed."""


Request = Join | Sync | Heartbeat | Leave | ConsumerHeartbeat
Answer = Joined | Synced | HeartbeatDone | ConsumerHeartbeatDone


class Member(Protocol):
    """A membership as its shell sees it. All times are monotonic."""

    owned: tuple[TopicPartition, ...]
    """What the consumer reads."""

    @property
    def identity(self) -> Identity: ...

    @property
    def is_stable(self) -> bool:
        """Whether it is a member and nothing is going on."""

    def subscribe(self, interest: Interest, now_ms: int) -> None: ...

    def polled(self, now_ms: int) -> None:
        """The user polls: the program is alive, and a rebalance may go on."""

    def touched(self, now_ms: int) -> None:
        """The user does not poll but takes the next of the records from the last poll."""

    def handover(self) -> Handover | None:
        """What poll() must do next; the same until `handed_over`."""

    def handed_over(self, now_ms: int) -> None: ...

    def requests(self, now_ms: int) -> list[Request]:
        """What to ask the coordinator now. Each is answered by `answered` or `failed`."""

    def answered(self, request: Request, answer: Answer, now_ms: int) -> None: ...

    def failed(self, request: Request, error: KraftpyError, now_ms: int) -> None: ...

    def deadline_ms(self) -> int:
        """When to ask for requests again if nothing happens."""

    def topics_wanted(self) -> tuple[str, ...]:
        """The topics about which it must know more before it can go on."""

    def metadata(self, partitions: Mapping[str, tuple[bytes, tuple[frozenset[str], ...]]], now_ms: int) -> None:
        """What is known of topics: id, and for each partition the racks of its replicas."""

    def take_error(self) -> KraftpyError | None:
        """What poll() is to raise."""

    def take_warnings(self) -> list[str]: ...

    def leave(self, reason: str) -> Leave | ConsumerHeartbeat | None:
        """Be no member any more; what to tell the coordinator, once, whether it answers or not."""
