"""Committing without waiting in the loop, and for certain at the end.

A commit that is lost in the loop is made good by the next one, so the loop need not wait; after the last one there is
no next one. Commits never overtake each other: an older one does not overwrite a newer one.
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
        try:
            while not stop.is_set():
                records = consumer.poll(timeout=0.2)
                for record in records:
                    handle(record)
                if records:
                    consumer.commit_async(records)
        finally:
            try:
                consumer.commit()
            except (CommitFailedError, RebalanceInProgressError):
                pass  # others have the partitions by now, and begin at what was committed before
