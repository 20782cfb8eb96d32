"""What goes to a cleaner and what comes back: plain values that can cross to another process."""

from dataclasses import dataclass
from typing import NamedTuple


class Source(NamedTuple):
    """A closed segment that is read."""

    base_offset: int
    end_offset: int  # where the next segment begins
    size_bytes: int


class KnownProducer(NamedTuple):
    """A producer that the log remembers. Its newest batch (or without one, its marker) must not vanish."""

    producer_id: int
    epoch: int
    last_offset: int  # of its newest batch; -1: only a marker is known


@dataclass(frozen=True, slots=True)
class CleaningJob:
    """Clean these segments of the log in `directory`; they lie end to end."""

    directory: str
    sources: tuple[Source, ...]
    first_dirty_offset: int
    wall_ms: int
    map_bytes: int
    """Memory for the keys of one round. When it is used up, the round ends there and the next one goes on."""
    delete_retention_ms: int
    segment_bytes: int
    segment_index_bytes: int
    index_interval_bytes: int
    producers: tuple[KnownProducer, ...]


class CleanedSegment(NamedTuple):
    """A finished file with its indexes, durable, under names that end in `.cleaned`."""

    base_offset: int
    end_offset: int
    size_bytes: int
    index_bytes: int
    time_index_bytes: int
    sources: tuple[int, ...]
    """Base offsets of the segments whose place it takes: exactly those in `[base_offset, end_offset)`."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The result of a job. Sources that no cleaned segment names stay as they are."""

    end_offset: int
    """Everything below is clean now."""
    segments: tuple[CleanedSegment, ...]
    bytes_read: int
    bytes_written: int
    records_read: int
    records_kept: int
    keyless: int
    """Records without a key, from before the topic was compacted; they are dropped, as Kafka does."""
    map_was_full: bool
    map_share: float
    """How much of the map was used, between 0 and 1."""
