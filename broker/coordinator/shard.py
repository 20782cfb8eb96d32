"""One coordinator at work: a core, the log of one partition, and the mailbox between them.

    loading: the log is read and replayed → its end is committed → active: commands and time → closed, for good

Invariants
- One shard lives for one leader epoch of its partition. A partition that is led anew has a new shard with a new core.
- Records are replayed in the order of the log, at once after they were appended; answers leave in that order too, each
  once what it speaks of is committed.
- Every command is answered once: by the core, by COORDINATOR_NOT_AVAILABLE where its records are not committed
  in time (they may be, later) or too many wait, or by NOT_COORDINATOR when the shard is closed.
- Commands that come while the log is read are told so (COORDINATOR_LOAD_IN_PROGRESS), and none waits.
- However many shards of a node load at once, one part of one log is replayed between two turns of the loop.

Not here: which partition has which key (`coordinators`), what the commands mean (the cores).
"""

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from broker.coordinator.core import Answer, Core, Moment, Producer, RecordCodec, Result, Ticket
from kraftpy.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    InvalidRequestError,
    KafkaStorageError,
    KraftpyError,
    NotCoordinatorError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    RecordTooLargeError,
    RequestTimedOutError,
)
from kraftpy.record import DAMAGED, BatchBuilder, BatchHeader, ControlType, decode_batch, iterate_headers
from kraftpy.record.control import decode_control_batch
from kraftpy.runtime.ports import Clock

logger = logging.getLogger(__name__)

C = TypeVar("C")
R = TypeVar("R")

LOAD_BYTES = 1024 * 1024
"""Read at once."""
PART_STEPS = 500
"""Records, and batches that hold them, replayed between two turns of the loop: 10 ms. No time is looked at, so that a
simulation's seed stays one story."""
COMMIT_TIMEOUT_MS = 5_000
"""What was appended is answered by then, committed or not. Of groups: offsets.commit.timeout.ms."""
WAITING_MAX = 100_000
"""Commands that wait at once, in the core or for their commit; one more is refused."""

_NOT_AVAILABLE = (NotEnoughReplicasError, NotEnoughReplicasAfterAppendError, RequestTimedOutError)
_NOT_HERE = (NotLeaderOrFollowerError, KafkaStorageError)


class ShardLog(Protocol):
    """The log of one partition, under one leadership of this node. Everything else is NOT_LEADER_OR_FOLLOWER."""

    @property
    def name(self) -> str: ...

    @property
    def start_offset(self) -> int: ...

    @property
    def end_offset(self) -> int: ...

    async def read(self, offset: int, bytes_max: int) -> bytes:
        """Whole batches, the first of which holds `offset`."""

    def suspect(self, offset: int) -> None:
        """What was read there is not what was written: somebody should look how much is damaged."""

    def append(self, batch: bytearray, *, bumps_epoch: bool = False) -> int:
        """The log's end after it; `bumps_epoch` tells of a marker (`EndMarker`). Raises the log's refusals."""

    def call_committed(self, end_offset: int, call: Callable[[KraftpyError | None], None]) -> Callable[[], None]:
        """`call(None)` once everything before `end_offset` is committed, `call(error)` if it will not be told here.

        What it gives takes that back: who waits no longer is not to be kept while nothing is committed.
        """


class Shard(Generic[C, R]):
    """See the module's docstring."""

    def __init__(
        self,
        core: Core[C, R],
        codec: RecordCodec[R],
        log: ShardLog,
        clock: Clock,
        perform: Callable[["Shard[C, R]", Any], Awaitable[None]],
        commit_timeout_ms: int = COMMIT_TIMEOUT_MS,
        turn: asyncio.Lock | None = None,
    ) -> None:
        """`perform` carries out an effect; its outcome it submits as a command. `turn`: one for all that load on this
        node, who come to it one after the other."""
        self._core = core
        self._codec = codec
        self._log = log
        self._clock = clock
        self._perform = perform
        self._commit_timeout_ms = commit_timeout_ms
        self._turn = turn or asyncio.Lock()
        self._is_active = False
        self.has_loaded = False
        """Whether it has read its log; it stays so."""
        self._closed: KraftpyError | None = None
        self._waiting: dict[Ticket, asyncio.Future[Any]] = {}
        self._next_ticket = 0
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._grace: asyncio.TimerHandle | None = None  # from `_ring` to `_tick`; no command may begin it anew
        self.on_failed: Callable[[BaseException], None] = _ignore

    @property
    def is_active(self) -> bool:
        return self._is_active

    @property
    def core(self) -> Core[C, R]:
        """To be looked at, never to be changed."""
        return self._core

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to load, in the background."""
        self._spawn(self._load())

    def close(self, error: KraftpyError | None = None) -> None:
        """This node does not lead any more: everybody who waits hears of it. Idempotent."""
        if self._closed is not None:
            return
        self._closed = error or NotCoordinatorError(f"this node does not lead {self._log.name} any more")
        self._is_active = False
        for timer in (self._timer, self._grace):
            if timer is not None:
                timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        for ticket in list(self._waiting):
            self._settle(Answer(ticket, self._closed))

    async def _load(self) -> None:
        started_ms = self._clock.monotonic_ms()
        offset = self._log.start_offset
        end_offset = self._log.end_offset  # nobody but us appends in this epoch
        while offset < end_offset:
            data = await self._log.read(offset, LOAD_BYTES)
            if not data:
                raise KafkaStorageError(f"{self._log.name} cannot be read from offset {offset}")
            offset = await self._replay(data, offset)
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._log.call_committed(end_offset, lambda error: _told(committed, error))
        await committed
        async with self._turn:
            self._is_active = self.has_loaded = True
            if end_offset:
                took_ms = self._clock.monotonic_ms() - started_ms
                logger.info(
                    "the coordinator of %s has read its log, %d offsets, in %d ms", self._log.name, end_offset, took_ms
                )
            self._guarded(lambda: self._accept(self._core.loaded(self._now())))
            await asyncio.sleep(0)

    async def _replay(self, data: bytes, offset: int) -> int:
        """In parts, by turns with whoever else loads on this node; the end of what was replayed."""
        steps = self._replayed(data, offset)
        while True:
            async with self._turn:
                part = list(islice(steps, PART_STEPS))
                await asyncio.sleep(0)  # in the turn: the next one's part is not of the same turn of the loop
            offset = part[-1] if part else offset
            if len(part) < PART_STEPS:
                return offset

    def _replayed(self, data: bytes, offset: int) -> Iterator[int]:
        """Replays from the batch of `offset` on, step by step; gives the end of the batches that are replayed."""
        try:
            for position, header in iterate_headers(data):
                if header.last_offset >= offset:
                    for _ in self._replayed_batch(data, position, header):
                        yield offset
                    offset = header.end_offset
                    yield offset
        except DAMAGED:
            self._log.suspect(offset)
            raise

    def _replayed_batch(self, data: bytes, position: int, header: BatchHeader) -> Iterator[None]:
        if header.is_control:
            for marker in decode_control_batch(data, position):
                if marker.type in (ControlType.COMMIT, ControlType.ABORT):
                    self._core.end_transaction(header.producer_id, marker.type == ControlType.COMMIT)
                yield
            return
        producer = Producer(header.producer_id, header.producer_epoch) if header.is_transactional else None
        for entry in decode_batch(data, position):
            record = self._codec.decode(entry.key or b"", entry.value)
            if record is not None:
                self._core.replay(record, producer)
            yield

    # --- commands ----------------------------------------------------------------------------------------------------

    async def submit(self, command: C) -> Any:
        """The core's answer, once what it says is committed. Raises `KraftpyError`."""
        if self._closed is not None:
            raise self._closed
        if not self._is_active:
            raise CoordinatorLoadInProgressError(f"the coordinator is still reading {self._log.name}")
        if len(self._waiting) >= WAITING_MAX:
            raise CoordinatorNotAvailableError("too many requests wait for this coordinator already")
        ticket = self._next_ticket
        self._next_ticket += 1
        answered = self._waiting[ticket] = asyncio.get_running_loop().create_future()
        try:
            self._guarded(lambda: self._accept(self._handled(ticket, command)))
            return await answered
        finally:
            self._waiting.pop(ticket, None)

    def _handled(self, ticket: Ticket, command: C) -> Result[R]:
        try:
            return self._core.handle(ticket, command, self._now())
        except KraftpyError as error:
            return Result(answers=(Answer(ticket, error),))

    def append_marker(
        self, marker: bytearray, producer_id: int, committed: bool, call: Callable[..., None], *, bumps_epoch: bool
    ) -> None:
        """Append the marker that ends a producer's transaction here; `call` as `ShardLog.call_committed` does.

        Raises the log's refusals, and `NotCoordinatorError` or `CoordinatorLoadInProgressError`.
        """
        if self._closed is not None:
            raise self._closed
        if not self._is_active:
            raise CoordinatorLoadInProgressError(f"the coordinator is still reading {self._log.name}")
        end_offset = self._log.append(marker, bumps_epoch=bumps_epoch)
        self._core.end_transaction(producer_id, committed)
        self._log.call_committed(end_offset, call)
        self._arm()

    def _accept(self, result: Result[R]) -> None:
        """Append, replay, and answer when that is committed."""
        while result.records:
            try:
                self._log.append(self._batch(result))
                break
            except KraftpyError as error:
                if self._closed is not None or isinstance(error, _NOT_HERE):
                    self._give_up(result, error)
                    return
                result = self._core.refused(result, _as_coordinator(error), self._now())
        for record in result.records:
            self._core.replay(record, result.producer)
        if result.answers or result.effects:
            self._park(result)
        self._arm()

    def _give_up(self, result: Result[R], error: KraftpyError) -> None:
        """Leadership has gone, and metadata will soon say so."""
        for answer in result.answers:
            self._settle(Answer(answer.ticket, _as_coordinator(error)))

    def _batch(self, result: Result[R]) -> bytearray:
        """Raises `InvalidRequestError`, `RecordTooLargeError`."""
        builder = BatchBuilder()
        timestamp_ms = self._clock.wall_ms()
        for record in result.records:
            try:
                key, value = self._codec.encode(record)
            except struct.error as error:  # what the wire lets through and a record has no room for
                raise InvalidRequestError(f"what is to be remembered does not fit its field: {error}") from error
            builder.append(timestamp_ms, key, value)
        if result.producer is None:
            return builder.build()
        producer_id, producer_epoch = result.producer
        return builder.build(producer_id=producer_id, producer_epoch=producer_epoch, transactional=True)

    def _park(self, result: Result[R]) -> None:
        """Until everything that stands in the log now is committed."""
        end_offset = self._log.end_offset
        if result.effects:
            self._log.call_committed(end_offset, lambda error: self._begin(result.effects) if _stands(error) else None)
        if not result.answers:
            return

        def settle(error: KraftpyError | None) -> None:
            timer.cancel()
            for answer in result.answers:  # those that are settled already have no ticket any more
                self._settle(answer if error is None else Answer(answer.ticket, _as_coordinator(error)))

        def expire() -> None:
            forget()
            settle(RequestTimedOutError(f"{self._log.name} did not commit it within {self._commit_timeout_ms} ms"))

        timer = asyncio.get_running_loop().call_later(self._commit_timeout_ms / 1_000, expire)
        forget = self._log.call_committed(end_offset, settle)

    def _begin(self, effects: tuple[Any, ...]) -> None:
        if self._closed is None:
            for effect in effects:
                self._spawn(self._perform(self, effect))

    def _settle(self, answer: Answer) -> None:
        waiting = self._waiting.pop(answer.ticket, None)
        if waiting is None or waiting.done():
            return  # whoever asked has gone
        if isinstance(answer.response, KraftpyError):
            waiting.set_exception(answer.response)
        else:
            waiting.set_result(answer.response)

    # --- time --------------------------------------------------------------------------------------------------------

    def _now(self) -> Moment:
        return Moment(self._clock.monotonic_ms(), self._clock.wall_ms())

    def _arm(self) -> None:
        if self._grace is not None:
            return  # and after that it is armed again
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline_ms = self._core.next_deadline_ms() if self._is_active else None
        if deadline_ms is not None:
            wait_ms = max(0, deadline_ms - self._clock.monotonic_ms())
            self._timer = asyncio.get_running_loop().call_later(wait_ms / 1_000, self._ring)

    def _ring(self) -> None:
        # One round later: if the loop was held up, the heartbeats that arrived meanwhile go first.
        self._timer = None
        self._grace = asyncio.get_running_loop().call_later(0.001, self._tick)

    def _tick(self) -> None:
        self._grace = None
        if self._is_active:
            self._guarded(lambda: self._accept(self._core.tick(self._now())))

    # --- tasks -------------------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None] | Awaitable[None]) -> None:
        # A coroutine inside of another would never be awaited where the task is cancelled before its first turn.
        task = asyncio.ensure_future(work if isinstance(work, Coroutine) else _awaited(work))
        self._tasks[task] = None
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        del self._tasks[task]
        error = None if task.cancelled() else task.exception()
        if isinstance(error, NotLeaderOrFollowerError):
            self.close()
        elif error is not None:
            self._fail(error)

    def _guarded(self, step: Callable[[], None]) -> None:
        """A core that fails is in no state to go on: it stops, loudly, and another begins from the log."""
        try:
            step()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._closed is not None:
            return  # another has its place by now, or will have
        logger.error("the coordinator of %s failed, and begins anew", self._log.name, exc_info=error)
        self.close(CoordinatorNotAvailableError(f"the coordinator of {self._log.name} failed: {error}"))
        self.on_failed(error)


def _ignore(error: BaseException) -> None:
    return


async def _awaited(work: Awaitable[None]) -> None:
    await work


def _told(committed: "asyncio.Future[None]", error: KraftpyError | None) -> None:
    if committed.done():
        return
    if _stands(error):
        committed.set_result(None)
    else:
        assert error is not None
        committed.set_exception(error)


def _stands(error: KraftpyError | None) -> bool:
    """Whether it is committed, though perhaps on fewer replicas by now than its producers are promised."""
    return error is None or isinstance(error, NotEnoughReplicasAfterAppendError)


def _as_coordinator(error: KraftpyError) -> KraftpyError:
    """What a client of a coordinator is told of trouble with its log."""
    if isinstance(error, _NOT_AVAILABLE):
        return CoordinatorNotAvailableError(str(error))
    if isinstance(error, _NOT_HERE):
        return NotCoordinatorError(str(error))
    if isinstance(error, RecordTooLargeError):
        return InvalidRequestError(f"what is to be remembered is too large for one batch: {error}")
    return error
