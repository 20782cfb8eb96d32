"""Records as lines of JSON, there and back."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cli.record_lines import ParsedRecord, RecordLineError, line_of, parse
from kraftpy import ConsumerRecord

maybe_bytes = st.none() | st.binary(max_size=20) | st.text(max_size=20).map(str.encode)
records = st.builds(
    ConsumerRecord,
    topic=st.just("lines"),
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 1),
    timestamp=st.integers(0, 2**63 - 1),
    key=maybe_bytes,
    value=maybe_bytes,
    headers=st.lists(st.tuples(st.text(max_size=5), maybe_bytes), max_size=3).map(tuple),
)


@settings(max_examples=200, deadline=None)
@given(records)
@example(
    ConsumerRecord("t", 0, 0, 0, b"\xff", "\u2028\u0085\r\n\x00".encode(), (("h", None), ("h", b"\xfe"), ("", b"")))
)
def test_every_record_comes_back_byte_for_byte(record: ConsumerRecord) -> None:
    line = line_of(record)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert parse(line) == ParsedRecord(record.key, record.value, record.headers, record.partition, record.timestamp)


def test_the_shape_of_a_line_is_pinned() -> None:
    record = ConsumerRecord("lines", 2, 17, 1_764_000_000_000, b"k", b"\xff\x00", (("trace", b"1"), ("none", None)))
    assert json.loads(line_of(record)) == {
        "topic": "lines",
        "partition": 2,
        "offset": 17,
        "timestamp": 1_764_000_000_000,
        "key": "k",
        "value_base64": "/wA=",
        "headers": [{"key": "trace", "value": "1"}, {"key": "none", "value": None}],
    }


def test_a_line_may_leave_everything_open() -> None:
    assert parse(b"{}") == ParsedRecord(None, None, (), None, None)
    assert parse(b'{"value": "v", "timestamp": -1}') == ParsedRecord(None, b"v", (), None, None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"hello", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"valeu": "x"}', "unknown field 'valeu'"),
        (b'{"value": 1}', "value is a string or null"),
        (b'{"key": "a", "key_base64": "YQ=="}', "both given"),
        (b'{"value_base64": "?"}', "value_base64 is not base64"),
        (b'{"value_base64": 7}', "value_base64 is not base64"),
        (b'{"value": "\\ud800"}', "not valid Unicode"),
        (b'{"partition": -1}', "partition is a whole number"),
        (b'{"partition": true}', "partition is a whole number"),
        (b'{"timestamp": 1.5}', "timestamp is a whole number"),
        (b'{"headers": {}}', "headers is a list"),
        (b'{"headers": [{"value": "x"}]}', "a header is"),
        (b'{"headers": [{"key": "h", "data": "x"}]}', "unknown field 'data' in a header"),
        (b'{"headers": [{"key": "\\ud800"}]}', "not valid Unicode"),
    ],
)
def test_a_line_that_is_no_record_is_refused_with_a_reason(line: bytes, message: str) -> None:
    with pytest.raises(RecordLineError, match=message):
        parse(line)
