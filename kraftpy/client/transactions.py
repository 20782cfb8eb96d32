"""The transactions of one producer. A shell: `TransactionState` says what may follow what.

Before a leader takes the first batch of a transaction it tells the coordinator that its partition takes part (KIP-890),
and so does the coordinator of a group before it takes offsets; so the coordinator knows where to write markers,
whatever becomes of the producer. A commit waits for every delivery first, an abort for what is on the way.

Calls are repeated until max_block_ms is over; only then, where an end was not answered, its outcome is not known, and
it may be asked for once more.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import TypeVar

from kraftpy.client.accumulator import Accumulator
from kraftpy.client.batch import ProducerIdentity
from kraftpy.client.config import ProducerConfig
from kraftpy.client.group.coordinator import TRANSACTIONS, Coordinator
from kraftpy.client.metadata import Metadata
from kraftpy.client.sender import Sender
from kraftpy.client.transaction_state import Stage, TransactionState
from kraftpy.client.values import GroupMetadata, OffsetAndMetadata, TopicPartition
from kraftpy.client.wire import ClientPorts, backoff_ms
from kraftpy.error_codes import NO_ERROR, error_for
from kraftpy.errors import (
    CallTimeoutError,
    CommitFailedError,
    FencedInstanceIdError,
    IllegalGenerationError,
    KraftpyError,
    TransactionAbortedError,
    UnknownMemberIdError,
)
from kraftpy.pb import groups_pb2, transactions_pb2

T = TypeVar("T")

_log = logging.getLogger(__name__)

_GONE = (UnknownMemberIdError, IllegalGenerationError, FencedInstanceIdError)


class Transactions:
    """See the module's docstring. Everything runs on the loop but `check_send`."""

    def __init__(
        self,
        config: ProducerConfig,
        ports: ClientPorts,
        metadata: Metadata,
        sender: Sender,
        accumulator: Accumulator,
        lock: AbstractContextManager[object],
    ) -> None:
        assert config.transactional_id is not None
        self.state = TransactionState(config.transactional_id)
        self._config = config
        self._ports = ports
        self._metadata = metadata
        self._sender = sender
        self._accumulator = accumulator
        self._lock = lock
        self._transactional_id = config.transactional_id
        self._coordinator = Coordinator(config, ports, metadata, groups_pb2.TRANSACTION, config.transactional_id)
        self._groups: dict[str, Coordinator] = {}
        self._identity: ProducerIdentity | None = None
        self._is_begun = False  # whether the coordinator may know of the transaction
        self._turn = asyncio.Lock()

    # --- what the sender asks ----------------------------------------------------------------------------------------

    @property
    def identity(self) -> ProducerIdentity | None:
        return self._identity

    def sending(self) -> None:
        """A batch of the transaction goes out. Its leader tells the coordinator that the partition takes part."""
        self._is_begun = True

    # --- what the producer asks --------------------------------------------------------------------------------------

    def check_send(self) -> None:
        """Raises unless a record may be sent now. Called with the lock held, on any thread."""
        failure = self._accumulator.transaction_failure
        if failure is not None and self.state.stage is Stage.OPEN:
            self.state.undelivered(failure)
        self.state.check_send()

    async def init(self) -> None:
        """Take the transactional id over. Raises `ProducerFencedError`, `CallTimeoutError`."""
        async with self._turn:
            await self._init()

    async def begin(self) -> None:
        """Begin a transaction; the first time, take the transactional id over."""
        async with self._turn:
            await self._init()
            if self.state.stage is Stage.ABORTING:  # nobody answered, and a `with` block has nobody who asks again
                await self._abort()
            self.state.begin()
            with self._lock:
                self._accumulator.transaction_failure = None

    async def commit(self) -> None:
        """Deliver everything and commit. Raises what was not delivered: then the transaction must be aborted."""
        async with self._turn:
            if self.state.stage in (Stage.OPEN, Stage.DELIVERING):
                with self._lock:  # whoever passed `check_send` has appended by now, and is waited for
                    self.state.delivering()
                await self._sender.flush()
                failure = self._accumulator.transaction_failure
                if failure is not None:
                    raise self.state.undelivered(failure)
            self.state.end(commit=True)
            await self._end(commit=True)

    async def abort(self) -> None:
        """Undo everything that was sent since `begin`."""
        async with self._turn:
            self.state.end(commit=False)
            await self._abort()

    async def finish(self) -> None:
        """End what is open: a commit that was asked for is asked for again, and anything else undone."""
        if not self.state.is_open:
            return  # whoever takes the transactional id over has the turn, and may wait for long
        async with self._turn:
            if self.state.stage is Stage.COMMITTING:
                await self._end(commit=True)
            elif self.state.is_open:
                self.state.end(commit=False)
                await self._abort()

    async def send_offsets(self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group: GroupMetadata) -> None:
        """Commit a group's offsets as a part of the transaction.

        Raises `CommitFailedError` where the group has gone on without that consumer: then the transaction must be
        aborted.
        """
        async with self._turn:
            self.check_send()
            if not offsets:
                return
            self._is_begun = True
            try:
                await self._send_offsets(offsets, group)
            except KraftpyError as error:
                if isinstance(error, _GONE):
                    error = CommitFailedError(
                        f"the transaction must be aborted: group {group.group_id} has given the partitions to other "
                        f"members ({error.name})"
                    )
                raise self.state.failed(error) from None

    async def close(self) -> None:
        for coordinator in (self._coordinator, *self._groups.values()):
            await coordinator.close()

    def end(self) -> None:
        """As `close`, at once."""
        for coordinator in (self._coordinator, *self._groups.values()):
            coordinator.end()

    # --- calls -------------------------------------------------------------------------------------------------------

    async def _init(self) -> None:
        if self.state.stage is not Stage.UNKNOWN:
            return
        await self._new_identity()
        self.state.ready()

    async def _new_identity(self) -> None:
        """With an identity: the next epoch of it (KIP-360)."""
        message = transactions_pb2.InitTransactionalRequest(
            producer=self._producer(), transaction_timeout_ms=self._config.transaction_timeout_ms
        )
        answer = await self._asked(
            lambda timeout_ms: self._coordinator.call(
                TRANSACTIONS + "InitProducerId", message, transactions_pb2.InitTransactionalResponse, timeout_ms
            )
        )
        self._identity = ProducerIdentity(answer.producer_id, answer.producer_epoch)

    async def _abort(self) -> None:
        await self._sender.drop_unsent(TransactionAbortedError("the transaction was aborted before this was sent"))
        await self._end(commit=False)

    async def _end(self, *, commit: bool) -> None:
        if self._is_begun:
            message = transactions_pb2.EndTransactionRequest(producer=self._producer(), commit=commit)
            answer = await self._asked(
                lambda timeout_ms: self._coordinator.call(
                    TRANSACTIONS + "EndTransaction", message, transactions_pb2.EndTransactionResponse, timeout_ms
                )
            )
            before, self._identity = self._identity, ProducerIdentity(answer.producer_id, answer.producer_epoch)
            if not commit and before == self._identity:
                # An old cluster goes on with the same epoch; what failed may have left a gap in the sequences.
                await self._new_identity()
        with self._lock:
            if not commit:
                self._accumulator.take_failures()  # whoever aborts knows
            self._accumulator.renew(self._identity)
        self._is_begun = False
        self.state.ready()

    async def _send_offsets(self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group: GroupMetadata) -> None:
        message = transactions_pb2.CommitTransactionalOffsetsRequest(
            producer=self._producer(),
            group_id=group.group_id,
            member=groups_pb2.GroupMember(member_id=group.member_id, instance_id=group.instance_id),
            generation=group.generation,
        )
        for place, offset in offsets.items():
            message.offsets.add(
                topic=place.topic,
                partition=place.partition,
                offset=offset.offset,
                leader_epoch=offset.leader_epoch,
                metadata=offset.metadata,
            )
        coordinator = self._groups.get(group.group_id)
        if coordinator is None:
            coordinator = self._groups[group.group_id] = Coordinator(
                self._config, self._ports, self._metadata, groups_pb2.GROUP, group.group_id
            )
        found = coordinator

        async def commit(timeout_ms: int) -> None:
            answer = await found.call(TRANSACTIONS + "CommitOffsets", message, groups_pb2.OffsetResults, timeout_ms)
            for place, code in zip(offsets, answer.errors, strict=False):
                if code != NO_ERROR:
                    error = error_for(code, f"{place}: {error_for(code).message}")
                    found.noted(error)
                    raise error

        await self._repeat(commit, self._config.max_block_ms)

    async def _asked(self, call: Callable[[int], Awaitable[T]]) -> T:
        try:
            return await self._repeat(call, self._config.max_block_ms)
        except CallTimeoutError:
            raise  # the same may be asked for again
        except KraftpyError as error:
            raise self.state.failed(error) from None

    async def _repeat(self, call: Callable[[int], Awaitable[T]], timeout_ms: int) -> T:
        """Ask until there is an answer that repeating does not change."""
        config, clock = self._config, self._ports.clock
        ends_ms = clock.monotonic_ms() + timeout_ms
        attempts = 0
        while True:
            left_ms = ends_ms - clock.monotonic_ms()
            try:
                return await call(max(min(left_ms, config.request_timeout_ms), 1))
            except KraftpyError as error:
                if not error.retriable:
                    raise
                attempts += 1
                left_ms = ends_ms - clock.monotonic_ms()
                if left_ms <= 0:
                    raise CallTimeoutError(
                        f"no answer about the transaction of {self._transactional_id} in {timeout_ms} ms: {error}"
                    ) from error
                _log.debug("%s: %s", self._transactional_id, error)
            pause_ms = backoff_ms(attempts, config.retry_backoff_ms, config.retry_backoff_max_ms)
            await asyncio.sleep(min(self._ports.jittered(pause_ms), left_ms) / 1_000)

    def _producer(self) -> transactions_pb2.TransactionalProducer:
        identity = self._identity or ProducerIdentity(-1, -1)
        return transactions_pb2.TransactionalProducer(
            transactional_id=self._transactional_id,
            producer_id=identity.producer_id,
            producer_epoch=identity.epoch,
        )
