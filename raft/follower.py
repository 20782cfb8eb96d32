"""Follower: a voter that fetches from a leader it knows, and doubts it when it does not answer.

Two ways of doubt. A connection refused or broken is evidence: a pre-vote follows within `election_jitter_ms`. Silence
is not: it must last `fetch_timeout_ms` since the last answer. Either way the others must share the doubt.
"""

from typing import TYPE_CHECKING, ClassVar

from raft.events import FetchResponse, FetchSnapshotResponse, NodeId
from raft.fetching import Fetching

if TYPE_CHECKING:
    from raft.core import RaftCore


class Follower(Fetching):
    name: ClassVar[str] = "follower"

    def __init__(self, core: "RaftCore", leader_id: NodeId, election_at_ms: int, doubted: bool) -> None:
        """`doubted`: a pre-vote against this leader was just lost, so it must answer before it is live again."""
        super().__init__(core)
        self.leader_id = leader_id
        self.election_at_ms = election_at_ms
        self.last_heard_ms: int | None = None
        self.doubted = doubted
        self._postponed = False

    def named_leader(self) -> NodeId | None:
        return self.leader_id

    def whom_to_ask(self) -> NodeId | None:
        return self.leader_id

    def has_live_leader(self) -> bool:
        if self.doubted or self.last_heard_ms is None:
            return False
        return self.core.now_ms - self.last_heard_ms < self.core.config.fetch_timeout_ms

    def deadline_ms(self) -> int | None:
        fetch_at_ms = super().deadline_ms()
        return self.election_at_ms if fetch_at_ms is None else min(fetch_at_ms, self.election_at_ms)

    def time_passed(self) -> None:
        if self.core.now_ms >= self.election_at_ms:
            self.core.to_prospective()
        else:
            super().time_passed()

    def heard(self) -> None:
        core = self.core
        core.election_failures = 0
        self.doubted = False
        self._postponed = False
        self.last_heard_ms = core.now_ms
        self.election_at_ms = core.now_ms + core.config.fetch_timeout_ms + core.order_delay_ms()

    def unheard(self, refused: bool) -> None:
        if refused:
            core = self.core
            patience_ms = core.order_delay_ms() if not core.election_failures else core.backoff_ms()
            self.election_at_ms = min(self.election_at_ms, core.now_ms + patience_ms)
            self.doubted = True

    def denied(self, response: FetchResponse | FetchSnapshotResponse, sender: NodeId) -> None:
        """The core has already followed a higher epoch or another leader. What remains: the leader itself says that it
        no longer leads this epoch, or an answer too old to mean anything."""
        if response.epoch == self.core.epoch and response.leader_id is None:
            self.core.leader_has_ended(None)
        else:
            self.retry()

    def vote_wished(self, pre_vote: bool) -> None:
        if not self._postponed:
            self._postponed = True
            self.election_at_ms = max(self.election_at_ms, self.core.now_ms + self.core.courtesy_ms())

    def leader_ended(self, successor_rank: int | None) -> None:
        core = self.core
        if successor_rank is None:
            core.to_unattached(core.epoch, core.courtesy_ms() + core.order_delay_ms())
        else:
            core.to_unattached(core.epoch, core.successor_delay_ms(successor_rank))

    def leader_begins(self) -> None:
        """It asks why we do not fetch. While our disk works there is nothing to hurry."""
        if self.core.log.durable_offset == self.core.log.end_offset:
            self._ask_when_durable()
