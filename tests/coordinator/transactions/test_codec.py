"""Records of transactions, byte by byte as Kafka writes them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.coordinator.transactions.codec import TransactionRecordCodec
from broker.coordinator.transactions.commands import ProtocolVersion, TopicPartition
from broker.coordinator.transactions.records import TransactionMetadata, TransactionRecord
from broker.coordinator.transactions.states import TransactionState
from kraftpy.errors import CorruptRecordError

FLEXIBLE, OLD = TransactionRecordCodec(lambda: 2), TransactionRecordCodec(lambda: 0)
ONGOING = TransactionMetadata(
    4_000,
    7,
    60_000,
    TransactionState.ONGOING,
    1_700_000_000_500,
    (TopicPartition("orders", 0), TopicPartition("orders", 3), TopicPartition("paid", 1)),
    1_700_000_000_000,
    ProtocolVersion.SECOND,
    previous_producer_id=3_999,
    next_producer_id=4_001,
)

# by TransactionLogKey and TransactionLogValue of Kafka 4.1
KEY = bytes.fromhex("0000 0008 7061796d656e7473")
VALUE_1 = bytes.fromhex(
    "0001 0000000000000fa0 0007 0000ea60 01 03 07 6f7264657273 03 00000000 00000003 00 05 70616964 02 00000001 00"
    "0000018bcfe569f4 0000018bcfe56800 03 00 08 0000000000000f9f 01 08 0000000000000fa1 02 02 0002"
)
VALUE_0 = bytes.fromhex(
    "0000 0000000000000fa0 0007 0000ea60 01 00000002 0006 6f7264657273 00000002 00000000 00000003 0004 70616964"
    "00000001 00000001 0000018bcfe569f4 0000018bcfe56800"
)


def test_an_open_transaction_in_both_versions() -> None:
    record = TransactionRecord("payments", ONGOING)
    assert FLEXIBLE.encode(record) == (KEY, VALUE_1)
    assert FLEXIBLE.decode(KEY, VALUE_1) == record
    assert OLD.encode(record) == (KEY, VALUE_0)
    old = OLD.decode(KEY, VALUE_0)
    assert old is not None and old.metadata is not None
    assert (old.metadata.version, old.metadata.next_producer_id) == (ProtocolVersion.FIRST, -1)


def test_an_id_that_is_forgotten() -> None:
    record = TransactionRecord("payments", None)
    assert FLEXIBLE.encode(record) == (KEY, None)
    assert FLEXIBLE.decode(KEY, None) == record


def test_what_cannot_be_read_is_told() -> None:
    assert FLEXIBLE.decode(b"\x00\x05new", b"") is None, "another kind of key"
    for key, value in ((b"\x00", None), (KEY[:-1], None), (KEY, b""), (KEY, b"\x00\x02"), (KEY, VALUE_1[:-3])):
        with pytest.raises(CorruptRecordError):
            FLEXIBLE.decode(key, value)
    with pytest.raises(CorruptRecordError, match="no state"):
        FLEXIBLE.decode(KEY, VALUE_0[:16] + b"\x09" + VALUE_0[17:])


places = st.builds(TopicPartition, st.sampled_from(["a", "b", "c-d"]), st.integers(0, 100))


@settings(max_examples=200)
@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    st.builds(
        TransactionMetadata,
        st.integers(0, 2**63 - 1),
        st.integers(0, 32_767),
        st.integers(1, 2**31 - 1),
        st.sampled_from([state for state in TransactionState if state is not TransactionState.EMPTY]),
        st.integers(0, 2**62),
        st.lists(places, unique=True, max_size=20).map(lambda found: tuple(sorted(found))),
        st.integers(-1, 2**62),
        st.sampled_from(ProtocolVersion),
        st.integers(-1, 2**62),
        st.integers(-1, 2**62),
    ),
)
def test_what_is_written_is_read(transactional_id: str, metadata: TransactionMetadata) -> None:
    record = TransactionRecord(transactional_id, metadata)
    assert FLEXIBLE.decode(*FLEXIBLE.encode(record)) == record
