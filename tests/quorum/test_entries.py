"""Entries of the quorum's log as record batches, there and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.quorum.entries import decode_entries, encode_entries, metadata_records
from kraftpy.errors import CorruptRecordError, InvalidRecordError
from kraftpy.record import read_header
from raft.events import Entry, Epoch, LeaderChange, NodeId, Offset
from tests.quorum.disks import VOTERS, settings_entry


def control(offset: int, epoch: int, kind: int) -> Entry:
    body = VOTERS if kind == 0 else LeaderChange(NodeId(2), (NodeId(1), NodeId(2), NodeId(3)))
    return Entry(Offset(offset), 1, Epoch(epoch), body)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), max_size=8), st.integers(0, 2**40))
def test_what_is_encoded_is_decoded(kinds: list[tuple[int, int]], offset: int) -> None:
    entries: list[Entry] = []
    for position, (kind, count) in enumerate(kinds):
        entry = control(offset, position, kind) if kind < 2 else settings_entry(offset, position, count)
        entries.append(entry)
        offset = entry.end_offset
    decoded = decode_entries(encode_entries(entries))
    assert [(entry.offset, entry.count, entry.epoch) for entry in decoded] == [
        (entry.offset, entry.count, entry.epoch) for entry in entries
    ]
    assert decode_entries(encode_entries(decoded)) == decoded
    for given_entry, entry in zip(entries, decoded, strict=True):
        if isinstance(given_entry.body, bytes):
            assert isinstance(entry.body, bytes)
            assert metadata_records(entry.body) == metadata_records(given_entry.body)
        else:
            assert entry.body == given_entry.body


def test_a_body_takes_the_place_that_it_is_given() -> None:
    (batch,) = [encode_entries([Entry(Offset(70), 2, Epoch(9), settings_entry(0, 0, 2).body)])]
    header = read_header(batch)
    assert (header.base_offset, header.end_offset, header.leader_epoch) == (70, 72, 9)


def test_the_same_entry_is_the_same_bytes_on_every_replica() -> None:
    assert encode_entries([control(0, 0, 0)]) == encode_entries([control(0, 0, 0)])


@pytest.mark.parametrize("position", [20, 30, 61, 70])
def test_a_flipped_bit_is_refused(position: int) -> None:
    batch = bytearray(encode_entries([settings_entry(0, 1, 2)]))
    batch[position] ^= 1
    with pytest.raises((CorruptRecordError, InvalidRecordError)):
        decode_entries(batch)


def test_a_batch_that_breaks_off_is_refused() -> None:
    batch = encode_entries([settings_entry(0, 1)])
    with pytest.raises(CorruptRecordError):
        decode_entries(batch[:-1])
