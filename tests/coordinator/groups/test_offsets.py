"""Committed offsets: who may commit, what is kept, what transactions add, and when it is forgotten."""

from uuid import UUID

import pytest

from broker.coordinator.core import Producer
from broker.coordinator.groups.chores import PART_RECORDS
from broker.coordinator.groups.commands import (
    NO_OFFSET,
    CommitOffsets,
    DeleteGroup,
    DeleteOffsets,
    FetchedOffset,
    FetchedOffsets,
    FetchOffsets,
    GroupListing,
    GroupType,
    Heartbeat,
    ListGroups,
    MemberKey,
    OffsetResults,
    OffsetToCommit,
    TopicsDeleted,
)
from broker.coordinator.groups.config import GroupConfig
from kraftpy.errors import (
    CoordinatorNotAvailableError,
    FencedInstanceIdError,
    GroupIdNotFoundError,
    GroupSubscribedToTopicError,
    IllegalGenerationError,
    NonEmptyGroupError,
    OffsetMetadataTooLargeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
    UnstableOffsetCommitError,
)
from tests.coordinator.groups.members import Member
from tests.coordinator.groups.stage import GROUP, Stage, join, offers, sync

PRODUCER = Producer(7, 0)
OTHER = Producer(8, 0)
DAY_MS = 24 * 60 * 60 * 1_000


def test_anybody_commits_to_a_group_without_members() -> None:
    stage = Stage()
    assert stage.committed() == NO_OFFSET
    assert stage.commit(5) is None and stage.committed() == 5
    assert isinstance(stage.ask(Heartbeat(GROUP, MemberKey("a"), 1)), UnknownMemberIdError)
    assert stage.ask(ListGroups()) == (GroupListing(GROUP, "", "Empty", GroupType.CLASSIC),)
    stage.fail_over()
    assert stage.committed() == 5 and stage.state() == "Empty"


def test_what_is_committed_beside_an_offset_comes_back() -> None:
    stage = Stage()
    stage.commit(5)
    answer = stage.ask(FetchOffsets(GROUP, None))
    assert answer == FetchedOffsets((FetchedOffset("t", 0, 5, 5, "note"),))
    assert stage.ask(FetchOffsets("another", None)) == FetchedOffsets(())


def test_members_commit_in_their_generation() -> None:
    stage = Stage()
    (member,) = stage.form("a")
    assert stage.commit(5, member) is None
    assert isinstance(stage.commit(6), UnknownMemberIdError), "only members commit"
    command = CommitOffsets(GROUP, MemberKey(member.member_id), 7, (OffsetToCommit("t", 0, 9),))
    assert isinstance(stage.ask(command), IllegalGenerationError)
    command = CommitOffsets(GROUP, MemberKey("x"), 1, (OffsetToCommit("t", 0, 9),))
    assert isinstance(stage.ask(command), UnknownMemberIdError)
    assert stage.committed() == 5


def test_a_commit_while_partitions_are_being_assigned() -> None:
    stage = Stage()
    ticket = stage.join()
    stage.settle()
    member = stage.answers[ticket]
    assert isinstance(stage.commit(5, member), RebalanceInProgressError)
    stage.ask(sync(member))
    stage.join()
    assert stage.state() == "PreparingRebalance"
    assert stage.commit(5, member) is None, "who is about to join again saves what it has read"


def test_a_commit_is_a_heartbeat() -> None:
    stage = Stage()
    (member,) = stage.form("a")
    for _ in range(5):
        stage.pass_time(9_000)
        assert stage.commit(5, member) is None
    assert stage.state() == "Stable"


def test_a_commit_to_a_group_that_is_not_there() -> None:
    stage = Stage()
    offsets = (OffsetToCommit("t", 0, 1),)
    assert isinstance(stage.ask(CommitOffsets("x", MemberKey("a"), 1, offsets)), GroupIdNotFoundError)
    old = CommitOffsets("x", MemberKey("a"), 1, offsets, knows_member_epochs=False)
    assert isinstance(stage.ask(old), IllegalGenerationError)


def test_one_offset_is_refused_and_the_others_stand() -> None:
    stage = Stage()
    offsets = (OffsetToCommit("t", 0, 1, metadata="x" * 4_097), OffsetToCommit("t", 1, 2, metadata="x" * 4_096))
    answer = stage.ask(CommitOffsets(GROUP, MemberKey(""), -1, offsets))
    assert isinstance(answer, OffsetResults)
    assert isinstance(answer.refusals[0], OffsetMetadataTooLargeError) and answer.refusals[1] is None
    assert stage.committed() == NO_OFFSET and stage.committed(partition=1) == 2


def test_a_commit_that_is_not_written_changes_nothing() -> None:
    stage = Stage()
    stage.commit(5)
    stage.refusal = CoordinatorNotAvailableError("too few replicas")
    assert isinstance(stage.commit(6), CoordinatorNotAvailableError)
    assert stage.committed() == 5


def test_a_fenced_static_member_commits_nothing() -> None:
    stage = Stage()
    ticket = stage.join(instance_id="i")
    stage.settle()
    old = stage.answers[ticket]
    stage.ask(sync(old, instance_id="i"))
    stage.ask(join(instance_id="i"))
    command = CommitOffsets(GROUP, MemberKey(old.member_id, "i"), 1, (OffsetToCommit("t", 0, 1),))
    assert isinstance(stage.ask(command), FencedInstanceIdError)
    assert stage.committed() == NO_OFFSET


def test_an_offset_of_an_older_topic_of_the_same_name_is_none() -> None:
    stage = Stage()
    old, new = UUID(int=1), UUID(int=2)
    stage.ask(CommitOffsets(GROUP, MemberKey(""), -1, (OffsetToCommit("t", 0, 9, topic_id=old),)))
    found = stage.ask(FetchOffsets(GROUP, (("t", 0, new), ("t", 0, old), ("t", 0, None))))
    assert [each.offset for each in found.offsets] == [NO_OFFSET, 9, 9]


# --- transactions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("fails_over", [True, False])
def test_offsets_of_a_transaction_count_when_it_is_committed(commits: bool, fails_over: bool) -> None:
    stage = Stage()
    stage.commit(5)
    assert stage.commit_in_transaction(PRODUCER, 9) is None
    if fails_over:
        stage.fail_over()
    assert stage.committed() == 5
    assert isinstance(stage.committed(stable=True), UnstableOffsetCommitError)
    stage.end_transaction(PRODUCER, commits)
    assert stage.committed() == stage.committed(stable=True) == (9 if commits else 5)


def test_what_is_committed_after_a_transaction_wrote_is_newer_though_it_ends_later() -> None:
    stage = Stage()
    stage.commit_in_transaction(PRODUCER, 9)
    stage.commit_in_transaction(OTHER, 10)
    stage.end_transaction(OTHER, True)
    assert isinstance(stage.committed(stable=True), UnstableOffsetCommitError)
    stage.end_transaction(PRODUCER, True)
    assert stage.committed(stable=True) == 10


def test_a_zombie_commits_nothing_in_its_transaction() -> None:
    stage = Stage()
    (member,) = stage.form("a")
    key = MemberKey(member.member_id)
    assert stage.commit_in_transaction(PRODUCER, 1, member=key, generation=1) is None
    stage.join(member.member_id, protocols=offers(range=("u",)))
    assert isinstance(stage.commit_in_transaction(PRODUCER, 2, member=key, generation=1), IllegalGenerationError)
    assert isinstance(
        stage.commit_in_transaction(PRODUCER, 2, member=MemberKey("x"), generation=2), UnknownMemberIdError
    )
    assert stage.commit_in_transaction(PRODUCER, 3) is None, "producers before KIP-447 say nothing of themselves"
    stage.end_transaction(PRODUCER, True)
    assert stage.committed() == 3
    with_generation = stage.commit_in_transaction(PRODUCER, 1, member=MemberKey("x"), generation=2)
    assert isinstance(with_generation, UnknownMemberIdError)


@pytest.mark.parametrize("key", [MemberKey("", "i"), MemberKey("x")])
@pytest.mark.parametrize("was_joined", [False, True])
def test_who_assigns_by_hand_commits_in_one_transaction_after_another(key: MemberKey, was_joined: bool) -> None:
    """It says who it is and is no member, of a group that has none: as in a commit without a transaction."""
    stage = Stage()
    if was_joined:
        one = Member(stage, "one")
        one.beat()
        one.leave()
    for offset in (1, 2):
        assert stage.commit_in_transaction(PRODUCER, offset, member=key) is None
        stage.end_transaction(PRODUCER, True)
    assert stage.committed() == 2
    in_a_generation = stage.commit_in_transaction(PRODUCER, 3, member=key, generation=1)
    assert isinstance(in_a_generation, UnknownMemberIdError)


def test_a_group_begins_with_a_transaction() -> None:
    stage = Stage()
    stage.commit_in_transaction(PRODUCER, 1)
    assert stage.state() == "Dead"
    stage.end_transaction(PRODUCER, True)
    assert stage.state() == "Empty" and stage.committed() == 1


# --- deletion --------------------------------------------------------------------------------------------------------


def test_a_group_without_members_is_deleted_with_its_offsets() -> None:
    stage = Stage()
    (member,) = stage.form("a")
    stage.commit(5, member)
    assert isinstance(stage.ask(DeleteGroup(GROUP)), NonEmptyGroupError)
    stage.leave(MemberKey(member.member_id))
    stage.commit_in_transaction(PRODUCER, 9)
    assert stage.ask(DeleteGroup(GROUP)) is None
    stage.end_transaction(PRODUCER, True)
    assert stage.committed() == NO_OFFSET and stage.state() == "Dead" and GROUP not in stage.core.stored
    assert isinstance(stage.ask(DeleteGroup(GROUP)), GroupIdNotFoundError)
    stage.fail_over()
    assert stage.state() == "Dead"


def test_a_group_with_many_offsets_goes_in_parts() -> None:
    stage = Stage()
    count = 2 * PART_RECORDS + 5
    offsets = tuple(OffsetToCommit("t", partition, 1) for partition in range(count))
    stage.ask(CommitOffsets(GROUP, MemberKey(""), -1, offsets))
    ticket = stage.send(DeleteGroup(GROUP))
    assert stage.waiting() == [ticket] and stage.core.offsets.count(GROUP) == count - PART_RECORDS
    other = stage.send(DeleteGroup("none"))
    assert isinstance(stage.answers[other], GroupIdNotFoundError)
    stage.settle()
    assert stage.answers[ticket] is None and stage.state() == "Dead"


def test_a_member_that_comes_while_its_group_is_deleted_stops_that() -> None:
    stage = Stage()
    offsets = tuple(OffsetToCommit("t", partition, 1) for partition in range(PART_RECORDS + 5))
    stage.ask(CommitOffsets(GROUP, MemberKey(""), -1, offsets))
    ticket = stage.send(DeleteGroup(GROUP))
    stage.join()
    stage.settle()
    assert isinstance(stage.answers[ticket], NonEmptyGroupError)


def test_a_deletion_that_is_refused_in_the_middle_leaves_the_rest() -> None:
    stage = Stage()
    offsets = tuple(OffsetToCommit("t", partition, 1) for partition in range(PART_RECORDS + 5))
    stage.ask(CommitOffsets(GROUP, MemberKey(""), -1, offsets))
    ticket = stage.send(DeleteGroup(GROUP))
    stage.refusal = CoordinatorNotAvailableError("too few replicas")
    stage.settle()
    assert isinstance(stage.answers[ticket], CoordinatorNotAvailableError)
    stage.refusal = None
    assert stage.state() == "Empty" and stage.core.offsets.count(GROUP) == 5
    assert stage.ask(DeleteGroup(GROUP)) is None


def test_offsets_of_topics_that_nobody_reads_are_deleted_one_by_one() -> None:
    stage = Stage()
    (member,) = stage.form("a")
    stage.commit(5, member)
    stage.commit(6, member, topic="u")
    answer = stage.ask(DeleteOffsets(GROUP, (("t", 0), ("u", 0), ("v", 0))))
    assert isinstance(answer.refusals[0], GroupSubscribedToTopicError) and answer.refusals[1:] == (None, None)
    assert stage.committed() == 5 and stage.committed("u") == NO_OFFSET
    stage.leave(MemberKey(member.member_id))
    assert stage.ask(DeleteOffsets(GROUP, (("t", 0),))).refusals == (None,)
    assert stage.committed() == NO_OFFSET
    assert isinstance(stage.ask(DeleteOffsets("none", ())), GroupIdNotFoundError)


def test_offsets_of_a_group_that_does_not_say_what_it_reads_are_not() -> None:
    stage = Stage()
    stage.form("a", protocol_type="connect")
    assert isinstance(stage.ask(DeleteOffsets(GROUP, (("t", 0),))), NonEmptyGroupError)


def test_offsets_of_topics_that_are_gone_go() -> None:
    stage = Stage()
    for group_id in ("g", "h"):
        for partition in range(PART_RECORDS - 1):
            stage.commit(1, group_id=group_id, partition=partition)
        stage.commit(1, group_id=group_id, topic="u")
    stage.refusal = CoordinatorNotAvailableError("too few replicas")
    assert stage.ask(TopicsDeleted(("t", "none"))) is None
    stage.refusal = None
    stage.pass_time(5_000)
    assert [stage.core.offsets.count(group_id) for group_id in ("g", "h")] == [1, 1]
    assert stage.committed("u") == 1


@pytest.mark.parametrize("in_transaction", [False, True])
def test_what_is_committed_of_a_topic_that_was_made_anew_stays(in_transaction: bool) -> None:
    """What is left of the former one goes later, as the log refused it at first."""
    stage = Stage()
    commit_with_id(stage, 5, 0, 1)
    stage.refusal = CoordinatorNotAvailableError("too few replicas")
    stage.topics.set("t", None)
    stage.ask(TopicsDeleted(("t",)))
    stage.topics.set("t", 4)
    stage.refusal = None
    if in_transaction:
        stage.commit_in_transaction(PRODUCER, 7)
    else:
        commit_with_id(stage, 7, 0)
    stage.pass_time(5_000)
    stage.end_transaction(PRODUCER, True)
    assert stage.committed() == 7 and stage.committed(partition=1) == NO_OFFSET


def test_all_that_is_committed_is_of_topics_as_they_are_now() -> None:
    stage = Stage()
    commit_with_id(stage, 5, 0, 1)
    stage.topics.set("t", None)
    stage.topics.set("t", 4)
    commit_with_id(stage, 7, 1)
    found = stage.ask(FetchOffsets(GROUP, None))
    assert [(each.partition, each.offset) for each in found.offsets] == [(1, 7)]


def commit_with_id(stage: Stage, offset: int, *partitions: int) -> None:
    topic_id = stage.topics.id_of("t")
    offsets = tuple(OffsetToCommit("t", partition, offset, topic_id=topic_id) for partition in partitions)
    stage.ask(CommitOffsets(GROUP, MemberKey(""), -1, offsets))


# --- expiry (KIP-211) ------------------------------------------------------------------------------------------------


def hours(count: float) -> int:
    return int(count * 60 * 60 * 1_000)


def aged() -> Stage:
    return Stage(GroupConfig(initial_rebalance_delay_ms=0, offsets_retention_ms=DAY_MS))


def test_offsets_without_members_are_forgotten_after_the_commit_and_their_group_with_them() -> None:
    stage = aged()
    stage.commit(1)
    stage.pass_time(hours(20))
    stage.commit(2, partition=1)
    stage.pass_time(hours(5))
    assert stage.committed() == NO_OFFSET and stage.committed(partition=1) == 2
    stage.pass_time(hours(20))
    assert stage.state() == "Dead"


def test_offsets_of_a_group_are_forgotten_after_it_lost_its_members() -> None:
    stage = aged()
    (member,) = stage.form("a", session_timeout_ms=120_000)
    stage.commit(1, member)
    for _ in range(2_000):
        stage.pass_time(hours(1) // 60)
        stage.heartbeat(member)
    assert stage.committed() == 1, "it is read"
    stage.leave(MemberKey(member.member_id))
    stage.pass_time(hours(23))
    assert stage.committed() == 1
    stage.fail_over()
    stage.pass_time(hours(1.5))
    assert stage.committed() == NO_OFFSET and stage.state() == "Dead" and GROUP not in stage.core.stored


def test_offsets_of_a_topic_that_the_group_reads_no_more_are_forgotten() -> None:
    stage = aged()
    (member,) = stage.form("a", session_timeout_ms=1_800_000)
    stage.commit(1, member)
    stage.commit(1, member, topic="u")
    for _ in range(100):
        stage.pass_time(hours(0.3))
        stage.heartbeat(member)
    assert stage.committed() == 1 and stage.committed("u") == NO_OFFSET


def test_a_commit_with_a_time_of_its_own_goes_by_that() -> None:
    stage = aged()
    stage.commit(1, retention_ms=hours(1))
    stage.commit(1, partition=1, retention_ms=hours(50))
    stage.pass_time(hours(1.5))
    assert stage.committed() == NO_OFFSET
    stage.pass_time(hours(30))
    assert stage.committed(partition=1) == 1


def test_an_offset_that_a_transaction_is_about_to_replace_stays() -> None:
    stage = aged()
    stage.commit(1)
    stage.commit_in_transaction(PRODUCER, 2)
    stage.pass_time(hours(30))
    assert stage.committed() == 1
    stage.end_transaction(PRODUCER, True)
    assert stage.committed() == 2


def test_a_group_that_nobody_came_to_is_forgotten() -> None:
    stage = aged()
    stage.ask(join(needs_member_id=True))
    assert stage.state() == "Empty"
    stage.pass_time(hours(1))
    assert stage.state() == "Dead" and not stage.log


def test_many_offsets_are_forgotten_in_parts() -> None:
    stage = aged()
    for group_id in ("g", "h", "i"):
        offsets = tuple(OffsetToCommit("t", partition, 1) for partition in range(PART_RECORDS + 5))
        stage.ask(CommitOffsets(group_id, MemberKey(""), -1, offsets))
    stage.pass_time(hours(25))
    assert stage.ask(ListGroups()) == ()


LONG = "g" * 30_000
"""As long as its field in a record lets a group's name be, nearly."""


def with_many(stage: Stage, group_id: str, count: int = 100) -> None:
    """In commits of a few each, which fit."""
    for partition in range(0, count, 10):
        offsets = tuple(OffsetToCommit("t", each, 1) for each in range(partition, partition + 10))
        stage.ask(CommitOffsets(group_id, MemberKey(""), -1, offsets))


def test_a_long_name_keeps_no_offset_from_being_forgotten() -> None:
    stage = aged()
    with_many(stage, LONG)
    with_many(stage, GROUP)
    stage.pass_time(hours(25))
    assert stage.ask(ListGroups()) == ()


def test_a_group_with_a_long_name_is_deleted_in_parts() -> None:
    stage = aged()
    with_many(stage, LONG)
    ticket = stage.send(DeleteGroup(LONG))
    stage.settle()
    assert stage.answers[ticket] is None and stage.ask(ListGroups()) == ()


def test_offsets_of_topics_that_are_gone_go_from_a_group_with_a_long_name() -> None:
    stage = aged()
    with_many(stage, LONG)
    with_many(stage, GROUP)
    stage.ask(TopicsDeleted(("t",)))
    stage.settle()
    assert stage.core.offsets.count(LONG) == stage.core.offsets.count(GROUP) == 0


def test_expired_offsets_that_cannot_be_deleted_wait_for_the_next_look() -> None:
    """Tried again without a pause, they kept a processor busy for as long as a replica was missing."""
    stage = aged()
    offsets = tuple(OffsetToCommit("t", partition, 1) for partition in range(PART_RECORDS + 5))
    stage.ask(CommitOffsets(GROUP, MemberKey(""), -1, offsets))
    stage.pass_time(hours(23))
    stage.refusal = CoordinatorNotAvailableError("too few replicas")
    before = stage.batches
    stage.pass_time(hours(2))
    assert 1 <= stage.batches - before <= hours(2) // stage.config.offsets_retention_check_interval_ms
    stage.refusal = None
    stage.pass_time(hours(1))
    assert stage.ask(ListGroups()) == ()


def test_listing_by_state_and_type() -> None:
    stage = Stage()
    stage.form("a")
    stage.commit(1, group_id="h")

    def names(states: tuple[str, ...] = (), types: tuple[str, ...] = ()) -> list[str]:
        return [each.group_id for each in stage.ask(ListGroups(states, types))]

    assert names() == ["g", "h"]
    assert names(states=("stable",)) == ["g"] and names(states=("Empty", "Dead")) == ["h"]
    assert names(types=("Classic",)) == ["g", "h"] and names(types=("consumer",)) == []
