"""Many random clients of a few transactional ids, checked against a twin that knows only the rules.

- Who has an id is whoever was given it last; nobody else begins or decides anything.
- A transaction has one outcome, that which its owner asked for, or an abort; its markers go to all of its partitions,
  after any change of leaders too.
- In the end, when all have had their time, nothing is open.
"""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.coordinator.transactions.commands import (
    NOBODY,
    ProducerIdentity,
    ProtocolVersion,
    SendMarkers,
    TopicPartition,
    TransactionalProducer,
)
from broker.coordinator.transactions.records import TransactionMetadata
from broker.coordinator.transactions.states import TRANSITIONS, TransactionState
from kraftpy.errors import CoordinatorNotAvailableError, KraftpyError
from tests.coordinator.transactions.stage import HOUR_MS, MINUTE_MS, A, B, C, Stage

NAMES = ("t", "u")
names = st.sampled_from(("t", "t", "u"))
versions = st.sampled_from(ProtocolVersion)
picks = st.sampled_from((0, 0, 0, 1, 2))  # of the identities that were given, the newest first


@dataclass
class Id:
    """What the twin knows of a transactional id."""

    given: list[ProducerIdentity] = field(default_factory=list)
    owner: ProducerIdentity | None = None  # None: fenced, or never given
    opened: set[TopicPartition] = field(default_factory=set)
    wanted: bool | None = None  # what the owner was promised for what is open
    decided: SendMarkers | None = None  # not completed yet
    ended: tuple[ProducerIdentity, bool] | None = None  # the last end that was answered


class Clients(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()
        self.ids = {name: Id() for name in NAMES}
        self.seen_records = 0
        self.last: dict[str, TransactionMetadata] = {}

    # --- what clients do ---

    @rule(name=names)
    def init(self, name: str) -> None:
        self._init(name, NOBODY)

    @rule(name=names, pick=picks)
    def bump(self, name: str, pick: int) -> None:
        self._init(name, self._pick(name, pick))

    def _init(self, name: str, expected: ProducerIdentity) -> None:
        known = self.ids[name]
        is_own = expected == known.owner and bool(known.opened)
        try:
            identity = self.stage.init(name, expected).identity
        except KraftpyError:
            self._look(name)
            if is_own:  # to ask for the next epoch is to abort
                known.owner, known.ended = self.stage.metadata(name).identity_after, (expected, False)
            return
        self._look(name)
        if expected == NOBODY:
            assert identity not in known.given, "an identity is given to one producer only"
        known.given.append(identity)
        if identity != known.owner:  # else it was told again what it had not heard
            known.owner, known.ended = identity, None

    @rule(name=names, pick=picks, partitions=st.sets(st.sampled_from([A, B, C]), min_size=1), version=versions)
    def add(self, name: str, pick: int, partitions: set[TopicPartition], version: ProtocolVersion) -> None:
        identity, known = self._pick(name, pick), self.ids[name]
        try:
            self.stage.add(TransactionalProducer(name, *identity), *sorted(partitions), version=version)
        except KraftpyError:
            return
        assert identity == known.owner, "only the owner begins anything"
        assert known.decided is None, "and not before the last one has ended"
        known.opened |= partitions

    @rule(name=names, pick=picks, commit=st.booleans(), version=versions)
    def end(self, name: str, pick: int, commit: bool, version: ProtocolVersion) -> None:
        identity, known = self._pick(name, pick), self.ids[name]
        is_owner, was_open = identity == known.owner, bool(known.opened)
        known.wanted = commit if is_owner and was_open else None
        try:
            after = self.stage.end(TransactionalProducer(name, *identity), commit=commit, version=version).identity
        except KraftpyError:
            known.wanted = None
            self._look(name)
            return
        self._look(name)
        if is_owner and was_open:
            assert known.decided is not None
        elif not is_owner:
            assert known.ended == (identity, commit), "only the owner decides; others may only have decided before"
            assert after == known.owner
        if after != identity and after not in known.given:
            known.given.append(after)
        if is_owner and (was_open or after != identity):  # else nothing was decided, and the end before may be repeated
            known.ended = (identity, commit)
        known.owner = after

    def _pick(self, name: str, pick: int) -> ProducerIdentity:
        given = self.ids[name].given
        return given[-1 - pick] if pick < len(given) else ProducerIdentity(7, 0)

    # --- what the world does ---

    @rule()
    def write_markers(self) -> None:
        self.stage.write_markers()
        for known in self.ids.values():
            known.decided = None

    @rule(milliseconds=st.sampled_from([10, MINUTE_MS, MINUTE_MS]))
    def pass_time(self, milliseconds: int) -> None:
        self.stage.pass_ms(milliseconds)
        for name in NAMES:
            self._look(name)

    @rule()
    def fail_over(self) -> None:
        before = {name: self.ids[name].decided for name in NAMES}
        self.stage.fail_over()
        resumed = {effect.transactional_id: effect for effect in self.stage.markers}
        for name, decided in before.items():
            effect = resumed.get(name)
            assert (effect is None) == (decided is None)
            if effect is not None and decided is not None:
                assert effect.partitions == decided.partitions
                assert effect.marker.commit == decided.marker.commit
                assert effect.marker.producer == decided.marker.producer

    @rule(name=names, milliseconds=st.sampled_from([0, MINUTE_MS]))
    def try_while_the_log_takes_nothing(self, name: str, milliseconds: int) -> None:
        before = dict(self.stage.core.transactions)
        self.stage.refusal = CoordinatorNotAvailableError("too few replicas")
        if self.ids[name].opened != {A, B, C}:
            self.add(name, 0, {A, B, C}, ProtocolVersion.SECOND)
        self.stage.pass_ms(milliseconds)
        self.stage.refusal = None
        assert self.stage.core.transactions == before

    def _look(self, name: str) -> None:
        """At what was decided since."""
        known = self.ids[name]
        sent = [effect for effect in self.stage.markers if effect.transactional_id == name]
        if not sent or known.decided is not None:
            return
        (effect,) = sent
        assert set(effect.partitions) == known.opened, "markers go where the transaction is, and nowhere else"
        assert effect.marker.commit == (known.wanted is True), "nobody else commits"
        if known.wanted is None:
            known.owner = None
        known.decided, known.wanted = effect, None
        known.opened.clear()

    # --- what always holds ---

    @invariant()
    def records_follow_the_table(self) -> None:
        for record in self.stage.log[self.seen_records :]:
            if record.metadata is None:
                self.last.pop(record.transactional_id, None)
                continue
            before = self.last.get(record.transactional_id)
            if before is not None:
                assert before.state in TRANSITIONS[record.metadata.state]
            self.last[record.transactional_id] = record.metadata
        self.seen_records = len(self.stage.log)

    def teardown(self) -> None:
        self.stage.pass_ms(HOUR_MS)
        self.stage.write_markers()
        states = [metadata.state for metadata in self.stage.core.transactions.values()]
        assert all(state.is_at_rest for state in states), "nothing hangs"
        assert TransactionState.DEAD not in states


TestClients = Clients.TestCase
TestClients.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
