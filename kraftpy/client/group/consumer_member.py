"""A member of a group of the protocol "consumer" (KIP-848): the coordinator assigns, heartbeats carry everything. Pure.

        poll            answer                        answer with another assignment
    OUT ────► JOINING ─────────► IN ─────────────────────────────────────────────────► IN, with a target
     ▲          epoch 0           ▲                                                      │ poll hands over
     │ fenced, unknown            └────────────── heartbeat with what is owned now ◄─────┘
     └──────── everything else goes on meanwhile: what stays is read without a pause

The first heartbeat says everything; later ones only what has changed since the last answer. After one that failed the
next says everything again: the coordinator may have handled it, and tells an assignment once to who says no more than
what is new, and always to who says everything. An assignment names topics by id; those that are not known yet are
waited for, and the rest of the assignment is taken up. A refusal that does not pass by itself puts a member OUT, and
poll() raises it; the poll after that joins again.

Invariants: `epoch > 0` exactly in IN; one heartbeat is under way at a time; nothing is owned in JOINING.
"""

from collections import deque
from collections.abc import Mapping
from enum import Enum, auto

from kraftpy.client.group.handover import Change, Handover
from kraftpy.client.group.member import (
    NEVER_MS,
    Answer,
    ConsumerHeartbeat,
    ConsumerHeartbeatDone,
    Identity,
    Interest,
    MemberConfig,
    Request,
)
from kraftpy.client.group.poll_watch import PollWatch
from kraftpy.client.group.retries import Retries
from kraftpy.client.values import TopicPartition
from kraftpy.errors import FencedMemberEpochError, KraftpyError, UnknownMemberIdError

JOIN_EPOCH = 0
LEAVE_EPOCH = -1
LEAVE_STATIC_EPOCH = -2  # a static member that will be back

Target = tuple[tuple[bytes, tuple[int, ...]], ...]


class State(Enum):
    OUT = auto()
    JOINING = auto()
    IN = auto()


class ConsumerMember:
    """See the module's docstring; the methods are those of `Member`."""

    def __init__(self, config: MemberConfig, member_id: str, now_ms: int) -> None:
        """`member_id` is made by the member and kept for its life (KIP-1082)."""
        self.state = State.OUT
        self.owned: tuple[TopicPartition, ...] = ()
        self.epoch = JOIN_EPOCH
        self._config = config
        self._member_id = member_id
        self._interest = Interest()
        self._told_interest: Interest | None = None  # what the coordinator has heard
        self._told_owned: tuple[TopicPartition, ...] | None = None
        self._says_all = True  # with the next heartbeat: it is not known what was heard, or answered
        self._target: Target = ()
        self._names: Mapping[bytes, str] = {}
        self._is_lost = False
        self._handovers: deque[Handover] = deque()
        self._asked: ConsumerHeartbeat | None = None
        self._beat_due_ms = NEVER_MS
        self._retries = Retries(config.retry_backoff_ms, config.retry_backoff_max_ms)
        self._watch = PollWatch(config.max_poll_interval_ms, now_ms)
        self._error: KraftpyError | None = None
        self._warnings: list[str] = []

    @property
    def identity(self) -> Identity:
        return Identity(self._member_id, self.epoch if self.state is State.IN else -1, self._config.instance_id)

    @property
    def is_stable(self) -> bool:
        return self.state is State.IN and not self._handovers and not self._changes() and not self._has_news()

    # --- the user ----------------------------------------------------------------------------------------------------

    def subscribe(self, interest: Interest, now_ms: int) -> None:
        self._interest = interest

    def touched(self, now_ms: int) -> None:
        self._watch.polled(now_ms)

    def polled(self, now_ms: int) -> None:
        self._watch.polled(now_ms)
        if self._handovers:
            return
        if self._is_lost:
            self._is_lost = False
            if self.owned:
                self._handovers.append(Handover(Change.LOSE, self.owned))
                return
        if self.state is State.OUT and self._interest and self._error is None:  # which is raised first
            self.state = State.JOINING
            self._retries.begun_anew()
        elif self.state is State.IN:
            self._handovers.extend(self._changes())

    def handover(self) -> Handover | None:
        return self._handovers[0] if self._handovers else None

    def handed_over(self, now_ms: int) -> None:
        self._watch.polled(now_ms)
        done = self._handovers.popleft()
        if done.change is Change.ASSIGN:
            self.owned += tuple(place for place in done.places if place not in self.owned)
        else:
            gone = frozenset(done.places)
            self.owned = tuple(place for place in self.owned if place not in gone)
        if not self._handovers:
            self.polled(now_ms)

    def leave(self, reason: str) -> ConsumerHeartbeat | None:
        was_member = self.state is not State.OUT
        farewell = self._farewell()
        self._forget()
        self._interest = Interest()
        self._handovers.clear()
        self._is_lost = False
        self._error = None
        self._retries.succeeded()
        return farewell if was_member else None

    def take_error(self) -> KraftpyError | None:
        error, self._error = self._error, None
        return error

    def take_warnings(self) -> list[str]:
        warnings, self._warnings = self._warnings, []
        return warnings

    def _changes(self) -> list[Handover]:
        """The steps from what is owned to what the coordinator wants."""
        wanted = [
            TopicPartition(self._names[topic_id], partition)
            for topic_id, partitions in self._target
            if topic_id in self._names
            for partition in partitions
        ]
        target, owned = frozenset(wanted), frozenset(self.owned)
        dropped = tuple(place for place in self.owned if place not in target)
        added = tuple(place for place in wanted if place not in owned)
        steps = [Handover(Change.REVOKE, dropped)] if dropped else []
        return [*steps, Handover(Change.ASSIGN, added)] if added else steps

    # --- the coordinator ---------------------------------------------------------------------------------------------

    def requests(self, now_ms: int) -> list[Request]:
        if self.state is not State.OUT and self._watch.is_over(now_ms):
            self._warnings.append(self._watch.warning(self._config.group_id, now_ms))
            farewell = self._farewell()
            self._lose()
            return [farewell]
        if self._asked is not None or self.state is State.OUT or not self._retries.is_due(now_ms):
            return []
        if self.state is State.JOINING or now_ms >= self._beat_due_ms or self._has_news():
            self._asked = self._everything() if self._says_all else self._news()
        return [] if self._asked is None else [self._asked]

    def answered(self, request: Request, answer: Answer, now_ms: int) -> None:
        if request is not self._asked:
            return  # left meanwhile
        assert isinstance(request, ConsumerHeartbeat) and isinstance(answer, ConsumerHeartbeatDone)
        self._asked = None
        self._says_all = False
        self._retries.succeeded()
        self.state = State.IN
        self.epoch = answer.epoch
        self._beat_due_ms = now_ms + answer.heartbeat_interval_ms
        if request.topics is not None or request.regex is not None:
            known = self._told_interest or Interest()
            self._told_interest = Interest(
                known.topics if request.topics is None else request.topics,
                known.regex if request.regex is None else request.regex or None,
            )
        if request.owned is not None:
            self._told_owned = request.owned
        if answer.assignment is not None:
            self._target = answer.assignment

    def failed(self, request: Request, error: KraftpyError, now_ms: int) -> None:
        if request is not self._asked:
            return
        self._asked = None
        if isinstance(error, FencedMemberEpochError | UnknownMemberIdError):
            self._lose()
            if not self._is_lost:
                self.state = State.JOINING  # nothing to give up: no need to wait for poll()
        elif error.retriable:
            self._says_all = True
            self._retries.failed(now_ms)
        else:
            self._lose()
            self._retries.refused(now_ms)
            self._error = error

    def deadline_ms(self) -> int:
        if self.state is State.OUT:
            return NEVER_MS
        deadline_ms = self._watch.deadline_ms
        if self._asked is None:
            is_urgent = self.state is State.JOINING or self._has_news()
            wanted_ms = self._retries.due_ms if is_urgent else max(self._beat_due_ms, self._retries.due_ms)
            deadline_ms = min(deadline_ms, wanted_ms)
        return deadline_ms

    def _has_news(self) -> bool:
        """Whether the coordinator should hear something before the next heartbeat is due."""
        return self._told_interest != self._interest or (not self._handovers and self._told_owned != self.owned)

    def _everything(self) -> ConsumerHeartbeat:
        """A full request: the coordinator answers with the assignment, new or not (KIP-848)."""
        interest = self._interest
        return ConsumerHeartbeat(
            Identity(self._member_id, self.epoch, self._config.instance_id),
            self._config.max_poll_interval_ms,
            self._config.rack,
            interest.topics,
            interest.regex or "",
            self._config.server_assignor,
            (*self.owned, *self._being_assigned()),
        )

    def _being_assigned(self) -> list[TopicPartition]:
        """What a callback is just told of. The program may use it already, so nobody else may be given it: who does not
        say that it owns what it was assigned has given that up (KIP-848)."""
        assigned = [handover.places for handover in self._handovers if handover.change is Change.ASSIGN]
        return [place for places in assigned for place in places if place not in self.owned]

    def _news(self) -> ConsumerHeartbeat:
        told, interest = self._told_interest, self._interest
        assert told is not None, "everything was said before"
        return ConsumerHeartbeat(
            Identity(self._member_id, self.epoch, self._config.instance_id),
            topics=None if told.topics == interest.topics else interest.topics,
            regex=None if told.regex == interest.regex else interest.regex or "",
            owned=None if self._handovers or self._told_owned == self.owned else self.owned,
        )

    def _farewell(self) -> ConsumerHeartbeat:
        epoch = LEAVE_EPOCH if self._config.instance_id is None else LEAVE_STATIC_EPOCH
        return ConsumerHeartbeat(Identity(self._member_id, epoch, self._config.instance_id))

    def _lose(self) -> None:
        self._is_lost = bool(self.owned or self._handovers)  # what is just handed over is owned afterwards
        self._forget()

    def _forget(self) -> None:
        self.state = State.OUT
        self.epoch = JOIN_EPOCH
        self._asked = None
        self._beat_due_ms = NEVER_MS
        self._told_interest = self._told_owned = None
        self._says_all = True
        self._target = ()

    # --- metadata ----------------------------------------------------------------------------------------------------

    def topics_wanted(self) -> tuple[str, ...]:
        return self._interest.topics

    @property
    def lacks_topics(self) -> bool:
        """Whether the assignment names topics whose names are not known."""
        return any(topic_id not in self._names for topic_id, _ in self._target)

    def metadata(self, partitions: Mapping[str, tuple[bytes, tuple[frozenset[str], ...]]], now_ms: int) -> None:
        self._names = {topic_id: name for name, (topic_id, _) in partitions.items()}
