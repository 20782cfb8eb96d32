"""A topic with many partitions: made, in sync, and written to.

Argument: `bootstrap`, `topic`, `partitions`, `replicas`. Found, in seconds since the request: `created` (its answer),
`in_sync` (the metadata names a leader and all replicas in sync, for every partition), `written` (one record to each,
all sent at once, has its acknowledgement by all replicas).
"""

import json
import sys
import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

LOOK_S = 0.02
WAIT_S = 240.0


def main() -> None:
    asked = json.loads(sys.argv[1])
    admin = AdminClient({"bootstrap.servers": asked["bootstrap"]})
    producer = Producer({"bootstrap.servers": asked["bootstrap"], "acks": "all", "linger.ms": 0})
    admin.list_topics(timeout=WAIT_S), producer.list_topics(timeout=WAIT_S)  # connected
    began = time.monotonic()
    made = NewTopic(asked["topic"], num_partitions=asked["partitions"], replication_factor=asked["replicas"])
    admin.create_topics([made], operation_timeout=WAIT_S, request_timeout=WAIT_S)[asked["topic"]].result(WAIT_S)
    created = time.monotonic() - began
    while not is_in_sync(admin, asked):
        if time.monotonic() - began > WAIT_S:
            sys.exit(f"not in sync within {WAIT_S:.0f} s")
        time.sleep(LOOK_S)
    in_sync = time.monotonic() - began
    write(producer, asked)
    print(json.dumps({"created": created, "in_sync": in_sync, "written": time.monotonic() - began}))


def is_in_sync(admin: AdminClient, asked: Any) -> bool:
    try:
        topic = admin.list_topics(asked["topic"], timeout=WAIT_S).topics[asked["topic"]]
    except KafkaException:
        return False
    return len(topic.partitions) == asked["partitions"] and all(
        partition.leader >= 0 and len(partition.isrs) == asked["replicas"] for partition in topic.partitions.values()
    )


def write(producer: Producer, asked: Any) -> None:
    errors: list[KafkaError] = []

    def answered(error: KafkaError | None, _: Any) -> None:
        if error is not None:
            errors.append(error)

    for partition in range(asked["partitions"]):
        producer.produce(asked["topic"], b"first", partition=partition, on_delivery=answered)
    if left := producer.flush(WAIT_S):
        sys.exit(f"{left} partitions have no first record")
    if errors:
        sys.exit(f"{len(errors)} first records were refused: {errors[0]}")


if __name__ == "__main__":
    main()
