"""Shells under faults: some seeds of `tests.raft.chaos`. `python -m tests.raft.campaign --shells` runs more of them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.raft.chaos import run_chaos


@settings(max_examples=30, deadline=None, database=None)
@given(st.integers(0, 2**32 - 1))
def test_acknowledged_words_are_everywhere(seed: int) -> None:
    run_chaos(seed)
