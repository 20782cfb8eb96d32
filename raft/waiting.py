"""Roles without a leader that wait for one: Unattached, and Resigned, which is Unattached after leading.

Both start a pre-vote when their time is up. A Resigned replica led this epoch, in this life or an earlier one, and
never leads it again: two lives of one leader never share an epoch.
"""

from typing import TYPE_CHECKING, ClassVar

from raft.role import Role

if TYPE_CHECKING:
    from raft.core import RaftCore


class Unattached(Role):
    name: ClassVar[str] = "unattached"

    def __init__(self, core: "RaftCore", election_at_ms: int) -> None:
        super().__init__(core)
        self.election_at_ms = election_at_ms
        self._postponed = False

    def deadline_ms(self) -> int | None:
        return self.election_at_ms

    def time_passed(self) -> None:
        if self.core.now_ms >= self.election_at_ms:
            self.core.to_prospective()

    def vote_wished(self, pre_vote: bool) -> None:
        """A vote given away binds for a whole election; a pre-vote only means that somebody else tries first, and
        that is respected once, so that a candidate which never wins cannot keep this one from trying."""
        core = self.core
        if not pre_vote:
            self.election_at_ms = core.now_ms + core.election_time_ms()
        elif not self._postponed:
            self._postponed = True
            self.election_at_ms = max(self.election_at_ms, core.now_ms + core.courtesy_ms())

    def leader_ended(self, successor_rank: int | None) -> None:
        if successor_rank is not None:
            self.election_at_ms = min(
                self.election_at_ms, self.core.now_ms + self.core.successor_delay_ms(successor_rank)
            )


class Resigned(Unattached):
    name: ClassVar[str] = "resigned"
