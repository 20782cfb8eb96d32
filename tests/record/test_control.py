"""Control batches: a transaction's end, and the quorum's own records."""

import pytest

from kraftpy.errors import InvalidRecordError
from kraftpy.record import (
    ControlRecord,
    ControlType,
    Record,
    check_batch,
    decode_batches,
    decode_control_batch,
    encode_batch,
    encode_control_batch,
    encode_marker,
    marker_epoch,
)
from tests.record.kafka_python import DefaultRecordBatch


@pytest.mark.parametrize("commit", [True, False])
def test_a_marker_ends_one_producers_transaction(commit: bool) -> None:
    batch = encode_marker(
        commit=commit, coordinator_epoch=4, timestamp_ms=99, producer_id=7, producer_epoch=2, base_offset=30
    )
    header = check_batch(batch)
    assert header.is_control and header.is_transactional
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (7, 2, -1)
    (record,) = decode_control_batch(batch)
    expected = ControlType.COMMIT if commit else ControlType.ABORT
    assert record == ControlRecord(30, 99, expected, b"\0\0\0\0\0\4")
    assert marker_epoch(record) == 4
    theirs = DefaultRecordBatch(bytes(batch))
    assert theirs.is_control_batch and [item.abort for item in theirs] == [not commit]


def test_the_quorums_records_carry_any_value() -> None:
    batch = encode_control_batch(ControlType.KRAFT_VOTERS, b"voters", timestamp_ms=5, base_offset=8, leader_epoch=3)
    header = check_batch(batch)
    assert header.is_control and not header.is_transactional and header.leader_epoch == 3
    assert decode_control_batch(batch) == [ControlRecord(8, 5, ControlType.KRAFT_VOTERS, b"voters")]
    assert list(decode_batches(batch)) == []


def test_a_type_from_the_future_stays_a_number() -> None:
    batch = encode_batch([Record(0, 1, b"\0\0\0\x63", b"?")], control=True)
    assert decode_control_batch(batch) == [ControlRecord(0, 1, 99, b"?")]


@pytest.mark.parametrize("key", [None, b"", b"\0\0\0"])
def test_a_control_record_without_a_type_is_refused(key: bytes | None) -> None:
    with pytest.raises(InvalidRecordError):
        decode_control_batch(encode_batch([Record(0, 1, key, b"")], control=True))


def test_a_batch_of_a_users_records_is_no_control_batch() -> None:
    with pytest.raises(InvalidRecordError):
        decode_control_batch(encode_batch([Record(0, 1, b"\0\0\0\0", b"")]))


def test_a_marker_that_is_cut_off_is_refused() -> None:
    with pytest.raises(InvalidRecordError):
        marker_epoch(ControlRecord(0, 0, ControlType.ABORT, b"\0\0"))
