"""Observer: a replica outside the voter set. It fetches like a follower, is never counted, and starts no election.

Without a leader it asks one voter after another; whoever is asked names the leader it knows. An observer still answers
votes: the candidate's voter set may be newer than its own (KIP-853).
"""

from typing import TYPE_CHECKING, ClassVar

from raft.events import FetchResponse, FetchSnapshotResponse, NodeId
from raft.fetching import Fetching

if TYPE_CHECKING:
    from raft.core import RaftCore


class Observer(Fetching):
    name: ClassVar[str] = "observer"

    def __init__(self, core: "RaftCore", leader_id: NodeId | None) -> None:
        super().__init__(core)
        self.leader_id = leader_id
        self.last_heard_ms: int | None = None
        self._turn = core.chance.randrange(1 << 16)
        self._silent_at_ms = core.now_ms + core.config.fetch_timeout_ms

    def named_leader(self) -> NodeId | None:
        return self.leader_id

    def whom_to_ask(self) -> NodeId | None:
        if self.leader_id is not None:
            return self.leader_id
        others = self.core.whom_to_know()
        return others[self._turn % len(others)] if others else None

    def has_live_leader(self) -> bool:
        if self.leader_id is None or self.last_heard_ms is None:
            return False
        return self.core.now_ms - self.last_heard_ms < self.core.config.fetch_timeout_ms

    def heard(self) -> None:
        core = self.core
        self.last_heard_ms = core.now_ms
        self._silent_at_ms = core.now_ms + core.config.fetch_timeout_ms

    def unheard(self, refused: bool) -> None:
        if refused or self.core.now_ms >= self._silent_at_ms:
            self._look_elsewhere()

    def denied(self, response: FetchResponse | FetchSnapshotResponse, sender: NodeId) -> None:
        self.retry()
        self._look_elsewhere()

    def leader_ended(self, successor_rank: int | None) -> None:
        self._look_elsewhere()
        self.retry()

    def _look_elsewhere(self) -> None:
        self._turn += 1
        self._download = None
        self.leader_id = None
