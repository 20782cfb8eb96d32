"""The core of a member of the protocol "consumer" (KIP-848), step by step, without a coordinator or a clock."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftpy.client.assignors import assignors_of
from kraftpy.client.group.consumer_member import ConsumerMember, State
from kraftpy.client.group.handover import Change, Handover
from kraftpy.client.group.member import ConsumerHeartbeat, ConsumerHeartbeatDone, Interest, MemberConfig
from kraftpy.client.values import TopicPartition
from kraftpy.errors import (
    CallTimeoutError,
    CoordinatorNotAvailableError,
    FencedMemberEpochError,
    UnknownMemberIdError,
    UnreleasedInstanceIdError,
)

IDS = {"a": b"A" * 16, "b": b"B" * 16}
KNOWN = {name: (topic_id, (frozenset[str](),) * 4) for name, topic_id in IDS.items()}


def config(**changes: Any) -> MemberConfig:
    values: dict[str, Any] = {
        "group_id": "g",
        "instance_id": None,
        "rack": "r1",
        "assignors": assignors_of("range"),
        "server_assignor": "uniform",
        "session_timeout_ms": 45_000,
        "heartbeat_interval_ms": 3_000,
        "max_poll_interval_ms": 60_000,
        "retry_backoff_ms": 100,
        "retry_backoff_max_ms": 1_000,
        **changes,
    }
    return MemberConfig(**values)


class Stage:
    """A member, its user who polls at once, and what the coordinator has heard."""

    def __init__(self, **changes: Any) -> None:
        self.now_ms = 0
        self.member = ConsumerMember(config(**changes), "me", 0)
        self.member.metadata(KNOWN, 0)
        self.handed: list[tuple[Change, list[int]]] = []

    def poll(self) -> None:
        self.member.polled(self.now_ms)
        while (handover := self.member.handover()) is not None:
            self.handed.append((handover.change, [place.partition for place in handover.places]))
            self.member.handed_over(self.now_ms)

    def request(self) -> ConsumerHeartbeat:
        (request,) = self.member.requests(self.now_ms)
        assert isinstance(request, ConsumerHeartbeat)
        return request

    def beat(self, epoch: int, *partitions: int, changed: bool = True) -> ConsumerHeartbeat:
        """The next heartbeat is answered with partitions of topic a."""
        request = self.request()
        assignment = ((IDS["a"], partitions),) if changed else None
        self.member.answered(request, ConsumerHeartbeatDone("me", epoch, 5_000, assignment), self.now_ms)
        return request

    def joined(self, *partitions: int) -> None:
        self.member.subscribe(Interest(("a",)), self.now_ms)
        self.poll()
        self.beat(1, *partitions)
        self.poll()
        if partitions:
            self.beat(1, changed=False)


def places(*partitions: int) -> tuple[TopicPartition, ...]:
    return tuple(TopicPartition("a", partition) for partition in partitions)


def test_joining_says_everything_and_later_only_what_is_new() -> None:
    stage = Stage()
    stage.member.subscribe(Interest(("a",)), 0)
    assert stage.member.requests(0) == [], "a member joins when its user polls"
    stage.poll()
    first = stage.beat(7, 0, 1)
    assert (first.identity.generation, first.topics, first.owned) == (0, ("a",), ())
    assert (first.rack, first.server_assignor, first.rebalance_timeout_ms) == ("r1", "uniform", 60_000)
    assert stage.member.owned == (), "partitions change hands in poll() only"
    stage.poll()
    assert stage.handed == [(Change.ASSIGN, [0, 1])] and not stage.member.is_stable
    told = stage.beat(7, changed=False)
    assert (told.identity.generation, told.topics, told.owned) == (7, None, places(0, 1))
    assert stage.member.is_stable and stage.member.requests(0) == []
    stage.now_ms = stage.member.deadline_ms()
    assert stage.now_ms == 5_000
    silent = stage.beat(7, changed=False)
    assert (silent.topics, silent.regex, silent.owned) == (None, None, None)


def test_what_stays_is_read_on_while_something_goes() -> None:
    stage = Stage()
    stage.joined(0, 1, 2)
    stage.now_ms = 5_000
    stage.beat(2, 1, 3)
    assert stage.member.owned == places(0, 1, 2)
    stage.poll()
    assert stage.handed[1:] == [(Change.REVOKE, [0, 2]), (Change.ASSIGN, [3])]
    assert stage.request().owned == places(1, 3), "said at once, not with the next heartbeat"


def test_a_topic_without_a_name_yet_is_waited_for() -> None:
    stage = Stage()
    stage.member.metadata({"b": KNOWN["b"]}, 0)
    stage.member.subscribe(Interest(("a",)), 0)
    stage.poll()
    stage.beat(1, 0)
    stage.poll()
    assert stage.member.lacks_topics and stage.handed == []
    stage.member.metadata(KNOWN, 0)
    stage.poll()
    assert stage.handed == [(Change.ASSIGN, [0])]


@pytest.mark.parametrize("error", [FencedMemberEpochError(), UnknownMemberIdError()])
def test_a_fenced_member_loses_everything_and_joins_under_the_same_id(error: Any) -> None:
    stage = Stage()
    stage.joined(0, 1)
    stage.now_ms = 5_000
    stage.member.failed(stage.request(), error, stage.now_ms)
    assert stage.member.identity.generation == -1, "nothing can be committed any more"
    assert stage.member.requests(stage.now_ms) == []
    stage.poll()
    assert stage.handed[-1] == (Change.LOSE, [0, 1])
    again = stage.request()
    assert (again.identity.generation, again.identity.member_id, again.topics) == (0, "me", ("a",))


def test_what_is_being_handed_over_when_a_member_is_fenced_is_lost_before_it_joins_again() -> None:
    """A callback may take its time: what it is told of is another's when the member is back."""
    stage = Stage()
    stage.joined()
    stage.now_ms = 5_000
    stage.beat(2, 0, 1)
    stage.member.polled(stage.now_ms)
    assert stage.member.handover() == Handover(Change.ASSIGN, places(0, 1))
    stage.now_ms = 10_000
    stage.member.failed(stage.request(), FencedMemberEpochError(), stage.now_ms)
    assert stage.member.requests(stage.now_ms) == [], "not while it takes them"
    stage.poll()
    assert stage.handed == [(Change.ASSIGN, [0, 1]), (Change.LOSE, [0, 1])]
    again = stage.beat(3)
    assert (again.identity.generation, again.owned, stage.member.owned) == (0, (), ())


def test_a_callback_may_leave() -> None:
    stage = Stage()
    stage.joined()
    stage.now_ms = 5_000
    stage.beat(2, 0, 1)
    stage.member.polled(stage.now_ms)
    assert stage.member.handover() is not None
    assert stage.member.leave("enough") is not None
    assert stage.member.handover() is None
    assert stage.member.owned == () and stage.member.requests(stage.now_ms) == []


def test_what_a_callback_is_just_told_of_is_not_given_up_when_everything_is_said_again() -> None:
    """Seed 2100000 of a campaign: the coordinator moved while a slow callback was told of two partitions."""
    stage = Stage()
    stage.joined(0)
    stage.now_ms = 5_000
    stage.beat(2, 0, 1, 2)
    stage.member.polled(stage.now_ms)
    assert stage.member.handover() == Handover(Change.ASSIGN, places(1, 2))
    stage.now_ms = 10_000
    stage.member.failed(stage.request(), CoordinatorNotAvailableError(), stage.now_ms)
    stage.now_ms = 11_000
    assert stage.beat(2, changed=False).owned == places(0, 1, 2)
    stage.member.subscribe(Interest(("a", "b")), stage.now_ms)
    assert stage.request().owned is None, "nothing new before it is through"


def test_what_passes_is_repeated_more_and_more_slowly() -> None:
    stage = Stage()
    stage.member.subscribe(Interest(("a",)), 0)
    stage.poll()
    pauses = []
    for _ in range(6):
        stage.member.failed(stage.request(), CoordinatorNotAvailableError(), stage.now_ms)
        assert stage.member.requests(stage.now_ms) == []
        pauses.append(stage.member.deadline_ms() - stage.now_ms)
        stage.now_ms = stage.member.deadline_ms()
    assert pauses == [100, 200, 400, 800, 1_000, 1_000]


def test_after_a_failure_everything_is_said_again_for_its_answer_may_have_brought_partitions() -> None:
    """Partitions that others gave up come in the epoch that the member is in already: nothing else tells it that it
    has missed an answer."""
    stage = Stage()
    stage.joined()
    stage.now_ms = 5_000
    stage.member.failed(stage.request(), CallTimeoutError("no answer in time"), stage.now_ms)
    stage.now_ms = stage.member.deadline_ms()
    again = stage.beat(1, 2, 3)
    assert (again.identity.generation, again.topics, again.regex, again.owned) == (1, ("a",), "", ())
    assert (again.rack, again.server_assignor, again.rebalance_timeout_ms) == ("r1", "uniform", 60_000)
    stage.poll()
    assert stage.handed == [(Change.ASSIGN, [2, 3])]
    assert stage.beat(1, changed=False).rebalance_timeout_ms is None, "one answer is enough"


def test_a_subscription_that_was_taken_back_after_a_failure_is_said_as_it_is() -> None:
    stage = Stage()
    stage.joined(0)
    stage.member.subscribe(Interest((), "^logs-.*"), 0)
    stage.member.failed(stage.request(), CallTimeoutError("no answer in time"), 0)
    stage.member.subscribe(Interest(("a",)), 0)
    stage.now_ms = stage.member.deadline_ms()
    told = stage.beat(2, changed=False)
    assert (told.topics, told.regex, told.owned) == (("a",), "", places(0)), (
        "the coordinator may have heard the pattern"
    )


def test_what_does_not_pass_is_raised_and_the_next_poll_joins_again_after_a_pause() -> None:
    stage = Stage(instance_id="one")
    stage.member.subscribe(Interest(("a",)), 0)
    stage.poll()
    for pause_ms in (100, 200, 400):
        stage.member.failed(stage.request(), UnreleasedInstanceIdError(), stage.now_ms)
        stage.poll()
        assert stage.member.state is State.OUT, "nobody has heard of it yet"
        assert isinstance(stage.member.take_error(), UnreleasedInstanceIdError)
        assert stage.member.take_error() is None
        stage.poll()
        assert stage.member.requests(stage.now_ms + pause_ms - 1) == []
        stage.now_ms = stage.member.deadline_ms()
    stage.beat(1)
    assert stage.member.state is State.IN


def test_a_program_that_does_not_poll_leaves() -> None:
    stage = Stage()
    stage.joined(0)
    stage.now_ms = 60_000
    farewell = stage.request()
    assert farewell.identity.generation == -1 and "max_poll_interval_ms" in stage.member.take_warnings()[0]
    assert stage.member.requests(stage.now_ms) == []
    stage.poll()
    assert stage.handed[-1] == (Change.LOSE, [0]) and stage.request().identity.generation == 0


@pytest.mark.parametrize(("instance_id", "epoch"), [(None, -1), ("one", -2)])
def test_leaving_is_said_and_a_static_member_says_that_it_may_be_back(instance_id: str | None, epoch: int) -> None:
    stage = Stage(instance_id=instance_id)
    assert stage.member.leave("bye") is None
    stage.joined(0)
    farewell = stage.member.leave("bye")
    assert farewell is not None and farewell.identity.generation == epoch
    assert stage.member.requests(stage.now_ms) == []


def test_a_new_subscription_is_said_at_once_and_a_pattern_taken_back() -> None:
    stage = Stage()
    stage.joined(0)
    stage.member.subscribe(Interest((), "^logs-.*"), 0)
    told = stage.beat(2, changed=False)
    assert (told.topics, told.regex) == ((), "^logs-.*")
    stage.member.subscribe(Interest(("a", "b")), 0)
    told = stage.beat(3, changed=False)
    assert (told.topics, told.regex) == (("a", "b"), "")
    assert stage.member.requests(0) == []


class Coordinator:
    """What a coordinator says to one member: an assignment once, unless it is asked for everything, or in an epoch that
    is not its own any more."""

    def __init__(self) -> None:
        self.epoch = 1
        self.target: tuple[int, ...] = ()
        self.heard: tuple[TopicPartition, ...] = ()
        self._told: tuple[int, ...] = ()

    def answer(self, request: ConsumerHeartbeat) -> ConsumerHeartbeatDone:
        if request.owned is not None:
            self.heard = request.owned
        is_full = request.rebalance_timeout_ms is not None and request.owned is not None
        tells = is_full or request.identity.generation != self.epoch or self.target != self._told
        self._told = self.target
        return ConsumerHeartbeatDone("me", self.epoch, 5_000, ((IDS["a"], self.target),) if tells else None)


@settings(max_examples=150)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from(["target", "target of the next epoch"]), st.lists(st.integers(0, 3), unique=True)
            ),
            st.sampled_from(["poll", "begin to poll", "fence", "lose a request", "lose an answer", "time"]).map(
                lambda what: (what, [])
            ),
        ),
        max_size=30,
    )
)
def test_whatever_happens_the_member_owns_what_it_was_told(steps: list[tuple[str, list[int]]]) -> None:
    """The coordinator hears of every change, and in the end both agree."""
    stage = Stage(max_poll_interval_ms=10**9)
    stage.member.subscribe(Interest(("a",)), 0)
    coordinator = Coordinator()
    ending: list[tuple[str, list[int]]] = [("poll", []), ("time", [])]
    for what, chosen in [*steps, *ending * 6]:
        match what:
            case "target" | "target of the next epoch":
                coordinator.target = tuple(chosen)
                coordinator.epoch += what != "target"
            case "poll":
                stage.poll()
            case "begin to poll":
                stage.member.polled(stage.now_ms)
            case _:
                stage.now_ms += 5_000  # a heartbeat is due
        for request in stage.member.requests(stage.now_ms):
            assert isinstance(request, ConsumerHeartbeat)
            assert request.identity.generation > 0 or not stage.member.owned, "who joins has nothing"
            match what:
                case "fence":
                    stage.member.failed(request, FencedMemberEpochError(), stage.now_ms)
                case "lose a request":
                    stage.member.failed(request, CoordinatorNotAvailableError(), stage.now_ms)
                case "lose an answer":
                    coordinator.answer(request)
                    stage.member.failed(request, CallTimeoutError("no answer in time"), stage.now_ms)
                case _:
                    stage.member.answered(request, coordinator.answer(request), stage.now_ms)
    assert sorted(place.partition for place in stage.member.owned) == sorted(coordinator.target)
    assert sorted(stage.member.owned) == sorted(coordinator.heard)
    owned: set[int] = set()
    for change, partitions in stage.handed:
        if change is Change.ASSIGN:
            assert not owned & set(partitions), "assigned twice"
            owned |= set(partitions)
        else:
            assert owned >= set(partitions), "taken without having been given"
            owned -= set(partitions)
    assert owned == set(coordinator.target)
