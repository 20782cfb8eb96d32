"""What the quorum's tests share: simulated disks, a clock, entries and voters."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar
from uuid import UUID

from broker.metadata.records import ConfigRecord, topic_resource
from broker.quorum.entries import metadata_body
from broker.quorum.log import QuorumLog
from raft.events import Entry, Epoch, NodeId, Offset, ReplicaKey, Voter, VoterSet
from simulation.device import Device
from simulation.disk import DiskConfig, SimulatedDisk

PATH = "/data"
T = TypeVar("T")
VOTERS = VoterSet(
    tuple(Voter(ReplicaKey(NodeId(node_id), UUID(int=node_id)), f"n{node_id}", 9093) for node_id in (1, 2, 3))
)


class StillClock:
    """A clock that stands still."""

    def monotonic_ms(self) -> int:
        return 1_000

    def wall_ms(self) -> int:
        return 1_700_000_000_000


class PromptDisk(SimulatedDisk):
    """Does blocking work at once, so that a crash in it ends whoever waits."""

    async def run(self, work: Callable[[], T]) -> T:
        return work()


def disk_of(device: Device) -> SimulatedDisk:
    return PromptDisk(device, DiskConfig(run_us_min=1, run_us_max=10))


async def open_log(device: Device) -> QuorumLog:
    """The log, as the next life of the process finds it."""
    disk = disk_of(device)
    if not disk.exists(PATH):
        disk.make_directory(PATH)
        disk.sync_directory("/")
    return await QuorumLog.open(disk, StillClock(), PATH)


def settings_entry(offset: int, epoch: int, count: int = 1, size: int = 10) -> Entry:
    """An entry of `count` metadata records."""
    records = [ConfigRecord(topic_resource(f"t{offset + index}"), "retention.ms", "1" * size) for index in range(count)]
    return Entry(Offset(offset), count, Epoch(epoch), metadata_body(records, 0))


def played(story: Callable[[Device], Awaitable[None]]) -> None:
    async def play() -> None:
        await story(Device(Random(1)))

    asyncio.run(play())
