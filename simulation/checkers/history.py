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
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum

Value = str | int
Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

_NAMES = {"send": "Send", "poll": "Poll", "end": "End", "tail": "Tail", "operation": "Operation"}


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
        kind = body.pop("type")
        if "outcome" in body:
            body["outcome"] = Outcome(body["outcome"])
        match kind:
            case "send":
                event: Event = Send(**body)
            case "poll":
                records = tuple((str(partition), int(offset), value) for partition, offset, value in body["records"])
                event = Poll(**{**body, "records": records})
            case "end":
                event = End(**body)
            case "tail":
                event = Tail(**body)
            case "operation":
                event = Operation(**body)
            case _:
                raise HistoryError(f"unknown type {kind!r}; one of {', '.join(_NAMES)} is expected")
    except HistoryError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HistoryError(f"{type(error).__name__}: {error} in {line[:200]!r}") from None
    _check(event)
    return event


def _check(event: Event) -> None:
    match event:
        case Send() if event.outcome is Outcome.OK and (event.offset is None or event.completed_us is None):
            raise HistoryError("an acknowledged send has an offset and a time of completion")
        case Operation() if event.outcome is Outcome.OK and event.completed_us is None:
            raise HistoryError("a completed operation has a time of completion")


def read_history(lines: Iterable[str]) -> Iterator[Event]:
    """Parse lines, skipping empty ones. Raises `HistoryError` with the line's number."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield from_line(line)
            except HistoryError as error:
                raise HistoryError(f"line {number}: {error}") from None
