"""The errors of the quorum.

RaftError
├── QuorumBroken                       the quorum's promises do not hold: the replica stops, nothing can be retried
│   ├── TruncationBelowHighWatermark   a leader asks to cut what is committed (KAFKA-12460)
│   └── ConflictingLeaders             two leaders are named for one epoch
├── NotLeader                          retriable at the leader that it names
├── Overloaded                         retriable later: the replica's mailbox is full
└── Stopped                            the replica was stopped, or stopped itself
"""

from raft.events import Epoch, NodeId, Offset


class RaftError(Exception):
    """Every error of this folder."""


class QuorumBroken(RaftError):
    """Going on could lose or split what is committed."""


class TruncationBelowHighWatermark(QuorumBroken):
    def __init__(self, end_offset: Offset, high_watermark: Offset) -> None:
        super().__init__(
            f"the leader's log parts from ours at offset {end_offset}, below the high watermark {high_watermark}: "
            "committed metadata would be lost, so this replica stops instead of cutting its log"
        )


class ConflictingLeaders(QuorumBroken):
    def __init__(self, epoch: Epoch, known: NodeId, other: NodeId) -> None:
        super().__init__(f"epoch {epoch} is led by node {known}, yet node {other} is named as its leader too")


class NotLeader(RaftError):
    """The replica does not lead, or stopped leading before the outcome was known. Ask the leader that it names."""

    def __init__(self, leader_id: NodeId | None) -> None:
        named = "no leader is known" if leader_id is None else f"node {leader_id} leads"
        super().__init__(f"this replica does not lead the quorum; {named}")
        self.leader_id = leader_id


class Overloaded(RaftError):
    def __init__(self, count: int) -> None:
        super().__init__(f"{count} requests wait for this replica already; try again later")


class Stopped(RaftError):
    def __init__(self) -> None:
        super().__init__("this replica of the quorum is stopped")
