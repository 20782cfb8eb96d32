"""A few seeds of `chaos`; `python -m tests.replication.campaign FIRST COUNT` runs many, and replays one."""

import pytest

from tests.replication.chaos import play_chaos


@pytest.mark.parametrize("seed", [*range(10), 109])
def test_nothing_acknowledged_is_lost_whatever_breaks(seed: int) -> None:
    play_chaos(seed)


def test_a_seed_replays_to_the_letter() -> None:
    assert play_chaos(3, 3_000).loop.trace_hash() == play_chaos(3, 3_000).loop.trace_hash()
