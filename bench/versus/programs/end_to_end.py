"""From a record's intended moment to its arrival at a consumer, at a steady rate; both on librdkafka, a process each.

Argument: `topic`, `bootstrap`, `rate` (records a second), `seconds`, `warm_s`, `record_bytes`. Found: percentiles in
ms by their names, and `records`. A record's clock starts when it is due, sent or not, so a stall counts for all that
had to wait (no coordinated omission). The first record, and what is due in the `warm_s` after its arrival, does not
count.
"""

import json
import multiprocessing
import sys
import time
from multiprocessing.synchronize import Event
from struct import Struct
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

STAMP = Struct("d")
LATE_S = 30.0
"""How long a record may take before the run has failed."""


def main() -> None:
    asked = json.loads(sys.argv[1])
    context = multiprocessing.get_context("spawn")
    ready, flowing = context.Event(), context.Event()
    sender = context.Process(target=send, args=(asked, ready, flowing))
    sender.start()
    try:
        waits = receive(asked, ready, flowing)
        sender.join(LATE_S)
    finally:
        sender.kill()
        sender.join()
    waits.sort()
    found = {name: 1_000 * waits[int(len(waits) * share)] for name, share in SHARES.items()}
    print(json.dumps({**found, "max": 1_000 * waits[-1], "records": len(waits)}))


SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def receive(asked: Any, ready: Event, flowing: Event) -> list[float]:
    consumer = Consumer({"bootstrap.servers": asked["bootstrap"], "group.id": "unused", "enable.auto.commit": False})
    partitions = consumer.list_topics(asked["topic"], timeout=LATE_S).topics[asked["topic"]].partitions
    begin = [TopicPartition(asked["topic"], number, 0) for number in partitions]
    consumer.assign(begin)
    ready.set()
    waits: list[float] = []
    warm, expected = (int(asked[name] * asked["rate"]) for name in ("warm_s", "seconds"))
    for number in range(1 + warm + expected):
        message = consumer.poll(LATE_S)
        if message is None or message.error():
            raise KafkaException(message and message.error())
        flowing.set()
        if number > warm:
            waits.append(time.monotonic() - STAMP.unpack_from(message.value())[0])
    consumer.close()
    return waits


def send(asked: Any, ready: Event, flowing: Event) -> None:
    producer = Producer({"bootstrap.servers": asked["bootstrap"], "acks": "all", "linger.ms": 0})
    producer.list_topics(asked["topic"], timeout=LATE_S)
    rest = bytes(asked["record_bytes"] - STAMP.size)
    assert ready.wait(LATE_S), "no consumer"
    producer.produce(asked["topic"], STAMP.pack(0.0) + rest)  # both are connected when it has arrived
    producer.flush(LATE_S)
    assert flowing.wait(LATE_S), "the first record has not arrived"
    began = time.monotonic()
    for number in range(int((asked["warm_s"] + asked["seconds"]) * asked["rate"])):
        due = began + number / asked["rate"]
        while (early := due - time.monotonic()) > 0:
            time.sleep(early)
        producer.produce(asked["topic"], STAMP.pack(due) + rest)
        producer.poll(0)
    producer.flush(LATE_S)


if __name__ == "__main__":
    main()
