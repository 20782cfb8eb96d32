"""The chaos must notice: each defence is taken out once, and some seed of a few has to fail.

A defence whose loss nobody notices is either not needed, or not tested.
"""

import pytest

from tests.bugs.bug import Bug
from tests.bugs.replication import SEEN_BY_CHAOS
from tests.bugs.search import look_for

SEEDS = 16


@pytest.mark.parametrize("bug", SEEN_BY_CHAOS, ids=lambda bug: bug.name)
def test_a_known_bug_is_noticed(bug: Bug) -> None:
    assert any(tried.said for tried in look_for(bug, bug.first_seed, SEEDS)), f"not in {SEEDS} seeds: {bug.about}"
