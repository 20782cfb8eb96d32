"""Entries of the quorum's log as record batches (v2), the form in which they lie on disk and travel.

One entry is one batch, and a body of the state machine *is* its batch: complete but for the base offset and the epoch,
which stand outside the CRC and are set here. Control records are batches of one control record, with Kafka's types and
our own messages as values. The same entry is the same bytes on every replica, so timestamps of control records are 0.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from google.protobuf.message import DecodeError

from broker.metadata import codec
from broker.metadata.records import MetadataRecord
from kraftpy.errors import CorruptRecordError
from kraftpy.pb import quorum_pb2 as pb
from kraftpy.record import (
    BatchBuilder,
    BatchHeader,
    ControlType,
    check_batch,
    decode_batch,
    decode_control_batch,
    encode_control_batch,
    patch,
)
from kraftpy.runtime.ports import Buffer
from raft.events import Entry, Epoch, LeaderChange, NodeId, Offset, ReplicaKey, Voter, VoterSet

SAME_EVERYWHERE_MS = 0
"""The time of what each node makes for itself, and has to make alike."""


def encode_entries(entries: Iterable[Entry]) -> bytes:
    """The batches of `entries`, one after the other."""
    return b"".join([_batch(entry) for entry in entries])


def decode_entries(data: Buffer) -> list[Entry]:
    """The entries in `data`, whole batches only, each checked by its CRC. Raises `CorruptRecordError`."""
    view = memoryview(data)
    entries: list[Entry] = []
    position = 0
    while position < len(view):
        header = check_batch(view, position)
        batch = view[position : position + header.size_bytes]
        body = _control(batch) if header.is_control else bytes(batch)
        entries.append(Entry(Offset(header.base_offset), header.record_count, Epoch(header.leader_epoch), body))
        position += header.size_bytes
    return entries


def metadata_body(records: Sequence[MetadataRecord], timestamp_ms: int) -> bytes:
    """The body of the entry that carries `records`, which stand or fall together."""
    builder = BatchBuilder()
    for value in codec.encode_batch(records):
        builder.append(timestamp_ms, None, value)
    return bytes(builder.build())


def metadata_records(body: Buffer) -> list[MetadataRecord]:
    """The records in a body. Raises `CorruptRecordError`, `UnsupportedMetadataError`."""
    return codec.decode_batch([record.value or b"" for record in decode_batch(body)])


def voter_batch(voters: VoterSet, base_offset: int = 0, epoch: int = 0) -> bytearray:
    """The control batch of a voter set (KIP-853)."""
    value = voters_to_pb(voters).SerializeToString(deterministic=True)
    return _control_batch(ControlType.KRAFT_VOTERS, value, base_offset, epoch)


def voters_of(header: BatchHeader, batch: Buffer) -> VoterSet | None:
    """The voters in a batch; None where it holds something else. Raises `CorruptRecordError` for a control batch."""
    body = _control(batch) if header.is_control else None
    return body if isinstance(body, VoterSet) else None


def key_to_pb(key: ReplicaKey) -> pb.ReplicaKey:
    return pb.ReplicaKey(node_id=key.node_id, directory_id=key.directory_id.bytes)


def key_from_pb(message: pb.ReplicaKey) -> ReplicaKey:
    """Raises `ValueError` where the directory id has not 16 bytes."""
    return ReplicaKey(NodeId(message.node_id), UUID(bytes=message.directory_id))


def voters_to_pb(voters: VoterSet) -> pb.VoterSet:
    return pb.VoterSet(
        voters=[pb.Voter(key=key_to_pb(voter.key), host=voter.host, port=voter.port) for voter in voters.voters]
    )


def voters_from_pb(message: pb.VoterSet) -> VoterSet:
    """Raises `ValueError` as `key_from_pb` does."""
    return VoterSet(tuple(Voter(key_from_pb(voter.key), voter.host, voter.port) for voter in message.voters))


def _batch(entry: Entry) -> Buffer:
    match entry.body:
        case VoterSet() as voters:
            return voter_batch(voters, entry.offset, entry.epoch)
        case LeaderChange(leader_id, voter_ids):
            value = pb.LeaderChange(leader_id=leader_id, voters=voter_ids).SerializeToString(deterministic=True)
            return _control_batch(ControlType.LEADER_CHANGE, value, entry.offset, entry.epoch)
        case body:
            batch = bytearray(body)
            patch(batch, 0, entry.offset, entry.epoch)
            return batch


def _control_batch(control_type: ControlType, value: bytes, base_offset: int, epoch: int) -> bytearray:
    return encode_control_batch(
        control_type, value, timestamp_ms=SAME_EVERYWHERE_MS, base_offset=base_offset, leader_epoch=epoch
    )


def _control(batch: Buffer) -> VoterSet | LeaderChange:
    (record,) = decode_control_batch(batch)
    try:
        if record.type == ControlType.KRAFT_VOTERS:
            return voters_from_pb(pb.VoterSet.FromString(record.value))
        if record.type == ControlType.LEADER_CHANGE:
            change = pb.LeaderChange.FromString(record.value)
            return LeaderChange(NodeId(change.leader_id), tuple(NodeId(voter) for voter in change.voters))
    except (DecodeError, ValueError) as error:
        raise CorruptRecordError(f"a control record of the quorum cannot be read: {error}") from error
    raise CorruptRecordError(f"control record type {record.type} does not belong into the quorum's log")
