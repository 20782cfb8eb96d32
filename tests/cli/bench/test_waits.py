"""Stretches of long waits, against a twin that looks at every instant."""

from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from cli.bench import waits
from cli.bench.waits import LONG_US, Stretch, Waits

STEP_US = 50_000

RECORDS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12), st.integers(-1, 2), st.booleans()), max_size=40)
"""When a record was due and how long it waited, in steps; its partition; whether it was acknowledged."""


@settings(max_examples=300, deadline=None)
@given(RECORDS, st.integers(1, 8))
def test_stretches_are_the_instants_in_which_a_record_waited_long(
    records: list[tuple[int, int, int, bool]], pending_max: int
) -> None:
    told = sorted(records, key=lambda record: record[0] + record[1])
    with mock.patch.object(waits, "PENDING_MAX", pending_max):
        noted = Waits()
        for due, wait, partition, is_acknowledged in told:
            note = noted.acknowledged if is_acknowledged else noted.failed
            note(due * STEP_US, (due + wait) * STEP_US, partition)
        stretches = noted.stretches()
    long = [record for record in records if record[1] * STEP_US > LONG_US]
    for instant in range(2 * 60):  # half a step each
        waited = any(2 * due <= instant <= 2 * (due + wait) for due, wait, _, _ in long)
        inside = [each for each in stretches if 2 * each.start_us <= instant * STEP_US <= 2 * each.end_us]
        assert len(inside) == int(waited)
    assert sum(each.records for each in stretches) == len(long)
    assert sum(each.failed for each in stretches) == len([record for record in long if not record[3]])
    for each in stretches:
        mine = [record for record in long if each.start_us <= record[0] * STEP_US <= each.end_us]
        assert each.records == len(mine)
        assert each.longest_us == max(wait for _, wait, _, _ in mine) * STEP_US
        assert each.partitions == {partition for _, _, partition, _ in mine if partition >= 0}


def test_the_longest_gap_is_between_two_acknowledgements() -> None:
    noted = Waits()
    for due_us, now_us in ((0, 30_000), (10_000, 31_000), (500_000, 640_000), (600_000, 641_000)):
        noted.acknowledged(due_us, now_us, 0)
    noted.failed(610_000, 5_000_000, 0)
    assert (noted.longest_us, noted.longest_gap_us) == (140_000, 609_000)
    assert noted.stretches() == [Stretch(500_000, 5_000_000, 4_390_000, 2, 1, frozenset((0,)))]


def test_a_cluster_that_answers_has_no_stretches() -> None:
    noted = Waits()
    for index in range(100):
        noted.acknowledged(index * 1_000, index * 1_000 + LONG_US, 0)
    assert noted.stretches() == []
