"""The quorum's messages on the wire: `raft.events` to `kraftpy.pb.quorum_pb2` and back.

Entries travel as the record batches that the log holds (`broker.quorum.entries`), so a follower appends what it got.
"""

from broker.quorum.entries import (
    decode_entries,
    encode_entries,
    key_from_pb,
    key_to_pb,
)
from kraftpy.pb import quorum_pb2 as pb
from raft import events as raft
from raft.events import Epoch, LogPosition, NodeId, Offset, SnapshotId


def _position_to_pb(position: LogPosition | SnapshotId) -> pb.LogPosition:
    return pb.LogPosition(epoch=position.epoch, end_offset=position.end_offset)


def _position_from_pb(message: pb.LogPosition) -> LogPosition:
    return LogPosition(Epoch(message.epoch), Offset(message.end_offset))


def _snapshot_from_pb(message: pb.LogPosition) -> SnapshotId:
    return SnapshotId(Epoch(message.epoch), Offset(message.end_offset))


def vote_to_pb(request: raft.VoteRequest, cluster_id: str) -> pb.VoteRequest:
    return pb.VoteRequest(
        cluster_id=cluster_id,
        candidate=key_to_pb(request.candidate),
        voter=None if request.voter is None else key_to_pb(request.voter),
        epoch=request.epoch,
        last=_position_to_pb(request.last),
        pre_vote=request.pre_vote,
    )


def vote_from_pb(message: pb.VoteRequest) -> raft.VoteRequest:
    return raft.VoteRequest(
        candidate=key_from_pb(message.candidate),
        voter=key_from_pb(message.voter) if message.HasField("voter") else None,
        epoch=Epoch(message.epoch),
        last=_position_from_pb(message.last),
        pre_vote=message.pre_vote,
    )


def vote_answer_to_pb(response: raft.VoteResponse) -> pb.VoteResponse:
    return pb.VoteResponse(epoch=response.epoch, leader_id=response.leader_id, granted=response.granted)


def vote_answer_from_pb(message: pb.VoteResponse) -> raft.VoteResponse:
    return raft.VoteResponse(
        Epoch(message.epoch), NodeId(message.leader_id) if message.HasField("leader_id") else None, message.granted
    )


def begin_to_pb(request: raft.BeginQuorumEpochRequest, cluster_id: str) -> pb.BeginQuorumEpochRequest:
    return pb.BeginQuorumEpochRequest(cluster_id=cluster_id, leader_id=request.leader_id, epoch=request.epoch)


def begin_from_pb(message: pb.BeginQuorumEpochRequest) -> raft.BeginQuorumEpochRequest:
    return raft.BeginQuorumEpochRequest(NodeId(message.leader_id), Epoch(message.epoch))


def end_to_pb(request: raft.EndQuorumEpochRequest, cluster_id: str) -> pb.EndQuorumEpochRequest:
    return pb.EndQuorumEpochRequest(
        cluster_id=cluster_id, leader_id=request.leader_id, epoch=request.epoch, preferred=request.preferred
    )


def end_from_pb(message: pb.EndQuorumEpochRequest) -> raft.EndQuorumEpochRequest:
    return raft.EndQuorumEpochRequest(
        NodeId(message.leader_id), Epoch(message.epoch), tuple(NodeId(node) for node in message.preferred)
    )


def epoch_answer_to_pb(response: raft.EpochResponse) -> pb.EpochResponse:
    return pb.EpochResponse(epoch=response.epoch, leader_id=response.leader_id)


def epoch_answer_from_pb(message: pb.EpochResponse) -> raft.EpochResponse:
    return raft.EpochResponse(
        Epoch(message.epoch), NodeId(message.leader_id) if message.HasField("leader_id") else None
    )


def fetch_to_pb(request: raft.FetchRequest, cluster_id: str) -> pb.QuorumFetchRequest:
    return pb.QuorumFetchRequest(
        cluster_id=cluster_id,
        replica=key_to_pb(request.replica),
        epoch=request.epoch,
        position=_position_to_pb(request.position),
        high_watermark=request.high_watermark,
        round=request.round,
        max_wait_ms=request.max_wait_ms,
    )


def fetch_from_pb(message: pb.QuorumFetchRequest) -> raft.FetchRequest:
    return raft.FetchRequest(
        replica=key_from_pb(message.replica),
        epoch=Epoch(message.epoch),
        position=_position_from_pb(message.position),
        high_watermark=Offset(message.high_watermark),
        round=message.round,
        max_wait_ms=message.max_wait_ms,
    )


def fetch_answer_to_pb(response: raft.FetchResponse) -> pb.QuorumFetchResponse:
    return pb.QuorumFetchResponse(
        granted=response.granted,
        epoch=response.epoch,
        leader_id=response.leader_id,
        high_watermark=response.high_watermark,
        round=response.round,
        diverging=None if response.diverging is None else _position_to_pb(response.diverging),
        snapshot=None if response.snapshot is None else _position_to_pb(response.snapshot),
        batches=encode_entries(response.entries),
    )


def fetch_answer_from_pb(message: pb.QuorumFetchResponse) -> raft.FetchResponse:
    return raft.FetchResponse(
        granted=message.granted,
        epoch=Epoch(message.epoch),
        leader_id=NodeId(message.leader_id) if message.HasField("leader_id") else None,
        high_watermark=Offset(message.high_watermark),
        round=message.round,
        diverging=_position_from_pb(message.diverging) if message.HasField("diverging") else None,
        snapshot=_snapshot_from_pb(message.snapshot) if message.HasField("snapshot") else None,
        entries=tuple(decode_entries(message.batches)),
    )


def snapshot_to_pb(request: raft.FetchSnapshotRequest, cluster_id: str) -> pb.FetchSnapshotRequest:
    return pb.FetchSnapshotRequest(
        cluster_id=cluster_id,
        replica=key_to_pb(request.replica),
        epoch=request.epoch,
        snapshot=_position_to_pb(request.snapshot),
        position=request.position,
        size_max=request.size_max,
    )


def snapshot_from_pb(message: pb.FetchSnapshotRequest) -> raft.FetchSnapshotRequest:
    return raft.FetchSnapshotRequest(
        replica=key_from_pb(message.replica),
        epoch=Epoch(message.epoch),
        snapshot=_snapshot_from_pb(message.snapshot),
        position=message.position,
        size_max=message.size_max,
    )


def snapshot_answer_to_pb(response: raft.FetchSnapshotResponse) -> pb.FetchSnapshotResponse:
    return pb.FetchSnapshotResponse(
        granted=response.granted,
        epoch=response.epoch,
        leader_id=response.leader_id,
        snapshot=_position_to_pb(response.snapshot),
        position=response.position,
        size=response.size,
        chunk=response.chunk,
    )


def snapshot_answer_from_pb(message: pb.FetchSnapshotResponse) -> raft.FetchSnapshotResponse:
    return raft.FetchSnapshotResponse(
        granted=message.granted,
        epoch=Epoch(message.epoch),
        leader_id=NodeId(message.leader_id) if message.HasField("leader_id") else None,
        snapshot=_snapshot_from_pb(message.snapshot),
        position=message.position,
        size=message.size,
        chunk=message.chunk,
    )
