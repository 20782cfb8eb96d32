"""What a measurement found: fields with their units in their names, and the table that people read. Pure.

Fields are what `-o json` prints; `docs/bench.md` says what each means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli.bench.waits import Stretch

Fields = Mapping[str, Any]

_UNITS = {
    "_bytes": ("B", ""),
    "megabytes_per_second": ("MB/s", "throughput"),
    "records_per_second": ("records/s", "rate"),
    "_seconds": ("s", ""),
    "_ms": ("ms", ""),
}
"""What the end of a field's name says: its unit, and how the table calls the quantity where the rest does not."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A measurement that is over."""

    fields: Fields
    stretches: Sequence[Fields] = ()
    error: Exception | None = None
    """What kept some records from being acknowledged, or read."""
    trouble: str = "not all records were acknowledged"
    """What `error` has done."""
    clean: bool = True
    """Whether everything that was acknowledged came back."""
    interrupted: bool = False
    examples: Sequence[str] = ()
    """A sentence each about what was not clean."""


def rates(records: int, size_bytes: int, seconds: float) -> Fields:
    """A megabyte is 1,000,000 bytes. None where no time has passed."""
    if seconds <= 0:
        return {"records_per_second": None, "megabytes_per_second": None}
    return {
        "records_per_second": round(records / seconds, 1),
        "megabytes_per_second": round(size_bytes / 1e6 / seconds, 3),
    }


def stretch_fields(stretch: Stretch) -> Fields:
    return {
        "start_seconds": round(stretch.start_us / 1e6, 3),
        "end_seconds": round(stretch.end_us / 1e6, 3),
        "longest_wait_ms": round(stretch.longest_us / 1e3, 3),
        "records": stretch.records,
        "failed": stretch.failed,
        "partitions": sorted(stretch.partitions),
    }


def table_of(fields: Fields) -> str:
    """A line a field, the figures to the right; what is not known is a dash."""
    rows: list[tuple[str, str, str]] = []
    for name, value in fields.items():
        title, unit = _titled(name)
        if isinstance(value, Mapping):
            rows += [(f"{title} {inner}", *_shown(each, unit)) for inner, each in value.items()]
        else:
            rows.append((title, *_shown(value, unit)))
    left, right = (max(len(row[side]) for row in rows) for side in (0, 1))
    return "\n".join(f"  {title:<{left}}  {text:>{right}} {unit}".rstrip() for title, text, unit in rows)


def _titled(name: str) -> tuple[str, str]:
    """`fetch_megabytes_per_second` is fetch throughput, in MB/s."""
    for end, (unit, quantity) in _UNITS.items():
        if name == end.lstrip("_") or name.endswith(end):
            title = name.removesuffix(end.lstrip("_")).removesuffix("_").replace("_", " ")
            return f"{title} {quantity}".strip() or name, unit
    return name.replace("_", " "), ""


def _shown(value: Any, unit: str) -> tuple[str, str]:
    if value is None:
        return "-", ""
    if isinstance(value, bool):
        return "yes" if value else "no", ""
    return f"{value:,}" if isinstance(value, int | float) else str(value), unit
