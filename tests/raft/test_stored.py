"""What a replica makes of its disk when it starts."""

from uuid import UUID

import pytest

from raft.events import Entry, Epoch, LeaderChange, NodeId, Offset, ReplicaKey, SnapshotId, Voter, VoterSet
from raft.log_shape import StoredLog
from raft.stored import recover
from tests.raft.world import SlowLog

ONE, TWO = (VoterSet((Voter(ReplicaKey(NodeId(i), UUID(int=i)), f"n{i}", 9093),)) for i in (1, 2))


def log_of(*epochs: int, snapshot: SnapshotId | None = None, voters: VoterSet = ONE) -> SlowLog:
    """Entry 0 names the voters; one entry more for each of `epochs`."""
    entries = [Entry(Offset(0), 1, Epoch(0), ONE)]
    entries += [Entry(Offset(i), 1, Epoch(epoch), b"x") for i, epoch in enumerate(epochs, 1)]
    log = SlowLog(entries)
    if snapshot is not None:
        log.keep_snapshot(snapshot, voters, b"state")
    return log


def snapshot_of(end_offset: int, epoch: int) -> SnapshotId:
    return SnapshotId(Epoch(epoch), Offset(end_offset))


def epochs_of(*epochs: tuple[int, int]) -> tuple[tuple[Epoch, Offset], ...]:
    return tuple((Epoch(epoch), Offset(start)) for epoch, start in epochs)


def test_an_empty_disk() -> None:
    assert recover(SlowLog()) == StoredLog()


def test_a_log_without_a_snapshot() -> None:
    stored = recover(log_of(1, 1, 3))
    assert stored == StoredLog(Offset(0), Offset(4), epochs_of((0, 0), (1, 1), (3, 3)), ((Offset(1), ONE),), None)


def test_voter_sets_are_found_behind_the_snapshot() -> None:
    """Also with a scan that takes several reads, over control records of both kinds."""
    log = log_of(1, 1, snapshot=snapshot_of(2, 1))
    log.append([Entry(Offset(3), 1, Epoch(2), LeaderChange(NodeId(1), (NodeId(1),)))])
    log.append([Entry(Offset(4), 1, Epoch(2), TWO)])
    log.drop_before(Offset(1))
    stored = recover(log)
    assert stored.voter_sets == ((Offset(2), ONE), (Offset(5), TWO))
    assert (stored.start_offset, stored.end_offset, stored.snapshot) == (1, 5, snapshot_of(2, 1))


@pytest.mark.parametrize(
    "snapshot",
    [
        pytest.param(snapshot_of(9, 2), id="received, and the log was not replaced yet"),
        pytest.param(snapshot_of(3, 2), id="of another epoch than the log has there"),
        pytest.param(snapshot_of(4, 1), id="of a tail that was not flushed"),
    ],
)
def test_a_log_that_does_not_lead_up_to_its_snapshot_is_replaced(snapshot: SnapshotId) -> None:
    log = log_of(1, 1, snapshot=snapshot, voters=TWO)
    stored = recover(log)
    end_offset = snapshot.end_offset
    assert stored == StoredLog(end_offset, end_offset, (), ((end_offset, TWO),), snapshot)
    assert (log.start_offset, log.end_offset) == (end_offset, end_offset)


def test_a_log_that_starts_at_its_snapshot_stays() -> None:
    log = log_of(1, 1, 2, snapshot=snapshot_of(3, 1))
    log.drop_before(Offset(3))
    stored = recover(log)
    assert stored == StoredLog(Offset(3), Offset(4), epochs_of((2, 3)), ((Offset(3), ONE),), snapshot_of(3, 1))


class PowerLoss(Exception):
    pass


class FragileLog(SlowLog):
    """Power is lost in the middle of the first reset: the old log is still there (the port's promise)."""

    losses = 1

    def reset_to(self, snapshot: SnapshotId) -> None:
        if self.losses:
            self.losses -= 1
            raise PowerLoss
        super().reset_to(snapshot)


def test_kafka_10471_a_crash_during_recovery_is_recovered_from_like_the_first() -> None:
    """Nothing that recovery has done by then makes the next one take the log for clean."""
    log = FragileLog(log_of(1, 1).entries)
    log.keep_snapshot(snapshot_of(9, 2), TWO, b"state")
    with pytest.raises(PowerLoss):
        recover(log)
    assert log.end_offset == 3
    once = recover(log)
    assert once == recover(log) == StoredLog(Offset(9), Offset(9), (), ((Offset(9), TWO),), snapshot_of(9, 2))
