"""What a replica finds when it starts: the shape of its log, set right with its snapshot.

Two crashes leave the two apart, and both are mended here: one in the middle of loading a snapshot (it is durable, the
log is still the old one), and one after a leader took a snapshot of entries that a majority had before its own disk.
"""

from raft.events import Offset, SnapshotId, VoterSet
from raft.log_shape import LogShape, StoredLog, voter_sets_of
from raft.ports import ReplicatedLog

SCAN_BYTES_MAX = 1 << 20


def recover(log: ReplicatedLog) -> StoredLog:
    """The stored log; it has been reset to its latest snapshot if it does not lead up to that."""
    snapshot = log.latest_snapshot()
    if snapshot is not None and not leads_up_to(log, snapshot):
        log.reset_to(snapshot)
    voter_sets: list[tuple[Offset, VoterSet]] = []
    offset = log.start_offset
    if snapshot is not None:
        voter_sets.append((snapshot.end_offset, log.snapshot_voters(snapshot)))
        offset = snapshot.end_offset
    while offset < log.end_offset:
        entries = log.read(offset, log.end_offset, SCAN_BYTES_MAX)
        voter_sets += voter_sets_of(entries)
        offset = entries[-1].end_offset
    return StoredLog(log.start_offset, log.end_offset, tuple(log.epochs()), tuple(voter_sets), snapshot)


def leads_up_to(log: ReplicatedLog, snapshot: SnapshotId) -> bool:
    """Whether the log begins at the snapshot's end or before it, and has there what the snapshot is of."""
    if not log.start_offset <= snapshot.end_offset <= log.end_offset:
        return False
    shape = LogShape(StoredLog(log.start_offset, log.end_offset, tuple(log.epochs()), (), None))
    return snapshot.end_offset == log.start_offset or shape.position_at(snapshot.end_offset).epoch == snapshot.epoch
