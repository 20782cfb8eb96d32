"""The judge of groups: a whole history passes, and each thing that it says is shown by one that has just that wrong."""

from dataclasses import replace

import pytest

from broker.coordinator.groups.consumer_records import ConsumerGroupRecord, GroupEpoch
from broker.coordinator.groups.records import CommittedOffset, GroupRecord, OffsetRecord, StoredGroup
from simulation.checkers.groups import SET, Commit, GroupHistory, Logged, Tenure, check_groups
from simulation.coordinator_log import CoordinatorLog

A, B = "a", "b"


def tenure(number: int, member: str, begun_us: int, ended_us: int, generation: int, handed: list[int]) -> Tenure:
    """Of the place `t-0`, with an acknowledged commit of all that was handed on at its end."""
    owned = Tenure(number, "g", member, "t-0", begun_us, ended_us, handed=handed)
    owned.owns(generation, begun_us)
    owned.owns(generation, ended_us)
    owned.commits = [Commit(handed[-1] + 1, ended_us - 2, ended_us - 1)] if handed else []
    return owned


def logged(mark: str, offset: int) -> Logged:
    return Logged("g", "t-0", offset, mark)


def history(*tenures: Tenure, log: list[Logged] | None = None) -> GroupHistory:
    """Whose log has every commit, in the order of the tenures, unless another is given."""
    commits = [logged(each.mark, commit.offset) for each in tenures for commit in each.commits]
    return GroupHistory(tenures, commits if log is None else log, {"t-0": [0, 1, 2, 3, 4, 5]}, {"g": ["t-0"]})


FIRST = tenure(1, A, 0, 100, 1, [0, 1, 2])
SECOND = tenure(2, B, 110, 200, 2, [3, 4, 5])


def test_a_whole_history_has_no_problems() -> None:
    assert check_groups(history(FIRST, SECOND)) == []


def test_of_the_commits_of_a_tenure_the_newest_is_enough() -> None:
    patient = replace(FIRST, commits=[Commit(1, 10, 90), *FIRST.commits])
    assert check_groups(history(patient, SECOND, log=[logged("1", 3), logged("2", 6)])) == []


def test_what_nobody_committed_may_be_handed_on_again() -> None:
    silent = replace(FIRST, commits=[Commit(3, 98, None)])
    again = replace(SECOND, handed=[0, 1, 2, 3, 4, 5])
    assert check_groups(history(silent, again, log=[logged("2", 6)])) == []
    assert check_groups(history(silent, again, log=[logged("1", 3), logged("2", 6)])) == []


def test_invariant_17_two_owners_of_one_generation() -> None:
    early = replace(SECOND, begun_us=90, generations={1: (90, 200)})
    assert check_groups(history(FIRST, early)) == ["a and b both own t-0 in generation 1 of g"]
    later = replace(SECOND, generations={1: (101, 200)})
    assert check_groups(history(FIRST, later)) == []
    itself = replace(early, member=A)
    assert check_groups(history(FIRST, itself)) == []
    assert check_groups(replace(history(FIRST, early), begun_anew=("g",))) == []


def test_invariant_17_a_zombie_of_an_earlier_generation_is_no_second_owner() -> None:
    zombie = replace(FIRST, ended_us=200, generations={1: (0, 200)})
    assert check_groups(history(zombie, SECOND)) == []


def test_invariant_17_committed_offsets_go_back() -> None:
    (problem,) = check_groups(history(FIRST, SECOND, log=[logged("1", 3), logged("2", 6), logged("2", 5)]))
    assert problem == "g went back on t-0: 6 (of 2), then 5 (of 2)"


def test_offsets_that_are_set_may_go_back_and_records_come_again() -> None:
    again = replace(SECOND, handed=[0, 1, 2, 3, 4, 5])
    assert check_groups(history(FIRST, again, log=[logged("1", 3), logged(SET, 0), logged("2", 6)])) == []


def test_invariant_18_a_former_owner_commits() -> None:
    (problem,) = check_groups(history(FIRST, SECOND, log=[logged("1", 3), logged("2", 6), logged("1", 7)]))
    assert problem == "g took a commit of 7 on t-0 from tenure 1, which had been followed by 2 already"


def test_invariant_18_offsets_are_set_while_there_are_members() -> None:
    log = [logged("1", 1), logged(SET, 0), logged("1", 3), logged("2", 6)]
    (problem,) = check_groups(history(FIRST, SECOND, log=log))
    assert problem == "g took a commit of 3 on t-0 from tenure 1, which had been followed by set already"


def test_commits_without_a_mark_say_nothing_of_owners() -> None:
    assert (
        check_groups(history(FIRST, SECOND, log=[logged("1", 3), logged("", 4), logged("1", 4), logged("2", 6)])) == []
    )


def test_an_acknowledged_commit_is_lost() -> None:
    (problem,) = check_groups(history(FIRST, SECOND, log=[logged("2", 6)]))
    assert problem == "g has lost the commit of 3 on t-0 of tenure 1"
    compacted = replace(history(FIRST, SECOND, log=[logged("2", 6)]), is_compacted=True)
    assert check_groups(compacted) == []
    last = replace(history(FIRST, SECOND, log=[logged("1", 3)]), is_compacted=True)
    assert check_groups(last) == ["g has lost the commit of 6 on t-0 of tenure 2"]


def test_a_member_that_goes_back_after_it_was_succeeded_repeats_what_it_may() -> None:
    """It aborted a transaction, and had not heard yet that another member owns the partition, which has committed."""
    aborted = replace(FIRST, ended_us=300, commits=[Commit(1, 10, 20)])
    back = replace(tenure(3, A, 300, 400, 1, [1, 2]), commits=[], resumes=aborted)
    assert check_groups(history(aborted, SECOND, back, log=[logged("1", 1), logged("2", 6)])) == []
    too_far = replace(back, handed=[0, 1, 2])
    (problem,) = check_groups(history(aborted, SECOND, too_far, log=[logged("1", 1), logged("2", 6)]))
    assert problem == "g handed on 0 of t-0 to a (tenure 3), and had acknowledged 1 before"
    anew = replace(back, resumes=None)
    (problem,) = check_groups(history(aborted, SECOND, anew, log=[logged("1", 1), logged("2", 6)]))
    assert problem == "g handed on 1 of t-0 to a (tenure 3), and had acknowledged 6 before"


def test_records_are_repeated_that_were_committed() -> None:
    again = replace(SECOND, handed=[2, 3, 4, 5])
    (problem,) = check_groups(history(FIRST, again))
    assert problem == "g handed on 2 of t-0 to b (tenure 2), and had acknowledged 3 before"


def test_a_commit_that_was_acknowledged_later_counts_for_nothing_yet() -> None:
    late = replace(FIRST, commits=[Commit(3, 98, 120)])
    assert check_groups(history(late, replace(SECOND, handed=[2, 3, 4, 5]))) == []


@pytest.mark.parametrize("handed", [[3, 5], [3, 3, 4, 5], [3, 5, 4]])
def test_records_of_one_tenure_follow_each_other(handed: list[int]) -> None:
    problems = check_groups(history(FIRST, replace(SECOND, handed=handed)))
    assert f"g handed on {handed} of t-0 to b" in problems[0]


def test_records_are_skipped() -> None:
    (problem,) = check_groups(history(FIRST, replace(SECOND, handed=[4, 5])))
    assert problem == "g never handed on [3] of t-0, 1 in all"


def test_the_log_tells_offsets_in_their_order_and_groups_that_began_anew() -> None:
    log = CoordinatorLog()
    for offset, mark in ((3, "1"), (0, SET)):
        log.add(OffsetRecord("g", "t", 0, CommittedOffset(offset, -1, mark, 0)))
    log.add(OffsetRecord("g", "t", 0, None))
    log.add(ConsumerGroupRecord("h", GroupEpoch(3)))
    assert log.offsets == [logged("1", 3), logged(SET, 0)] and not log.begun_anew
    log.add(GroupRecord("g", None))
    log.add(ConsumerGroupRecord("h", None))
    log.add(None)
    assert list(log.begun_anew) == ["g"], "nobody knows how far it had got; the other one may only change its protocol"
    log.add(ConsumerGroupRecord("h", GroupEpoch(1)))
    assert list(log.begun_anew) == ["g", "h"]


def test_a_group_that_changes_its_protocol_is_not_begun_anew() -> None:
    """So two owners of one generation are seen in it, too."""
    log = CoordinatorLog()
    for generation in (4, 5):
        log.add(GroupRecord("g", StoredGroup("consumer", generation, "range", "a", -1, ())))
    log.add(GroupRecord("g", None))
    for epoch in (5, 6):
        log.add(ConsumerGroupRecord("g", GroupEpoch(epoch)))
    log.add(ConsumerGroupRecord("g", None))
    log.add(GroupRecord("g", StoredGroup("consumer", 7, "range", "a", -1, ())))
    assert not log.begun_anew
