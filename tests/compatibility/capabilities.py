"""What every client library is tried on; each program implements these by the names in the first column.

The harness makes the topic of a case before it runs, with that many partitions and three replicas, so that a client
that cannot administer is still tried on the rest. Zero: the case makes its own.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capability:
    """A column of the matrix."""

    name: str
    title: str
    partitions: int
    how: str
    expected: str


CAPABILITIES: tuple[Capability, ...] = (
    Capability(
        "produce-consume",
        "produce, consume",
        3,
        "100 records with keys, acks=all, over three partitions; read from the start",
        "every record once, each partition in the order of its sends",
    ),
    Capability(
        "headers",
        "headers",
        1,
        "a record with three headers, one name twice, one value not text",
        "the same headers in the same order",
    ),
    Capability(
        "compression",
        "gzip, snappy, lz4, zstd",
        1,
        "50 records by each compression that the client has",
        "the same records",
    ),
    Capability(
        "idempotence",
        "idempotent producer",
        1,
        "300 records without waiting, enable.idempotence",
        "every record once, in order",
    ),
    Capability(
        "group-eager",
        "group, eager",
        3,
        "two members of a group read 90 records and commit; one leaves; 30 more are sent",
        "both have partitions, together all; the one that stays takes over; what was committed is not read again",
    ),
    Capability(
        "group-cooperative",
        "group, cooperative",
        3,
        "the same with incremental rebalances (KIP-429)",
        "the same",
    ),
    Capability(
        "group-static",
        "group, static members",
        3,
        "two members with group.instance.id; one closes and comes back within its session",
        "it has its partitions again, and the other was not disturbed",
    ),
    Capability(
        "group-consumer",
        "group, KIP-848",
        3,
        "the same as eager with group.protocol=consumer",
        "the same",
    ),
    Capability(
        "transactions",
        "transactions",
        1,
        "10 records committed, 10 aborted, 10 committed together with a group's offset",
        "read_committed sees 20, read_uncommitted 30; the group's offset is what the transaction said",
    ),
    Capability(
        "admin-topics",
        "admin: topics",
        0,
        "create with a setting, list, describe, delete",
        "listed and described as made; TOPIC_ALREADY_EXISTS for a second; gone in the end",
    ),
    Capability(
        "admin-configs",
        "admin: configs",
        1,
        "describe a topic's settings, change retention.ms, describe again",
        "the default first, the changed value then",
    ),
    Capability(
        "admin-partitions",
        "admin: partitions",
        1,
        "grow from 1 to 4 partitions; then try to shrink",
        "4 partitions; INVALID_PARTITIONS",
    ),
    Capability(
        "offsets-by-time",
        "offsets by time",
        1,
        "10 records one second apart; ask for the time of the sixth, and one after all",
        "offset 5; none",
    ),
    Capability(
        "delete-records",
        "delete records",
        1,
        "10 records; delete those before offset 4",
        "the earliest offset is 4, and reading begins there",
    ),
)
"""The columns, in their order."""

BY_NAME = {capability.name: capability for capability in CAPABILITIES}
