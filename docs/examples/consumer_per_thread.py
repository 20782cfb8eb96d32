"""Several threads, a consumer each, one group: the simple way to use more than one thread.

A consumer belongs to one thread. The group gives each consumer some of the partitions, so within a partition order is
kept, and there are never more busy threads than partitions.
"""

import threading
from collections.abc import Callable

from kraftpy import Consumer, ConsumerRecord


def consume_in_threads(
    bootstrap: str,
    topic: str,
    group: str,
    handle: Callable[[ConsumerRecord], None],
    stop: threading.Event,
    threads: int = 4,
) -> None:
    """Hand every record to `handle`, on one of the threads, until `stop` is set. Returns when all have ended."""

    def work() -> None:
        with Consumer(topic, bootstrap=bootstrap, group_id=group, auto_offset_reset="earliest") as consumer:
            while not stop.is_set():
                for record in consumer.poll(timeout=0.5):
                    # What poll returned counts as processed at the next poll, and where the `with` ends without an
                    # exception: auto-commit goes by that. Where this raises, the whole batch is read again.
                    handle(record)

    workers = [threading.Thread(target=work, name=f"consumer-{number}") for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
