"""RemoveRaftVoter (key 81), version 0: the messages."""

from broker.kafka.schema import Int16, Int32, NullableString, Structure, Uuid, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 0, 0


@structure
class RemoveRaftVoterRequest(Structure):
    cluster_id: NullableString
    voter_id: Int32
    voter_directory_id: Uuid


@structure
class RemoveRaftVoterResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
