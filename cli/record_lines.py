"""A record as one line of JSON, and back: what `topic consume -o jsonl` prints and `topic produce -i jsonl` reads.

    {"topic": "lines", "partition": 0, "offset": 17, "timestamp": 1764000000000, "key": "k", "value": "v",
     "headers": [{"key": "trace", "value": "1"}]}

Bytes that are UTF-8 stand as text; others stand as base64 under `key_base64`, `value_base64`, in headers too. null is
null: no key, no value. So every record comes back byte for byte: `line_of` and `parse` are each other's inverse
(topic and offset are told, and not read back: a record gets both where it is written).

Pure; nothing here reads or writes.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from kraftpy import ConsumerRecord


class RecordLineError(ValueError):
    """The line is not a record; the message says why."""


class ParsedRecord(NamedTuple):
    """A record to be sent. `partition` and `timestamp` (ms since 1970) are None where the line leaves them open."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    partition: int | None
    timestamp: int | None


_KNOWN = frozenset(
    ("topic", "partition", "offset", "timestamp", "key", "key_base64", "value", "value_base64", "headers")
)


def fields_of(record: "ConsumerRecord") -> dict[str, Any]:
    """A record as the JSON object that stands for it."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        **_shown("key", record.key),
        **_shown("value", record.value),
        "headers": [{"key": name, **_shown("value", value)} for name, value in record.headers],
    }


def line_of(record: "ConsumerRecord") -> bytes:
    """A record as one line, in UTF-8, with its line end."""
    return json.dumps(fields_of(record), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def parse(line: bytes) -> ParsedRecord:
    """Read one line. Raises `RecordLineError`."""
    try:
        fields = json.loads(line)
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are
        raise RecordLineError(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise RecordLineError("not a JSON object")
    unknown = [name for name in fields if name not in _KNOWN]
    if unknown:
        raise RecordLineError(f"unknown field '{unknown[0]}'; known are {', '.join(sorted(_KNOWN))}")
    return ParsedRecord(
        _bytes(fields, "key"),
        _bytes(fields, "value"),
        _headers(fields.get("headers")),
        _whole_number(fields, "partition"),
        _whole_number(fields, "timestamp"),
    )


def _shown(name: str, value: bytes | None) -> dict[str, str | None]:
    if value is None:
        return {name: None}
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": b64encode(value).decode()}


def _bytes(fields: Mapping[str, Any], name: str) -> bytes | None:
    text, coded = fields.get(name), fields.get(f"{name}_base64")
    if text is not None and coded is not None:
        raise RecordLineError(f"{name} and {name}_base64 are both given")
    if coded is not None:
        try:
            return b64decode(coded, validate=True)
        except (TypeError, ValueError):
            raise RecordLineError(f"{name}_base64 is not base64") from None
    if text is None:
        return None
    if not isinstance(text, str):
        raise RecordLineError(f"{name} is a string or null, not {json.dumps(text)[:40]}")
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        raise RecordLineError(f"{name} is not valid Unicode; give its bytes as {name}_base64") from None


def _headers(given: Any) -> tuple[tuple[str, bytes | None], ...]:
    if given is None:
        return ()
    if not isinstance(given, list):
        raise RecordLineError('headers is a list of {"key": …, "value": …}')
    headers = []
    for header in given:
        if not isinstance(header, dict) or not isinstance(header.get("key"), str):
            raise RecordLineError('a header is {"key": "name", "value": …}')
        unknown = [name for name in header if name not in ("key", "value", "value_base64")]
        if unknown:
            raise RecordLineError(f"unknown field '{unknown[0]}' in a header")
        name = _bytes(header, "key") or b""
        headers.append((name.decode(), _bytes(header, "value")))
    return tuple(headers)


def _whole_number(fields: Mapping[str, Any], name: str) -> int | None:
    number = fields.get(name)
    if number is None or (name == "timestamp" and number == -1):  # -1: Kafka's "there is none"
        return None
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**63:
        raise RecordLineError(f"{name} is a whole number from 0 on, not {json.dumps(number)[:40]}")
    return number
