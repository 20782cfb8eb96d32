"""Bringing the markers of decided transactions to the leaders of their partitions, however long that takes.

    send(transaction) ─→ by leader ─→ one queue a broker ─→ WriteTxnMarkers, everything that waits in one call
          ↑ not written: looked up again after a pause

Invariants
- `send` returns once every partition has the marker, or is gone with its topic.
- Many transactions that end at once share a call: one to a broker at a time, but for those that are not answered at
  once. They wait for partitions that are not replicated now, or for a machine without power, and hold up nobody.
- Metadata here is at least as new as every partition of a transaction: partitions are added only by nodes that know
  them, and a coordinator's own leadership came later. So a partition that is not there was deleted.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from broker.coordinator.transactions.marker_writer import MarkerRequest
from broker.metadata.image import MetadataImage
from kraftpy.errors import InvalidProducerEpochError, KraftpyError, TransactionCoordinatorFencedError
from kraftpy.runtime.ports import Address, TransportError

if TYPE_CHECKING:
    from broker.coordinator.transactions.commands import Marker, SendMarkers, TopicPartition

logger = logging.getLogger(__name__)

PAUSE_MS = 100
PAUSE_MS_MAX = 1_000
"""Between two attempts for the same partition, doubled each time."""
PARTITIONS_MAX = 1_000
"""In one call."""
SHARED_MS = 50
"""For so long what comes waits for the answer to the call before, and then shares one."""

Answers = list[list[KraftpyError | None]]
Call = Callable[[int, Address, Sequence[MarkerRequest]], Awaitable[Answers]]
"""Ask the broker with this id there, which may be this one. Raises `TransportError`."""


class MarkerSender:
    """See the module's docstring."""

    def __init__(self, image: Callable[[], MetadataImage], call: Call) -> None:
        self._image = image
        self._call = call
        self._queues: dict[int, deque[_Waiting]] = {}  # by broker; there while its task runs
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._calls: dict[asyncio.Task[None], None] = {}  # all that are under way

    async def send(self, effect: "SendMarkers") -> bool:
        """True: every partition has it. False: this coordinator is not the one any more that should tell them."""
        remaining = list(effect.partitions)
        pause_ms = PAUSE_MS
        while True:
            outcomes = await asyncio.gather(*[self._attempt(effect, each) for each in remaining])
            if any(isinstance(outcome, TransactionCoordinatorFencedError) for outcome in outcomes):
                return False
            remaining = [
                each
                for each, outcome in zip(remaining, outcomes, strict=True)
                if outcome is not None and not _is_past(effect, each, outcome)
            ]
            if not remaining:
                return True
            await asyncio.sleep(pause_ms / 1_000)
            pause_ms = min(2 * pause_ms, PAUSE_MS_MAX)

    async def stop(self) -> None:
        tasks = [*self._tasks.values(), *self._calls]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _attempt(self, effect: "SendMarkers", place: "TopicPartition") -> Exception | None:
        """None: it is there, or never will be needed."""
        image = self._image()
        topic = image.topic(place.topic)
        if topic is None or place.partition >= len(topic.partitions):
            return None
        leader = topic.partitions[place.partition].leader
        if leader < 0:
            return TransportError(f"{place.topic}-{place.partition} has no leader")
        waiting = _Waiting(effect.marker, place, asyncio.get_running_loop().create_future())
        self._queue(leader, waiting)
        return await waiting.written

    def _queue(self, broker_id: int, waiting: "_Waiting") -> None:
        queue = self._queues.get(broker_id)
        if queue is None:
            queue = self._queues[broker_id] = deque()
            self._tasks[broker_id] = asyncio.get_running_loop().create_task(self._work_off(broker_id, queue))
        queue.append(waiting)

    async def _work_off(self, broker_id: int, queue: "deque[_Waiting]") -> None:
        try:
            await asyncio.sleep(0)  # whoever is about to queue something does so first
            while queue:
                taken = [queue.popleft() for _ in range(min(len(queue), PARTITIONS_MAX))]
                batch = [each for each in taken if each.counts]
                if not batch:
                    continue
                call = asyncio.get_running_loop().create_task(self._tell(broker_id, batch))
                self._calls[call] = None
                call.add_done_callback(lambda done: self._calls.pop(done, None) and None)
                await asyncio.wait((call,), timeout=SHARED_MS / 1_000)
        finally:
            del self._queues[broker_id], self._tasks[broker_id]
            for waiting in queue:
                waiting.settle(TransportError("markers are sent no more"))

    async def _tell(self, broker_id: int, batch: "list[_Waiting]") -> None:
        by_marker: dict[Marker, list[_Waiting]] = {}
        for each in batch:
            by_marker.setdefault(each.marker, []).append(each)
        requests = [(marker, tuple(each.place for each in group)) for marker, group in by_marker.items()]
        try:
            answers = await self._call(broker_id, self._address(broker_id), requests)
        except TransportError as error:
            for each in batch:
                each.settle(error)
            return
        for group, errors in zip(by_marker.values(), answers, strict=True):
            for each, outcome in zip(group, errors, strict=True):
                each.settle(outcome)

    def _address(self, broker_id: int) -> Address:
        address = self._image().grpc_address(broker_id)
        if address is not None:
            return address
        raise TransportError(f"nobody knows where broker {broker_id} is")


class _Waiting:
    """One marker for one partition."""

    __slots__ = ("marker", "place", "written")

    def __init__(self, marker: "Marker", place: "TopicPartition", written: "asyncio.Future[Exception | None]") -> None:
        self.marker = marker
        self.place = place
        self.written = written

    @property
    def counts(self) -> bool:
        """Whether anybody waits for it still."""
        return not self.written.done()

    def settle(self, outcome: Exception | None) -> None:
        if not self.written.done():
            self.written.set_result(outcome)


def _is_past(effect: "SendMarkers", place: "TopicPartition", outcome: Exception) -> bool:
    """The partition has seen a later epoch of the producer: what is decided here ended there before."""
    if isinstance(outcome, InvalidProducerEpochError):
        logger.warning("%s-%d needs no marker of %s: %s", *place, effect.transactional_id, outcome)
        return True
    return False
