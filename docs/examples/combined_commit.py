"""Committing without waiting in the loop, and for certain at the end.

A commit that is lost in the loop is made good by the next one, so the loop need not wait; after the last one there is
no next one. Commits never overtake each other: an older one does not overwrite a newer one. Where `handle` raises, what
it has not done is not committed.
"""

import threading
from collections.abc import Callable

from kraftpy import Consumer, ConsumerRecord
from kraftpy.errors import CommitFailedError, RebalanceInProgressError


def consume(
    bootstrap: str, topic: str, group: str, handle: Callable[[ConsumerRecord], None], stop: threading.Event
) -> None:
    """Hand every record to `handle` until `stop` is set."""
    with Consumer(
        topic, bootstrap=bootstrap, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
    ) as consumer:
        records: list[ConsumerRecord] = []
        handled = 0  # of these
        try:
            while not stop.is_set():
                records, handled = consumer.poll(timeout=0.2), 0
                for record in records:
                    handle(record)
                    handled += 1
                if records:
                    consumer.commit_async(records)
        finally:
            for record in reversed(records[handled:]):  # whoever reads next begins with what is not done
                consumer.seek((record.topic, record.partition), record.offset)
            try:
                consumer.commit()
            except (CommitFailedError, RebalanceInProgressError):
                pass  # others have the partitions by now, and begin at what was committed before
