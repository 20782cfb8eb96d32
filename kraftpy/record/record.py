"""One record, as users see it."""

from typing import NamedTuple


class Header(NamedTuple):
    """A named value that travels with a record; names may repeat, their order is kept."""

    key: str
    value: bytes | None


class Record(NamedTuple):
    """One record and where it stands."""

    offset: int
    timestamp_ms: int
    """Milliseconds since 1970, from the producer (CreateTime) or the log (LogAppendTime); -1: none."""
    key: bytes | None
    value: bytes | None
    """None is a tombstone on a compacted topic."""
    headers: tuple[Header, ...] = ()
