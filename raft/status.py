"""What a replica can tell about the quorum, for operators and metrics."""

from dataclasses import dataclass

from raft.events import Epoch, NodeId, Offset, ReplicaKey, VoterSet
from raft.log_shape import BEGINNING


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """What the leader knows of a replica. Ages are milliseconds, None where it was not heard in this epoch."""

    key: ReplicaKey
    is_voter: bool
    end_offset: Offset
    last_fetch_age_ms: int | None
    last_caught_up_age_ms: int | None


@dataclass(frozen=True, slots=True)
class QuorumStatus:
    """A snapshot of one replica's view. `replicas` is empty on a replica that does not lead."""

    key: ReplicaKey
    role: str
    epoch: Epoch
    leader_id: NodeId | None
    high_watermark: Offset
    start_offset: Offset
    end_offset: Offset
    applied_offset: Offset
    voters: VoterSet | None
    replicas: tuple[ReplicaStatus, ...]
    voters_end_offset: Offset = BEGINNING  # of the entry that holds `voters`; above the high watermark: not committed
