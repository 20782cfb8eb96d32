"""Stories of consumer groups (KIP-848): members are led to their targets, and nobody reads what another still reads."""

from dataclasses import replace
from typing import Any

import pytest

from broker.coordinator.core import NAME_BYTES_MAX, Producer
from broker.coordinator.groups.commands import (
    JOINS,
    CommitOffsets,
    ConsumerHeartbeatAnswer,
    DeleteGroup,
    DeleteOffsets,
    DescribeConsumerGroup,
    DescribeGroup,
    FetchOffsets,
    Joined,
    ListGroups,
    MemberKey,
    OffsetToCommit,
    TopicsChanged,
)
from broker.coordinator.groups.config import GroupConfig
from kraftpy.errors import (
    CoordinatorNotAvailableError,
    FencedInstanceIdError,
    FencedMemberEpochError,
    GroupIdNotFoundError,
    GroupMaxSizeReachedError,
    GroupSubscribedToTopicError,
    IllegalGenerationError,
    InvalidRegularExpressionError,
    InvalidRequestError,
    NonEmptyGroupError,
    StaleMemberEpochError,
    UnknownMemberIdError,
    UnreleasedInstanceIdError,
    UnsupportedAssignorError,
    UnsupportedVersionError,
)
from tests.coordinator.groups.members import Member, check_owners, described, pair, settle
from tests.coordinator.groups.stage import AT_ONCE, GROUP, Stage, join


def changed(stage: Stage, name: str, count: int | None) -> None:
    stage.topics.set(name, count)
    assert stage.ask(TopicsChanged((name,))) is None


# --- members come, and what they have moves --------------------------------------------------------------------------


def test_the_first_member_has_everything_at_once() -> None:
    stage = Stage()
    one = Member(stage, "one")
    answer = one.beat()
    assert answer == ConsumerHeartbeatAnswer("one", 1, 5_000, {stage.topics.id_of("t"): (0, 1, 2, 3)})
    assert one.beat(owned=None).assignment is None, "nothing is new"
    assert described(stage).state == "Stable"


def test_nobody_is_given_what_another_has_not_given_up() -> None:
    stage = Stage()
    one, two = Member(stage, "one"), Member(stage, "two")
    one.beat()
    two.beat()
    assert two.partitions == [] and two.epoch == 2, "it waits for what is not released"
    assert described(stage).state == "Reconciling"
    answer = one.beat()
    assert (answer.epoch, one.partitions) == (1, [0, 1]), "it is told to give up two, in its old epoch"
    assert two.beat().assignment is None or two.partitions == []
    assert one.beat().epoch == 2, "and says that it has"
    assert two.beat().epoch == 2
    assert (one.partitions, two.partitions) == ([0, 1], [2, 3])
    assert described(stage).state == "Stable"


def test_a_member_that_says_nothing_of_what_it_has_has_it_still() -> None:
    stage, one, two = pair()
    three = Member(stage, "three")
    three.beat()
    for member in (one, two):
        member.beat()
        before = member.epoch
        assert member.beat(owned=None).epoch == before
    assert three.beat().epoch and three.partitions == []
    settle(one, two, three)
    check_owners(one, two, three)
    assert sorted(len(each.partitions) for each in (one, two, three)) == [1, 1, 2]


def test_what_a_member_had_is_free_when_it_leaves() -> None:
    stage, one, two = pair()
    assert two.leave() == ConsumerHeartbeatAnswer("two", -1, 5_000)
    one.beat()
    assert one.partitions == [0, 1, 2, 3]
    assert one.leave().epoch == -1
    assert described(stage).state == "Empty"
    assert isinstance(stage.ask(one.command(3)), UnknownMemberIdError)


def test_who_falls_silent_is_no_member_any_more() -> None:
    stage, one, two = pair()
    for _ in range(9):
        stage.pass_time(5_000)
        one.beat()
    stage.pass_time(100)
    one.beat()
    assert one.partitions == [0, 1, 2, 3]
    assert isinstance(two.beat(), UnknownMemberIdError)
    two.beat()
    settle(one, two)
    check_owners(one, two)


def test_members_with_long_ids_that_fall_silent_together_go_in_parts() -> None:
    """What is written of all of them is too large for one batch, and would keep the others in it from going, too."""
    stage = Stage()
    for member_id in (*(letter * 30_000 for letter in "abcdefghijkl"), "one"):
        assert isinstance(Member(stage, member_id).beat(), ConsumerHeartbeatAnswer)
    stage.fail_over()
    stage.pass_time(60_000)
    assert described(stage).state == "Empty"


def test_who_does_not_give_up_in_time_is_no_member_any_more() -> None:
    stage = Stage()
    one, two = Member(stage, "one", rebalance_timeout_ms=20_000), Member(stage, "two")
    one.beat()
    two.beat()
    one.beat()
    for _ in range(3):
        assert two.partitions == []
        stage.pass_time(7_000)
        stage.ask(replace(one.command(one.epoch), owned=None))
        two.beat()
    assert two.partitions == [0, 1, 2, 3]
    assert isinstance(one.beat(), UnknownMemberIdError)


# --- epochs ----------------------------------------------------------------------------------------------------------


def test_an_answer_that_was_lost_is_given_again() -> None:
    _, one, two = pair()
    two.leave()
    lost = one.beat(loses_answer=True)
    assert lost.epoch == one.epoch + 1
    again = one.beat()
    assert again.epoch == lost.epoch and one.partitions == [0, 1, 2, 3]


def test_partitions_that_came_with_a_lost_answer_are_told_to_who_says_everything() -> None:
    """They were released after it joined: it is in the epoch already in which it is given them."""
    stage = Stage()
    one, two = Member(stage, "one"), Member(stage, "two")
    one.beat()
    two.beat()
    one.beat()
    one.beat()
    lost = two.beat(loses_answer=True, owned=None)
    assert lost.epoch == two.epoch and lost.assignment is not None and two.partitions == []
    assert stage.ask(two.command(two.epoch, owned=None)).assignment is None, "what it does not ask for was told once"
    two.beat()
    assert (one.partitions, two.partitions) == ([0, 1], [2, 3])


def test_a_join_whose_answer_was_lost_is_answered_again() -> None:
    stage = Stage()
    one = Member(stage, "one")
    one.beat(loses_answer=True)
    assert one.beat().epoch == 1 and one.partitions == [0, 1, 2, 3]


@pytest.mark.parametrize("epoch", [1, 7])
def test_another_epoch_fences(epoch: int) -> None:
    _, one, two = pair()
    two.leave()
    one.beat()
    assert one.epoch == 3
    one.epoch = epoch
    assert isinstance(one.beat(), FencedMemberEpochError)


def test_an_epoch_behind_with_more_than_was_given_fences() -> None:
    stage, one, two = pair()
    three = Member(stage, "three")
    three.beat()
    two.leave()
    settle(one, three)
    one.epoch -= 1
    one.owned = {stage.topics.id_of("t"): (0, 1, 2, 3)}
    assert isinstance(one.beat(), FencedMemberEpochError)


# --- static members --------------------------------------------------------------------------------------------------


def test_a_static_member_comes_back_to_what_it_had_and_nobody_notices() -> None:
    stage = Stage()
    one, two = Member(stage, "one", "i"), Member(stage, "two")
    one.beat()
    two.beat()
    settle(one, two)
    had, epoch = one.partitions, described(stage).epoch
    assert one.leave(for_a_while=True).epoch == -2
    assert two.beat().epoch == two.epoch and len(two.partitions) == 2
    back = Member(stage, "one-again", "i")
    back.beat()
    assert (back.partitions, described(stage).epoch) == (had, epoch)
    one.epoch = 2
    assert isinstance(one.beat(), FencedInstanceIdError)


def test_a_static_member_that_does_not_come_back_goes() -> None:
    stage = Stage()
    one = Member(stage, "one", "i")
    one.beat()
    one.leave(for_a_while=True)
    stage.pass_time(46_000)
    assert described(stage).members == ()


@pytest.mark.parametrize("instance_id", [None, "i"])
def test_a_member_that_did_not_get_the_answer_to_its_join_joins_again(instance_id: str | None) -> None:
    stage = Stage()
    one = Member(stage, "one", instance_id)
    first = one.beat(loses_answer=True)
    assert one.beat() == first and len(one.partitions) == 4
    settle(one)
    assert described(stage).epoch == 1


def test_long_names_are_cut_in_member_ids_or_refused() -> None:
    stage = Stage()
    Member(stage, "one").beat()
    joined = stage.ask(join(client_id="c" * NAME_BYTES_MAX))
    assert isinstance(joined, Joined) and len(joined.member_id) < 256
    long = "c" * (NAME_BYTES_MAX + 1)
    assert isinstance(stage.ask(join(client_id=long)), InvalidRequestError)
    for refused in (Member(stage, long), Member(stage, "two", long), Member(stage, "two", client_id=long)):
        assert isinstance(refused.beat(), InvalidRequestError)


def test_an_instance_id_in_use_is_not_given_away() -> None:
    stage = Stage()
    Member(stage, "one", "i").beat()
    assert isinstance(Member(stage, "two", "i").beat(), UnreleasedInstanceIdError)
    stranger = Member(stage, "two", "other")
    stranger.epoch = 1
    assert isinstance(stranger.beat(), UnknownMemberIdError)


# --- topics ----------------------------------------------------------------------------------------------------------


def test_more_partitions_are_assigned_when_the_metadata_says_so() -> None:
    stage, one, two = pair()
    changed(stage, "t", 6)
    settle(one, two)
    assert sorted(one.partitions + two.partitions) == [0, 1, 2, 3, 4, 5]


def test_a_topic_that_goes_and_one_that_comes_by_the_same_name() -> None:
    stage = Stage()
    one = Member(stage, "one", topics=("t", "u"))
    one.beat()
    assert one.partitions == [0, 1, 2, 3]
    changed(stage, "t", None)
    settle(one)
    assert one.owned == {}
    changed(stage, "t", 2)
    changed(stage, "u", 1)
    settle(one)
    assert one.owned == {stage.topics.id_of("t"): (0, 1), stage.topics.id_of("u"): (0,)}


def test_a_change_of_other_topics_changes_nothing() -> None:
    stage, one, two = pair()
    before = len(stage.log)
    changed(stage, "other", 6)
    settle(one, two)
    assert len(stage.log) == before


def test_a_pattern_stands_for_the_topics_that_match_it_when_they_come_and_go() -> None:
    stage = Stage()
    stage.topics.set("u-1", 1)
    one = Member(stage, "one", topics=None, pattern="u-.*")
    one.beat()
    assert one.owned == {stage.topics.id_of("u-1"): (0,)}
    changed(stage, "u-2", 1)
    settle(one)
    assert len(one.owned) == 2
    changed(stage, "u-1", None)
    settle(one)
    assert one.owned == {stage.topics.id_of("u-2"): (0,)}
    one.beat(pattern="", topics=("t",))
    settle(one)
    assert one.partitions == [0, 1, 2, 3]
    group = stage.core.groups.consumer(GROUP)
    assert group is not None and group.patterns == {}, "nobody uses it any more"


@pytest.mark.parametrize("pattern", ["(", "(?=a)", "a{2,1}", "x" * 5_000])
def test_a_pattern_that_is_none_is_refused_and_changes_nothing(pattern: str) -> None:
    stage = Stage()
    assert isinstance(Member(stage, "one", pattern=pattern).beat(), InvalidRegularExpressionError)
    assert stage.log == [] and stage.core.groups.any(GROUP) is None


def test_members_choose_the_assignor() -> None:
    stage = Stage()
    stage.topics.set("u", 3)
    one = Member(stage, "one", topics=("t", "u"), assignor="range")
    two = Member(stage, "two", topics=("t", "u"), assignor="range")
    one.beat()
    two.beat()
    settle(one, two)
    assert (one.owned, two.owned) == (
        {stage.topics.id_of("t"): (0, 1), stage.topics.id_of("u"): (0, 1)},
        {stage.topics.id_of("t"): (2, 3), stage.topics.id_of("u"): (2,)},
    )
    assert described(stage).assignor == "range"
    assert isinstance(Member(stage, "three", assignor="sticky").beat(), UnsupportedAssignorError)


# --- what a request must say -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"group_id": ""},
        {"member": MemberKey("")},
        {"member": MemberKey("m", "")},
        {"rack_id": ""},
        {"epoch": -3},
        {"epoch": -2},
        {"rebalance_timeout_ms": None},
        {"rebalance_timeout_ms": -5},
        {"owned": None},
        {"topics": None},
    ],
)
def test_what_is_said_wrongly_is_refused(changes: dict[str, Any]) -> None:
    stage = Stage()
    assert isinstance(stage.ask(Member(stage, "m").command(**{"epoch": JOINS, **changes})), InvalidRequestError)
    assert stage.log == []


def test_an_old_client_is_given_its_id() -> None:
    stage = Stage()
    one = Member(stage, "")
    one.beat(gives_member_id=True)
    assert len(one.member_id) == 36 and one.beat().member_id == one.member_id


def test_a_group_has_a_limit() -> None:
    stage = Stage(GroupConfig(consumer_members_max=1))
    one = Member(stage, "one")
    one.beat()
    assert isinstance(Member(stage, "two").beat(), GroupMaxSizeReachedError)
    assert one.beat().epoch == 1


# --- the log ---------------------------------------------------------------------------------------------------------


def test_a_new_coordinator_knows_everything_and_sessions_begin_anew() -> None:
    stage = Stage()
    one, two = Member(stage, "one"), Member(stage, "two")
    one.beat()
    two.beat()
    one.beat()
    stage.fail_over()
    settle(one, two)
    check_owners(one, two)
    assert (len(one.partitions), len(two.partitions)) == (2, 2)
    stage.pass_time(44_000)
    assert one.beat().epoch == 2
    stage.fail_over()
    stage.pass_time(46_000)
    assert described(stage).members == ()


def test_what_the_log_refuses_has_not_happened() -> None:
    stage, _, two = pair()
    stage.refusal = CoordinatorNotAvailableError("no")
    before = len(stage.log)
    three = Member(stage, "three")
    assert isinstance(three.beat(), CoordinatorNotAvailableError)
    assert isinstance(two.leave(), CoordinatorNotAvailableError)
    assert len(stage.log) == before and len(described(stage).members) == 2
    stage.pass_time(46_000)
    stage.refusal = None
    stage.pass_time(2_000)
    assert described(stage).members == (), "the end of a session is tried again"


# --- offsets, administration -----------------------------------------------------------------------------------------


def test_members_commit_in_their_epoch() -> None:
    stage, one, two = pair()

    def commit(member_id: str, generation: int, offset: int) -> Any:
        return stage.commit(offset, Joined(member_id, generation, None, None, ""))

    assert commit("one", 2, 5) is None
    assert isinstance(commit("one", 1, 6), StaleMemberEpochError)
    assert isinstance(commit("nobody", 2, 6), UnknownMemberIdError)
    assert isinstance(stage.commit(6), UnknownMemberIdError), "only members commit while there are any"
    assert stage.committed() == 5
    asked = FetchOffsets(GROUP, (("t", 0, None),), member_id="one", member_epoch=1)
    assert isinstance(stage.ask(asked), StaleMemberEpochError)
    assert stage.ask(replace(asked, member_epoch=2)).offsets[0].offset == 5
    one.leave()
    two.leave()
    assert stage.commit(9) is None and stage.committed() == 9


def test_a_stale_epoch_in_a_transaction_is_told_as_producers_know_it() -> None:
    stage, one, _ = pair()
    key = MemberKey("one")
    stale = stage.commit_in_transaction(Producer(7, 0), 5, member=key, generation=one.epoch - 1)
    assert isinstance(stale, IllegalGenerationError)
    assert stage.commit_in_transaction(Producer(7, 0), 5, member=key, generation=one.epoch) is None


def test_kip_1251_a_member_commits_what_it_has_had_since_an_epoch_before_the_newest() -> None:
    """It may not have heard of that yet; what it got later, or gave up, it may not commit by the old one."""
    stage, one, two = pair()
    kept = sorted(one.partitions)

    def commit(member: str, epoch: int, partition: int) -> Any:
        key = MemberKey(member)
        offset = OffsetToCommit("t", partition, 5, topic_id=stage.topics.id_of("t"))
        return stage.ask(CommitOffsets(GROUP, key, epoch, (offset,), knows_member_epochs=True))

    epoch = one.epoch
    lost = sorted(two.partitions)
    two.leave()
    settle(one)
    assert one.epoch > epoch and sorted(one.partitions) == sorted((*kept, *lost))
    assert commit("one", epoch, kept[0]).refusals == (None,)
    assert isinstance(commit("one", epoch, lost[0]), StaleMemberEpochError), "it was another's in that epoch"
    assert commit("one", one.epoch, lost[0]).refusals == (None,)
    assert isinstance(commit("one", one.epoch + 1, kept[0]), StaleMemberEpochError)


def test_kip_1251_what_went_to_another_and_came_back_is_not_committed_by_the_epoch_before() -> None:
    stage, one, two = pair()
    epoch, had = two.epoch, two.partitions[0]
    two.leave()
    settle(one)
    two = Member(stage, "two")
    settle(one, two)
    assert had in two.partitions and two.epoch > epoch
    offset = OffsetToCommit("t", had, 5, topic_id=stage.topics.id_of("t"))
    command = CommitOffsets(GROUP, MemberKey("two"), epoch, (offset,), knows_member_epochs=True)
    assert isinstance(stage.ask(command), StaleMemberEpochError)


def test_old_commits_are_not_for_consumer_groups() -> None:

    stage, _, _ = pair()
    answer = stage.ask(CommitOffsets(GROUP, MemberKey("one"), 2, (), knows_member_epochs=False))
    assert isinstance(answer, UnsupportedVersionError)


def test_groups_are_listed_described_and_deleted() -> None:

    stage, one, two = pair()
    (listing,) = stage.ask(ListGroups(types=("consumer",)))
    assert (listing.group_id, listing.type.value, listing.state) == (GROUP, "consumer", "Stable")
    assert stage.ask(ListGroups(types=("classic",))) == ()
    assert isinstance(stage.ask(DescribeGroup(GROUP)), GroupIdNotFoundError)
    assert isinstance(stage.ask(DescribeConsumerGroup("other")), GroupIdNotFoundError)
    assert isinstance(stage.ask(DeleteGroup(GROUP)), NonEmptyGroupError)
    refusals = stage.ask(DeleteOffsets(GROUP, (("t", 0), ("other", 0)))).refusals
    assert isinstance(refusals[0], GroupSubscribedToTopicError) and refusals[1] is None
    one.leave()
    two.leave()
    stage.commit(3)
    assert stage.ask(DeleteGroup(GROUP)) is None
    assert stage.ask(ListGroups()) == ()
    stage.fail_over()
    assert stage.ask(ListGroups()) == (), "nothing of it is left in the log"


def test_an_empty_group_and_its_offsets_are_forgotten_in_time() -> None:
    stage, one, two = pair()
    stage.commit(3, Joined("one", 2, None, None, ""))
    one.leave()
    two.leave()
    stage.pass_time(AT_ONCE.offsets_retention_ms + AT_ONCE.offsets_retention_check_interval_ms)
    assert stage.ask(ListGroups()) == () and not stage.core._consumers._looked_ms
