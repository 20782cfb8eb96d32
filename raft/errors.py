"""What stops a replica: signs that the quorum's promises were broken. Nothing here can be retried.

RaftError
├── TruncationBelowHighWatermark   a leader asks to cut what is committed (KAFKA-12460)
├── ConflictingLeaders             two leaders are named for one epoch
└── NotLeader                      (retriable, elsewhere) this replica does not lead, or the fate is unknown
"""

from raft.events import Epoch, NodeId, Offset


class RaftError(Exception):
    """Every error of this folder."""


class TruncationBelowHighWatermark(RaftError):
    def __init__(self, end_offset: Offset, high_watermark: Offset) -> None:
        super().__init__(
            f"the leader's log parts from ours at offset {end_offset}, below the high watermark {high_watermark}: "
            "committed metadata would be lost, so this replica stops instead of cutting its log"
        )


class ConflictingLeaders(RaftError):
    def __init__(self, epoch: Epoch, known: NodeId, other: NodeId) -> None:
        super().__init__(f"epoch {epoch} is led by node {known}, yet node {other} is named as its leader too")


class NotLeader(RaftError):
    """The replica does not lead, or stopped leading before the outcome was known. Ask the leader that it names."""

    def __init__(self, leader_id: NodeId | None) -> None:
        named = "no leader is known" if leader_id is None else f"node {leader_id} leads"
        super().__init__(f"this replica does not lead the quorum; {named}")
        self.leader_id = leader_id
