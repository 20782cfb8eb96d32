"""All fetchers of this broker: one for each broker that leads something followed here.

Invariants
- A partition is with at most one fetcher: that of its present leader.
- A fetcher belongs to one life of the leading broker: a new registration, which may come with another address, gets a
  new one. A fetcher without partitions ends.
"""

import asyncio
from collections.abc import Callable

from broker.metadata.state import PartitionKey
from broker.replication.fetcher import Fetcher
from broker.replication.partition import Partition

MakeFetcher = Callable[[int], Fetcher | None]
"""The fetcher for a broker by its id, not started yet; None while metadata does not say where that broker is."""


class Fetchers:
    """Who is followed where."""

    def __init__(self, make: MakeFetcher, ended: Callable[[int], None] = lambda leader_id: None) -> None:
        """`ended(leader_id)`: nothing is fetched from there any more, or only from its next life."""
        self._make = make
        self._ended = ended
        self._fetchers: dict[int, Fetcher] = {}  # by leading broker
        self._followed: dict[PartitionKey, tuple[Partition, int]] = {}  # with the leader's id
        self._ending: dict[asyncio.Task[None], None] = {}

    def follow(self, partition: Partition) -> None:
        """Follow it at its present leader, in its present epoch."""
        self.leave(partition.key)
        leader_id = partition.state.leader
        self._followed[partition.key] = (partition, leader_id)
        fetcher = self._fetchers.get(leader_id)
        if fetcher is None:
            fetcher = self._make(leader_id)
            if fetcher is None:
                return  # `broker_changed` will make one
            self._fetchers[leader_id] = fetcher
            fetcher.start()
        fetcher.add(partition)

    def leave(self, key: PartitionKey) -> None:
        """Do not follow it any more."""
        _, leader_id = self._followed.pop(key, (None, -1))
        fetcher = self._fetchers.get(leader_id)
        if fetcher is not None:
            fetcher.remove(key)
            if not fetcher.partition_count:
                self._end(leader_id)

    def broker_changed(self, broker_id: int) -> None:
        """It registered anew, or is gone: follow what it leads at its new address."""
        self._end(broker_id)
        for partition, leader_id in list(self._followed.values()):
            if leader_id == broker_id:
                self.follow(partition)

    def flushed(self, partition: Partition) -> None:
        """A flush of its log has finished."""
        _, leader_id = self._followed.get(partition.key, (None, -1))
        fetcher = self._fetchers.get(leader_id)
        if fetcher is not None:
            fetcher.flushed(partition)

    async def stop(self) -> None:
        """End all of them, and wait for it."""
        self._followed.clear()
        for leader_id in list(self._fetchers):
            self._end(leader_id)
        ending = list(self._ending)
        for task, outcome in zip(ending, await asyncio.gather(*ending, return_exceptions=True), strict=True):
            if isinstance(outcome, Exception):
                context = {"message": "a fetcher did not end well, which is a bug", "exception": outcome, "task": task}
                asyncio.get_running_loop().call_exception_handler(context)

    def _end(self, leader_id: int) -> None:
        fetcher = self._fetchers.pop(leader_id, None)
        if fetcher is not None:
            self._ended(leader_id)
            task = asyncio.create_task(fetcher.stop())
            self._ending[task] = None
            task.add_done_callback(lambda done: self._ending.pop(done, None) and None)
