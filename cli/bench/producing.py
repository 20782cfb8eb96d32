"""`kraftpy bench produce`: how much is taken, and how long each record waits for its acknowledgement."""

from collections.abc import Callable, Sequence
from typing import Any

from cli.bench.door import Door, SenderSettings
from cli.bench.histogram import milliseconds
from cli.bench.live import Live
from cli.bench.report import Outcome, rates
from cli.bench.sending import Load, Outgoing, Sending
from cli.bench.stop import Stop
from cli.bench.topics import Shape, Topic, topic_of

LOOK_S = 0.1
WARM_UP_S = 30.0


def measure_producing(
    door: Door,
    name: str | None,
    shape: Shape,
    settings: SenderSettings,
    load: Load,
    values: Sequence[bytes],
    warm_up: bool,
    live: Live,
    stop: Stop,
) -> Outcome:
    """Raises what kept everything from being acknowledged."""
    pool = [Outgoing(value) for value in values]
    count = len(pool)
    with topic_of(door, name, shape) as topic:
        sending = Sending(door, topic.name, settings, load, lambda index: pool[index % count])
        try:
            if warm_up:
                sending.warm_up(topic.partitions, pool[0], WARM_UP_S)
            watch(sending, len(values[0]), live, stop)
        finally:
            sending.close()
    return Outcome(
        fields={
            "command": "produce",
            **described(door, topic, settings, load, len(values[0])),
            **sent_fields(sending, len(values[0])),
            "interrupted": stop.told,
        },
        error=sending.broken_by,
        interrupted=stop.told,
    )


def watch(sending: Sending, size_bytes: int, live: Live, stop: Stop, more: Callable[[], str] = lambda: "") -> None:
    """Start it, and show it until it is over, or somebody ends it. Raises what kept all from being acknowledged."""
    live.begin()
    with stop.held():
        sending.start()
        while not sending.wait(LOOK_S):
            if stop.told:
                sending.stop()
            live.show(sending.acknowledged, sending.acknowledged * size_bytes, sending.latencies, more())
    live.clear()
    if sending.broken_by is not None and not sending.acknowledged and not stop.told:
        raise sending.broken_by


def described(door: Door, topic: Topic, settings: SenderSettings, load: Load, size_bytes: int) -> dict[str, Any]:
    """What was done, and how."""
    return {
        "door": str(door.name),
        "topic": topic.name,
        "partitions": topic.partitions,
        "replication_factor": topic.replication_factor,
        "acks": settings.acks,
        "compression": settings.compression,
        "record_size_bytes": size_bytes,
        "target_records_per_second": load.rate or None,
    }


def sent_fields(sending: Sending, size_bytes: int) -> dict[str, Any]:
    return {
        "sent": sending.sent,
        "acknowledged": sending.acknowledged,
        "failed": sending.sent - sending.acknowledged,
        "unsent": sending.unsent,
        "seconds": round(sending.seconds, 3),
        **rates(sending.acknowledged, sending.acknowledged * size_bytes, sending.seconds),
        "latency_ms": milliseconds(sending.latencies),
    }
