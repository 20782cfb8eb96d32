"""AlterUserScramCredentials (key 51), version 0: the messages."""

from broker.kafka.schema import Bytes, Int8, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 0, 0


@structure
class ScramCredentialDeletion(Structure):
    name: String
    mechanism: Int8


@structure
class ScramCredentialUpsertion(Structure):
    name: String
    mechanism: Int8
    iterations: Int32
    salt: Bytes
    salted_password: Bytes


@structure
class AlterUserScramCredentialsRequest(Structure):
    deletions: tuple[ScramCredentialDeletion, ...]
    upsertions: tuple[ScramCredentialUpsertion, ...]


@structure
class AlterUserScramCredentialsResult(Structure):
    user: String
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)


@structure
class AlterUserScramCredentialsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    results: tuple[AlterUserScramCredentialsResult, ...]
