"""At most once, at least once, exactly once: what is committed when.

| | committed | after a crash |
|---|---|---|
| `at_most_once` | before a record is processed | some are lost, none is processed twice |
| `at_least_once` | after | none is lost, some are processed twice |
| `exactly_once` | together with what processing has written, in a transaction | neither |

Exactly once holds for what is written to topics, as readers of committed records see it. What a program does elsewhere
(a mail, a database) it may do twice: there, write down the offset together with the result.
"""

from collections.abc import Callable
from typing import Any

from kraftpy import Consumer, ConsumerRecord, Producer

Process = Callable[[ConsumerRecord], bytes]


def at_most_once(bootstrap: str, source: str, target: str, group: str, process: Process, count: int) -> None:
    """Process about `count` records."""
    with reader(bootstrap, source, group) as consumer, Producer(bootstrap) as producer:
        while count > 0:
            records = consumer.poll(timeout=1)
            consumer.commit()  # now, whatever becomes of them
            for record in records:
                producer.send(target, process(record)).result()
            count -= len(records)


def at_least_once(bootstrap: str, source: str, target: str, group: str, process: Process, count: int) -> None:
    """Process about `count` records."""
    with reader(bootstrap, source, group) as consumer, Producer(bootstrap) as producer:
        while count > 0:
            records = consumer.poll(timeout=1)
            for record in records:
                producer.send(target, process(record))
            producer.flush()  # everything is delivered …
            consumer.commit()  # … before it counts as read
            count -= len(records)


def exactly_once(bootstrap: str, source: str, target: str, group: str, process: Process, count: int) -> None:
    """Process about `count` records. The transactional id is this program's own, also after a restart."""
    with (
        reader(bootstrap, source, group) as consumer,
        Producer(bootstrap, transactional_id=f"{group}-{source}") as producer,
    ):
        while count > 0:
            records = consumer.poll(timeout=1)
            if not records:
                continue
            with producer.transaction():
                for record in records:
                    producer.send(target, process(record))
                producer.send_offsets(records, consumer.group_metadata())
            count -= len(records)


def reader(bootstrap: str, source: str, group: str) -> Any:
    return Consumer(
        source,
        bootstrap=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_poll_records=10,
    )
