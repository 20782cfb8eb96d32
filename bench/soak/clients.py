"""The clients of a soak, each a process: `python -m bench.soak.clients ROLE ARGUMENT`, until its standard input ends.

| role | argument | prints |
|---|---|---|
| write | `bootstrap`, `topic`, `rate` (a second), `record_bytes`, `keys` (0: none) | at its end, `records`, `late_s` |
| read | `bootstrap`, `topic` | each ten seconds, `records`, and `p50`, `p99`, `max` in ms |

A record begins with the monotonic time at which it was due, sent or not, so a stall counts for all that had to wait.
"""

import json
import sys
import threading
import time
from random import Random
from struct import Struct
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.versus.programs.payload import values

STAMP = Struct("d")
PAUSE_S = 0.005
POLL_S = 0.2
POLLED_MAX = 2_000
SAMPLED = 20
"""Of so many records one is looked at."""

TELL_S = 10.0
ANSWER_S = 60.0


def main() -> None:
    role, asked = sys.argv[1], json.loads(sys.argv[2])
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    {"write": write, "read": read}[role](asked, ended)


def write(asked: Any, ended: threading.Event) -> None:
    errors: list[str] = []

    def answered(error: Any, _: Any) -> None:
        if error is not None:
            errors.append(error.str())

    settings = {"bootstrap.servers": asked["bootstrap"], "acks": "all", "log_level": 0}
    producer = Producer({**settings, "on_delivery": answered, "delivery.report.only.error": True})
    producer.list_topics(asked["topic"], timeout=ANSWER_S)
    random, pool = Random(1), [value[STAMP.size :] for value in values(asked["record_bytes"])]
    keys = [b"key-%08d" % key for key in range(asked["keys"])]
    topic, rate, pack, produce = asked["topic"], asked["rate"], STAMP.pack, producer.produce
    sent, late_s = 0, 0.0
    began = time.monotonic()
    while not ended.is_set() and not errors:
        due = int((time.monotonic() - began) * rate)
        while sent < due:
            value = pack(began + sent / rate) + pool[sent % len(pool)]
            try:
                produce(topic, value, random.choice(keys)) if keys else produce(topic, value)
            except BufferError:
                producer.poll(PAUSE_S)
                break
            sent += 1
        late_s = max(late_s, time.monotonic() - began - sent / rate)
        producer.poll(PAUSE_S)
    left = producer.flush(ANSWER_S)
    if left or errors:
        sys.exit(f"{left} records without an answer, {len(errors)} refused {errors[:1]}")
    print(json.dumps({"records": sent, "late_s": late_s}))


def read(asked: Any, ended: threading.Event) -> None:
    settings = {"bootstrap.servers": asked["bootstrap"], "group.id": "unused", "enable.auto.commit": False}
    consumer = Consumer({**settings, "log_level": 0})
    partitions = consumer.list_topics(asked["topic"], timeout=ANSWER_S).topics[asked["topic"]].partitions
    consumer.assign([TopicPartition(asked["topic"], number, 0) for number in partitions])
    waits: list[float] = []
    records, tell_at = 0, time.monotonic() + TELL_S
    while not ended.is_set():
        messages = consumer.consume(POLLED_MAX, POLL_S)
        now = time.monotonic()
        records += len(messages)
        waits += [now - STAMP.unpack_from(message.value())[0] for message in messages[::SAMPLED]]
        if now >= tell_at:
            tell_at += TELL_S
            print(json.dumps({"records": records, **percentiles_ms(waits)}), flush=True)
            waits.clear()
    consumer.close()


def percentiles_ms(waits: list[float]) -> dict[str, float]:
    if not waits:
        return {}
    waits = sorted(waits)
    chosen = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: 1_000 * waits[min(int(len(waits) * share), len(waits) - 1)] for name, share in chosen.items()}


if __name__ == "__main__":
    main()
