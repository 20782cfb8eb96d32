"""What is loaded later is there."""

import pytest

from broker.coordinator import later
from broker.coordinator.groups import commands
from broker.metadata.internal_topics import CONSUMER_OFFSETS, TRANSACTION_STATE


def test_every_name_is_where_it_is_looked_for() -> None:
    for name in later._HOME_OF:
        assert getattr(later, name).__name__ == name
    assert later.TopicsChanged is commands.TopicsChanged


def test_any_other_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="Nobody"):
        _ = later.Nobody


def test_both_internal_topics_need_something() -> None:
    assert set(later._NEEDED_BY) == {CONSUMER_OFFSETS, TRANSACTION_STATE}
    later.load_for(["lines", CONSUMER_OFFSETS, TRANSACTION_STATE])
