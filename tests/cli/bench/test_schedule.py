"""When records are due: against counting them one by one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.bench.schedule import SECOND_US, Schedule
from cli.bench.sending import Load

RATES = st.one_of(st.integers(1, 1_000_000), st.floats(0.01, 100_000))


@settings(max_examples=300, deadline=None)
@given(RATES, st.integers(0, 10**7))
def test_records_are_due_evenly_and_never_earlier_than_the_one_before(rate: float, index: int) -> None:
    schedule = Schedule(rate)
    assert schedule.due_us(0) == 0
    assert schedule.due_us(index) <= schedule.due_us(index + 1)
    assert abs(schedule.due_us(index) - index * SECOND_US / rate) <= 1 + index * SECOND_US / rate * 0.1
    if rate >= 1 and float(rate).is_integer():
        assert schedule.due_us(index) == index * SECOND_US // int(rate)


@settings(max_examples=300, deadline=None)
@given(RATES, st.integers(-10, 3_000))
def test_due_by_counts_those_that_are_due(rate: float, elapsed_us: int) -> None:
    schedule = Schedule(rate)
    due = schedule.due_by(elapsed_us)
    assert due == 0 if elapsed_us < 0 else schedule.due_us(due - 1) <= elapsed_us < schedule.due_us(due)


@pytest.mark.parametrize(("rate", "seconds", "count"), [(1_000, 10, 10_000), (3, 1, 3), (0.5, 4, 2), (0.1, 1, 1)])
def test_so_many_seconds_have_so_many_records(rate: float, seconds: float, count: int) -> None:
    assert Schedule(rate).count_in(seconds) == count


def test_no_rate_has_no_schedule() -> None:
    for rate in (0, 0.0, -1, 0.0001):
        with pytest.raises(ValueError, match="no schedule"):
            Schedule(rate)


@pytest.mark.parametrize(
    ("load", "count"),
    [
        (Load(500, None, 0), 500),
        (Load(None, 10, 0), None),
        (Load(500, 10, 0), 500),
        (Load(None, 10, 100), 1_000),
        (Load(500, 10, 100), 500),
        (Load(5_000, 10, 100), 1_000),
        (Load(500, None, 100), 500),
    ],
)
def test_a_rate_and_a_time_are_a_number_of_records(load: Load, count: int | None) -> None:
    assert load.count_max == count
