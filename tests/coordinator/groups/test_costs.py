"""What turns cost by members and topics is done once in them. Counted, as no clock is asked here."""

from typing import Any

import pytest

from broker.coordinator.groups.commands import NO_OFFSET, CommitOffsets, DeleteOffsets, MemberKey, OffsetToCommit
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.consumer_group import ConsumerGroup
from tests.coordinator.groups.members import Member
from tests.coordinator.groups.stage import GROUP, Stage

LOOK_MS = 10_000


def counted(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    """Calls of these methods of consumer groups, from now on."""
    calls: list[str] = []

    def note(name: str) -> None:
        method = getattr(ConsumerGroup, name)

        def noted(*arguments: Any) -> Any:
            calls.append(name)
            return method(*arguments)

        monkeypatch.setattr(ConsumerGroup, name, noted)

    for name in names:
        note(name)
    return calls


def group_with_offsets(retention_ms: int) -> tuple[Stage, Member]:
    """A hundred of a topic that it reads, and a hundred of one that it does not."""
    config = GroupConfig(offsets_retention_ms=retention_ms, offsets_retention_check_interval_ms=LOOK_MS)
    stage = Stage(config)
    member = Member(stage, "one")
    member.beat()
    for topic in ("t", "u"):
        offsets = tuple(OffsetToCommit(topic, partition, 1) for partition in range(100))
        stage.ask(CommitOffsets(GROUP, MemberKey("one"), member.epoch, offsets))
    return stage, member


@pytest.mark.parametrize("is_over", [False, True])
def test_a_look_for_expired_offsets_asks_once_what_a_group_reads(
    monkeypatch: pytest.MonkeyPatch, is_over: bool
) -> None:
    stage, _ = group_with_offsets(LOOK_MS if is_over else 10 * LOOK_MS)
    calls = counted(monkeypatch, "topics", "topics_of")
    stage.pass_time(LOOK_MS)
    assert len(calls) == is_over
    assert stage.committed() == 1 and stage.committed("u") == (NO_OFFSET if is_over else 1)


def test_an_assignment_asks_once_what_is_read_by_members_that_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    stage.topics.set("u", 4)
    members = [Member(stage, f"m{index}", topics=("t", "u") if index % 2 else ("t",)) for index in range(20)]
    for member in members:
        member.beat()
    calls = counted(monkeypatch, "topics_of")
    assert Member(stage, "new").beat().epoch > members[-1].epoch
    assert len(calls) <= 4, "once for either, and for the new one before and after"


def test_a_deletion_of_offsets_asks_once_what_a_group_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, _ = group_with_offsets(LOOK_MS)
    calls = counted(monkeypatch, "topics", "topics_of")
    refusals = stage.ask(DeleteOffsets(GROUP, tuple((topic, each) for topic in "tu" for each in range(100)))).refusals
    assert [refusal is None for refusal in refusals] == [False] * 100 + [True] * 100
    assert len(calls) == 1
