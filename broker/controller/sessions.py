"""Who was heard of when: the controller's soft state about brokers.

It is not in the log, on purpose: a heartbeat every half second from every broker would fill it. A new controller starts
with fresh sessions, so nobody is fenced for the silence of the old one; only a broker whose own silence made the quorum
elect anew has that time counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from broker.controller.config import ControllerConfig

NOBODY: Final[Mapping[int, int]] = MappingProxyType({})
"""No suspects."""


@dataclass(slots=True)
class Session:
    """One broker's, of one epoch."""

    broker_epoch: int
    last_contact_ms: int
    deadline_ms: int
    metadata_end_offset: int = 0  # what it has applied, exclusive
    probe_again_ms: int = 0  # not before
    shutdown_offset: int | None = None  # others must have applied up to here before it may stop


class Sessions:
    def __init__(self, config: ControllerConfig) -> None:
        self._config = config
        self._sessions: dict[int, Session] = {}
        self._forgive_again_ms = 0

    def touch(self, broker_id: int, broker_epoch: int, now_ms: int) -> Session:
        """The broker was heard of. An earlier epoch's session is replaced."""
        session = self._sessions.get(broker_id)
        if session is None or session.broker_epoch != broker_epoch:
            session = self._sessions[broker_id] = Session(broker_epoch, now_ms, now_ms)
        session.last_contact_ms = now_ms
        session.deadline_ms = now_ms + self._config.broker_session_timeout_ms
        return session

    def count_silence(self, broker_id: int, silent_ms: int, now_ms: int) -> None:
        """The broker is known to have been silent for so long already. Two heartbeats' time is left to it at least."""
        session = self._sessions.get(broker_id)
        if session is not None:
            earliest_ms = now_ms + 2 * self._config.broker_heartbeat_interval_ms
            session.deadline_ms = min(session.deadline_ms, max(session.deadline_ms - silent_ms, earliest_ms))

    def get(self, broker_id: int, broker_epoch: int) -> Session | None:
        session = self._sessions.get(broker_id)
        return session if session is not None and session.broker_epoch == broker_epoch else None

    def is_valid(self, broker_id: int, broker_epoch: int, now_ms: int) -> bool:
        session = self.get(broker_id, broker_epoch)
        return session is not None and now_ms < session.deadline_ms

    def drop(self, broker_id: int) -> None:
        self._sessions.pop(broker_id, None)

    def first_lapsed(self, now_ms: int) -> int | None:
        """The broker that has been silent for longest beyond its time."""
        lapsed = [(session.deadline_ms, broker_id) for broker_id, session in self._sessions.items()]
        return min(((due, broker_id) for due, broker_id in lapsed if due <= now_ms), default=(0, None))[1]

    def take_unheard(self, now_ms: int) -> list[int]:
        """Brokers that have let two heartbeats go by; each is named again after a probe's interval."""
        unheard = [broker_id for broker_id, session in self._sessions.items() if self._look_at_ms(session) <= now_ms]
        for broker_id in unheard:
            self._sessions[broker_id].probe_again_ms = now_ms + self._config.probe_interval_ms
        return unheard

    def _look_at_ms(self, session: Session) -> int:
        return max(session.last_contact_ms + 2 * self._config.broker_heartbeat_interval_ms, session.probe_again_ms)

    def next_deadline_ms(self) -> int | None:
        """When `first_lapsed` or `take_unheard` has somebody to name."""
        sessions = self._sessions.values()
        return min((min(each.deadline_ms, self._look_at_ms(each)) for each in sessions), default=None)

    def forgive_stall(self, now_ms: int) -> int:
        """Give every broker the time back in which this node itself slept; how long that was, or 0.

        A deadline that is judged much too late was slept through: whatever the brokers sent is still on its way to us.
        Not again and again: an overloaded controller would never fence anybody.
        """
        due = min((session.deadline_ms for session in self._sessions.values()), default=None)
        if due is None or now_ms - due < self._config.stall_ms or now_ms < self._forgive_again_ms:
            return 0
        late_ms = now_ms - due
        for session in self._sessions.values():
            session.deadline_ms += late_ms + self._config.stall_ms
        self._forgive_again_ms = now_ms + max(2 * self._config.broker_session_timeout_ms, 3 * late_ms)
        return late_ms

    def may_probe(self, broker_id: int, broker_epoch: int, now_ms: int) -> bool:
        """Whether a probe may be made now; if so, the next one has to wait."""
        session = self.get(broker_id, broker_epoch)
        if session is None or now_ms < session.probe_again_ms:
            return False
        session.probe_again_ms = now_ms + self._config.probe_interval_ms
        return True
