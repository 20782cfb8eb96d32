"""Where offsets are to be set, and how people say it. Pure.

Kafka's ways: to the beginning, the end, an offset, a time, a duration ago, by so many records, to where they are, or as
a file says. What lies outside of a partition is moved to its nearest end.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

Place = tuple[str, int]


class Mark(Enum):
    """A place that every partition has."""

    EARLIEST = "the first record"
    LATEST = "the end"
    CURRENT = "where it is"


@dataclass(frozen=True, slots=True)
class ToOffset:
    offset: int


@dataclass(frozen=True, slots=True)
class ToTime:
    """To the first record at or after it."""

    time_ms: int


@dataclass(frozen=True, slots=True)
class ShiftBy:
    records: int


@dataclass(frozen=True, slots=True)
class ByFile:
    offsets: Mapping[Place, int]


Way = Mark | ToOffset | ToTime | ShiftBy | ByFile

_DURATION = re.compile(
    r"P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)


@dataclass(frozen=True, slots=True)
class Span:
    """A partition's offsets: the first, and the one that the next record will get."""

    first: int
    end: int

    def nearest(self, offset: int) -> int:
        return min(max(offset, self.first), self.end)


def shifted(current: Mapping[Place, int], spans: Mapping[Place, Span], by: int) -> dict[Place, int]:
    """Raises `ValueError` for a partition without an offset to begin from."""
    missing = [f"{topic}-{partition}" for topic, partition in spans if (topic, partition) not in current]
    if missing:
        raise ValueError(f"nothing is committed for {', '.join(missing)}, so there is nothing to shift")
    return {place: span.nearest(current[place] + by) for place, span in spans.items()}


def kept(current: Mapping[Place, int], spans: Mapping[Place, Span]) -> dict[Place, int]:
    """Where they are; the end where nothing is committed, as Kafka has it."""
    return {place: span.nearest(current.get(place, span.end)) for place, span in spans.items()}


def parse_datetime(text: str) -> int:
    """`2026-01-31T12:00:00.000`, with a zone or in UTC, as milliseconds since 1970. Raises `ValueError`."""
    found = datetime.fromisoformat(text)
    found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return round(found.timestamp() * 1_000)


def parse_duration(text: str) -> timedelta:
    """ISO 8601: `PT1H30M`, `P7D`. Raises `ValueError`."""
    match = _DURATION.fullmatch(text.upper())
    if match is None or not any(match.groupdict().values()):
        raise ValueError(f"'{text}' is not a duration such as PT1H30M or P7D")
    try:
        return timedelta(**{name: float(value) for name, value in match.groupdict().items() if value})
    except OverflowError:
        raise ValueError(f"'{text}' is more than {timedelta.max.days} days") from None


def parse_topics(texts: Iterable[str]) -> dict[str, list[int] | None]:
    """`orders` or `orders:0,2`: topics with all partitions that are meant of each, None for every one.

    Raises `ValueError`.
    """
    found: dict[str, list[int] | None] = {}
    for text in texts:
        name, colon, numbers = text.partition(":")
        if not name or (colon and not re.fullmatch(r"\d+(,\d+)*", numbers)):
            raise ValueError(f"'{text}' is not TOPIC or TOPIC:PARTITION,…")
        before = found.get(name, [])
        if not colon or before is None:
            found[name] = None
        else:
            found[name] = list(dict.fromkeys([*before, *map(int, numbers.split(","))]))
    return found


def parse_file(text: str, group_id: str) -> dict[Place, int]:
    """Lines of topic,partition,offset, or of group,topic,partition,offset. Raises `ValueError`."""
    found: dict[Place, int] = {}
    for number, row in enumerate(csv.reader(io.StringIO(text)), 1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) == 4:
            if cells[0] != group_id:
                continue
            cells = cells[1:]
        if len(cells) != 3 or not cells[1].isdigit() or not cells[2].isdigit():
            raise ValueError(f"line {number} is not topic,partition,offset")
        found[cells[0], int(cells[1])] = int(cells[2])
    return found


def to_file(offsets: Mapping[Place, int]) -> str:
    """What `parse_file` reads, as Kafka's tool writes it for one group."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for (topic, partition), offset in sorted(offsets.items()):
        writer.writerow([topic, partition, offset])
    return out.getvalue()
