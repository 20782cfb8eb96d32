"""Where logs part. Logs are written as the epoch of each record, from offset 0: "0012" has epoch 2 at offset 3."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.replication.truncation import EpochEnd, diverging_end, epoch_end, led_starts, truncation_offset


def starts_of(log: str | list[int]) -> list[tuple[int, int]]:
    starts: list[tuple[int, int]] = []
    for offset, epoch in enumerate(int(letter) for letter in log):
        if not starts or starts[-1][0] != epoch:
            starts.append((epoch, offset))
    return starts


def converge(leader: str, follower: str) -> tuple[str, int]:
    """Fetch, cut, fetch … until the logs agree at the follower's end: what is left of it, and the number of cuts."""
    cuts = 0
    while True:
        last_epoch = int(follower[-1]) if follower else -1
        diverging = diverging_end(starts_of(leader), len(leader), last_epoch, len(follower))
        if diverging is None:
            return follower, cuts
        end_offset = truncation_offset(starts_of(follower), len(follower), diverging)
        assert end_offset < len(follower), "every round must cut something, or the follower asks for ever"
        follower, cuts = follower[:end_offset], cuts + 1


@pytest.mark.parametrize(
    ("log", "epoch", "expected"),
    [
        ("0011", 0, (0, 2)),
        ("0011", 1, (1, 4)),
        ("0033", 2, (0, 2)),  # an epoch between two: the lower one, up to where the higher starts
        ("0033", 7, (3, 4)),  # above all: the last one
        ("", 3, (3, 0)),  # no records: nothing can belong to it
        ("0033", 3, (3, 4)),  # the latest ends with the log
        ("22", 1, (1, 0)),  # before all
    ],
)
def test_end_of_an_epoch(log: str, epoch: int, expected: tuple[int, int]) -> None:
    assert epoch_end(starts_of(log), len(log), epoch) == expected


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        ([(0, 0), (2, 3)], [(0, 0), (2, 3), (4, 5)]),
        ([(0, 0), (4, 5)], [(0, 0), (4, 5)]),  # it has written
        ([(0, 0), (2, 5)], [(0, 0), (4, 5)]),  # a log that was emptied: epoch 2 left nothing
        ([], [(4, 5)]),
    ],
)
def test_a_leader_counts_its_own_epoch(starts: list[tuple[int, int]], expected: list[tuple[int, int]]) -> None:
    assert list(led_starts(starts, 4, 5)) == expected


def test_kip_101_a_follower_that_has_a_record_and_an_old_high_watermark_keeps_it() -> None:
    # B restarts with record 1 and a high watermark of 1. The former leader's log has the same epoch to the same end.
    assert converge(leader="00", follower="00") == ("00", 0)


def test_kip_101_different_records_at_one_offset_are_told_apart_by_epoch() -> None:
    assert converge(leader="02", follower="00") == ("0", 1)


def test_kip_279_fast_double_failover_converges_to_one_lineage() -> None:
    # The leader of epoch 2 never saw epoch 1, which the follower led alone.
    assert converge(leader="000000000022", follower="000000000011111") == ("0000000000", 1)


def test_kip_279_interleaved_epochs_take_several_rounds() -> None:
    follower, cuts = converge(leader="0022444", follower="00133355")
    assert (follower, cuts) == ("00", 3)


def test_a_leader_that_appended_nothing_in_its_epoch_still_tells_where_to_cut() -> None:
    # The follower led epoch 5 alone; the leader's epoch is 6 and its log knows only 4: not "out of range".
    assert diverging_end(starts_of("444"), 3, last_fetched_epoch=5, fetch_offset=4) == EpochEnd(4, 3)
    assert converge(leader="444", follower="4445") == ("444", 1)


def test_a_reader_without_epochs_is_not_judged() -> None:
    assert diverging_end(starts_of("11"), 2, last_fetched_epoch=-1, fetch_offset=7) is None


def common_prefix(one: str, other: str) -> int:
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return length


@st.composite
def histories(draw: st.DrawFn) -> tuple[str, str]:
    """Logs of three replicas after elections of anybody, with partial copies: every epoch has one leader."""
    logs = ["", "", ""]
    for epoch in range(draw(st.integers(1, 9))):
        leader = draw(st.integers(0, 2))
        logs[leader] += str(epoch) * draw(st.integers(0, 3))
        for follower in range(3):
            if follower != leader and draw(st.booleans()):
                kept, _ = converge(logs[leader], logs[follower])
                copied = draw(st.integers(len(kept), len(logs[leader])))
                logs[follower] = logs[leader][:copied]
    return logs[draw(st.integers(0, 2))], logs[draw(st.integers(0, 2))]


@settings(max_examples=300, deadline=None)
@given(histories())
def test_any_two_logs_converge_on_all_that_they_share(pair: tuple[str, str]) -> None:
    leader, follower = pair
    kept, _ = converge(leader, follower)
    assert kept == follower[: common_prefix(leader, follower)]
