"""quorum-state: there and back, and never half."""

from uuid import UUID

import pytest

from broker.quorum.votes import QUORUM_STATE, QuorumStateFile
from kraftpy.errors import KafkaStorageError
from raft.events import Epoch, NodeId, PersistVote, ReplicaKey
from simulation.device import Device
from tests.quorum.disks import PATH, disk_of, played

KEY = ReplicaKey(NodeId(2), UUID(int=22))
VOTES = [
    PersistVote(Epoch(3), None, None),
    PersistVote(Epoch(4), KEY, None),
    PersistVote(Epoch(5), KEY, NodeId(2)),
    PersistVote(Epoch(6), None, NodeId(0)),
]


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


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"leaderId": "x"}', b'{"leaderId": 1, "data_version": 1}'])
def test_a_damaged_one_stops_the_replica(data: bytes) -> None:
    async def story(device: Device) -> None:
        disk = disk_of(device)
        disk.make_directory(PATH)
        disk.write_atomically(f"{PATH}/{QUORUM_STATE}", data)
        with pytest.raises(KafkaStorageError, match="empty data directory"):
            await QuorumStateFile(disk, PATH).load()

    played(story)
