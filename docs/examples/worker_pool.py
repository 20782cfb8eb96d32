"""One poller and a bounded pool of workers: for work that is slow, and whose order does not matter.

The poller never waits for the workers: where they fall behind it pauses the partitions that have too much in hand, and
goes on polling, so the group sees that it lives. Of each partition it commits only up to the first record that is not
done yet, whatever was done behind it. Before a partition is given up, what is in hand is finished and committed.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from kraftpy import Consumer, ConsumerRecord, TopicPartition


class InHand:
    """The records of one partition that were handed to workers. `next_offset` is what may be committed."""

    def __init__(self) -> None:
        self.futures: dict[int, Future[None]] = {}  # by offset, ascending
        self.next_offset: int | None = None

    def add(self, offset: int, future: "Future[None]") -> None:
        self.futures[offset] = future

    def settle(self) -> int | None:
        """Forget what is done up to the first record that is not; the offset after it. Raises what a worker raised."""
        for offset, future in list(self.futures.items()):
            if not future.done():
                break
            future.result()
            del self.futures[offset]
            self.next_offset = offset + 1
        return self.next_offset


def consume_with_pool(
    bootstrap: str,
    topic: str,
    group: str,
    handle: Callable[[ConsumerRecord], None],
    stop: threading.Event,
    workers: int = 8,
    in_hand_max: int = 100,
) -> None:
    """Hand every record to `handle`, on one of `workers` threads; at most about `in_hand_max` a partition wait."""
    in_hand: dict[TopicPartition, InHand] = {}
    pool = ThreadPoolExecutor(workers)
    consumer = Consumer(
        bootstrap=bootstrap, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest", max_poll_records=50
    )

    def done(places: list[TopicPartition]) -> dict[TopicPartition, int]:
        settled = {place: in_hand[place].settle() for place in places if place in in_hand}
        return {place: offset for place, offset in settled.items() if offset is not None}

    def give_up(places: list[TopicPartition]) -> None:
        """Others get these partitions: finish what is in hand, so that nothing is done twice."""
        wait([future for place in places if place in in_hand for future in in_hand[place].futures.values()])
        consumer.commit(done(places))
        lose(places)

    def lose(places: list[TopicPartition]) -> None:
        for place in places:
            in_hand.pop(place, None)

    consumer.subscribe([topic], on_revoke=give_up, on_lost=lose)
    with pool, consumer:
        while not stop.is_set():
            for record in consumer.poll(timeout=0.1):
                place = TopicPartition(record.topic, record.partition)
                in_hand.setdefault(place, InHand()).add(record.offset, pool.submit(handle, record))
            consumer.commit_async(done(list(in_hand)))
            full = [place for place, held in in_hand.items() if len(held.futures) >= in_hand_max]
            eased = [place for place in consumer.paused() if place not in full]
            if full:
                consumer.pause(*full)
            if eased:
                consumer.resume(*eased)
