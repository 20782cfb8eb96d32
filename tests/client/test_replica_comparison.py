"""What counts as a difference between replicas, against a dumb twin."""

from hypothesis import given
from hypothesis import strategies as st

from kraftpy.client.replica_comparison import (
    Extent,
    ReplicaDifference,
    common_extent,
    differing_ranges,
    differing_records,
    range_difference,
)


def compared(
    records: dict[int, dict[int, int]], *, may_have_gaps: bool = False, **damaged: tuple[int, int]
) -> tuple[list[str], int]:
    bad = {int(name[1:]): [(start, end, "EIO")] for name, (start, end) in damaged.items()}
    found, compacted = differing_records("t", 0, records, bad, may_have_gaps=may_have_gaps)
    return [str(each) for each in found], compacted


def test_where_replicas_agree_there_is_nothing_to_say() -> None:
    assert compared({1: {5: 50, 6: 60}, 2: {5: 50, 6: 60}, 3: {5: 50, 6: 60}}) == ([], 0)


def test_neighbours_about_which_the_same_agree_are_one_difference() -> None:
    whole = {offset: offset for offset in range(10)}
    other = whole | {4: 0, 5: 0, 7: 0}
    assert compared({1: whole, 2: other, 3: whole})[0] == [
        "t-0 offsets 4 to 5: brokers 1,3 and 2 differ",
        "t-0 offsets 7 to 7: brokers 1,3 and 2 differ",
    ]


def test_a_missing_record_is_one_where_nothing_is_compacted() -> None:
    records = {1: {1: 1, 2: 2}, 2: {1: 1}, 3: {1: 1, 2: 2}}
    assert compared(records) == (["t-0 offsets 2 to 2: missing on brokers 2"], 0)
    assert compared(records, may_have_gaps=True) == ([], 1)


def test_what_two_compacted_replicas_both_keep_must_be_the_same() -> None:
    records = {1: {1: 1, 2: 2}, 2: {2: 0}, 3: {3: 3}}
    assert compared(records, may_have_gaps=True) == (["t-0 offsets 2 to 2: brokers 1 and 2 differ"], 3)


def test_damage_is_told_of_whoever_has_it() -> None:
    whole = {offset: offset for offset in range(6)}
    hurt = {offset: offset for offset in (0, 1, 4, 5)}
    assert compared({1: whole, 2: hurt, 3: whole}, b2=(2, 4))[0] == ["t-0 offsets 2 to 3: broker 2 is damaged (EIO)"]


def test_a_range_whose_records_are_equal_and_whose_batches_are_not() -> None:
    assert range_difference("t", 0, 0, 1000, {1: (3, 7), 2: (3, 7), 3: (3, 7)}) == []
    (found,) = range_difference("t", 0, 0, 1000, {1: (3, 7), 2: (3, 8), 3: None})
    assert found == ReplicaDifference("t", 0, 0, 1000, ((1,), (2,)), (3,), {})


def test_what_all_hold() -> None:
    assert common_extent([Extent(0, 9), Extent(3, 12)]) == (3, 9)
    assert common_extent([Extent(0, 2), Extent(3, 12)]) == (3, 3)
    assert common_extent([]) == (0, 0)


REPLICAS = st.dictionaries(st.integers(1, 3), st.dictionaries(st.integers(0, 8), st.integers(0, 1)), min_size=2)


@given(REPLICAS, st.booleans())
def test_every_offset_is_judged_as_a_dumb_comparison_would(records: dict[int, dict[int, int]], gaps: bool) -> None:
    found, compacted = differing_records("t", 0, records, {}, may_have_gaps=gaps)
    told = {offset for each in found for offset in range(each.start_offset, each.end_offset)}
    expected, uneven = set(), 0
    for offset in range(9):
        held = [each[offset] for each in records.values() if offset in each]
        if len(set(held)) > 1 or (not gaps and held and len(held) < len(records)):
            expected.add(offset)
        uneven += bool(gaps and held and len(held) < len(records))
    assert (told, compacted) == (expected, uneven)


@given(REPLICAS)
def test_ranges_differ_where_any_two_do(records: dict[int, dict[int, int]]) -> None:
    digests = [{start: (1, checksum) for start, checksum in each.items()} for each in records.values()]
    differing = differing_ranges(digests)
    assert differing == sorted(
        start for start in range(9) if any(one.get(start) != other.get(start) for one in digests for other in digests)
    )
