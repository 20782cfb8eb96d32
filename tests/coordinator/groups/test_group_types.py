"""Groups change their type: empty ones at once, others while their members work (KIP-848)."""

from typing import Any

import pytest

from broker.coordinator.groups.commands import (
    ConsumerHeartbeatAnswer,
    Joined,
    ListGroups,
    MemberKey,
    ProtocolOffer,
    Synced,
    TopicsChanged,
)
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.subscription import encoded_assignment, read_assignment
from kraftpy.client.assignors.model import Subscription
from kraftpy.client.assignors.protocol_codec import write_subscription
from kraftpy.client.values import TopicPartition
from kraftpy.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupIdNotFoundError,
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    InvalidRequestError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from tests.coordinator.groups.members import Member, described, pair
from tests.coordinator.groups.stage import GROUP, Stage, given_id, join, offers, sync

# --- empty groups ----------------------------------------------------------------------------------------------------


def test_an_empty_classic_group_becomes_a_consumer_group_and_keeps_its_offsets() -> None:
    stage = Stage()
    (joined,) = stage.form("a")
    stage.commit(7, joined)
    stage.leave(MemberKey(joined.member_id))
    one = Member(stage, "one")
    one.beat()
    assert one.partitions == [0, 1, 2, 3] and stage.committed() == 7
    stage.fail_over()
    assert one.beat().epoch == 1
    assert [each.type.value for each in stage.ask(ListGroups())] == ["consumer"]


def test_an_id_that_nobody_joins_with_keeps_nobody_out() -> None:
    stage = Stage()
    member_id = given_id(stage)
    one = Member(stage, "one")
    stage.refusal = CoordinatorNotAvailableError("no")
    assert isinstance(one.beat(), CoordinatorNotAvailableError) and stage.state() == "Empty"
    stage.refusal = None
    assert one.beat().epoch == 1
    joined = stage.ask(join(member_id))
    assert isinstance(joined, Joined) and joined.member_id == member_id, "who comes with it after all is in"
    stage.pass_time(10_000)
    assert [each.member_id for each in described(stage).members] == ["one"]


def test_an_empty_consumer_group_becomes_a_classic_one() -> None:
    stage, one, two = pair()
    assert isinstance(stage.ask(join(protocol_type="connect")), InconsistentGroupProtocolError)
    one.leave()
    two.leave()
    (joined,) = stage.form("a")
    assert joined.generation == 1 and stage.state() == "Stable"
    stage.fail_over()
    assert [each.type.value for each in stage.ask(ListGroups())] == ["classic"]


def test_a_change_of_type_that_the_log_refuses_has_not_happened() -> None:
    stage, one, two = pair()
    one.leave()
    two.leave()
    stage.refusal = CoordinatorNotAvailableError("no")
    assert isinstance(stage.ask(join()), CoordinatorNotAvailableError)
    stage.pass_time(100_000)
    stage.refusal = None
    assert one.beat().epoch > 0


# --- online migration ------------------------------------------------------------------------------------------------


def stable_classic(stage: Stage, **changes: Any) -> Joined:
    """A classic group of one member, which has all partitions."""
    ticket = stage.join(**changes)
    stage.settle()
    joined = stage.answers[ticket]
    assert isinstance(joined, Joined)
    stage.ask(sync(joined, ((joined.member_id, encoded_assignment((("t", (0, 1, 2, 3)),))),)))
    return joined


def join_again(stage: Stage, joined: Joined) -> tuple[Joined, list[int]]:
    """A member with an eager assignor: it has nothing when it joins. With what it is assigned then."""
    again = stage.ask(join(joined.member_id))
    assert isinstance(again, Joined), again
    synced = stage.ask(sync(again))
    assert isinstance(synced, Synced), synced
    return again, [index for _, partitions in read_assignment(synced.assignment) or () for index in partitions]


def test_a_classic_group_becomes_a_consumer_group_while_it_works() -> None:
    stage = Stage()
    old = stable_classic(stage)
    stage.commit(5, old)
    one = Member(stage, "one")
    one.beat()
    assert (one.epoch, one.partitions) == (2, []), "the old one has everything still"
    assert stage.committed() == 5
    stage.fail_over()
    assert isinstance(stage.heartbeat(old), RebalanceInProgressError)
    again, assigned = join_again(stage, old)
    one.beat()
    assert (len(assigned), len(one.partitions)) == (2, 2)
    assert not set(assigned) & set(one.partitions)
    assert again.generation == 2 and stage.heartbeat(again) is None
    assert stage.commit(6, again) is None
    assert isinstance(stage.commit(7, old), IllegalGenerationError)
    assert [(each.member_id, each.member.classic is None) for each in described(stage).members] == [
        (old.member_id, False),
        ("one", True),
    ]
    new = stage.ask(join(client_id="another"))
    assert isinstance(new, Joined) and new.generation == 3
    assert stage.leave(MemberKey(new.member_id), MemberKey("nobody")).refusals[0] is None


def cooperative(*owned: int) -> tuple[ProtocolOffer, ...]:
    """What a member says that has these while it joins."""
    places = tuple(TopicPartition("t", index) for index in owned)
    metadata = write_subscription(Subscription(("t",), places, 1, None, None, None))
    return (ProtocolOffer("cooperative-sticky", metadata),)


def test_a_classic_group_whose_members_are_giving_something_up_changes_its_type_when_they_have() -> None:
    """Between the two rounds of a cooperative rebalance (KIP-429) they have what is not assigned to them."""
    stage = Stage()
    old = stable_classic(stage, protocols=cooperative())
    tickets = [stage.join(protocols=cooperative()), stage.join(old.member_id, protocols=cooperative(0, 1, 2, 3))]
    stage.settle()
    new, old = (stage.answers[ticket] for ticket in tickets)
    stage.ask(sync(old, ((old.member_id, encoded_assignment((("t", (0, 1)),))),)))
    one = Member(stage, "one")
    assert isinstance(one.beat(), CoordinatorLoadInProgressError), "it waits for the second round"
    assert stage.state() == "Stable" and stage.heartbeat(old) is None
    tickets = [
        stage.join(old.member_id, protocols=cooperative(0, 1)),
        stage.join(new.member_id, protocols=cooperative()),
    ]
    stage.settle()
    old = stage.answers[tickets[0]]
    given = ((old.member_id, (0, 1)), (new.member_id, (2, 3)))
    stage.ask(sync(old, tuple((each, encoded_assignment((("t", places),))) for each, places in given)))
    one.beat()
    assert (one.epoch, one.partitions) == (4, [])


def test_a_classic_group_changes_its_type_where_what_a_member_had_is_given_to_another() -> None:
    """As eager members do that say what they had: nobody is awaited."""
    stage = Stage()
    old = stable_classic(stage, protocols=cooperative())
    tickets = [stage.join(protocols=cooperative()), stage.join(old.member_id, protocols=cooperative(0, 1, 2, 3))]
    stage.settle()
    new, old = (stage.answers[ticket] for ticket in tickets)
    given = ((old.member_id, (0, 1)), (new.member_id, (2, 3)))
    stage.ask(sync(old, tuple((each, encoded_assignment((("t", places),))) for each, places in given)))
    one = Member(stage, "one")
    one.beat()
    assert (one.epoch, one.partitions) == (3, [])


@pytest.mark.parametrize("fails_over", [False, True])
def test_a_consumer_group_of_classic_members_becomes_a_classic_group(fails_over: bool) -> None:
    """Those that stay commit what they have read in the generation that they know, and hear that they are to join."""
    stage = Stage()
    old = stable_classic(stage)
    one = Member(stage, "one")
    one.beat()
    again, _ = join_again(stage, old)
    one.beat()
    one.leave()
    if fails_over:
        stage.fail_over()
    assert stage.state() == "PreparingRebalance"
    assert isinstance(stage.heartbeat(again), RebalanceInProgressError)
    assert stage.commit(6, again) is None and stage.committed() == 6
    ticket = stage.join(old.member_id)
    stage.settle()
    rejoined = stage.answers[ticket]
    assert isinstance(rejoined, Joined) and (rejoined.generation, rejoined.leader_id) == (3, old.member_id)
    stage.fail_over()
    assert [each.type.value for each in stage.ask(ListGroups())] == ["classic"]


@pytest.mark.parametrize("fails_over", [False, True])
def test_members_that_have_not_joined_again_when_the_last_consumer_goes_commit_what_they_have_read(
    fails_over: bool,
) -> None:
    stage = Stage()
    old = stable_classic(stage)
    one = Member(stage, "one")
    one.beat()
    assert one.epoch == old.generation + 1
    one.leave()
    if fails_over:
        stage.fail_over()
    assert isinstance(stage.heartbeat(old), RebalanceInProgressError)
    assert stage.commit(6, old) is None and stage.committed() == 6
    ticket = stage.join(old.member_id)
    stage.settle()
    assert stage.answers[ticket].generation == old.generation + 1


def test_the_generation_that_a_consumer_group_becomes_a_classic_one_in_is_the_latest_of_its_members() -> None:
    """From an earlier one its numbers would go back for those that are further."""
    stage = Stage()
    old = stable_classic(stage)
    consumers = [Member(stage, "one"), Member(stage, "two")]
    consumers[0].beat()
    new = stage.ask(join(client_id="new"))
    consumers[1].beat()
    for each in consumers:
        each.leave()
    assert (old.generation, new.generation) == (1, 3)
    assert stage.commit(6, new) is None and isinstance(stage.commit(7, old), IllegalGenerationError)
    tickets = [stage.join(each.member_id) for each in (old, new)]
    stage.settle()
    assert [stage.answers[ticket].generation for ticket in tickets] == [4, 4]


def test_a_group_whose_last_consumer_comes_back_by_the_classic_protocol_becomes_a_classic_group() -> None:
    """A static member (KIP-345) that was given its former configuration."""
    stage = Stage()
    old = stable_classic(stage, instance_id="a")
    one = Member(stage, "one", "b")
    one.beat()
    one.leave(for_a_while=True)
    stage.refusal = CoordinatorNotAvailableError("no")
    assert isinstance(stage.ask(join(instance_id="b")), CoordinatorNotAvailableError)
    assert len(described(stage).members) == 2 and stage.core.groups.classic(GROUP) is None
    stage.refusal = None
    back = stage.ask(join(instance_id="b"))
    assert isinstance(back, Joined)
    assert [each.type.value for each in stage.ask(ListGroups())] == ["classic"]
    assert isinstance(stage.ask(sync(back, instance_id="b")), RebalanceInProgressError)
    tickets = [stage.join(old.member_id, instance_id="a"), stage.join(back.member_id, instance_id="b")]
    stage.settle()
    leader, other = (stage.answers[ticket] for ticket in tickets)
    assert isinstance(leader, Joined) and isinstance(other, Joined), "somebody leads"
    assert leader.leader_id == other.leader_id == leader.member_id == old.member_id and len(leader.members) == 2


def test_who_was_to_sync_when_its_group_became_a_classic_one_is_to_join_again() -> None:
    """It was told of the protocol that it likes best, and the group has another one."""
    stage = Stage()
    stable_classic(stage, protocols=offers(range=("t",), roundrobin=("t",)))
    one = Member(stage, "one")
    one.beat()
    other = stage.ask(join(client_id="other", protocols=offers(roundrobin=("t",), range=("t",))))
    assert isinstance(other, Joined) and other.protocol == "roundrobin"
    one.leave()
    assert isinstance(stage.ask(sync(other)), RebalanceInProgressError)


def test_a_classic_member_that_does_not_join_again_is_no_member_any_more() -> None:
    stage = Stage(GroupConfig(initial_rebalance_delay_ms=0, consumer_migration_policy="upgrade"))
    old = stable_classic(stage, rebalance_timeout_ms=20_000)
    one = Member(stage, "one")
    one.beat()
    for _ in range(4):
        assert one.partitions == []
        assert isinstance(stage.heartbeat(old), RebalanceInProgressError)
        stage.pass_time(6_000)
        one.beat()
    assert one.partitions == [0, 1, 2, 3]
    assert isinstance(stage.heartbeat(old), UnknownMemberIdError)


def test_who_was_thrown_out_meanwhile_hears_that_it_has_lost_what_it_owned() -> None:
    """Else it would be asked to give up what others read already, and commit it before, in its new generation."""
    stage = Stage()
    old = stable_classic(stage, protocols=cooperative(), rebalance_timeout_ms=20_000)
    one = Member(stage, "one")
    one.beat()
    assert isinstance(stage.heartbeat(old), RebalanceInProgressError)
    for _ in range(4):
        stage.pass_time(6_000)
        one.beat()
        if not one.partitions:
            stage.heartbeat(old)
    assert one.partitions == [0, 1, 2, 3]
    assert isinstance(stage.ask(join(old.member_id, protocols=cooperative(0, 1))), UnknownMemberIdError)
    again = stage.ask(join(old.member_id, protocols=cooperative()))
    assert isinstance(again, Joined), "whoever owns nothing may be new"


@pytest.mark.parametrize("hears", [False, True])
def test_members_of_the_classic_protocol_hear_that_their_topics_grew_when_nobody_else_is_left(hears: bool) -> None:
    look_ms = 10_000
    stage = Stage(
        GroupConfig(
            initial_rebalance_delay_ms=0,
            consumer_migration_policy="upgrade",
            consumer_regex_refresh_interval_ms=look_ms,
        )
    )
    old = stable_classic(stage)
    one = Member(stage, "one")
    one.beat()
    one.leave()
    old, _ = join_again(stage, old)
    assert stage.heartbeat(old) is None
    stage.topics.set("t", 6)
    if hears:
        stage.ask(TopicsChanged(("t",)))
    for _ in range(0 if hears else 2):
        assert stage.heartbeat(old) is None
        stage.pass_time(look_ms // 2)
    stage.refusal = CoordinatorNotAvailableError("no")
    stage.heartbeat(old)
    stage.refusal = None
    assert isinstance(stage.heartbeat(old), RebalanceInProgressError)
    old, assigned = join_again(stage, old)
    assert assigned == [0, 1, 2, 3, 4, 5] and stage.heartbeat(old) is None


@pytest.mark.parametrize("stays", [False, True])
def test_an_administrator_removes_members_of_both_protocols_at_once(stays: bool) -> None:
    """Also where the group becomes a classic one when the consumer goes."""
    stage = Stage()
    Member(stage, "one", "c").beat()
    for name in ("a", "b", "d")[: 3 if stays else 2]:
        assert isinstance(stage.ask(join(instance_id=name)), Joined)
    keys = [MemberKey("", name) for name in ("c", "a", "nobody", "c", "b")]
    refusals = stage.leave(*keys).refusals
    assert [type(refusal) for refusal in refusals] == [
        type(None),
        type(None),
        UnknownMemberIdError,
        UnknownMemberIdError,
        type(None),
    ]
    classic = stage.core.groups.classic(GROUP)
    assert [each.key.instance_id for each in classic.members.values()] == ["d"] if classic else not stays
    assert (stage.core.groups.consumer(GROUP) is None) == stays


def test_who_joined_a_classic_group_again_need_not_join_the_consumer_group_that_it_was() -> None:
    stage = Stage()
    old = stable_classic(stage)
    one = Member(stage, "one")
    one.beat()
    assert isinstance(stage.heartbeat(old), RebalanceInProgressError), "it has a minute"
    one.leave()
    stage.join(old.member_id)
    stage.settle()
    old = stage.answers[stage.next_ticket - 1]
    stage.ask(sync(old, ((old.member_id, encoded_assignment((("t", (0, 1, 2, 3)),))),)))
    for _ in range(11):
        assert stage.heartbeat(old) is None
        stage.pass_time(5_000)
    one.beat()
    assert isinstance(stage.heartbeat(old), RebalanceInProgressError), "it has another minute"
    stage.pass_time(9_000)
    assert isinstance(stage.heartbeat(old), RebalanceInProgressError)


def test_who_is_to_join_again_is_still_to_do_so_if_the_log_refuses_a_change_of_type() -> None:
    stage = Stage()
    old = stable_classic(stage, rebalance_timeout_ms=20_000)
    one = Member(stage, "one")
    one.beat()
    stage.heartbeat(old)
    stage.refusal = CoordinatorNotAvailableError("no")
    one.leave()
    stage.refusal = None
    one.beat()
    for _ in range(5):
        stage.heartbeat(old)
        stage.pass_time(5_000)
    assert isinstance(stage.heartbeat(old), UnknownMemberIdError)


def test_a_migration_that_the_log_refuses_has_not_happened() -> None:
    stage = Stage()
    old = stable_classic(stage)
    stage.refusal = CoordinatorNotAvailableError("no")
    one = Member(stage, "one")
    assert isinstance(one.beat(), CoordinatorNotAvailableError)
    stage.refusal = None
    assert stage.state() == "Stable" and stage.heartbeat(old) is None
    one.beat()
    join_again(stage, old)
    stage.refusal = CoordinatorNotAvailableError("no")
    assert isinstance(one.leave(), CoordinatorNotAvailableError)
    assert described(stage).members and stage.core.groups.classic(GROUP) is None
    stage.pass_time(9_000)


def large_and_its_last_consumer() -> tuple[Stage, list[Joined], Member]:
    """A consumer group whose other members say more than goes into one batch together."""
    stage = Stage()
    one = Member(stage, "one")
    one.beat()
    says = offers(range=("t", *(f"{index:0200}" for index in range(2_000))))
    others = [stage.answers[stage.join(protocols=says, session_timeout_ms=300_000)] for _ in range(3)]
    assert all(isinstance(each, Joined) for each in others)
    return stage, others, one


def test_a_group_that_does_not_fit_into_one_batch_as_a_classic_one_goes_on_as_it_is() -> None:
    stage, others, one = large_and_its_last_consumer()
    assert isinstance(one.leave(), ConsumerHeartbeatAnswer)
    assert [each.member_id for each in described(stage).members] == [each.member_id for each in others]
    assert isinstance(stage.heartbeat(others[0]), RebalanceInProgressError), "what it had is for the others"


def test_the_last_consumer_of_a_large_group_falls_silent_with_members_of_other_groups() -> None:
    stage, others, _ = large_and_its_last_consumer()
    Member(stage, "two", group_id="h").beat(group_id="h")
    stage.pass_time(46_000)
    assert [each.member_id for each in described(stage).members] == [each.member_id for each in others]
    other_group = stage.core.groups.consumer("h")
    assert other_group is not None and other_group.is_empty


def test_a_conversion_that_the_log_has_no_room_for_is_not_tried_again() -> None:
    """Its limit may have been set below the usual one (max.message.bytes)."""
    stage = Stage()
    old = stable_classic(stage, session_timeout_ms=300_000)
    one = Member(stage, "one")
    one.beat()
    stage.refusal = InvalidRequestError("it is too large for one batch")
    stage.pass_time(46_000)
    assert isinstance(one.leave(), InvalidRequestError) and len(described(stage).members) == 2
    stage.refusal = None
    stage.pass_time(2_000)
    assert [each.member_id for each in described(stage).members] == [old.member_id]


def test_no_migration_where_the_policy_forbids_it() -> None:
    stage = Stage(GroupConfig(initial_rebalance_delay_ms=0, consumer_migration_policy="disabled"))
    stable_classic(stage)
    assert isinstance(Member(stage, "one").beat(), GroupIdNotFoundError)
    stage = Stage()
    stage.join()
    assert isinstance(Member(stage, "one").beat(), CoordinatorLoadInProgressError), "it waits for the rebalance"
