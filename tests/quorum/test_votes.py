"""quorum-state: there and back, and never half."""

import asyncio
from uuid import UUID

import pytest

from broker.quorum.votes import QUORUM_STATE, QuorumStateFile
from kraftpy.errors import KafkaStorageError
from raft.events import Epoch, NodeId, PersistVote, ReplicaKey
from simulation.device import Device
from simulation.disk import DiskConfig, SimulatedDisk
from tests.quorum.disks import PATH, disk_of, played

KEY = ReplicaKey(NodeId(2), UUID(int=22))
VOTES = [
    PersistVote(Epoch(3), None, None),
    PersistVote(Epoch(4), KEY, None),
    PersistVote(Epoch(5), KEY, NodeId(2)),
    PersistVote(Epoch(6), None, NodeId(0)),
]
WHAT_TO_DO = "other voters are alive, .* an empty first log directory.* The only voter needs a copy of the directory"
"""An empty directory would cost the only voter all that it is there for."""


@pytest.mark.parametrize("vote", VOTES)
def test_it_survives_a_crash(vote: PersistVote) -> None:
    async def story(device: Device) -> None:
        disk = disk_of(device)
        disk.make_directory(PATH)
        disk.sync_directory("/")
        votes = QuorumStateFile(disk, PATH)
        assert await votes.load() is None
        await votes.save(PersistVote(Epoch(1), None, None))
        await votes.save(vote)
        device.crash()
        assert await QuorumStateFile(disk_of(device), PATH).load() == vote

    played(story)


@pytest.mark.parametrize("saved", [None, PersistVote(Epoch(6), KEY, None)])
def test_one_that_is_older_than_the_log_stops_the_replica(saved: PersistVote | None) -> None:
    """It is durable before anything of its epoch is appended; so it was lost, or an old one was put back."""

    async def story(device: Device) -> None:
        disk = disk_of(device)
        disk.make_directory(PATH)
        votes = QuorumStateFile(disk, PATH)
        if saved is not None:
            await votes.save(saved)
        epoch = Epoch(0) if saved is None else saved.epoch
        assert await votes.load(epoch) == saved
        with pytest.raises(KafkaStorageError, match=WHAT_TO_DO):
            await votes.load(Epoch(epoch + 1))

    played(story)


def test_one_that_is_being_saved_for_nobody_is_waited_for() -> None:
    """Its thread goes on when the replica is stopped: the next process must not begin before it has ended."""

    async def story(device: Device) -> None:
        disk = SimulatedDisk(device, DiskConfig(run_us_min=1_000, run_us_max=1_000))
        disk.make_directory(PATH)
        votes = QuorumStateFile(disk, PATH)
        saving = asyncio.ensure_future(votes.save(VOTES[0]))
        await asyncio.sleep(0)
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)
        await votes.settle()
        assert disk.read_bytes(f"{PATH}/{QUORUM_STATE}")
        assert await votes.load() == VOTES[0]
        await votes.settle()

    played(story)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"leaderId": "x"}', b'{"leaderId": 1, "data_version": 1}'])
def test_a_damaged_one_stops_the_replica(data: bytes) -> None:
    async def story(device: Device) -> None:
        disk = disk_of(device)
        disk.make_directory(PATH)
        disk.write_atomically(f"{PATH}/{QUORUM_STATE}", data)
        with pytest.raises(KafkaStorageError, match=WHAT_TO_DO):
            await QuorumStateFile(disk, PATH).load()

    played(story)
