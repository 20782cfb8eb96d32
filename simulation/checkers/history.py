"""Histories: what clients did and saw, as frozen values and as JSON lines.

One JSON object a line, `type` says which. Times are microseconds of any one monotonic clock. Values are unique over the
whole history: strings or integers, never written twice.

    {"type": "send", "process": "p1", "partition": "lines-0", "value": 7, "sequence": 3,
     "invoked_us": 10, "completed_us": 20, "outcome": "ok", "offset": 42}
    {"type": "poll", "process": "c1", "session": 1, "invoked_us": 30, "completed_us": 31,
     "records": [["lines-0", 42, 7]]}
    {"type": "end", "partition": "lines-0", "start_offset": 0, "end_offset": 43, "process": "last"}
    {"type": "tail", "process": "c1", "partition": "lines-0", "end_offset": 43, "invoked_us": 30, "completed_us": 31}
    {"type": "operation", "process": "p1", "key": "topic-a", "function": "create", "argument": 6, "result": "created",
     "invoked_us": 10, "completed_us": 20, "outcome": "ok"}

`outcome` is `ok`, `failed` (it certainly did not happen, and never will) or `unknown` (it may have happened, or may
still; `completed_us` is then null). A send's `sequence` grows in the order in which its process handed records of that
partition to its producer. A poll's `session` changes whenever its consumer's position is set anew (assign, seek,
rebalance): only inside one session do offsets have to follow each other. An `end` says that everything from
`start_offset` up to `end_offset` (exclusive) of a partition was read at last, and that the log ended there; `process`
is who read it, empty where all readers together did. A `tail` is an end (exclusive) that a client was told while others
went on writing.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import Enum

Value = str | int
Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_value(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _or_null(is_right: "Check") -> "Check":
    return lambda value: value is None or is_right(value)


def _are_records(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, list) and len(each) == 3 and _is_text(each[0]) and _is_count(each[1]) and _is_value(each[2])
        for each in value
    )


Check = Callable[[object], bool]
_TEXT = (_is_text, "a string")
_TIME = (_is_number, "a number of microseconds")
_TIME_OR_NULL = (_or_null(_is_number), "a number of microseconds, or null,")
_OFFSET = (_is_count, "an offset")
_ANYTHING = (lambda value: True, "anything")
_OUTCOME = (lambda value: value in ("ok", "failed", "unknown"), "ok, failed or unknown")
_FIELDS: Mapping[str, Mapping[str, tuple[Check, str]]] = {
    "send": {
        "process": _TEXT,
        "partition": _TEXT,
        "value": (_is_value, "a string or an integer"),
        "sequence": (_is_number, "an integer"),
        "invoked_us": _TIME,
        "completed_us": _TIME_OR_NULL,
        "outcome": _OUTCOME,
        "offset": (_or_null(_is_count), "an offset, or null,"),
    },
    "poll": {
        "process": _TEXT,
        "session": (_is_number, "an integer"),
        "invoked_us": _TIME,
        "completed_us": _TIME,
        "records": (_are_records, "a list of [partition, offset, value]"),
    },
    "end": {"partition": _TEXT, "start_offset": _OFFSET, "end_offset": _OFFSET, "process": _TEXT},
    "tail": {
        "process": _TEXT,
        "partition": _TEXT,
        "end_offset": _OFFSET,
        "invoked_us": _TIME,
        "completed_us": _TIME,
    },
    "operation": {
        "process": _TEXT,
        "key": _TEXT,
        "function": _TEXT,
        "argument": _ANYTHING,
        "result": _ANYTHING,
        "invoked_us": _TIME,
        "completed_us": _TIME_OR_NULL,
        "outcome": _OUTCOME,
    },
}
_OPTIONAL = (("send", "offset"), ("end", "process"))


class Outcome(Enum):
    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Send:
    """One record handed to a producer."""

    process: str
    partition: str
    value: Value
    sequence: int
    invoked_us: int
    completed_us: int | None
    outcome: Outcome
    offset: int | None = None  # of an acknowledged one


@dataclass(frozen=True, slots=True)
class Poll:
    """One answer of a consumer: (partition, offset, value) in the order in which they were given."""

    process: str
    session: int
    invoked_us: int
    completed_us: int
    records: tuple[tuple[str, int, Value], ...]


@dataclass(frozen=True, slots=True)
class End:
    """Everything in [start_offset, end_offset) of a partition was read at last."""

    partition: str
    start_offset: int
    end_offset: int
    process: str = ""


@dataclass(frozen=True, slots=True)
class Tail:
    """A client was told that everything below `end_offset` of a partition is committed."""

    process: str
    partition: str
    end_offset: int
    invoked_us: int
    completed_us: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One call on an object of a model (see `models`)."""

    process: str
    key: str
    function: str
    argument: Json
    result: Json
    invoked_us: int
    completed_us: int | None  # None: unknown
    outcome: Outcome


Event = Send | Poll | End | Tail | Operation


class HistoryError(ValueError):
    """A line is no event of this format."""


def to_line(event: Event) -> str:
    """One event as a line of JSON, without the line's end."""
    body: dict[str, object] = {"type": type(event).__name__.lower(), **asdict(event)}
    if "outcome" in body:
        body["outcome"] = event.outcome.value  # type: ignore[union-attr]
    return json.dumps(body, separators=(",", ":"))


def from_line(line: str) -> Event:
    """Parse one line. Raises `HistoryError`, which says what is wrong with it."""
    try:
        body = json.loads(line)
    except ValueError as error:
        raise HistoryError(f"no JSON: {error}") from None
    if not isinstance(body, dict):
        raise HistoryError(f"an object is expected, not {_shown(body)}")
    kind = body.pop("type", None)
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise HistoryError(f"the type is {_shown(kind)}; one of {', '.join(_FIELDS)} is expected")
    _check_fields(kind, body)
    if "outcome" in body:
        body["outcome"] = Outcome(body["outcome"])
    event: Event
    match kind:
        case "send":
            event = Send(**body)
        case "poll":
            event = Poll(**{**body, "records": tuple(tuple(record) for record in body["records"])})
        case "end":
            event = End(**body)
        case "tail":
            event = Tail(**body)
        case _:
            event = Operation(**body)
    _check(event)
    return event


def _check_fields(kind: str, body: dict[str, object]) -> None:
    for name, (is_right, expected) in _FIELDS[kind].items():
        if name not in body:
            if (kind, name) in _OPTIONAL:
                continue
            raise HistoryError(f"{_a(kind)} has no {name!r}")
        if not is_right(body[name]):
            raise HistoryError(f"{name!r} of {_a(kind)} is {_shown(body[name])}; {expected} is expected")
    for name in body:
        if name not in _FIELDS[kind]:
            raise HistoryError(f"{_a(kind)} knows no {name!r}; it has {', '.join(_FIELDS[kind])}")


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeo' else 'a'} {kind}"


def _shown(value: object) -> str:
    return json.dumps(value, default=str)[:80]


def _check(event: Event) -> None:
    if not isinstance(event, End) and event.completed_us is not None and event.completed_us < event.invoked_us:
        raise HistoryError(f"it was completed at {event.completed_us}, before it was invoked at {event.invoked_us}")
    match event:
        case Send() if event.outcome is Outcome.OK and (event.offset is None or event.completed_us is None):
            raise HistoryError("an acknowledged send has an offset and a time of completion")
        case Operation() if event.outcome is Outcome.OK and event.completed_us is None:
            raise HistoryError("a completed operation has a time of completion")
        case End() if event.end_offset < event.start_offset:
            raise HistoryError(f"a log cannot end at {event.end_offset} and begin at {event.start_offset}")


def read_history(lines: Iterable[str]) -> Iterator[Event]:
    """Parse lines, skipping empty ones. Raises `HistoryError` with the line's number."""
    return (event for _, event in numbered_history(lines))


def numbered_history(lines: Iterable[str]) -> Iterator[tuple[int, Event]]:
    """Every event with the number of its line, from 1. A value that is sent twice is an error like any other: all
    checks rest on their being unique."""
    sent: dict[Value, int] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                event = from_line(line)
                if isinstance(event, Send):
                    first = sent.setdefault(event.value, number)
                    if first != number:
                        raise HistoryError(f"the value {_shown(event.value)} was sent in line {first} already")
            except HistoryError as error:
                raise HistoryError(f"line {number}: {error}") from None
            yield number, event
