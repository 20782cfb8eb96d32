"""AddRaftVoter (key 80), versions 0–1: the messages."""

from broker.kafka.schema import Boolean, Int16, Int32, NullableString, String, Structure, UInt16, Uuid, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 1, 0


@structure
class Listener(Structure):
    name: String
    host: String
    port: UInt16


@structure
class AddRaftVoterRequest(Structure):
    cluster_id: NullableString
    timeout_ms: Int32
    voter_id: Int32
    voter_directory_id: Uuid
    listeners: tuple[Listener, ...]
    ack_when_committed: Boolean = wire(since=1, default=True)


@structure
class AddRaftVoterResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
