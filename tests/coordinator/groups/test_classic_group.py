"""Classic groups as stories: who joins, waits, leads, goes, and what the others notice."""

from typing import Any

import pytest

from broker.coordinator.core import NAME_BYTES_MAX
from broker.coordinator.groups.commands import (
    DescribeGroup,
    GroupDescription,
    Heartbeat,
    Joined,
    LeaveGroup,
    MemberIdAssigned,
    MemberKey,
    MembersLeft,
    ProtocolOffer,
    Synced,
)
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.rebalance import NEW_MEMBER_JOIN_TIMEOUT_MS
from kraftpy.client.assignors.model import Subscription
from kraftpy.client.assignors.protocol_codec import write_assignment, write_subscription
from kraftpy.client.values import TopicPartition
from kraftpy.errors import (
    CoordinatorNotAvailableError,
    FencedInstanceIdError,
    GroupIdNotFoundError,
    GroupMaxSizeReachedError,
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidRequestError,
    InvalidSessionTimeoutError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from tests.coordinator.groups.members import Member
from tests.coordinator.groups.stage import GROUP, SomeTopics, Stage, given_id, join, offers, sync


def test_a_group_forms_and_its_leader_assigns() -> None:
    stage = Stage()
    first = stage.ask(join(needs_member_id=True))
    assert isinstance(first, MemberIdAssigned) and first.member_id.startswith("c-")
    one, two = stage.join(first.member_id), stage.join(client_id="d")
    stage.settle()
    leader, follower = stage.answers[one], stage.answers[two]
    assert leader.generation == follower.generation == 1 and leader.protocol == "range"
    assert leader.leader_id == follower.leader_id == leader.member_id
    assert [each.key.member_id for each in leader.members] == [leader.member_id, follower.member_id]
    assert not follower.members

    waiting = stage.send(sync(follower))
    assert stage.state() == "CompletingRebalance" and stage.waiting() == [waiting]
    synced = stage.ask(sync(leader, ((leader.member_id, b"mine"), (follower.member_id, b"yours"), ("x", b"?"))))
    assert synced == Synced("consumer", "range", b"mine")
    assert stage.answers[waiting] == Synced("consumer", "range", b"yours")
    assert stage.state() == "Stable"
    assert stage.heartbeat(leader) is None


def test_a_member_that_joins_makes_all_others_join_again() -> None:
    stage = Stage()
    (old,) = stage.form("a")
    new = stage.join(client_id="b")
    assert isinstance(stage.heartbeat(old), RebalanceInProgressError)
    again = stage.join(old.member_id)
    assert stage.answers[again].generation == stage.answers[new].generation == 2
    assert stage.answers[again].leader_id == old.member_id, "who led and is back leads on"
    assert isinstance(stage.heartbeat(old), IllegalGenerationError)


def test_a_client_with_a_long_name_keeps_nobody_from_rebalancing() -> None:
    """Its member id begins with its name, and has to go into the group's record."""
    stage = Stage()
    one, two = stage.form("a", "c" * NAME_BYTES_MAX)
    assert len(two.member_id) < 256 and two.member_id.startswith("ccc")
    assert stage.heartbeat(one) is None and stage.state() == "Stable"
    for changes in ({"client_id": "c" * (NAME_BYTES_MAX + 1)}, {"instance_id": "é" * (NAME_BYTES_MAX // 2 + 1)}):
        assert isinstance(stage.ask(join(**changes)), InvalidRequestError)
    assert stage.heartbeat(one) is None


def test_the_first_rebalance_waits_for_others_and_longer_while_they_come() -> None:
    stage = Stage(GroupConfig(initial_rebalance_delay_ms=3_000))
    first = stage.join()
    stage.pass_time(2_000)
    second = stage.join()
    stage.pass_time(2_000)
    assert stage.waiting() == [first, second], "somebody came in the first three seconds"
    stage.pass_time(2_000)
    assert stage.answers[first].generation == stage.answers[second].generation == 1


def test_the_first_rebalance_waits_no_longer_than_its_members_allow() -> None:
    stage = Stage(GroupConfig(initial_rebalance_delay_ms=3_000))
    for _ in range(4):
        stage.join(rebalance_timeout_ms=8_000)
        stage.pass_time(2_000)
    assert not stage.waiting()


def test_members_that_do_not_join_again_in_time_are_out() -> None:
    stage = Stage()
    slow, _ = stage.form("a", "b", session_timeout_ms=300_000)
    new = stage.join(rebalance_timeout_ms=30_000)
    stage.pass_time(59_999)
    assert stage.waiting() == [new]
    stage.pass_time(1)
    joined = stage.answers[new]
    assert joined.leader_id == joined.member_id and len(joined.members) == 1
    assert isinstance(stage.heartbeat(slow), UnknownMemberIdError)


def test_members_that_do_not_sync_in_time_are_out() -> None:
    stage = Stage()
    one, two = stage.join(session_timeout_ms=300_000), stage.join(session_timeout_ms=300_000)
    stage.settle()
    leader, follower = stage.answers[one], stage.answers[two]
    waiting = stage.send(sync(follower))
    stage.pass_time(60_000)
    assert isinstance(stage.answers[waiting], RebalanceInProgressError)
    assert isinstance(stage.heartbeat(leader), UnknownMemberIdError)
    again = stage.join(follower.member_id, session_timeout_ms=300_000)
    assert stage.answers[again].leader_id == follower.member_id and stage.answers[again].generation == 2


def test_a_member_that_never_syncs_a_stable_group_is_out() -> None:
    stage = Stage()
    one, two = stage.join(session_timeout_ms=300_000), stage.join(session_timeout_ms=300_000)
    stage.settle()
    leader, silent = stage.answers[one], stage.answers[two]
    stage.ask(sync(leader))
    assert stage.state() == "Stable"
    stage.pass_time(60_000)
    assert stage.state() == "PreparingRebalance"
    assert isinstance(stage.heartbeat(silent), UnknownMemberIdError)


def test_a_session_ends_without_heartbeats_only() -> None:
    stage = Stage()
    alive, silent = stage.form("a", "b")
    for _ in range(3):
        stage.pass_time(4_000)
        stage.heartbeat(alive)
    assert isinstance(stage.heartbeat(silent), UnknownMemberIdError)
    assert isinstance(stage.heartbeat(alive), RebalanceInProgressError)
    again = stage.join(alive.member_id)
    assert [each.key.member_id for each in stage.answers[again].members] == [alive.member_id]


def test_nobodys_session_ends_while_it_waits_for_an_answer() -> None:
    stage = Stage()
    _, two = stage.join(session_timeout_ms=50_000), stage.join(session_timeout_ms=6_000)
    stage.settle()
    waiting = stage.send(sync(stage.answers[two]))
    stage.pass_time(40_000)
    assert stage.waiting() == [waiting]


def test_a_new_member_that_went_without_its_id_is_given_up() -> None:
    stage = Stage()
    stage.form("a", session_timeout_ms=1_800_000, rebalance_timeout_ms=1_800_000)
    gone = stage.join(client_id="gone")
    stage.pass_time(NEW_MEMBER_JOIN_TIMEOUT_MS)
    assert isinstance(stage.answers[gone], UnknownMemberIdError)


def test_an_id_that_nobody_comes_with_is_waited_for_as_long_as_a_session() -> None:
    stage = Stage()
    (old,) = stage.form("a", session_timeout_ms=60_000)
    given_id(stage)
    (again,) = [stage.join(old.member_id, protocols=offers(range=("u",)), session_timeout_ms=60_000)]
    assert stage.waiting() == [again], "the one with the new id may still come"
    stage.pass_time(10_000)
    assert stage.answers[again].generation == 2


def test_leaving_makes_the_rest_share() -> None:
    stage = Stage()
    one, two = stage.form("a", "b")
    assert stage.leave(MemberKey(one.member_id)) == MembersLeft((None,))
    assert isinstance(stage.heartbeat(two), RebalanceInProgressError)
    again = stage.join(two.member_id)
    assert stage.answers[again].leader_id == two.member_id
    stage.ask(sync(stage.answers[again]))
    assert stage.leave(MemberKey(two.member_id)) == MembersLeft((None,))
    assert stage.state() == "Empty"
    assert stage.core.stored[GROUP].members == () and stage.core.stored[GROUP].generation == 3


def test_several_leave_at_once_and_each_is_told() -> None:
    stage = Stage()
    one, two = stage.form("a", "b")
    pending = given_id(stage)
    answer = stage.leave(MemberKey(one.member_id), MemberKey("nobody"), MemberKey(pending), MemberKey("", "x"))
    assert [type(each) for each in answer.refusals] == [
        type(None),
        UnknownMemberIdError,
        type(None),
        UnknownMemberIdError,
    ]
    assert isinstance(stage.ask(LeaveGroup("none", (MemberKey("a"),))), UnknownMemberIdError)
    assert isinstance(stage.heartbeat(two), RebalanceInProgressError)


def test_what_a_member_likes_best_of_what_all_know_is_chosen() -> None:
    stage = Stage()
    tickets = [
        stage.join(protocols=offers(sticky=("t",), range=("t",))),
        stage.join(protocols=offers(range=("t",), roundrobin=("t",))),
        stage.join(protocols=offers(roundrobin=("t",), range=("t",))),
    ]
    stage.settle()
    assert {stage.answers[ticket].protocol for ticket in tickets} == {"range"}
    assert isinstance(stage.ask(join(protocols=offers(sticky=("t",)))), InconsistentGroupProtocolError)
    assert isinstance(stage.ask(join(protocol_type="connect")), InconsistentGroupProtocolError)
    assert isinstance(stage.ask(join(protocols=(), group_id="new")), InconsistentGroupProtocolError)
    assert stage.state("new") == "Dead"


def test_members_vote() -> None:
    stage = Stage()
    tickets = [
        stage.join(protocols=offers(range=("t",), sticky=("t",))),
        stage.join(protocols=offers(sticky=("t",), range=("t",))),
        stage.join(protocols=offers(sticky=("t",), range=("t",))),
    ]
    stage.settle()
    assert stage.answers[tickets[0]].protocol == "sticky"


def test_a_member_that_asks_again_is_told_again() -> None:
    stage = Stage()
    one, two = stage.join(client_id="a"), stage.join(client_id="b")
    stage.settle()
    leader, follower = stage.answers[one], stage.answers[two]
    assert stage.ask(join(leader.member_id)) == leader and stage.ask(join(follower.member_id)) == follower
    stage.ask(sync(leader, ((follower.member_id, b"x"),)))
    assert stage.ask(join(follower.member_id)) == follower
    assert stage.ask(sync(follower)) == stage.ask(sync(follower)) == Synced("consumer", "range", b"x")
    stage.join(leader.member_id)
    assert stage.state() == "PreparingRebalance", "a leader that joins again wants a rebalance"


def test_a_request_that_is_repeated_ends_the_one_before() -> None:
    stage = Stage()
    (old, _) = stage.form("a", "b")
    first = stage.join(old.member_id)
    second = stage.join(old.member_id)
    assert isinstance(stage.answers[first], RebalanceInProgressError) and stage.waiting() == [second]


def test_what_nobody_may_say() -> None:
    stage = Stage(GroupConfig(initial_rebalance_delay_ms=0, members_max=2))
    assert isinstance(stage.ask(join(group_id="")), InvalidGroupIdError)
    assert isinstance(stage.ask(join(session_timeout_ms=5_999)), InvalidSessionTimeoutError)
    assert isinstance(stage.ask(join(session_timeout_ms=1_800_001)), InvalidSessionTimeoutError)
    assert isinstance(stage.ask(join("unknown")), UnknownMemberIdError)
    assert isinstance(stage.ask(Heartbeat(GROUP, MemberKey("a"), 1)), UnknownMemberIdError)
    one, two = stage.form("a", "b")
    assert isinstance(stage.ask(join()), GroupMaxSizeReachedError)
    assert isinstance(stage.ask(join("unknown")), GroupMaxSizeReachedError)
    assert isinstance(stage.ask(sync(one, generation=7)), IllegalGenerationError)
    assert isinstance(stage.ask(sync(one, protocol="sticky")), InconsistentGroupProtocolError)
    assert isinstance(stage.ask(sync(one, protocol_type="connect")), InconsistentGroupProtocolError)
    assert isinstance(stage.heartbeat(two, generation=2), IllegalGenerationError)
    assert stage.state() == "Stable", "and nothing has changed"


def test_members_beyond_a_limit_that_was_lowered_do_not_come_in_again() -> None:
    stage = Stage()
    members = stage.form("a", "b", "c")
    stage.config = GroupConfig(initial_rebalance_delay_ms=0, members_max=2)
    stage.fail_over()
    tickets = [stage.join(each.member_id, protocols=offers(range=("u",))) for each in members]
    assert isinstance(stage.answers[tickets[2]], GroupMaxSizeReachedError)
    stage.pass_time(10_000)
    assert stage.answers[tickets[0]].generation == 2


# --- static members --------------------------------------------------------------------------------------------------


def test_a_static_member_comes_back_and_nobody_notices() -> None:
    stage = Stage()
    tickets = [stage.join(instance_id="i1"), stage.join(instance_id="i2")]
    stage.settle()
    one, two = (stage.answers[ticket] for ticket in tickets)
    stage.ask(sync(one, ((one.member_id, b"A"), (two.member_id, b"B")), instance_id="i1"))
    stage.ask(sync(two, instance_id="i2"))

    back = stage.ask(join(instance_id="i2"))
    assert back.member_id != two.member_id and back.generation == 1 and stage.state() == "Stable"
    assert stage.ask(sync(back, instance_id="i2")).assignment == b"B"
    assert isinstance(stage.ask(sync(two, instance_id="i2")), FencedInstanceIdError)
    assert isinstance(stage.ask(Heartbeat(GROUP, MemberKey(two.member_id, "i2"), 1)), FencedInstanceIdError)
    assert isinstance(stage.ask(join(two.member_id, instance_id="i2")), FencedInstanceIdError)

    stage.fail_over()
    assert stage.ask(sync(back, instance_id="i2")).assignment == b"B"


@pytest.mark.parametrize("skips", [True, False])
def test_a_static_leader_comes_back_and_does_not_assign(skips: bool) -> None:
    stage = Stage()
    ticket = stage.join(instance_id="i1", skips_assignment=skips)
    stage.settle()
    old = stage.answers[ticket]
    stage.ask(sync(old, ((old.member_id, b"A"),), instance_id="i1"))
    back = stage.ask(join(instance_id="i1", skips_assignment=skips))
    if skips:
        assert back.skip_assignment and back.leader_id == back.member_id and len(back.members) == 1
    else:
        assert back.leader_id == old.member_id != back.member_id and not back.members
    assert stage.ask(sync(back, instance_id="i1")).assignment == b"A"


def test_a_static_member_that_reads_something_else_makes_the_group_rebalance() -> None:
    stage = Stage()
    ticket = stage.join(instance_id="i1")
    stage.settle()
    stage.ask(sync(stage.answers[ticket], instance_id="i1"))
    again = stage.join(instance_id="i1", protocols=offers(range=("t", "u")))
    assert stage.answers[again].generation == 2


@pytest.mark.parametrize("fails_over", [False, True])
def test_a_static_member_that_was_to_give_something_up_is_not_replaced_unnoticed(fails_over: bool) -> None:
    """Found by the simulation, `groups` seed 20003: it had been told to give two partitions up and to join again, so
    that others get them (KIP-429); its successor did not know, and they lay there."""
    stage = Stage()
    stage.topics = SomeTopics(t=2)
    stage.fail_over()

    def said(owned: tuple[int, ...]) -> dict[str, Any]:
        places = tuple(TopicPartition("t", index) for index in owned)
        metadata = write_subscription(Subscription(("t",), places, 1, None, None, None))
        return {"instance_id": "i1", "protocols": (ProtocolOffer("cooperative-sticky", metadata),)}

    def assignment(*owned: int) -> bytes:
        return write_assignment([TopicPartition("t", index) for index in owned])

    ticket = stage.join(**said(()))
    stage.settle()
    one = stage.answers[ticket]
    stage.ask(sync(one, ((one.member_id, assignment(0, 1)),), instance_id="i1"))
    one = stage.ask(join(one.member_id, **said((0, 1))))
    assert one.generation == 2
    stage.ask(sync(one, ((one.member_id, assignment(0)),), instance_id="i1"))
    if fails_over:
        stage.fail_over()
    back = stage.ask(join(**said(())))
    assert back.generation == 3 and back.leader_id == back.member_id, "it is to assign anew"
    stage.ask(sync(back, ((back.member_id, assignment(0, 1)),), instance_id="i1"))
    assert stage.ask(join(**said(()))).generation == 3, "nothing is owed now: nobody notices"


def test_a_static_leader_that_missed_that_a_topic_grew_is_to_assign() -> None:
    """Found by the simulation, `groups` seed 30026: nobody looked while it was away."""
    stage = Stage()
    places = [TopicPartition("t", index) for index in range(4)]
    ticket = stage.join(instance_id="i1")
    stage.settle()
    old = stage.answers[ticket]
    stage.ask(sync(old, ((old.member_id, write_assignment(places)),), instance_id="i1"))
    assert stage.ask(join(instance_id="i1")).generation == 1, "all is assigned: nobody notices"
    stage.topics = SomeTopics(t=5)
    stage.fail_over()
    assert stage.ask(join(instance_id="i1")).generation == 2


def test_a_static_member_keeps_its_place_until_its_session_ends() -> None:
    stage = Stage()
    tickets = [stage.join(instance_id="i1", session_timeout_ms=100_000), stage.join(session_timeout_ms=600_000)]
    stage.settle()
    static, other = (stage.answers[ticket] for ticket in tickets)
    stage.ask(sync(static, instance_id="i1"))
    stage.ask(sync(other))
    again = stage.join(other.member_id, protocols=offers(range=("u", "t")), session_timeout_ms=600_000)
    stage.pass_time(60_000)
    joined = stage.answers[again]
    assert sorted(each.key.instance_id or "" for each in joined.members) == ["", "i1"]


def test_if_only_static_members_are_awaited_the_rebalance_goes_on_until_their_sessions_end() -> None:
    stage = Stage()
    ticket = stage.join(instance_id="i1", session_timeout_ms=100_000, rebalance_timeout_ms=20_000)
    stage.settle()
    stage.ask(sync(stage.answers[ticket], instance_id="i1"))
    new = stage.join(session_timeout_ms=100_000, rebalance_timeout_ms=20_000)
    stage.leave(MemberKey(next(iter(reversed(stage.core.groups.classic(GROUP).members)))))  # type: ignore[union-attr]
    assert isinstance(stage.answers[new], UnknownMemberIdError)
    stage.pass_time(99_000)
    assert stage.state() == "PreparingRebalance"
    stage.pass_time(1_000)
    assert stage.state() == "Empty"


def test_static_members_in_haste_are_awaited_at_leisure() -> None:
    """Looked for again every millisecond, they kept a processor busy until their sessions ended."""
    stage = Stage()
    (static,) = stage.form("i1", instance_id="i1", session_timeout_ms=300_000, rebalance_timeout_ms=1)
    new = stage.join(rebalance_timeout_ms=1, instance_id="i2")
    stage.leave(MemberKey("", "i2"))
    assert stage.answers[new] is not None and stage.state() == "PreparingRebalance"
    looks = 0
    while stage.now_ms < 60_000 and (due_ms := stage.core.next_deadline_ms()) is not None:
        stage.pass_time(max(1, due_ms - stage.now_ms))
        looks += 1
    assert looks <= 62
    again = stage.join(static.member_id, instance_id="i1")
    assert stage.answers[again].generation == static.generation + 1


def test_a_rebalance_without_time_is_refused() -> None:
    stage = Stage()
    assert isinstance(stage.ask(join(rebalance_timeout_ms=0)), InvalidRequestError)
    assert stage.state() == "Dead"
    Member(stage, "new").beat()  # by the protocol of KIP-848
    assert isinstance(stage.ask(join(rebalance_timeout_ms=0)), InvalidRequestError)


def test_an_administrator_removes_a_static_member_by_its_name() -> None:
    stage = Stage()
    ticket = stage.join(instance_id="i1")
    stage.settle()
    stage.ask(sync(stage.answers[ticket], instance_id="i1"))
    assert stage.leave(MemberKey("", "i1")) == MembersLeft((None,))
    assert stage.state() == "Empty"


def test_a_static_member_that_cannot_be_stored_stays_the_old_one() -> None:
    stage = Stage()
    ticket = stage.join(instance_id="i1")
    stage.settle()
    old = stage.answers[ticket]
    stage.ask(sync(old, ((old.member_id, b"A"),), instance_id="i1"))
    stage.refusal = CoordinatorNotAvailableError("too few replicas")
    assert isinstance(stage.ask(join(instance_id="i1")), CoordinatorNotAvailableError)
    stage.refusal = None
    assert stage.ask(Heartbeat(GROUP, MemberKey(old.member_id, "i1"), 1)) is None
    assert stage.ask(sync(old, instance_id="i1")).assignment == b"A"


def test_a_static_member_that_joins_while_its_old_self_waits_fences_it() -> None:
    stage = Stage()
    stage.form("a")
    first = stage.join(instance_id="i1")
    second = stage.join(instance_id="i1")
    assert isinstance(stage.answers[first], FencedInstanceIdError)
    assert stage.waiting() == [second]


# --- failover --------------------------------------------------------------------------------------------------------


def test_a_stable_group_outlives_its_coordinator() -> None:
    stage = Stage()
    one, two = stage.form("a", "b")
    stage.fail_over()
    assert stage.heartbeat(one) is None
    assert stage.ask(sync(two)).assignment == b"b"
    described = stage.ask(DescribeGroup(GROUP))
    assert isinstance(described, GroupDescription) and described.state == "Stable"
    assert [each.assignment for each in described.members] == [b"a", b"b"]
    stage.pass_time(10_000)
    assert stage.state() == "Empty", "whose sessions begin again, and end"


def test_a_coordinator_that_dies_in_a_rebalance_leaves_the_last_generation() -> None:
    stage = Stage()
    (old,) = stage.form("a")
    new = stage.join(client_id="b")
    again = stage.join(old.member_id)
    promised: Joined = stage.answers[new]
    assert promised.generation == 2 and isinstance(stage.answers[again], Joined)
    stage.fail_over()
    assert isinstance(stage.ask(sync(promised)), UnknownMemberIdError)
    assert isinstance(stage.ask(sync(stage.answers[again])), IllegalGenerationError)
    back = stage.ask(join(old.member_id))
    assert stage.state() == "PreparingRebalance" or isinstance(back, Joined)


def test_assignments_that_cannot_be_stored_are_not_used() -> None:
    stage = Stage()
    one, two = stage.join(client_id="a"), stage.join(client_id="b")
    stage.settle()
    leader, follower = stage.answers[one], stage.answers[two]
    waiting = stage.send(sync(follower))
    stage.refusal = CoordinatorNotAvailableError("too few replicas")
    refused = stage.ask(sync(leader, ((follower.member_id, b"x"),)))
    assert isinstance(refused, CoordinatorNotAvailableError)
    assert isinstance(stage.answers[waiting], CoordinatorNotAvailableError)
    assert stage.state() == "PreparingRebalance"
    stage.refusal = None
    tickets = [stage.join(leader.member_id), stage.join(follower.member_id)]
    assert [stage.answers[ticket].generation for ticket in tickets] == [2, 2]


def test_describing_a_group_that_is_not_there() -> None:
    assert isinstance(Stage().ask(DescribeGroup(GROUP)), GroupIdNotFoundError)
