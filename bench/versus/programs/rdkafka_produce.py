"""A producer on librdkafka: as fast as it goes, or each record only after the answer to the last one.

Argument: `topic`, `settings` (librdkafka's), `record_bytes`, `sync`, `records` and `seconds` (one ends it, or both).
Found: `records`, and `seconds` from the first send to the last answer. A record that failed is an error.
"""

import json
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

from confluent_kafka import KafkaError, Producer

from bench.versus.programs.payload import values

FULL_S = 0.01
ANSWER_S = 120.0
SLICE = 1_000
"""Records between two looks at the clock."""


def main() -> None:
    asked = json.loads(sys.argv[1])
    errors: list[str] = []

    def answered(error: KafkaError | None, _: Any) -> None:
        if error is not None:
            errors.append(error.str())

    settings = {**asked["settings"], "on_delivery": answered, "delivery.report.only.error": not asked["sync"]}
    producer = Producer(settings)
    producer.list_topics(asked["topic"], timeout=ANSWER_S)  # a connection, and the leaders
    pool = values(asked["record_bytes"])
    began = time.monotonic()
    sent = (one_by_one if asked["sync"] else flat_out)(producer, asked["topic"], pool, slices(asked, began))
    left = producer.flush(ANSWER_S)
    took = time.monotonic() - began
    if left or errors:
        sys.exit(f"{left} records without an answer, {len(errors)} refused {errors[:1]}")
    print(json.dumps({"records": sent, "seconds": took}))


def slices(asked: Any, began: float) -> Iterator[int]:
    """How many records to send next, until there are enough or the time is over."""
    size = 1 if asked["sync"] else SLICE
    left = asked.get("records") or sys.maxsize
    end = began + (asked.get("seconds") or float("inf"))
    while left > 0 and time.monotonic() < end:
        yield min(size, left)
        left -= size


def flat_out(producer: Any, topic: str, pool: list[bytes], counts: Iterator[int]) -> int:
    produce = producer.produce
    endless = cycle(pool)
    sent = 0
    for count in counts:
        for value in islice(endless, count):
            while True:
                try:
                    produce(topic, value)
                    break
                except BufferError:
                    producer.poll(FULL_S)
        sent += count
    return sent


def one_by_one(producer: Any, topic: str, pool: list[bytes], counts: Iterator[int]) -> int:
    sent = 0
    for value, _ in zip(cycle(pool), counts, strict=False):
        producer.produce(topic, value)
        while len(producer):
            producer.poll(ANSWER_S)
        sent += 1
    return sent


if __name__ == "__main__":
    main()
