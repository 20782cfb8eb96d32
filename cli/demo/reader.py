"""Reading the topic: a thread that follows it while things happen, and one pass over everything at the end."""

import threading
import time
from collections.abc import Callable, Mapping

from cli.demo.ledger import Reading
from kraftpy import Consumer, ConsumerRecord, TopicPartition

POLL_S = 0.2
POLL_RECORDS = 2_000
SILENCE_S = 60.0  # no record for so long, although the end is not reached


class Follower:
    """A consumer that reads from the beginning, in a thread of its own, until it is told where the end is."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, reading: Reading) -> None:
        self.reading = reading
        self.error: Exception | None = None
        self._bootstrap = bootstrap
        self._places = [TopicPartition(topic, partition) for partition in range(partitions)]
        self._ends: Mapping[TopicPartition, int] | None = None
        self._thread = threading.Thread(target=self._run, name="demo-follower", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self, ends: Mapping[TopicPartition, int]) -> None:
        """Read up to `ends`, then stop. Raises `TimeoutError` where the records stop coming before."""
        self._ends = ends
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            with Consumer(
                bootstrap=self._bootstrap, auto_offset_reset="earliest", client_id="kraftpy-demo"
            ) as consumer:
                consumer.assign(self._places)
                _read(consumer, self.reading, lambda: self._ends)
        except Exception as error:  # the top of this thread; `finish` raises it
            self.error = error


def read_everything(bootstrap: str, topic: str, reading: Reading, told: Callable[[int], None]) -> None:
    """One pass from the beginning to what is the end now. `told` hears how far it is, in records."""
    with Consumer(bootstrap=bootstrap, auto_offset_reset="earliest", client_id="kraftpy-demo") as consumer:
        places = [TopicPartition(topic, partition) for partition in range(consumer.partitions_for(topic))]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        _read(consumer, reading, lambda: ends, told)


def end_offsets(bootstrap: str, topic: str, partitions: int) -> dict[TopicPartition, int]:
    """Where each partition ends now."""
    with Consumer(bootstrap=bootstrap, client_id="kraftpy-demo") as consumer:
        return consumer.end_offsets([TopicPartition(topic, partition) for partition in range(partitions)])


def _read(
    consumer: Consumer,
    reading: Reading,
    ends_now: Callable[[], Mapping[TopicPartition, int] | None],
    told: Callable[[int], None] | None = None,
) -> None:
    """Note records until the ends, once they are known, are reached."""
    heard_at = time.monotonic()
    while True:
        records = consumer.poll(POLL_S, POLL_RECORDS)
        _note(records, reading)
        if told is not None:
            told(reading.read)
        if records:
            heard_at = time.monotonic()
            continue
        ends = ends_now()
        if ends is not None and all(consumer.position(place) >= end for place, end in ends.items()):
            return
        if ends is None:
            heard_at = time.monotonic()
        elif time.monotonic() - heard_at > SILENCE_S:
            behind = {str(place): end for place, end in ends.items() if consumer.position(place) < end}
            raise TimeoutError(f"no record for {SILENCE_S:.0f} s, and these partitions go on to {behind}")


def _note(records: list[ConsumerRecord], reading: Reading) -> None:
    see = reading.see
    for record in records:
        see(record.partition, record.offset, record.key, record.value, record.headers)
