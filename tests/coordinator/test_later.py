"""What is loaded later is there."""

import subprocess
import sys

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


FIRST_TOPIC = """
import sys
from types import SimpleNamespace
from broker.coordinator.group_coordinators import GroupCoordinators
from broker.coordinator.groups.config import GroupConfig
lines = SimpleNamespace(name="lines", partitions=())
delta = SimpleNamespace(topics_deleted=(lines,), topics=(SimpleNamespace(old=None, new=lines),))
GroupCoordinators(GroupConfig(), None, None, None, None).apply(delta)
print(*sys.modules)
"""


def test_who_coordinates_no_group_loads_nothing_for_a_topic() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_TOPIC], capture_output=True, text=True, check=True)
    assert "broker.coordinator.later" in done.stdout
    assert "broker.coordinator.groups.commands" not in done.stdout.split()
