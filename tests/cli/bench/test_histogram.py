"""The histogram against a sorted list, which is what it stands for."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.bench.histogram import EXACT_BITS, Histogram, milliseconds

ERROR = 2.0 ** -(EXACT_BITS - 1)

VALUES = st.one_of(
    st.integers(0, 2 << EXACT_BITS),
    st.integers(0, 2**64 - 1),
    st.integers(0, 63).flatmap(lambda bits: st.sampled_from([(1 << bits) - 1, 1 << bits, (1 << bits) + 1])),
)


def recorded(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=200), st.floats(0, 100))
def test_percentiles_are_those_of_a_sorted_list_to_three_digits(values: list[int], percentile: float) -> None:
    histogram = recorded(values)
    exact = sorted(values)
    wanted = percentile / 100 * len(exact)
    told = histogram.at_percentile(percentile)
    for rank in (math.floor(wanted + 1e-6), math.ceil(wanted - 1e-6)):  # whichever a float's last digit decides
        known = exact[min(max(rank, 1), len(exact)) - 1]
        if known <= told <= known * (1 + ERROR):
            break
    else:
        raise AssertionError(f"{told} at {percentile} % of {exact}")
    assert (histogram.count, histogram.least, histogram.most) == (len(exact), exact[0], exact[-1])
    assert histogram.mean == sum(exact) / len(exact)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(VALUES, max_size=40), max_size=4))
def test_the_sum_of_histograms_is_that_of_all_values(parts: list[list[int]]) -> None:
    together = Histogram()
    for part in parts:
        together.add(recorded(part))
    whole = recorded([value for part in parts for value in part])
    for name in ("count", "total", "least", "most"):
        assert getattr(together, name) == getattr(whole, name)
    for percentile in (0, 1, 25, 50, 75, 90, 99, 99.9, 100):
        assert together.at_percentile(percentile) == whole.at_percentile(percentile)


@pytest.mark.parametrize(
    ("percentile", "value"),
    [(0, 1), (0.1, 1), (50, 500), (90, 900), (99, 990), (99.9, 999), (99.91, 1_000), (100, 1_000)],
)
def test_small_values_are_exact(percentile: float, value: int) -> None:
    assert recorded(list(range(1, 1_001))).at_percentile(percentile) == value


def test_a_single_outlier_is_only_where_it_belongs() -> None:
    histogram = recorded([*([100] * 999), 3_600_000_000])
    assert milliseconds(histogram) == {
        "mean": 3_600.1,
        "p50": 0.1,
        "p90": 0.1,
        "p99": 0.1,
        "p99.9": 0.1,
        "max": 3_600_000.0,
    }


def test_nothing_recorded_is_not_known() -> None:
    assert set(milliseconds(Histogram()).values()) == {None}
    assert Histogram().at_percentile(99) == 0


def test_a_time_below_zero_counts_as_none() -> None:
    assert (recorded([-5]).least, recorded([-5]).count) == (0, 1)
