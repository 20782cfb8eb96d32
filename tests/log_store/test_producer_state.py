"""What a log remembers of producers: the table of the module, one row after the other."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftpy.errors import (
    InvalidProducerEpochError,
    InvalidTxnStateError,
    OutOfOrderSequenceError,
    TransactionCoordinatorFencedError,
)
from log_store.producer_snapshot import CorruptSnapshotError, decode_snapshot, encode_snapshot
from log_store.producer_state import SEQUENCE_MASK, ProducerEntry, ProducerState


def state_with(batches: int, *, epoch: int = 3, records: int = 10) -> ProducerState:
    """Producer 7 has written so many batches of ten records."""
    state = ProducerState(100)
    for number in range(batches):
        state.update(7, epoch, number * records, number * records, number * records + records - 1, 1000 + number)
    return state


def test_the_next_sequence_is_accepted() -> None:
    assert state_with(2).check(7, 3, 20, 29) is None


def test_an_older_epoch_is_fenced() -> None:
    with pytest.raises(InvalidProducerEpochError, match="epoch 2"):
        state_with(2).check(7, 2, 20, 29)


@pytest.mark.parametrize("sequence", [0, 19, 21, 30])
def test_any_other_sequence_is_out_of_order(sequence: int) -> None:
    with pytest.raises(OutOfOrderSequenceError, match="expected 20"):
        state_with(2).check(7, 3, sequence, sequence + 1)


def test_a_new_epoch_starts_at_zero() -> None:
    assert state_with(2).check(7, 4, 0, 9) is None
    with pytest.raises(OutOfOrderSequenceError, match="instead of 0"):
        state_with(2).check(7, 4, 20, 29)


def test_kip_360_a_producer_without_state_may_go_on_anywhere() -> None:
    assert ProducerState(100).check(7, 3, 4711, 4720) is None


@pytest.mark.parametrize("back", range(1, 6))
def test_redpanda_3038_3039_each_of_the_last_five_batches_is_recognised(back: int) -> None:
    first = (8 - back) * 10
    found = state_with(8).check(7, 3, first, first + 9)
    assert found is not None
    assert (found.first_offset, found.last_offset, found.timestamp_ms) == (first, first + 9, 1000 + 8 - back)


def test_the_sixth_is_not() -> None:
    with pytest.raises(OutOfOrderSequenceError):
        state_with(8).check(7, 3, 20, 29)


def test_a_batch_that_overlaps_a_remembered_one_is_no_duplicate() -> None:
    with pytest.raises(OutOfOrderSequenceError):
        state_with(2).check(7, 3, 10, 18)


def test_a_retry_of_an_older_epoch_is_no_duplicate() -> None:
    state = state_with(2)
    state.update(7, 4, 0, 20, 29, 2000)
    with pytest.raises(InvalidProducerEpochError):
        state.check(7, 3, 10, 19)


def test_sequences_wrap_to_zero() -> None:
    state = ProducerState(100)
    state.update(7, 0, SEQUENCE_MASK - 1, 100, 102, 1000)  # the sequences 2³¹-2, 2³¹-1 and 0
    assert state.check(7, 0, 1, 1) is None
    again = state.check(7, 0, SEQUENCE_MASK - 1, 0)
    assert again is not None and again.first_offset == 100
    state.update(7, 0, SEQUENCE_MASK, 103, 103, 1000)
    assert state.check(7, 0, 0, 5) is None


def test_the_silent_are_forgotten_but_not_in_a_transaction() -> None:
    state = ProducerState(100)
    assert state.expire(10_000, 2_000) == 0
    state.update(1, 0, 0, 0, 0, 1000)
    state.update(2, 0, 0, 1, 1, 1000, transactional=True)
    assert state.expire(12_000, 2_000) == 0
    state.update(3, 0, 0, 2, 2, 1000)
    assert state.expire(12_001, 2_000) == 1
    assert (1 in state, 2 in state, 3 in state) == (False, True, True)


def test_neither_a_clock_that_jumps_nor_old_records_make_a_producer_silent() -> None:
    """The simulated cluster, seed 527: a leader's clock jumped by a day, and retries were appended a second time."""
    day_ms = 86_400_000
    state = ProducerState(100)
    state.expire(day_ms, day_ms)
    state.update(1, 0, 0, 0, 0, 1000)
    for wall_ms in (2 * day_ms + 1, 0, 3 * day_ms):
        assert state.expire(wall_ms, day_ms) == 0
    retry = state.check(1, 0, 0, 0)
    assert retry is not None and retry.first_offset == 0


def test_a_restart_begins_a_new_silence() -> None:
    state = ProducerState(100)
    state.update(1, 0, 0, 0, 0, 1000)
    again = ProducerState(100)
    again.load(state.entries())
    assert again.expire(10_000_000, 500) == 0
    assert again.expire(10_000_501, 500) == 1


def test_more_producers_than_allowed_push_the_longest_silent_out() -> None:
    state = ProducerState(2)
    state.update(1, 0, 0, 0, 0, 1000, transactional=True)
    state.update(2, 0, 0, 1, 1, 1000)
    state.update(3, 0, 0, 2, 2, 1000)
    assert (1 in state, 2 in state, 3 in state) == (True, False, True)
    assert len(state) == 2


def test_a_transaction_is_open_until_its_marker() -> None:
    state = ProducerState(100)
    state.update(1, 0, 0, 10, 12, 1000, transactional=True)
    state.update(2, 0, 0, 13, 13, 1000, transactional=True)
    state.update(1, 0, 3, 14, 14, 1000, transactional=True)
    assert state.first_unstable_offset == 10
    state.end_transaction(1, 0, 5, 15, 1001)
    assert state.first_unstable_offset == 13
    assert (
        state.end_transaction(2, 1, 5, 16, 1001) == 13
    )  # the coordinator may raise the epoch with its marker (KIP-890)
    assert state.first_unstable_offset is None
    assert state.check(2, 1, 0, 3) is None
    with pytest.raises(InvalidProducerEpochError):
        state.check(2, 0, 1, 1)


def test_writing_outside_an_open_transaction_is_refused() -> None:
    state = ProducerState(100)
    state.update(1, 0, 0, 10, 12, 1000, transactional=True)
    with pytest.raises(InvalidTxnStateError):
        state.check(1, 0, 3, 3)
    assert state.check(1, 0, 3, 3, transactional=True) is None


def test_a_marker_is_fenced_by_both_epochs() -> None:
    state = ProducerState(100)
    assert state.end_transaction(1, 4, 9, 0, 1000) is None
    state.check_marker(1, 4, 9)
    state.check_marker(99, 0, 0)
    with pytest.raises(InvalidProducerEpochError):
        state.check_marker(1, 3, 9)
    with pytest.raises(TransactionCoordinatorFencedError):
        state.check_marker(1, 4, 8)


def test_a_cut_takes_back_what_it_can() -> None:
    state = state_with(4)
    assert state.can_cut(20)
    state.cut(20)
    assert state.check(7, 3, 20, 29) is None
    assert [entry.last_offset for entry in state.entries()] == [9, 19]


def test_a_cut_below_what_is_remembered_is_not_possible() -> None:
    state = state_with(8)
    assert not state.can_cut(30)


def test_a_cut_does_not_undo_transactions() -> None:
    state = ProducerState(100)
    state.update(1, 0, 0, 0, 9, 1000, transactional=True)
    state.update(1, 0, 10, 10, 19, 1000, transactional=True)
    assert not state.can_cut(10)


# --- snapshots --------------------------------------------------------------------------------------------------------


def test_a_snapshot_keeps_all_five_and_kafka_would_read_the_newest() -> None:
    entries = decode_snapshot(encode_snapshot(state_with(8).entries()))
    assert [entry.last_sequence for entry in entries] == [39, 49, 59, 69, 79]
    assert {entry.producer_id: entry.last_sequence for entry in entries} == {7: 79}
    loaded = ProducerState(100)
    loaded.load(entries)
    assert loaded.check(7, 3, 30, 39) is not None
    assert loaded.check(7, 3, 80, 89) is None


def test_a_snapshot_keeps_open_transactions_and_epochs_of_producers_without_batches() -> None:
    state = ProducerState(100)
    state.update(1, 0, 0, 20, 21, 1000, transactional=True)
    state.update(2, 0, 0, 10, 11, 1000, transactional=True)
    state.end_transaction(3, 6, 2, 22, 900)
    loaded = ProducerState(100)
    loaded.load(decode_snapshot(encode_snapshot(state.entries())))
    assert loaded.first_unstable_offset == 10
    loaded.end_transaction(2, 0, 2, 23, 1000)
    assert loaded.first_unstable_offset == 20
    with pytest.raises(InvalidProducerEpochError):
        loaded.check(3, 5, 0, 0)


def test_the_bytes_are_kafkas() -> None:
    """version, CRC32C of what follows, count, then one entry of 46 bytes."""
    data = encode_snapshot([ProducerEntry(1, 2, 3, 4, 5, 6, 7, 8)])
    assert data[:2] == b"\0\1"
    assert data[6:10] == b"\0\0\0\1"
    fields = ("0000000000000001", "0002", "00000003", "0000000000000004")
    assert data[10:].hex() == "".join((*fields, "00000005", "0000000000000006", "00000007", "0000000000000008"))


@pytest.mark.parametrize("length", [0, 3, 9, 20])
def test_a_snapshot_that_is_cut_short_is_refused(length: int) -> None:
    with pytest.raises(CorruptSnapshotError):
        decode_snapshot(encode_snapshot(state_with(3).entries())[:length])


@given(bit=st.integers(0, 8 * 56 - 1))
@settings(max_examples=60)
def test_a_flipped_bit_is_noticed(bit: int) -> None:
    data = bytearray(encode_snapshot([ProducerEntry(1, 2, 3, 4, 5, 6, 7, 8)]))
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptSnapshotError):
        decode_snapshot(bytes(data))
