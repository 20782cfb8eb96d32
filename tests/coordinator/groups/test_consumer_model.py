"""Many random stories of one consumer group: members that come, go, fall silent, lose answers; topics that change;
refusals of the log, and failovers. What must always hold is checked after every step.

Invariants 17 and 18 of the reliability catalogue, for KIP-848: no partition is read by two members that the coordinator
takes for members; epochs never go back; committed offsets never go back, and survive failovers; who was fenced commits
nothing; replaying the log gives the same state; and once all are left alone, everything is assigned.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.coordinator.groups.commands import (
    NO_OFFSET,
    CommitOffsets,
    MemberKey,
    OffsetResults,
    OffsetToCommit,
    TopicsChanged,
)
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.consumer_group import ConsumerGroup
from kraftpy.errors import CoordinatorNotAvailableError, KraftpyError
from tests.coordinator.groups.members import Member, check_owners, settle
from tests.coordinator.groups.stage import GROUP, Stage

MEMBERS = st.integers(0, 4)


class ConsumerGroups(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(GroupConfig(consumer_members_max=4))
        self.stage.topics.set("u", 2)
        says: list[dict[str, Any]] = [
            {},
            {"topics": ("t", "u")},
            {"topics": None, "pattern": "[t-v].*"},
            {"rebalance_timeout_ms": 10_000},
            {"assignor": "range"},
        ]
        self.members = [
            Member(self.stage, f"m{index}", "i" if index == 3 else None, **each) for index, each in enumerate(says)
        ]
        self.epoch = 0
        self.committed = NO_OFFSET
        self.next_offset = 0

    # --- members -----------------------------------------------------------------------------------------------------

    @rule(index=MEMBERS, loses_answer=st.booleans())
    def beats(self, index: int, loses_answer: bool) -> None:
        self.members[index].beat(loses_answer=loses_answer)

    @rule(index=MEMBERS)
    def says_nothing_of_what_it_has(self, index: int) -> None:
        member = self.members[index]
        if member.epoch > 0 and not member.says_all:
            member.beat(owned=None)

    @rule(index=MEMBERS, for_a_while=st.booleans())
    def leaves(self, index: int, for_a_while: bool) -> None:
        member = self.members[index]
        if member.epoch > 0:
            member.leave(for_a_while=for_a_while and member.instance_id is not None)

    @rule(index=MEMBERS)
    def dies_and_is_started_again(self, index: int) -> None:
        member = self.members[index]
        member.forget()
        member.member_id += "'"

    @rule(index=MEMBERS, is_late=st.booleans())
    def commits(self, index: int, is_late: bool) -> None:
        member = self.members[index]
        epoch = member.epoch - 1 if is_late else member.epoch
        if epoch <= 0:
            return
        self.next_offset += 1
        offsets = (OffsetToCommit("t", 0, self.next_offset),)
        answer = self.stage.ask(CommitOffsets(GROUP, MemberKey(member.member_id), epoch, offsets))
        if isinstance(answer, OffsetResults):
            group = self._group()
            assert group is not None and group.current(member.member_id).epoch == epoch
            self.committed = self.next_offset
        else:
            assert isinstance(answer, KraftpyError)

    # --- the world ---------------------------------------------------------------------------------------------------

    @rule(seconds=st.integers(1, 50))
    def time_passes(self, seconds: int) -> None:
        self.stage.pass_time(seconds * 1_000)

    @rule(name=st.sampled_from(["t", "u", "v"]), count=st.integers(1, 3), hears=st.booleans())
    def a_topic_grows_or_goes(self, name: str, count: int, hears: bool) -> None:
        present = self.stage.topics.counts.get(name, 0)
        self.stage.topics.set(name, None if present > 6 else present + count)
        if hears:
            self.stage.ask(TopicsChanged((name,)))

    @rule()
    def another_coordinator(self) -> None:
        before = self._group()
        self.stage.fail_over()
        after = self._group()
        assert (before is None) == (after is None)
        assert before is None or after is None or vars(before) == vars(after), "the log says the same"

    @rule()
    def the_log_refuses(self) -> None:
        self.stage.refusal = None if self.stage.refusal else CoordinatorNotAvailableError("too few are in sync")

    @rule()
    def all_are_left_alone(self) -> None:
        """Then everything that anybody reads is assigned, to those who go on: the others fall silent."""
        self.stage.refusal = None
        self.stage.ask(TopicsChanged(("t", "u", "v")))
        members = self.members[:2]
        for _ in range(2):
            for member in members:
                member.beat()
                member.beat()
            self.stage.pass_time(23_000)
        settle(*members)
        wanted = [(self.stage.topics.id_of(name), index) for name in ("t", "u") for index in self._partitions(name)]
        assert sorted(place for member in members for place in member.places) == sorted(wanted)

    def _partitions(self, name: str) -> range:
        return range(self.stage.topics.counts.get(name, 0))

    def _group(self) -> ConsumerGroup | None:
        return self.stage.core.groups.consumer(GROUP)

    # --- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def nobody_reads_what_another_reads(self) -> None:
        """Of those that the coordinator takes for members; the others will hear that they are none."""
        group = self._group()
        if group is None:
            return
        living = [member for member in self.members if member.epoch > 0 and member.member_id in group.members]
        check_owners(*[member for member in living if member.epoch in self._epochs(group, member)])

    def _epochs(self, group: ConsumerGroup, member: Member) -> tuple[int, int]:
        current = group.current(member.member_id)
        return current.epoch, current.previous_epoch

    @invariant()
    def epochs_never_go_back(self) -> None:
        group = self._group()
        if group is None:
            self.epoch = 0  # an empty one was forgotten: the next of its name begins anew
            return
        assert group.target_epoch <= group.epoch and group.epoch >= self.epoch
        self.epoch = group.epoch
        for member_id in group.members:
            current = group.current(member_id)
            assert current.epoch <= group.target_epoch
            for place in (*_places(current.assigned), *_places(current.revoking)):
                assert group.owner_of(place) == member_id

    @invariant()
    def commits_stay(self) -> None:
        assert self.stage.committed() == self.committed


def _places(partitions: Any) -> list[Any]:
    return [(topic_id, each) for topic_id, indexes in partitions.items() for each in indexes]


ConsumerGroups.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestConsumerGroups = ConsumerGroups.TestCase
