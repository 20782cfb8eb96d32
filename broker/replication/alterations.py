"""Telling the controller of in-sync sets that should change: many partitions a call, one call at a time.

Invariants
- A proposal stays out until it is answered or overtaken by metadata; where the call failed it may have been committed,
  and is sent again, unchanged, against the same partition epoch: so it can take effect only once.
- While a call is under way, further proposals gather for the next one.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from broker.replication.isr import InSyncAnswer, InSyncProposal
from broker.replication.partition import Partition
from kraftpy.errors import KraftpyError
from kraftpy.runtime.ports import TransportError

PROPOSALS_PER_CALL_MAX = 2_000


class Control(Protocol):
    """The active controller, as far as replication speaks to it."""

    async def alter_partition(self, proposals: Sequence[InSyncProposal]) -> Sequence[InSyncAnswer]:
        """One answer for each proposal, in order. Raises `KraftpyError` or `TransportError` where there is none."""

    async def report_unreachable(self, broker_id: int, broker_epoch: int) -> None:
        """That broker could not be reached. Raises as `alter_partition` does."""


class Alterations:
    """The proposals of this broker. `run` it as a task; `propose` at any time."""

    def __init__(self, control: Control, broker_epoch: Callable[[], int], retry_ms: int) -> None:
        self._control = control
        self._broker_epoch = broker_epoch
        self._retry_ms = retry_ms
        self._waiting: dict[Partition, None] = {}
        self._news = asyncio.Event()

    def propose(self, partition: Partition) -> None:
        """Send the partition's proposal as soon as the line is free."""
        self._waiting[partition] = None
        self._news.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                if not await self._send(list(self._waiting)[:PROPOSALS_PER_CALL_MAX]):
                    await asyncio.sleep(self._retry_ms / 1000)

    async def _send(self, partitions: Sequence[Partition]) -> bool:
        """Send what `partitions` propose now. False: something has to be sent again, later."""
        for partition in partitions:
            del self._waiting[partition]
        broker_epoch = self._broker_epoch()
        sent = [(partition, proposal) for partition in partitions if (proposal := partition.proposal(broker_epoch))]
        if not sent:
            return True
        try:
            answers = await self._control.alter_partition([proposal for _, proposal in sent])
        except (KraftpyError, TransportError):
            for partition, _ in sent:
                self._waiting[partition] = None
            return False
        done = True
        for (partition, proposal), answer in zip(sent, answers, strict=True):
            if partition.answered(proposal, answer):
                self._waiting[partition] = None
                done = False
        return done
