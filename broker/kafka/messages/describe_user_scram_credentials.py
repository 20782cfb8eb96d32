"""DescribeUserScramCredentials (key 50), version 0: the messages."""

from broker.kafka.schema import Int8, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 0, 0


@structure
class UserName(Structure):
    name: String


@structure
class DescribeUserScramCredentialsRequest(Structure):
    users: tuple[UserName, ...] | None


@structure
class CredentialInfo(Structure):
    mechanism: Int8
    iterations: Int32


@structure
class DescribeUserScramCredentialsResult(Structure):
    user: String
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
    credential_infos: tuple[CredentialInfo, ...]


@structure
class DescribeUserScramCredentialsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
    results: tuple[DescribeUserScramCredentialsResult, ...]
