"""A fetcher's session (KIP-227): what its leader is told to hold, and to forget."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from broker.metadata.state import PartitionKey
from broker.replication.config import ReplicationConfig
from broker.replication.fetcher import Fetcher
from kraftpy.runtime.ports import Address
from simulation.clock import SimulatedClock
from simulation.loop import Loop

NOBODY: Any = None


def replica(index: int) -> Any:
    log = SimpleNamespace(start_offset=0, end_offset=10, epochs=SimpleNamespace(latest_epoch=3))
    key, state = PartitionKey(UUID(int=7), index), SimpleNamespace(leader_epoch=3)
    return SimpleNamespace(key=key, topic="t", state=state, log=log, high_watermark=0, is_durable=True)


class Host:
    """Holds back what a test says."""

    node_id = 2

    def __init__(self) -> None:
        self.held_back: dict[PartitionKey, int] = {}

    def broker_epoch(self) -> int:
        return 1

    def held_back_ms(self, partition: Any) -> int:
        return self.held_back.get(partition.key, 0)


def test_a_repaired_replica_that_is_held_back_is_forgotten_by_the_session_until_it_is_asked_for() -> None:
    """Else its leader would take it for as far as it was before it was cut, with each fetch of the others."""
    loop, host, cut, other = Loop(1, time_limit_ms=60_000), Host(), replica(0), replica(1)

    async def story() -> None:
        clock = SimulatedClock(loop, loop.world)
        config, address = ReplicationConfig(), Address("n1", 1)
        fetcher = Fetcher(1, 1, address, NOBODY, clock, config, NOBODY, cast(Any, host))
        fetcher.add(cut)
        fetcher.add(other)
        first = fetcher._next_query()
        assert first is not None and [target.partition for target in first.partitions] == [0, 1]
        fetcher._open_session(9)
        fetcher.remove(cut.key)
        cut.log.end_offset = 4
        host.held_back[cut.key] = 10
        fetcher.add(cut)
        second = fetcher._next_query()
        assert second is not None and not second.partitions
        assert [forgotten.partition for forgotten in second.forgotten] == [0]
        host.held_back.clear()
        await asyncio.sleep(0.02)
        third = fetcher._next_query()
        assert third is not None and [target.offset for target in third.partitions] == [4]
        assert not third.forgotten

    try:
        loop.run_until_complete(story())
    finally:
        loop.shutdown()
