"""The protocol's words, and what hostile bytes make of them."""

import tracemalloc
from collections.abc import Callable
from struct import Struct
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.kafka import wire
from broker.kafka.wire import ProtocolError, RequestReader

READS: list[Callable[[RequestReader], Any]] = [
    RequestReader.int8,
    RequestReader.int16,
    RequestReader.int32,
    RequestReader.int64,
    RequestReader.uuid,
    RequestReader.string,
    RequestReader.nullable_string,
    RequestReader.nullable_bytes,
    RequestReader.varint,
    RequestReader.skip_tags,
    lambda reader: list(reader.tags()),
    lambda reader: reader.count(1),
    lambda reader: reader.count(16),
    RequestReader.finish,
]


@pytest.mark.parametrize("flexible", [True, False])
@given(st.text(max_size=200), st.none() | st.text(max_size=5), st.integers(0, 2**31), st.uuids(), st.integers(0, 9))
def test_what_is_written_is_read(
    flexible: bool, text: str, maybe: str | None, number: int, topic_id: UUID, elements: int
) -> None:
    data = b"".join(
        (
            wire.string(text, flexible=flexible),
            wire.nullable_string(maybe, flexible=flexible),
            wire.varint(number),
            wire.uuid(topic_id),
            wire.uuid(None),
            wire.count(elements, flexible=flexible),
            bytes(elements),
        )
    )
    reader = RequestReader(data, flexible=flexible)
    assert reader.string() == text
    assert reader.nullable_string() == maybe
    assert reader.varint() == number
    assert reader.uuid() == (topic_id if topic_id.int else None)
    assert reader.uuid() is None
    assert reader.count(1) == elements
    assert [reader.int8() for _ in range(elements)] == [0] * elements
    reader.finish()


def test_tagged_fields_are_read_or_skipped_whole() -> None:
    data = wire.tagged([(0, b"abc"), (700, b""), (2**31, b"\0\0\0\7")]) + b"\5"
    reader = RequestReader(data, flexible=True)
    assert [(tag, value.int32() if tag == 2**31 else None) for tag, value in reader.tags()] == [
        (0, None),
        (700, None),
        (2**31, 7),
    ]
    assert reader.int8() == 5
    again = RequestReader(data, flexible=True)
    again.skip_tags()
    assert again.int8() == 5


def test_tagged_fields_count_as_elements() -> None:
    fields = wire.tagged([(0, b"")] * 4)
    RequestReader(fields, flexible=True, elements_max=4).skip_tags()
    with pytest.raises(ProtocolError, match="too many"):
        RequestReader(fields, flexible=True, elements_max=3).skip_tags()


def test_the_only_tagged_field_is_read_at_once() -> None:
    layout = Struct(">iq")
    head = wire.head_of_tag(1, layout)
    value = layout.pack(7, -1)
    data = wire.tagged([(1, value)]) + b"\5"
    reader = RequestReader(memoryview(data), flexible=True)
    assert reader.only_tag(head, layout) == (7, -1) and reader.int8() == 5
    assert RequestReader(data, flexible=False).only_tag(head, layout) is None, "older forms have none"
    for fields in ([], [(0, value)], [(1, value[1:])], [(1, value), (2, b"")]):
        reader = RequestReader(wire.tagged(fields), flexible=True)
        assert reader.only_tag(head, layout) is None and reader.position == 0
        assert [tag for tag, _ in reader.tags()] == [tag for tag, _ in fields]
    for size in range(len(head), len(data) - 1):
        with pytest.raises(ProtocolError, match="too early"):
            RequestReader(data[:size], flexible=True).only_tag(head, layout)


@settings(max_examples=400)
@given(st.binary(max_size=60), st.booleans(), st.lists(st.sampled_from(READS), max_size=12))
def test_any_bytes_are_values_or_a_protocol_error(
    data: bytes, flexible: bool, reads: list[Callable[[RequestReader], Any]]
) -> None:
    reader = RequestReader(memoryview(data), flexible=flexible)
    try:
        for read in reads:
            read(reader)
            assert reader.position <= len(data)
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    ("flexible", "data"), [(True, b"\xff\xff\xff\xff\x0f" + bytes(100)), (False, b"\x7f\xff\xff\xff" + bytes(100))]
)
def test_a_count_beyond_the_bytes_allocates_nothing(flexible: bool, data: bytes) -> None:
    tracemalloc.start()
    for read in (lambda reader: reader.count(1), RequestReader.nullable_bytes, lambda reader: list(reader.tags())):
        with pytest.raises(ProtocolError):
            read(RequestReader(data, flexible=flexible))
            RequestReader(data, flexible=True).finish()
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
