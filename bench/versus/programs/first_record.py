"""Waits for a cluster that is about to start, and tells when it has the first acknowledged record.

Argument: `bootstrap`, `topic`, `seconds` (how long at most). It prints `ready` first. Found: `monotonic_s`, the
system's monotonic clock at the acknowledgement. It looks every 10 ms whether a node listens, then as often whether the
topic, which asking for it makes, has a leader: so the cluster is what is waited for, and not the client's patience.
"""

import json
import socket
import sys
import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

LOOK_S = 0.01
ASK_S = 1.0
AGAIN_MS = 10


def main() -> None:
    asked = json.loads(sys.argv[1])
    answers: list[tuple[KafkaError | None, float]] = []

    def answered(error: KafkaError | None, _: Any) -> None:
        answers.append((error, time.monotonic()))

    deadline = time.monotonic() + asked["seconds"]
    print("ready", flush=True)
    while not is_listening(asked["bootstrap"]):
        pause(deadline, "a listener")
    producer = Producer(
        {
            "bootstrap.servers": asked["bootstrap"],
            "acks": "all",
            "linger.ms": 0,
            "on_delivery": answered,
            "reconnect.backoff.ms": AGAIN_MS,
            "reconnect.backoff.max.ms": AGAIN_MS,
            "retry.backoff.ms": AGAIN_MS,
            "retry.backoff.max.ms": AGAIN_MS,
            "log_level": 0,
            "error_cb": lambda _: None,  # not every node is there yet
        }
    )
    while not has_leader(producer, asked["topic"]):
        pause(deadline, "a leader")
    producer.produce(asked["topic"], b"first")
    while not answers:
        producer.poll(LOOK_S)
        if time.monotonic() > deadline:
            sys.exit("no answer to the first record")
    error, answered_s = answers[0]
    if error is not None:
        sys.exit(f"no first record: {error}")
    print(json.dumps({"monotonic_s": answered_s}))


def is_listening(bootstrap: str) -> bool:
    """Whether any node takes connections."""
    for address in bootstrap.split(","):
        host, _, port = address.rpartition(":")
        with socket.socket() as connection:
            if connection.connect_ex((host, int(port))) == 0:
                return True
    return False


def has_leader(producer: Any, topic: str) -> bool:
    try:
        found = producer.list_topics(topic, timeout=ASK_S).topics[topic]
    except KafkaException:
        return False
    return bool(found.partitions) and all(partition.leader >= 0 for partition in found.partitions.values())


def pause(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        sys.exit(f"there is not {what}")
    time.sleep(LOOK_S)


if __name__ == "__main__":
    main()
