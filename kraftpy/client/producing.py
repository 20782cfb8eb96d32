"""The parts of a producer, put together; what the asyncio producer and the blocking one have in common.

send: Pipeline ──► Accumulator     (on the user's thread, under the lock)
ship: Sender ──► ProduceLink       (on the loop)
"""

import asyncio
import logging
from contextlib import AbstractContextManager

from kraftpy.client.accumulator import Accumulator
from kraftpy.client.batch import Delivery, MakeDelivery
from kraftpy.client.cluster_view import TopicView
from kraftpy.client.config import ProducerConfig
from kraftpy.client.metadata import Metadata
from kraftpy.client.pipeline import Pipeline, Serialized
from kraftpy.client.sender import Sender
from kraftpy.client.transaction_state import Stage
from kraftpy.client.transactions import Transactions
from kraftpy.client.values import Headers, OnDelivery
from kraftpy.client.wire import ClientPorts
from kraftpy.errors import ClosedError, FatalProducerError, InvalidTxnStateError, KraftpyError

_log = logging.getLogger(__name__)

HEADER_ROOM_BYTES = 64  # a record may open a batch, whose header takes 61
ROOM_BYTES = 1 << 20  # a sender that waits for room goes on at once when this much is free, …
ROOM_MS = 5  # … and so long after any was freed: fewer switches between threads, at the cost of this wait


class Producing:
    """One producer's parts. Made on the loop."""

    def __init__(
        self,
        config: ProducerConfig,
        ports: ClientPorts,
        pipeline: Pipeline,
        lock: AbstractContextManager[object],
        make_delivery: MakeDelivery,
    ) -> None:
        self.config = config
        self.ports = ports
        self.pipeline = pipeline
        self.lock = lock
        self.metadata = Metadata(config, ports, auto_create=True)
        self.accumulator = Accumulator(config, lock, make_delivery, self._room_freed)
        self.sender = Sender(config, ports, self.metadata, self.accumulator, lock)
        self.transactions: Transactions | None = None
        if config.transactional_id is not None:
            self.transactions = Transactions(config, ports, self.metadata, self.sender, self.accumulator, lock)
            self.sender.gate = self.transactions
        self.closed = False
        self.closed_because = "the producer is closed"
        self.failed = False  # the sender has crashed
        self.sender.failed = self._failed  # type: ignore[method-assign]
        self.room_waiters = 0
        self._will_tell_of_room = False
        self._room_bytes = min(ROOM_BYTES, config.buffer_memory // 2)

    def start(self) -> None:
        self.sender.start()

    async def topic(self, name: str) -> TopicView:
        """The topic's view, waiting for at most max_block_ms."""
        config = self.config
        return await self.metadata.topic(name, config.max_block_ms, config.topic_metadata_propagation_max_ms)

    def on_room(self) -> None:
        """Called under the lock when waiting senders should look again; replaced by each facade."""

    async def flush(self) -> None:
        """Wait until everything is delivered. Raises the first error of the deliveries failed since the last call."""
        await self.sender.flush()
        self.raise_failures()

    def raise_failures(self) -> None:
        with self.lock:
            count, error = self.accumulator.take_failures()
        if error is not None:
            raise _counted(error, count)

    async def close(self, timeout_ms: float | None) -> None:
        """Drain for at most `timeout_ms`, fail what is left, and end. Nothing can be appended from now on.

        Where that is cancelled, all of it has ended at once.
        """
        started_ms = self.ports.clock.monotonic_ms()
        with self.lock:
            if self.closed:
                return
            self.closed = True
            if self.room_waiters:
                self.on_room()
        try:
            if self.transactions is not None:
                await self._finish(self.transactions, timeout_ms)
            taken_ms = self.ports.clock.monotonic_ms() - started_ms
            await self.sender.close(None if timeout_ms is None else timeout_ms - taken_ms)
            await self.metadata.close()
        except BaseException:
            self._end_at_once()
            raise
        finally:
            self.pipeline.close()

    def _end_at_once(self) -> None:
        if self.transactions is not None:
            self.transactions.end()
        self.sender.end()
        self.metadata.end()

    def left_behind(self, lock: AbstractContextManager[object], reason: str) -> None:
        """In a process that was forked off: the parent delivers what there is, and here is nobody who could.

        `lock` is a new one, because who held the old one may not be here.
        """
        self.lock = lock
        self.closed, self.closed_because = True, reason
        self.accumulator.disown(ClosedError(reason))

    async def _finish(self, transactions: Transactions, timeout_ms: float | None) -> None:
        """What a producer leaves open would hold up readers until it times out."""
        try:
            async with asyncio.timeout(None if timeout_ms is None else timeout_ms / 1_000):
                await transactions.finish()
        except KraftpyError as error:
            _log.warning("a transaction was left open: %s", error)
        except TimeoutError:
            _log.warning("a transaction was left open: its coordinator did not end it within %.0f ms", timeout_ms)
        await transactions.close()

    def append(
        self,
        view: TopicView,
        record: Serialized,
        headers: Headers,
        partition: int | None,
        timestamp_ms: int | None,
        on_delivery: OnDelivery | None,
    ) -> Delivery | None:
        """Choose a partition and append one record; None where there is no room, and nothing has happened then."""
        clock = self.ports.clock
        now_ms = clock.monotonic_ms()
        timestamp_ms = clock.wall_ms() if timestamp_ms is None else timestamp_ms
        self.metadata.touch(view.name, now_ms)
        with self.lock:
            if self.failed:
                raise FatalProducerError("the producer has failed, see its log; make another one")
            if self.closed:
                raise ClosedError(self.closed_because)
            if self.transactions is not None:
                self.transactions.check_send()
            if not self.accumulator.has_room(record.size + HEADER_ROOM_BYTES):
                return None
            topic = view.name
            chosen = self.pipeline.choose(topic, record, partition, len(view.partitions), now_ms)
            return self.accumulator.append(
                topic, chosen, record.key, record.value, headers, timestamp_ms, on_delivery, record.size, now_ms
            )

    @property
    def transactional(self) -> Transactions:
        """Raises `InvalidTxnStateError` for a producer without a transactional_id."""
        if self.transactions is None:
            raise InvalidTxnStateError("this producer has no transactional_id, so it writes no transactions")
        return self.transactions

    async def end_transaction(self, error: BaseException | None) -> None:
        """The end of a `with` block: commit, or abort after `error`, or where it cannot be committed."""
        transactions = self.transactional
        try:
            if error is None:
                await self._commit(transactions)
            elif transactions.state.stage in (Stage.OPEN, Stage.DELIVERING, Stage.FAILED):
                await self._abort_quietly(transactions)
        except KraftpyError:
            raise
        except BaseException:  # cancelled, by a time-out around the block or by Ctrl-C
            transactions.state.abandoned()
            raise

    async def _commit(self, transactions: Transactions) -> None:
        try:
            await transactions.commit()
        except KraftpyError as failure:
            reason = transactions.state.error
            if transactions.state.stage is not Stage.FAILED or reason is None:
                raise
            await self._abort_quietly(transactions)
            raise reason from failure

    async def _abort_quietly(self, transactions: Transactions) -> None:
        """There is a better error to raise already."""
        try:
            await transactions.abort()
        except KraftpyError as error:
            _log.warning("the transaction could not be aborted: %s", error)

    def has_room(self, record: Serialized) -> bool:
        """Whether `append` would succeed now, or fail for another reason than room. The lock is held."""
        return self.closed or self.failed or self.accumulator.has_room(record.size + HEADER_ROOM_BYTES)

    def take_wake(self) -> bool:
        """Whether the sender must be woken after an append; says so once."""
        accumulator = self.accumulator
        if not accumulator.wake_wanted:
            return False
        accumulator.wake_wanted = False
        accumulator.sleeping_until_ms = 0
        return True

    def wait_for_room(self, waiting: int) -> None:
        """Somebody begins (1) or ceases (-1) to wait for room, and nothing lingers meanwhile. The lock is held."""
        self.room_waiters += waiting
        self.accumulator.hurry += waiting

    def _failed(self) -> None:
        with self.lock:
            self.failed = True
            self.on_room()

    def _room_freed(self) -> None:
        """Runs on the loop, with the lock."""
        if not self.room_waiters:
            return
        if self.config.buffer_memory - self.accumulator.used_bytes >= self._room_bytes:
            self.on_room()
        elif not self._will_tell_of_room:
            self._will_tell_of_room = True
            asyncio.get_running_loop().call_later(ROOM_MS / 1_000, self._tell_of_room)

    def _tell_of_room(self) -> None:
        with self.lock:
            self._will_tell_of_room = False
            self.on_room()


def _counted(error: KraftpyError, count: int) -> KraftpyError:
    if count > 1:
        error.add_note(f"{count} records were not delivered since the last flush; this is the first error")
    return error
