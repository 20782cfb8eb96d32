"""What a node does for its transaction coordinators, with a real shard on virtual time and a log in memory."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from broker.controller.commands import ProducerIdBlock
from broker.coordinator.shard import COMMIT_TIMEOUT_MS, Shard
from broker.coordinator.transactions.codec import TransactionRecordCodec
from broker.coordinator.transactions.commands import NOBODY, InitProducerId, ProducerIdentity, TransactionalProducer
from broker.coordinator.transactions.config import TransactionConfig
from broker.coordinator.transactions.core import TransactionCore
from broker.coordinator.transactions.service import RETRY_PAUSE_MS, TransactionService, TransactionShard
from broker.metadata.image import MetadataImage
from broker.producer_ids import ProducerIds
from kraftpy.errors import CoordinatorNotAvailableError
from simulation.clock import SimulatedClock
from simulation.loop import Loop
from tests.coordinator.counters import MemoryLog


class Node:
    """A service with one coordinator, and nobody around it."""

    def __init__(self, loop: Loop) -> None:
        clock = SimulatedClock(loop, loop.world)
        nobody = cast(Any, SimpleNamespace(leadership_listeners={}, admissions=SimpleNamespace(), shard=None))
        nobody.turn = asyncio.Lock()
        ports = cast(Any, SimpleNamespace(clock=clock, transport=None, disk=None))
        ids = ProducerIds(self._block)
        self.service = TransactionService(
            1, TransactionConfig(), ports, lambda: MetadataImage.EMPTY, nobody, nobody, ids, nobody
        )
        self.log = MemoryLog()
        codec = TransactionRecordCodec(lambda: 0)
        core = TransactionCore(TransactionConfig(), 1)
        self.shard: TransactionShard = Shard(core, codec, cast(Any, self.log), clock, self.service.perform)

    async def _block(self) -> ProducerIdBlock:
        return ProducerIdBlock(100, 1_000)

    async def begin(self) -> None:
        self.shard.start()
        await asyncio.sleep(0.01)

    async def init(self, transactional_id: str) -> ProducerIdentity:
        identity = await self.shard.submit(InitProducerId(TransactionalProducer(transactional_id, *NOBODY), 60_000))
        assert isinstance(identity, ProducerIdentity)
        return identity


def story(tell: Callable[[Node], Awaitable[None]]) -> None:
    loop = Loop(1, time_limit_ms=1_000_000)

    async def run() -> None:
        node = Node(loop)
        await node.begin()
        await tell(node)
        node.shard.close()

    try:
        loop.run_until_complete(run())
    finally:
        loop.shutdown()


def test_a_producer_id_whose_record_is_committed_late_is_nobody_elses() -> None:
    """What was told is heard, though its answer comes too late: it is not told again (a frozen follower suffices)."""

    async def tell(node: Node) -> None:
        node.log.commits_at_once = False
        first = asyncio.ensure_future(node.init("a"))
        await asyncio.sleep((COMMIT_TIMEOUT_MS + 10) / 1_000)
        with pytest.raises(CoordinatorNotAvailableError):
            await first
        node.log.commits_at_once = True
        node.log.commit()
        await asyncio.sleep(2 * RETRY_PAUSE_MS / 1_000)
        ids = [(await node.init(name)).producer_id for name in ("a", "b", "c", "d")]
        assert len(set(ids)) == 4, ids

    story(tell)
