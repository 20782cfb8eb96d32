"""Ships batches to the partitions' leaders and deals with what comes back. A shell: order and retries are decided by
`PartitionQueue`, gathering by `Accumulator`.

One task looks at all queues that hold something, whenever it is woken: by a full batch, an answer, news about leaders,
or the earliest of the times that matter (linger, back-off, delivery time-out, silence). It makes at most one request a
broker at a time, with at most one batch a partition in it.

A broker that is silent although answers are due makes the sender ask others who leads; if another does, the stream is
given up at once, without waiting for request_timeout_ms.
"""

import asyncio
import logging
from contextlib import AbstractContextManager
from typing import Protocol

from kraftpy.client.accumulator import Accumulator
from kraftpy.client.batch import Batch, BatchState, ProducerIdentity, tell
from kraftpy.client.cluster_view import Leader
from kraftpy.client.config import ProducerConfig
from kraftpy.client.loop_thread import ends_program
from kraftpy.client.metadata import Metadata
from kraftpy.client.partition_queue import PartitionQueue
from kraftpy.client.produce_link import LinkEvents, ProduceLink, Shipment
from kraftpy.client.wire import CLIENT, NEVER_MS, ClientPorts, backoff_ms, stepping, watched
from kraftpy.error_codes import NO_ERROR, error_for
from kraftpy.errors import (
    ClosedError,
    FatalProducerError,
    KraftpyError,
    NetworkError,
    RecordTooLargeError,
    RequestTimedOutError,
    StaleMetadataError,
)
from kraftpy.pb import client_pb2
from kraftpy.record import BatchBuilder, decode_batch, encode_batch
from kraftpy.runtime.ports import TransportError

SILENCE_MS = 500  # without an answer that is due, before others are asked who leads; acks=all may take that long
NOT_DELIVERED = "the producer was closed before the record could be delivered"
ENVELOPE_BYTES = 512  # of a request beside its batches

_log = logging.getLogger(__name__)

Plan = list[tuple[ProduceLink, list[tuple[Batch, Leader]]]]


class TransactionGate(Protocol):
    """What the sender asks of transactions."""

    @property
    def identity(self) -> ProducerIdentity | None:
        """Under which the batches of the present transaction are numbered."""

    def sending(self) -> None:
        """A batch of the transaction goes out."""


class Sender:
    """The way of one producer's batches to the brokers."""

    def __init__(
        self,
        config: ProducerConfig,
        ports: ClientPorts,
        metadata: Metadata,
        accumulator: Accumulator,
        lock: AbstractContextManager[object],
    ) -> None:
        self._config = config
        self._ports = ports
        self._metadata = metadata
        self._accumulator = accumulator
        self._lock = lock
        self._links: dict[int, ProduceLink] = {}
        self._events = LinkEvents(self._answered, self._sent, self._broken)
        self._identity: ProducerIdentity | None = None
        self._identity_task: asyncio.Task[None] | None = None
        self.gate: TransactionGate | None = None  # of a transactional producer
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._correlation_id = 0
        metadata.on_update(self.wake)

    # --- what the producer uses

    def start(self) -> None:
        """Begin; must run on the loop."""
        if self._task is None:
            work = stepping(self._step, self._woken, self._ports.clock)
            self._task = watched(asyncio.get_running_loop().create_task(work), self._crashed)
            if self._config.idempotent and self.gate is None:
                self._want_identity(-1)

    def wake(self) -> None:
        self._woken.set()

    async def flush(self) -> None:
        """Wait until all that was appended so far is delivered or given up."""
        pending = 0
        done = asyncio.get_running_loop().create_future()

        def one_done(_metadata: object, _error: object) -> None:
            nonlocal pending
            pending -= 1
            if pending == 0 and not done.done():
                done.set_result(None)

        with self._lock:
            batches = [batch for batch in self._accumulator.last_batches() if batch.state is not BatchState.DONE]
            pending = len(batches)
            for batch in batches:
                batch.listeners.append((batch.record_count - 1, 0, one_done))
            self._accumulator.hurry += 1
        try:
            if batches:
                self.wake()
                await done
        finally:
            with self._lock:
                self._accumulator.hurry -= 1

    async def close(self, timeout_ms: float | None) -> None:
        """Drain for at most `timeout_ms`, then fail what is left and end."""
        if self._task is not None:
            try:
                async with asyncio.timeout(None if timeout_ms is None else max(timeout_ms, 0) / 1_000):
                    await self.flush()
            except TimeoutError:
                self._give_up(ClosedError(NOT_DELIVERED))
        await asyncio.gather(*self.end(), return_exceptions=True)

    def end(self) -> "list[asyncio.Task[None]]":
        """Fail what is left, at once; the tasks that are ending."""
        tasks = [task for task in (self._task, self._identity_task) if task is not None]
        self._task = self._identity_task = None
        for task in tasks:
            task.cancel()
        for link in self._links.values():
            tasks += link.end()
        self._give_up(ClosedError(NOT_DELIVERED))
        return tasks

    # --- the task

    def _crashed(self, error: BaseException) -> None:
        self.failed()  # first: nobody gives up what is appended behind the rest
        self._give_up(FatalProducerError(f"the sender failed, which is a bug: {error!r}"))

    def failed(self) -> None:
        """Called when no more can be sent, ever; replaced by the producer."""

    def _step(self) -> int:
        """Send whatever can be sent; the time at which to look again."""
        now_ms = self._ports.clock.monotonic_ms()
        look_ms = self._check_links(now_ms)
        while True:
            with self._lock:
                self._accumulator.sleeping_until_ms = 0
                plan, settled, wake_ms = self._plan(now_ms)
                wake_ms = min(wake_ms, look_ms)
                if not plan:
                    self._accumulator.sleeping_until_ms = wake_ms
            self._tell(settled)
            if not plan:
                return wake_ms
            for link, batches in plan:
                link.send(self._shipment(batches, now_ms))
            look_ms = min(look_ms, now_ms + SILENCE_MS)

    def _plan(self, now_ms: int) -> tuple[Plan, list[Batch], int]:
        """One request a broker at most, what has been settled on the way, and when to look again."""
        requests: dict[int, list[tuple[Batch, Leader]]] = {}
        sizes: dict[int, int] = {}
        settled: list[Batch] = []
        taken: list[PartitionQueue] = []
        wake_ms = NEVER_MS
        timeout_ms = self._config.delivery_timeout_ms
        for queue in list(self._accumulator.active.values()):
            queue.expire(now_ms - timeout_ms, timeout_ms)
            settled += self._accumulator.settle(queue)
            if queue.is_empty:
                continue
            oldest = queue.unresolved[0] if queue.unresolved else queue.pending[0]
            wake_ms = min(wake_ms, oldest.created_ms + timeout_ms)
            batch = queue.next_batch()
            if batch is None:
                continue
            ripe_ms = self._accumulator.ripe_at_ms(batch)
            if ripe_ms > now_ms:
                wake_ms = min(wake_ms, ripe_ms)
                continue
            leader = self._metadata.leader(queue.topic, queue.partition)
            if leader is None:
                self._metadata.use(queue.topic)
                self._metadata.invalidate()
                continue
            if batch.state is BatchState.WAITING and queue.is_backing_off(leader, now_ms):
                wake_ms = min(wake_ms, queue.retry_at_ms)
                continue
            if not self._give_identity(queue):
                continue
            link = self._link(leader)
            if not link.is_ready(now_ms):
                if link.rests_until_ms > now_ms:
                    wake_ms = min(wake_ms, link.rests_until_ms)
                continue
            size = sizes.get(leader.node_id, ENVELOPE_BYTES) + batch.reserved_bytes
            if leader.node_id in requests and size > self._config.max_request_size:
                continue
            sizes[leader.node_id] = size
            queue.take(batch, leader)
            taken.append(queue)
            requests.setdefault(leader.node_id, []).append((batch, leader))
        self._accumulator.rotate(taken)
        return [(self._links[node_id], batches) for node_id, batches in requests.items()], settled, wake_ms

    def _check_links(self, now_ms: int) -> int:
        """Give up streams whose broker is gone, or silent while another leads; when to look again."""
        wake_ms = NEVER_MS
        for node_id, link in list(self._links.items()):
            known = self._metadata.view.brokers.get(node_id)
            if known is not None and known != link.address:
                link.break_off(NetworkError(f"node {node_id} has moved from {link.address} to {known}"))
                del self._links[node_id]
                continue
            since_ms = link.silent_since_ms()
            if since_ms is None:
                continue
            silence_ms = now_ms - since_ms
            if silence_ms >= self._config.request_timeout_ms:
                link.break_off(RequestTimedOutError(f"{link.address} was silent for {silence_ms} ms"))
            elif silence_ms >= SILENCE_MS:
                if any(
                    self._has_moved(batch, leader) for shipment in link.unanswered for batch, leader in shipment.batches
                ):
                    link.break_off(NetworkError(f"{link.address} is silent, and others lead now"))
                    continue
                self._metadata.invalidate()
                wake_ms = min(wake_ms, now_ms + SILENCE_MS)
            else:
                wake_ms = min(wake_ms, since_ms + SILENCE_MS)
        return wake_ms

    def _has_moved(self, batch: Batch, sent_to: Leader) -> bool:
        leader = self._metadata.leader(batch.topic, batch.partition)
        return leader is not None and leader.epoch > sent_to.epoch

    def _link(self, leader: Leader) -> ProduceLink:
        link = self._links.get(leader.node_id)
        if link is None:
            link = self._links[leader.node_id] = ProduceLink(
                self._metadata.view.brokers[leader.node_id],
                self._ports,
                self._events,
                max_in_flight=self._config.max_in_flight,
                reconnect_backoff_ms=self._config.reconnect_backoff_ms,
                reconnect_backoff_max_ms=self._config.reconnect_backoff_max_ms,
            )
        return link

    # --- requests

    def _shipment(self, batches: list[tuple[Batch, Leader]], now_ms: int) -> Shipment:
        self._correlation_id += 1
        request = client_pb2.ProduceRequest(
            correlation_id=self._correlation_id,
            acks=self._config.acks_code,
            timeout_ms=self._config.request_timeout_ms,
            client_id=self._config.client_id,
        )
        if self.gate is not None:
            self.gate.sending()
            request.transactional_id = self._config.transactional_id or ""
        for batch, _ in batches:
            request.partitions.add(topic=batch.topic, partition=batch.partition, records=self._encoded(batch))
        answered = self._config.acks_code != 0
        return Shipment(self._correlation_id, request.SerializeToString(), batches, answered, now_ms)

    def _encoded(self, batch: Batch) -> bytes:
        """The batch as bytes under its present numbering; encoded once, unless it is renumbered."""
        stamp = (batch.identity, batch.base_sequence)
        if batch.encoded is None:
            assert batch.builder is not None
            batch.encoded = bytes(
                batch.builder.build(
                    producer_id=batch.identity.producer_id,
                    producer_epoch=batch.identity.epoch,
                    base_sequence=batch.base_sequence,
                    transactional=self.gate is not None,
                )
            )
            batch.builder = None
        elif batch.stamp != stamp:
            batch.encoded = bytes(
                encode_batch(
                    decode_batch(batch.encoded),
                    compression=self._accumulator.compression,
                    producer_id=batch.identity.producer_id,
                    producer_epoch=batch.identity.epoch,
                    base_sequence=batch.base_sequence,
                    transactional=self.gate is not None,
                )
            )
        batch.stamp = stamp
        return batch.encoded

    # --- what comes back

    def _sent(self, link: ProduceLink, shipment: Shipment) -> None:
        if not shipment.answered:
            with self._lock:
                settled: list[Batch] = []
                for batch, _ in shipment.batches:
                    queue = self._accumulator.queue(batch.topic, batch.partition)
                    queue.succeeded(batch, -1, -1)
                    settled += self._accumulator.settle(queue)
            self._tell(settled)
        self.wake()

    def _answered(self, link: ProduceLink, shipment: Shipment, answer: client_pb2.ProduceResponse) -> None:
        results = {(result.topic, result.partition): result for result in answer.partitions}
        settled: list[Batch] = []
        with self._lock:
            for batch, _ in shipment.batches:
                queue = self._accumulator.queue(batch.topic, batch.partition)
                result = results.get((batch.topic, batch.partition))
                if result is None:
                    self._failed(queue, batch, NetworkError(f"{link.address} left the partition out of its answer"))
                elif result.error == NO_ERROR:
                    queue.succeeded(batch, result.base_offset, result.log_append_time_ms)
                else:
                    self._refused(queue, batch, result)
                settled += self._accumulator.settle(queue)
        self._tell(settled)
        self.wake()

    def _refused(self, queue: PartitionQueue, batch: Batch, result: client_pb2.ProducedPartition) -> None:
        error = error_for(result.error, result.error_message)
        if isinstance(error, RecordTooLargeError) and batch.record_count > 1 and batch.state is BatchState.IN_FLIGHT:
            self._split(queue, batch)
            return
        self._failed(queue, batch, error)
        if isinstance(error, StaleMetadataError):
            # proto3 has no absent numbers: an answer without a hint says leader 0, epoch 0, which is never news.
            if result.leader >= 0 and result.leader_epoch > 0:
                self._metadata.hint(batch.topic, batch.partition, Leader(result.leader, result.leader_epoch))
            self._metadata.invalidate()

    def _broken(self, link: ProduceLink, lost: list[Shipment], error: KraftpyError) -> None:
        settled: list[Batch] = []
        with self._lock:
            for shipment in lost:
                for batch, _ in shipment.batches:
                    queue = self._accumulator.queue(batch.topic, batch.partition)
                    self._failed(queue, batch, error)
                    settled += self._accumulator.settle(queue)
        self._tell(settled)
        self._metadata.invalidate()
        self.wake()

    def _failed(self, queue: PartitionQueue, batch: Batch, error: KraftpyError) -> None:
        if queue.failed(batch, error):
            pause_ms = backoff_ms(batch.attempts, self._config.retry_backoff_ms, self._config.retry_backoff_max_ms)
            queue.retry_at_ms = self._ports.clock.monotonic_ms() + round(self._ports.jittered(pause_ms))

    def _split(self, queue: PartitionQueue, batch: Batch) -> None:
        """Halve a batch that is too large for its topic."""
        assert batch.encoded is not None
        records = decode_batch(batch.encoded)
        half = len(records) // 2
        parts: list[Batch] = []
        reserved = batch.reserved_bytes
        for piece, share in ((records[:half], reserved // 2), (records[half:], reserved - reserved // 2)):
            builder = BatchBuilder(self._accumulator.compression)
            for record in piece:
                builder.append(record.timestamp_ms, record.key, record.value, record.headers)
            parts.append(self._accumulator.part(batch, builder, len(piece), share))
        queue.replace(batch, parts)

    async def drop_unsent(self, error: KraftpyError) -> None:
        """Fail what was never sent, and wait until the rest is answered or given up."""
        with self._lock:
            settled = self._accumulator.drop_unsent(error)
        self._tell(settled)
        await self.flush()

    def _give_up(self, error: KraftpyError) -> None:
        settled: list[Batch] = []
        with self._lock:
            for queue in list(self._accumulator.active.values()):
                queue.give_up_all(error)
                settled += self._accumulator.settle(queue)
        self._tell(settled)

    def _tell(self, settled: list[Batch]) -> None:
        for batch in settled:
            for index, timestamp_ms, listener in batch.listeners:
                try:
                    tell(listener, batch.outcome(index, timestamp_ms))
                except BaseException as error:  # a user's callback: its failure stops no other's
                    if ends_program(error):
                        raise
                    _log.exception("on_delivery failed for a record of %s-%d", batch.topic, batch.partition)
            batch.listeners = []

    # --- the producer id

    def _give_identity(self, queue: PartitionQueue) -> bool:
        """Let it number its batches for the producer id. False: there is none yet, and it is being asked for."""
        if self.gate is not None:
            identity = self.gate.identity
            if identity is not None and queue.identity is None:
                queue.adopt(identity)
            return identity is not None
        if not queue.idempotent or queue.identity is not None:
            return True
        if self._identity is None or self._identity.producer_id == queue.lost_producer_id:
            self._want_identity(queue.lost_producer_id)
            return False
        queue.adopt(self._identity)
        return True

    def _want_identity(self, lost_producer_id: int) -> None:
        if self._identity is not None and self._identity.producer_id == lost_producer_id:
            self._identity = None
        if self._identity is None and self._identity_task is None:
            self._identity_task = asyncio.get_running_loop().create_task(self._get_identity())

    async def _get_identity(self) -> None:
        attempts = 0
        while self._identity is None:
            try:
                self._identity = await self._ask_identity()
            except (TransportError, KraftpyError) as error:
                attempts += 1
                _log.debug("no producer id yet: %s", error)
                pause_ms = backoff_ms(attempts, self._config.retry_backoff_ms, self._config.retry_backoff_max_ms)
                await asyncio.sleep(self._ports.jittered(pause_ms) / 1_000)
        self._identity_task = None
        self.wake()

    async def _ask_identity(self) -> ProducerIdentity:
        timeout_ms = min(self._config.request_timeout_ms, 2_000)
        address = await self._metadata.any_node(timeout_ms)
        answer = await self._ports.call(
            address,
            CLIENT + "InitProducerId",
            client_pb2.InitProducerIdRequest(),
            client_pb2.InitProducerIdResponse,
            timeout_ms,
        )
        if answer.error != NO_ERROR:
            raise error_for(answer.error, answer.error_message)
        return ProducerIdentity(answer.producer_id, answer.producer_epoch)
