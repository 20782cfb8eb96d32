"""Sizes of records are found without encoding them, and hold what encoding gives."""

from hypothesis import given
from hypothesis import strategies as st

from broker.metadata.codec import encode
from broker.metadata.records import ConfigRecord, MetadataRecord, topic_resource
from broker.metadata.sizes import about_bytes, in_batches
from tests.metadata.strategies import RECORDS


@given(RECORDS)
def test_no_record_is_larger_than_is_thought(record: MetadataRecord) -> None:
    assert len(encode(record)) <= about_bytes(record)


@given(st.lists(st.integers(0, 400), max_size=30), st.integers(1, 5), st.integers(1, 1_000))
def test_batches_hold_everything_in_order_and_keep_within_both_limits(
    sizes: list[int], records_max: int, bytes_max: int
) -> None:
    records = [ConfigRecord(topic_resource("t"), "retention.ms", "1" * size) for size in sizes]
    batches = list(in_batches(records, records_max, bytes_max))
    assert [record for batch in batches for record in batch] == records
    for batch in batches:
        assert 1 <= len(batch) <= records_max
        assert len(batch) == 1 or sum(map(about_bytes, batch)) <= bytes_max
