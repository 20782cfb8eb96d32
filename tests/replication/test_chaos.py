"""A few seeds of `chaos`; `python -m tests.replication.campaign FIRST COUNT` runs many, and replays one."""

import pytest

from tests.replication.chaos import play_chaos, play_small_fetches


@pytest.mark.parametrize("seed", [*range(10), 109])
def test_nothing_acknowledged_is_lost_whatever_breaks(seed: int) -> None:
    play_chaos(seed)


@pytest.mark.parametrize("seed", [0, 9, 12])
def test_nothing_is_left_behind_that_did_not_fit_into_an_answer(seed: int) -> None:
    play_small_fetches(seed)


def test_a_seed_replays_to_the_letter() -> None:
    assert play_chaos(3, 3_000).loop.trace_hash() == play_chaos(3, 3_000).loop.trace_hash()
