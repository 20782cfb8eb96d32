"""A member of a group on librdkafka that reads when it is told to.

Argument: `topic`, `settings` (librdkafka's). It joins, and prints `assigned COUNT` whenever its partitions change; they
are paused until a line comes on the standard input. Then it prints `read RECORDS BYTES SECONDS` (in all, and the
monotonic clock) every `TELL_S` with news, until the input ends.
"""

import json
import select
import sys
import time
from typing import Any

from confluent_kafka import Consumer, KafkaException

TELL_S = 0.02
BATCH = 5_000
WAIT_S = 0.02


def main() -> None:
    asked = json.loads(sys.argv[1])
    consumer = Consumer(asked["settings"])
    released = False

    def assigned(client: Any, partitions: list[Any]) -> None:
        client.assign(partitions)
        if not released:
            client.pause(partitions)
        tell("assigned", len(partitions))

    def revoked(client: Any, _: list[Any]) -> None:
        client.unassign()
        tell("assigned", 0)

    consumer.subscribe([asked["topic"]], on_assign=assigned, on_revoke=revoked)
    records = size = 0
    told_s, told = 0.0, 0
    while True:
        found = consumer.consume(BATCH, WAIT_S)
        if found:
            failed = next((message.error() for message in found if message.error()), None)
            if failed is not None:
                raise KafkaException(failed)
            records += len(found)
            size += sum(len(message.value()) for message in found)
            read_s = time.monotonic()
        if records > told and time.monotonic() - told_s >= TELL_S:
            tell("read", records, size, read_s)
            told_s, told = time.monotonic(), records
        if select.select([sys.stdin], [], [], 0)[0]:
            if not sys.stdin.readline():
                break
            released = True
            consumer.resume(consumer.assignment())
    consumer.close()


def tell(*words: object) -> None:
    print(*words, flush=True)


if __name__ == "__main__":
    main()
