"""`kraftpy bench consume`: how fast a topic is read, and how soon its first record is there."""

import time
from dataclasses import dataclass

from cli.bench.door import Door, Position, Reader, ReaderSettings
from cli.bench.live import Live
from cli.bench.report import Fields, Outcome, rates
from cli.bench.stop import Stop
from cli.bench.topics import Topic, existing

POLL_S = 0.1
ENDS_EVERY_S = 0.5  # between two looks for whether the end is reached, while records come


@dataclass(frozen=True, slots=True)
class Until:
    """When reading ends: whichever of these is met first. Without a number or a time: at what is the end now."""

    records: int | None
    seconds: float | None
    silence: float
    """Seconds without a record."""

    @property
    def at_end(self) -> bool:
        return self.records is None and self.seconds is None


@dataclass(slots=True)
class Tally:
    """What has been read. Times are seconds since the reader was made."""

    records: int = 0
    size_bytes: int = 0
    first_s: float | None = None
    first_records: int = 0  # what came at once with the first record
    first_bytes: int = 0
    last_s: float = 0.0
    ended_by: str = "end"

    def note(self, records: int, size_bytes: int, now_s: float) -> None:
        if self.first_s is None:
            self.first_s, self.first_records, self.first_bytes = now_s, records, size_bytes
        self.records += records
        self.size_bytes += size_bytes
        self.last_s = now_s

    def fetch_rates(self) -> Fields:
        """Of what came after the first records, over the time after them: connecting and joining are left out."""
        seconds = self.last_s - (self.first_s or 0.0)
        found = rates(self.records - self.first_records, self.size_bytes - self.first_bytes, seconds)
        return {f"fetch_{name}": rate for name, rate in found.items()}


def measure_consuming(door: Door, name: str, settings: ReaderSettings, until: Until, live: Live, stop: Stop) -> Outcome:
    """Raises `UnknownTopicOrPartitionError`, and what the reader meets."""
    topic = existing(door, name)
    live.begin()
    started = time.monotonic()
    reader = door.reader(settings)
    try:
        with stop.held():
            ends = _begin(reader, topic, settings.group, until)
            tally = _read(reader, ends, until, started, live, stop)
            live.clear()
            if settings.group is not None:
                reader.commit()
    finally:
        reader.close()
    return Outcome(
        fields={
            "command": "consume",
            "door": str(door.name),
            "topic": topic.name,
            "partitions": topic.partitions,
            "group": settings.group,
            "records": tally.records,
            "bytes": tally.size_bytes,
            "seconds": round(tally.last_s, 3),
            "time_to_first_record_ms": None if tally.first_s is None else round(tally.first_s * 1e3, 3),
            **rates(tally.records, tally.size_bytes, tally.last_s),
            **tally.fetch_rates(),
            "ended_by": tally.ended_by,
            "interrupted": stop.told,
        },
        interrupted=stop.told,
    )


def _begin(reader: Reader, topic: Topic, group: str | None, until: Until) -> Position | None:
    """Where reading ends, if it ends there."""
    if group is not None:
        reader.subscribe(topic.name)
        return None
    ends = reader.ends(topic.name, topic.partitions) if until.at_end else None
    reader.assign_from_beginning(topic.name, topic.partitions)
    return ends


def _read(reader: Reader, ends: Position | None, until: Until, started: float, live: Live, stop: Stop) -> Tally:
    tally = Tally()
    left = dict(ends) if ends is not None else {}
    looked_s = 0.0
    while True:
        records = reader.poll(POLL_S)
        now_s = time.monotonic() - started
        if records:
            if until.records is not None:
                records = records[: until.records - tally.records]
            tally.note(len(records), reader.size_bytes(records), now_s)
        if ends is not None and (not records or now_s - looked_s > ENDS_EVERY_S):
            looked_s = now_s
            left = {place: end for place, end in left.items() if reader.position(place) < end}
        ended_by = _ended_by(tally, until, now_s, stop, at_end=ends is not None and not left)
        if ended_by is not None:
            tally.ended_by = ended_by
            return tally
        live.show(tally.records, tally.size_bytes, None)


def _ended_by(tally: Tally, until: Until, now_s: float, stop: Stop, *, at_end: bool) -> str | None:
    """The word for what ends it, None while nothing does."""
    if stop.told:
        return "interrupt"
    if at_end:
        return "end"
    if until.records is not None and tally.records >= until.records:
        return "records"
    if until.seconds is not None and now_s >= until.seconds:
        return "seconds"
    return "silence" if now_s - tally.last_s >= until.silence else None
