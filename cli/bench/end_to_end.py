"""`kraftpy bench latency`: how long a record takes from its producer to its consumer, at a rate."""

import secrets
from collections.abc import Sequence

from cli.bench.door import Door, ReaderSettings, SenderSettings
from cli.bench.histogram import milliseconds
from cli.bench.live import Live
from cli.bench.payload import stamped
from cli.bench.producing import WARM_UP_S, described, sent_fields, watch
from cli.bench.receiving import Receiving
from cli.bench.report import Outcome
from cli.bench.sending import WARM_UP, Load, Outgoing, Sending
from cli.bench.stop import Stop
from cli.bench.topics import Shape, topic_of
from kraftpy.errors import CallTimeoutError


def measure_end_to_end(
    door: Door,
    name: str | None,
    shape: Shape,
    settings: SenderSettings,
    load: Load,
    values: Sequence[bytes],
    live: Live,
    stop: Stop,
) -> Outcome:
    """Raises what kept everything from being acknowledged, or the reader from reading."""
    run_id = secrets.randbits(64)

    def make(index: int) -> Outgoing:
        return Outgoing(stamped(run_id, index, values[index % len(values)]))

    with topic_of(door, name, shape) as topic:
        reader = door.reader(ReaderSettings())
        receiving = Receiving(reader, run_id)
        sending = Sending(door, topic.name, settings, load, make, receiving)
        try:
            reader.assign(reader.ends(topic.name, topic.partitions))
            receiving.start(sending)
            sending.warm_up(topic.partitions, Outgoing(stamped(run_id, WARM_UP, values[0])), WARM_UP_S)
            if not receiving.warmed_up(topic.partitions, WARM_UP_S):
                raise receiving.error or CallTimeoutError(
                    f"a record that was acknowledged was not read within {WARM_UP_S:.0f} s"
                )
            watch(sending, len(values[0]), live, stop)
            missing = receiving.finish()
        finally:
            sending.close()
            receiving.close()
    return Outcome(
        fields={
            "command": "latency",
            **described(door, topic, settings, load, len(values[0])),
            **sent_fields(sending, len(values[0])),
            "received": receiving.received,
            "missing": missing,
            "duplicated": receiving.duplicated,
            "end_to_end_ms": milliseconds(receiving.latencies),
            "interrupted": stop.told,
        },
        error=sending.broken_by,
        clean=not missing,
        interrupted=stop.told,
        examples=[f"{missing} records were acknowledged and did not arrive"] if missing else (),
    )
