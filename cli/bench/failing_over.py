"""`kraftpy bench failover`: writes at a rate while somebody hurts the cluster, then reads everything back.

The bookkeeping is that of `kraftpy demo`: each record has an id, and everything acknowledged must come back once, as it
was sent and in the order of its key.
"""

import time
from collections.abc import Sequence

from cli.bench.door import Door, Position, Reader, ReaderSettings, SenderSettings
from cli.bench.live import Live
from cli.bench.producing import WARM_UP_S, described, sent_fields, watch
from cli.bench.report import Outcome, stretch_fields
from cli.bench.sending import Load, Outgoing, Sending
from cli.bench.stop import Stop
from cli.bench.topics import Shape, Topic, topic_of
from cli.bench.waits import Waits
from cli.demo.access_log import Line
from cli.demo.ledger import Ledger, Reading, Verdict, id_header
from kraftpy.errors import KraftpyError

KEYS = 100
VERDICT = ("read", "lost", "duplicated", "out_of_order", "damaged", "foreign")
POLL_S = 0.2
SILENCE_S = 60.0  # no record for so long, although the end is not reached: whoever was killed may be starting again


class Publication:
    """What is sent, and what becomes of it: the ledger and the waits. Each side of it runs on one thread."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.ledger = Ledger(lines)
        self.waits = Waits()

    def make(self, index: int) -> Outgoing:
        record_id, line = self.ledger.send()
        assert record_id == index
        return Outgoing(line.value, line.key, id_header(record_id))

    def acknowledged(self, index: int, due_us: int, now_us: int, partition: int) -> None:
        self.ledger.acknowledge(index)
        self.waits.acknowledged(due_us, now_us, partition)

    def failed(self, index: int, due_us: int, now_us: int, partition: int) -> None:
        self.waits.failed(due_us, now_us, partition)


def measure_failing_over(
    door: Door,
    name: str | None,
    shape: Shape,
    settings: SenderSettings,
    load: Load,
    values: Sequence[bytes],
    live: Live,
    stop: Stop,
) -> Outcome:
    """Raises what kept everything from being acknowledged."""
    size_bytes = len(values[0])
    lines = [Line(b"key-%d" % (number % KEYS), value) for number, value in enumerate(values)]
    publication = Publication(lines)
    with topic_of(door, name, shape) as topic:
        sending = Sending(door, topic.name, settings, load, publication.make, publication)
        try:
            sending.warm_up(topic.partitions, Outgoing(values[0]), WARM_UP_S)
            start = _ends(door, topic)
            live.say(f"writing {load.rate:g} records/s to {topic.name}; hurt the cluster now, Ctrl-C ends it early")
            watch(
                sending,
                size_bytes,
                live,
                stop,
                lambda: f"longest gap {publication.waits.longest_gap_us / 1e3:,.0f} ms",
            )
        finally:
            sending.close()
        verdict: Verdict | None = None
        error: Exception | None = None
        try:
            verdict = _read_back(door, topic, start, publication.ledger, live)
        except (KraftpyError, TimeoutError) as why:  # what was measured is told, although the cluster is gone
            error = why
    waits = publication.waits
    return Outcome(
        fields={
            "command": "failover",
            **described(door, topic, settings, load, size_bytes),
            **sent_fields(sending, size_bytes),
            "longest_wait_ms": round(waits.longest_us / 1e3, 3),
            "longest_gap_ms": round(waits.longest_gap_us / 1e3, 3),
            **{name: None if verdict is None else getattr(verdict, name) for name in VERDICT},
            "interrupted": stop.told,
        },
        stretches=[stretch_fields(stretch) for stretch in waits.stretches()],
        error=error,
        trouble="not everything could be read back",
        clean=verdict is None or verdict.clean,
        interrupted=stop.told,
        examples=() if verdict is None else verdict.examples,
    )


def _ends(door: Door, topic: Topic) -> Position:
    reader = door.reader(ReaderSettings())
    try:
        return reader.ends(topic.name, topic.partitions)
    finally:
        reader.close()


def _read_back(door: Door, topic: Topic, start: Position, ledger: Ledger, live: Live) -> Verdict:
    """Everything since `start`. Raises `TimeoutError` where records stop coming."""
    live.begin()
    reading = Reading(ledger)
    reader = door.reader(ReaderSettings())
    try:
        ends = reader.ends(topic.name, topic.partitions)
        reader.assign(start)
        _read(reader, ends, reading, live)
    finally:
        live.clear()
        reader.close()
    return reading.judge()


def _read(reader: Reader, ends: Position, reading: Reading, live: Live) -> None:
    heard = time.monotonic()
    left = dict(ends)
    while left:
        records = reader.poll(POLL_S)
        for record in reader.seen(records):
            reading.see(record.partition, record.offset, record.key, record.value, record.headers)
        live.show(reading.read, 0, None, "read back")
        if records:
            heard = time.monotonic()
            continue
        left = {place: end for place, end in left.items() if reader.position(place) < end}
        if left and time.monotonic() - heard > SILENCE_S:
            behind = ", ".join(f"{place} up to {end}" for place, end in left.items())
            raise TimeoutError(f"no record for {SILENCE_S:.0f} s, and not everything is read back: {behind}")
