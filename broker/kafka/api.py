"""What an API is to the router: its number, its versions, its limits and its handler.

Each API has a file of its own, whose first lines say which versions it serves and what it leaves out.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeVar

from broker.kafka.schema import Structure, decode, encode
from kraftpy.runtime.ports import Address, FrameParts

MIB = 1024 * 1024


class ApiKey(IntEnum):
    """Kafka's numbers of the APIs that are served or called here."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    DESCRIBE_GROUPS = 15
    LIST_GROUPS = 16
    SASL_HANDSHAKE = 17
    API_VERSIONS = 18
    CREATE_TOPICS = 19
    DELETE_TOPICS = 20
    DELETE_RECORDS = 21
    INIT_PRODUCER_ID = 22
    OFFSET_FOR_LEADER_EPOCH = 23
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    WRITE_TXN_MARKERS = 27
    TXN_OFFSET_COMMIT = 28
    DESCRIBE_ACLS = 29
    CREATE_ACLS = 30
    DELETE_ACLS = 31
    DESCRIBE_CONFIGS = 32
    ALTER_CONFIGS = 33
    ALTER_REPLICA_LOG_DIRS = 34
    DESCRIBE_LOG_DIRS = 35
    SASL_AUTHENTICATE = 36
    CREATE_PARTITIONS = 37
    DELETE_GROUPS = 42
    ELECT_LEADERS = 43
    INCREMENTAL_ALTER_CONFIGS = 44
    ALTER_PARTITION_REASSIGNMENTS = 45
    LIST_PARTITION_REASSIGNMENTS = 46
    OFFSET_DELETE = 47
    DESCRIBE_CLIENT_QUOTAS = 48
    ALTER_CLIENT_QUOTAS = 49
    DESCRIBE_USER_SCRAM_CREDENTIALS = 50
    ALTER_USER_SCRAM_CREDENTIALS = 51
    DESCRIBE_QUORUM = 55
    UPDATE_FEATURES = 57
    DESCRIBE_CLUSTER = 60
    DESCRIBE_PRODUCERS = 61
    UNREGISTER_BROKER = 64
    DESCRIBE_TRANSACTIONS = 65
    LIST_TRANSACTIONS = 66
    CONSUMER_GROUP_HEARTBEAT = 68
    CONSUMER_GROUP_DESCRIBE = 69
    GET_TELEMETRY_SUBSCRIPTIONS = 71
    PUSH_TELEMETRY = 72
    LIST_CONFIG_RESOURCES = 74
    DESCRIBE_TOPIC_PARTITIONS = 75
    ADD_RAFT_VOTER = 80
    REMOVE_RAFT_VOTER = 81


async def at_once() -> None:
    """The turn of a request that is alone."""


class Request(NamedTuple):
    """One request, its header taken off."""

    version: int
    correlation_id: int
    client_id: str
    """Empty where the client gave none."""
    peer: Address
    body: memoryview
    """Valid until the request is answered."""
    turn: Callable[[], Awaitable[None]] = at_once
    """Waits until the answer would leave at once: see `turns`."""


Handler = Callable[[Request], Awaitable[FrameParts]]
"""Gives the body of the response, without its header. Empty: nothing is answered. Raises `ProtocolError` for a body
that cannot be read, and only for that: every other refusal has its place in a response."""


@dataclass(frozen=True, slots=True)
class Api:
    """A row of the router's table."""

    key: ApiKey
    version_min: int
    version_max: int
    flexible_from: int
    """The first version with flexible headers and bodies (KIP-482)."""
    handler: Handler
    request_bytes_max: int = 8 * MIB
    """Requests without records need no more; what a request lists costs a multiple of its bytes to hold."""
    response_header_is_flexible: bool = True
    """ApiVersions answers with the old header always: a client that asks has not learnt the new one yet (KIP-511)."""

    advertised_from: int | None = None
    """The lowest version that ApiVersions tells; None: `version_min`. One between the two closes the connection."""
    request: type[Structure] | None = None
    """The schemas, where the messages have one; None where they are packed by hand."""
    response: type[Structure] | None = None

    @property
    def advertised_min(self) -> int:
        return self.version_min if self.advertised_from is None else self.advertised_from

    def serves(self, version: int) -> bool:
        return self.version_min <= version <= self.version_max


Q = TypeVar("Q", bound=Structure)
A = TypeVar("A", bound=Structure)


def message_api(
    key: ApiKey,
    versions: tuple[int, int],
    flexible_from: int,
    request: type[Q],
    response: type[A],
    respond: Callable[[Q, Request], Awaitable[A]],
) -> Api:
    """A row whose messages are dataclasses: `respond` is given the request read, and the header it came with.

    `versions`: first and last. What `respond` keeps of a request's data beyond its answer it must copy.
    """

    async def handle(header: Request) -> FrameParts:
        flexible = header.version >= flexible_from
        asked = decode(request, header.body, header.version, flexible=flexible, exact=False)
        return [encode(await respond(asked, header), header.version, flexible=flexible)]

    handle.__module__ = respond.__module__  # where this API is explained, for documents and tracebacks
    return Api(key, versions[0], versions[1], flexible_from, handle, request=request, response=response)
