"""A member of a classic group: it joins, one of the members assigns, everybody syncs and beats. Pure.

          poll, with what is given up handed over            answer: leader           assigned
    OUT ─────────────────────────────────────────► JOINING ───────────────► ASSIGNING ────────► SYNCING
     ▲                                              ▲   └──── answer ──────────────────────────►   │ answer
     │ lost: unknown member, old generation         │ poll, where a rebalance is wanted            ▼
     └──────────────────────────────────────────── IN ◄──────── poll hands over ──────────────── TOLD

- A refusal that does not pass by itself puts a member OUT, and poll() raises it; the poll after that joins again.
- Eager members give up everything before they join; cooperative ones only what the last assignment took from them, and
  then join once more, so that its next reader gets it (KIP-429). A consumer is cooperative if all its assignors are.
- A program that does not poll for max_poll_interval_ms is held to be stuck: its member leaves, loudly. A static member
  (KIP-345) only falls silent: it may be restarted, and the session time-out decides.
- The leader watches the topics of the group: when one gains partitions, it asks for a rebalance.

Invariants: `generation >= 0` exactly in ASSIGNING, SYNCING, TOLD, IN, and in JOINING after a rebalance; one request is
under way beside at most one heartbeat.
"""

from collections import deque
from collections.abc import Mapping
from enum import Enum, auto

from kraftpy.client.assignors.model import NO_GENERATION, Subscription
from kraftpy.client.assignors.protocol_codec import (
    read_assignment,
    read_subscription,
    write_assignment,
    write_subscription,
)
from kraftpy.client.group.handover import Change, Handover
from kraftpy.client.group.member import (
    NEVER_MS,
    NO_MEMBER_ID,
    Answer,
    Heartbeat,
    Identity,
    Interest,
    Join,
    Joined,
    Leave,
    MemberConfig,
    Request,
    Sync,
    Synced,
)
from kraftpy.client.group.poll_watch import PollWatch
from kraftpy.client.group.retries import Retries
from kraftpy.client.values import TopicPartition
from kraftpy.errors import (
    CorruptRecordError,
    FencedInstanceIdError,
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    KraftpyError,
    MemberIdRequiredError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

_LOST = (UnknownMemberIdError, IllegalGenerationError)


class State(Enum):
    OUT = auto()
    JOINING = auto()
    ASSIGNING = auto()
    SYNCING = auto()
    TOLD = auto()
    IN = auto()


class ClassicMember:
    """See the module's docstring; the methods are those of `Member`."""

    def __init__(self, config: MemberConfig, now_ms: int) -> None:
        self.state = State.OUT
        self.owned: tuple[TopicPartition, ...] = ()
        self.member_id = NO_MEMBER_ID
        self.generation = NO_GENERATION
        self._config = config
        self._assignors = {assignor.name: assignor for assignor in config.assignors}
        self._is_cooperative = all(assignor.is_cooperative for assignor in config.assignors)
        self._interest = Interest()
        self._joined_topics: tuple[str, ...] = ()  # as the last JoinGroup said
        self._last: tuple[tuple[TopicPartition, ...] | None, int] = (None, NO_GENERATION)  # assigned, and when
        self._rejoin: str | None = None  # why a rebalance is wanted
        self._is_lost = False  # the coordinator has forgotten us, and poll() has not dealt with that yet
        self._handovers: deque[Handover] = deque()
        self._asked: Request | None = None
        self._beating = False
        self._beat_due_ms = NEVER_MS
        self._retries = Retries(config.retry_backoff_ms, config.retry_backoff_max_ms)
        self._watch = PollWatch(config.max_poll_interval_ms, now_ms)
        self._joined: Joined | None = None
        self._assignments: tuple[tuple[str, bytes], ...] = ()
        self._told: tuple[TopicPartition, ...] = ()
        self._group_topics: tuple[str, ...] | None = None  # of all members, where this one is the leader
        self._partition_counts: dict[str, int] = {}  # … as they were when it assigned
        self._error: KraftpyError | None = None
        self._warnings: list[str] = []

    @property
    def identity(self) -> Identity:
        return Identity(self.member_id, self.generation, self._config.instance_id)

    @property
    def is_stable(self) -> bool:
        return self.state is State.IN and self._rejoin is None and not self._handovers

    # --- the user ----------------------------------------------------------------------------------------------------

    def subscribe(self, interest: Interest, now_ms: int) -> None:
        self._interest = interest
        if self._joined_topics != interest.topics and self.state is not State.OUT:
            self._want_rebalance("the subscription has changed")

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
        if self.state is State.TOLD:
            self._take_up()
        elif self._interest and (self._is_to_join or (self.state is State.IN and self._rejoin is not None)):
            self._prepare()

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
        if self._handovers:
            return
        if self.state is State.TOLD:
            self.state = State.IN
        else:
            self.polled(now_ms)

    def leave(self, reason: str) -> Leave | None:
        was_member = self.member_id != NO_MEMBER_ID and self.state is not State.OUT
        identity = self.identity
        self._forget(self.member_id if self._config.instance_id else NO_MEMBER_ID)
        self._interest = Interest()
        self._handovers.clear()
        self._is_lost = False
        self._error = None
        self._retries.succeeded()
        if not was_member or self._config.instance_id is not None:
            return None  # a static member may be back soon; its session decides
        return Leave(identity, reason)

    def take_error(self) -> KraftpyError | None:
        error, self._error = self._error, None
        return error

    def take_warnings(self) -> list[str]:
        warnings, self._warnings = self._warnings, []
        return warnings

    def _prepare(self) -> None:
        """Give up what must be given up before joining."""
        if self._is_cooperative:
            wanted = frozenset(self._interest.topics)
            places = tuple(place for place in self.owned if place.topic not in wanted)
        else:
            places = self.owned
        if places:
            self._handovers.append(Handover(Change.REVOKE, places))
            return
        self.state = State.JOINING
        self._retries.begun_anew()

    @property
    def _is_to_join(self) -> bool:
        return self.state is State.OUT and self._error is None  # what has put it out is raised first

    def _take_up(self) -> None:
        """Hand over what the assignment changes."""
        told, owned = frozenset(self._told), frozenset(self.owned)
        dropped = tuple(place for place in self.owned if place not in told)
        if dropped:
            self._handovers.append(Handover(Change.REVOKE, dropped))
            self._want_rebalance("revoked partitions are to be assigned to others")
        # Also where nothing is added: listeners are told that the rebalance is over, as Kafka's are.
        self._handovers.append(Handover(Change.ASSIGN, tuple(place for place in self._told if place not in owned)))

    # --- the coordinator ---------------------------------------------------------------------------------------------

    def requests(self, now_ms: int) -> list[Request]:
        found = self._has_stopped_polling(now_ms)
        if self._asked is None and self._retries.is_due(now_ms):
            if self.state is State.JOINING:
                self._asked = self._join()
            elif self.state is State.SYNCING:
                assert self._joined is not None
                self._asked = Sync(self.identity, self._joined.protocol, self._assignments)
            if self._asked is not None:
                found.append(self._asked)
        if now_ms >= self._beat_due_ms and not self._beating:
            self._beating = True
            found.append(Heartbeat(self.identity))
        return found

    def answered(self, request: Request, answer: Answer, now_ms: int) -> None:
        if isinstance(request, Heartbeat):
            self._beating = False
            if self._is_mine(request.identity):
                self._beat_due_ms = now_ms + self._config.heartbeat_interval_ms
            return
        if request is not self._asked:
            return  # left meanwhile
        self._asked = None
        self._retries.succeeded()
        assert isinstance(answer, Joined | Synced), answer
        try:
            if isinstance(answer, Joined):
                self._has_joined(answer, now_ms)
            else:
                self._has_synced(answer)
        except CorruptRecordError as error:
            unreadable = f"what other members of group {self._config.group_id} say cannot be read: {error}"
            self._has_failed(InconsistentGroupProtocolError(unreadable), now_ms)

    def failed(self, request: Request, error: KraftpyError, now_ms: int) -> None:
        if isinstance(request, Heartbeat):
            self._beating = False
            if self._is_mine(request.identity):
                self._beat_due_ms = now_ms + (
                    self._config.retry_backoff_ms if error.retriable else self._config.heartbeat_interval_ms
                )
                self._has_failed(error, now_ms)
            return
        if request is not self._asked:
            return
        self._asked = None
        if isinstance(error, MemberIdRequiredError):
            return  # `member_id_given` has told which
        self._has_failed(error, now_ms)

    def member_id_given(self, member_id: str) -> None:
        """MEMBER_ID_REQUIRED came with an id to join with (KIP-394)."""
        self.member_id = member_id

    def deadline_ms(self) -> int:
        deadline_ms = NEVER_MS if self._beating else self._beat_due_ms
        if self._asked is None and self.state in (State.JOINING, State.SYNCING):
            deadline_ms = min(deadline_ms, self._retries.due_ms)
        if self.state is not State.OUT:
            deadline_ms = min(deadline_ms, self._watch.deadline_ms)
        return deadline_ms

    def _join(self) -> Join:
        topics = self._joined_topics = self._interest.topics
        owned = self.owned if self._is_cooperative else ()
        reason, self._rejoin = self._rejoin or "", None
        protocols = tuple(
            (
                assignor.name,
                write_subscription(
                    Subscription(
                        topics,
                        owned,
                        self.generation,
                        self._config.rack,
                        None,
                        assignor.user_data(*self._last),
                    )
                ),
            )
            for assignor in self._config.assignors
        )
        return Join(self.member_id, protocols, reason)

    def _has_joined(self, joined: Joined, now_ms: int) -> None:
        self.member_id, self.generation = joined.member_id, joined.generation
        self._joined = joined
        self._assignments = ()
        self._group_topics = None
        self._beat_due_ms = now_ms + self._config.heartbeat_interval_ms
        if joined.leader_id != joined.member_id:
            self.state = State.SYNCING
            return
        members = [read_subscription(metadata, instance) for _, instance, metadata in joined.members]
        self._group_topics = tuple(sorted({topic for member in members for topic in member.topics}))
        self.state = State.ASSIGNING

    def _has_synced(self, synced: Synced) -> None:
        self._told = tuple(read_assignment(synced.assignment))
        self._last = (self._told, self.generation)
        self.state = State.TOLD

    def _has_failed(self, error: KraftpyError, now_ms: int) -> None:
        if isinstance(error, RebalanceInProgressError):
            if self.state is State.SYNCING:
                self.state = State.JOINING
            elif self.state is not State.JOINING:
                self._want_rebalance("the group is rebalancing")
        elif isinstance(error, _LOST):
            was_in_doubt = self.state in (State.JOINING, State.SYNCING)
            member_id = self.member_id if isinstance(error, IllegalGenerationError) else NO_MEMBER_ID
            self._lose(member_id)
            if was_in_doubt and not self.owned:
                self._is_lost = False
                self.state = State.JOINING  # nothing to give up: no need to wait for poll()
        elif error.retriable:
            self._retries.failed(now_ms)
        else:
            # Who is known to the coordinator joins again by that name, and leaves no ghost behind. A fenced one is not.
            self._lose(NO_MEMBER_ID if isinstance(error, FencedInstanceIdError) else self.member_id)
            self._retries.refused(now_ms)
            self._error = error

    def _lose(self, member_id: str = NO_MEMBER_ID) -> None:
        self._is_lost = bool(self.owned or self._handovers)  # what is just handed over is owned afterwards
        self._forget(member_id)

    def _forget(self, member_id: str) -> None:
        self.member_id = member_id
        self.generation = NO_GENERATION
        self.state = State.OUT
        self._rejoin = None
        self._asked = None
        self._beat_due_ms = NEVER_MS
        self._group_topics = None

    def _is_mine(self, identity: Identity) -> bool:
        return identity == self.identity and self.state is not State.OUT

    def _want_rebalance(self, reason: str) -> None:
        self._rejoin = self._rejoin or reason

    def _has_stopped_polling(self, now_ms: int) -> list[Request]:
        """A stuck program's member goes; what is to be told to the coordinator."""
        if self.state is State.OUT or not self._watch.is_over(now_ms):
            return []
        self._warnings.append(self._watch.warning(self._config.group_id, now_ms))
        identity = self.identity
        self._lose()
        if self._config.instance_id is not None or identity.member_id == NO_MEMBER_ID:
            return []
        return [Leave(identity, "max_poll_interval_ms has passed without a poll()")]

    # --- the leader --------------------------------------------------------------------------------------------------

    def topics_wanted(self) -> tuple[str, ...]:
        return self._group_topics or ()

    def metadata(self, partitions: Mapping[str, tuple[bytes, tuple[frozenset[str], ...]]], now_ms: int) -> None:
        if self._group_topics is None:
            return
        topics = {name: partitions[name][1] for name in self._group_topics if name in partitions}
        counts = {name: len(racks) for name, racks in topics.items()}
        if self.state is not State.ASSIGNING:
            if counts != self._partition_counts:
                self._want_rebalance("topics of the group have changed")
            return
        assert self._joined is not None
        self._partition_counts = counts
        if not self._joined.skip_assignment:
            members = {
                member_id: read_subscription(metadata, instance_id)
                for member_id, instance_id, metadata in self._joined.members
            }
            assigned = self._assignors[self._joined.protocol].assign(topics, members)
            self._assignments = tuple((member_id, write_assignment(places)) for member_id, places in assigned.items())
        self.state = State.SYNCING
