"""One Produce stream: requests appended in the order in which they came, answers sent as they are ready.

    read a request ─→ append it ─→ read the next …
                          └─→ acks satisfied ─→ answer (answers overtake each other)

Invariants
- A request is appended before the next one is read: idempotent producers rely on that order.
- What waits for its acks is bounded, by number and by bytes, of this stream and of all; while it is too much nothing
  is read, so that the client is held back by the connection. A stream of which nothing waits goes on, whatever others
  hold.
- With acks=0 nothing is answered. An append that failed ends the stream then, which is the only way to tell the client
  that its picture of the cluster is wrong (as Kafka's broker closes the connection).
- A failure that is a bug, or of the connection, ends the stream at once and is raised from `serve`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from broker.replication.fetch_types import CurrentLeader
from broker.replication.producing import NO_ACKS, Batch, Produced
from broker.replication.verification import Transaction
from broker.rpc.limits import WAIT_MAX_MS, Occupied, check_count
from broker.rpc.methods import decode
from broker.rpc.ports import Replicas
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.pb.client_pb2 import ProducedPartition, ProduceRequest, ProduceResponse

PENDING_MAX = 128
"""Requests of one stream that wait for their acks."""
PENDING_BYTES_MAX = 32 << 20
"""Their bytes; a single larger one passes alone. Raising either costs memory, per stream, while replicas are slow."""
ALL_PENDING_BYTES_MAX = 256 << 20
"""Those of all streams, but for one request of each."""

NOBODY = CurrentLeader(-1, -1)

Send = Callable[[bytes], Awaitable[None]]


class ProduceStream:
    """Serves one stream; made for it, and used once."""

    def __init__(self, replicas: Replicas, requests: AsyncIterator[bytes], send: Send, all_pending: Occupied) -> None:
        """`all_pending`: what the requests of all streams occupy."""
        self._replicas = replicas
        self._all_pending = all_pending
        self._requests = requests
        self._send = send
        self._sending = asyncio.Lock()  # a call sends one message at a time
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending = 0
        self._pending_bytes = 0
        self._room = asyncio.Event()

    async def serve(self) -> None:
        """Until the client has ended the stream and everything is answered. Raises what ended it early."""
        self._spawn(self._read())
        try:
            await self._over
        finally:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._all_pending.give_back(self._pending_bytes)  # of tasks that were cancelled before they began

    async def _read(self) -> None:
        async for data in self._requests:
            request = decode(ProduceRequest, data)
            check_count(len(request.partitions), "partitions")
            await self._wait_for_room(len(data))
            self._pending += 1
            self._pending_bytes += len(data)
            self._all_pending.take(len(data))
            appended = asyncio.get_running_loop().create_future()
            self._spawn(self._answer(request, len(data), appended))
            del data, request  # not held while nothing comes
            await appended

    async def _wait_for_room(self, size_bytes: int) -> None:
        while self._pending >= PENDING_MAX or (
            self._pending and size_bytes > min(PENDING_BYTES_MAX - self._pending_bytes, self._all_pending.room)
        ):
            self._room.clear()
            await self._room.wait()

    async def _answer(self, request: ProduceRequest, size_bytes: int, appended: "asyncio.Future[None]") -> None:
        # The reader goes on in a later step of the loop; `produce` appends in this one, before it first waits.
        appended.set_result(None)
        correlation_id, acks, batches = request.correlation_id, request.acks, batches_of(request)
        transaction = transaction_of(request)
        timeout_ms = min(max(request.timeout_ms, 0), WAIT_MAX_MS)
        del request  # the batches are copies
        try:
            produced = await self._replicas.produce(batches, acks, timeout_ms, transaction)
            if acks != NO_ACKS:
                response = response_of(correlation_id, produced).SerializeToString()
                async with self._sending:
                    await self._send(response)
            elif any(answer.error is not None for answer in produced):
                self._end(None)
        finally:
            self._pending -= 1
            self._pending_bytes -= size_bytes
            self._all_pending.give_back(size_bytes)
            self._room.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        del self._tasks[task]
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None or not self._tasks:  # the reader is among them until the stream has ended
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if self._over.done():
            return
        if error is None:
            self._over.set_result(None)
        elif isinstance(error, asyncio.CancelledError):
            self._over.cancel()
        else:
            self._over.set_exception(error)


def batches_of(request: ProduceRequest) -> list[Batch]:
    """The batches, in writable copies: offsets are set where they lie."""
    return [(part.topic, part.partition, bytearray(part.records)) for part in request.partitions]


def transaction_of(request: ProduceRequest) -> Transaction | None:
    """The leader adds the partitions itself: the SDK leaves that to it (KIP-890)."""
    return Transaction(request.transactional_id, adds_partitions=True) if request.transactional_id else None


def response_of(correlation_id: int, produced: list[Produced]) -> ProduceResponse:
    """The answer to a request, partition by partition in the request's order."""
    return ProduceResponse(correlation_id=correlation_id, partitions=[_partition(answer) for answer in produced])


def _partition(answer: Produced) -> ProducedPartition:
    leader = answer.leader or NOBODY
    return ProducedPartition(
        topic=answer.topic,
        partition=answer.partition,
        error=NO_ERROR if answer.error is None else code_of(answer.error),
        error_message="" if answer.error is None else answer.error.message,
        base_offset=answer.base_offset,
        log_append_time_ms=answer.log_append_time_ms,
        log_start_offset=answer.log_start_offset,
        leader=leader.id,
        leader_epoch=leader.epoch,
    )
