"""Rolling restarts under confluent-kafka's load, the short version; and the judge of what groups have handled."""

import random

import pytest

from tests.compatibility.clusters import KraftpyCluster
from tests.compatibility.handling import UNKNOWN_OFFSET, Diary, judge
from tests.compatibility.rolling import Plan, findings, roll, settings_of

SENT = {"a": (0, 0), "b": (0, 1), "c": (0, 2), "d": (1, 0)}


def diary(*lines: str, killed_ms: float | None = None) -> Diary:
    made = Diary(killed_ms=killed_ms)
    for line in lines:
        made.read(line.replace(" | ", "\t"))
    return made


def test_everything_once() -> None:
    found = judge([diary("batch | 1 | 0:0:a 0:1:b"), diary("batch | 2 | 1:0:d 0:2:c")], SENT)
    assert found.is_right
    assert (found.handled, found.repeated, found.bound) == (4, 0, 0)


def test_what_nobody_handled_is_lost_and_what_lies_at_two_places_is_doubled() -> None:
    found = judge([diary("batch | 1 | 0:0:a 0:1:b 0:2:b 1:0:d")], SENT)
    assert (found.lost, found.doubled, found.is_right) == (1, 1, False)


def test_a_killed_member_explains_what_it_had_not_committed_and_nothing_before() -> None:
    killed = diary("batch | 1 | 0:0:a", "committed | 2 | 0:1", "batch | 2 | 0:1:b", killed_ms=3)
    again = "batch | 9 | 0:1:b 0:2:c 1:0:d"
    found = judge([killed, diary(again)], SENT)
    assert (found.repeated, found.bound, found.unexplained, found.is_right) == (1, 1, 0, True)
    found = judge([killed, diary("batch | 8 | 0:0:a", again)], SENT)
    assert (found.repeated, found.unexplained, found.is_right) == (2, 1, False)
    found = judge([killed, diary("batch | 8 | 0:1:b", again)], SENT)
    assert (found.repeated, found.unexplained, found.is_right) == (2, 1, False), "one kill explains one repetition"


def test_a_member_that_lives_explains_nothing() -> None:
    found = judge([diary("batch | 1 | 0:0:a"), diary("batch | 9 | 0:0:a 0:1:b 0:2:c 1:0:d")], SENT)
    assert (found.repeated, found.bound, found.unexplained) == (1, 0, 1)


@pytest.mark.parametrize("line", ["refused | 2 | REBALANCE_IN_PROGRESS | 0", "revoked | 2 | 0"])
def test_a_refused_commit_and_a_partition_given_away_explain_what_was_not_committed(line: str) -> None:
    handled = ("batch | 1 | 0:0:a 1:0:d", line, "batch | 3 | 0:1:b")
    found = judge([diary(*handled), diary("batch | 9 | 0:0:a 0:2:c")], SENT)
    assert (found.repeated, found.bound, found.is_right) == (1, 1, True)
    found = judge([diary(*handled), diary("batch | 9 | 0:2:c 1:0:d")], SENT)
    assert (found.unexplained, found.is_right) == (1, False), "another partition"
    found = judge([diary(*handled, "committed | 4 | 0:2"), diary("batch | 9 | 0:0:a 0:2:c")], SENT)
    assert (found.unexplained, found.is_right) == (1, False), "a later commit held it"


def test_what_a_member_left_may_come_to_itself_again_once() -> None:
    left = ("batch | 1 | 0:0:a", "refused | 2 | REBALANCE_IN_PROGRESS | 0", "batch | 3 | 0:0:a", "committed | 4 | 0:1")
    rest = "batch | 9 | 0:1:b 0:2:c 1:0:d"
    found = judge([diary(*left, rest)], SENT)
    assert (found.repeated, found.refused, found.is_right) == (1, 1, True)
    found = judge([diary(*left, "batch | 5 | 0:0:a", rest)], SENT)
    assert (found.repeated, found.unexplained, found.is_right) == (2, 1, False)


def test_an_acknowledgement_without_an_offset_is_of_a_record_that_must_be_there() -> None:
    everything = "batch | 1 | 0:0:a 0:1:b 0:2:c 1:0:d"
    assert judge([diary(everything)], {**SENT, "b": (0, UNKNOWN_OFFSET)}).is_right
    assert judge([diary(everything)], {**SENT, "b": (1, UNKNOWN_OFFSET)}).lost == 1
    assert judge([diary("batch | 1 | 0:0:a 0:2:c 1:0:d")], {**SENT, "b": (0, UNKNOWN_OFFSET)}).lost == 1


def test_errors_are_wrong_and_notes_are_not() -> None:
    everything = "batch | 1 | 0:0:a 0:1:b 0:2:c 1:0:d"
    assert judge([diary(everything, "note | 2 | _TRANSPORT | down")], SENT).is_right
    assert not judge([diary(everything, "lost | 2 | _FATAL | gone")], SENT).is_right


def test_a_rolling_restart_and_killed_consumers_are_noticed_by_nobody() -> None:
    plan = Plan(
        rounds=1,
        rate=200,
        session_ms=1_500,
        heartbeat_ms=200,
        kinds=(("eager", "auto"), ("cooperative", "sync"), ("KIP-848", "sync")),
    )
    with KraftpyCluster(settings_of(plan)) as cluster:
        report = roll(cluster, plan, random.Random(0))
    assert list(findings(report)) == []
    assert report.is_right and report.acknowledged > 0
    assert all(judgement.kills == 3 and judgement.handled for judgement in report.groups.values())
