"""The settings of producers, consumers and admins, with Kafka's names and defaults.

Where a default differs from Kafka's, its sentence says so. Times are milliseconds and sizes bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from kraftpy.client.addresses import parse_bootstrap
from kraftpy.client.assignors import Assignor, assignors_of
from kraftpy.client.settings import Settings, documented, setting
from kraftpy.errors import ConfigurationError
from kraftpy.runtime.limits import INT32_MAX
from kraftpy.runtime.ports import Address

IN_FLIGHT_MAX = 5  # batches of one partition: as many as a broker remembers of an idempotent producer
BATCH_BYTES_MAX = 60 << 20  # what a message of gRPC can carry, with its envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig(Settings):
    """What every client has."""

    RESERVED: ClassVar[Mapping[str, str]] = {
        "security.protocol": "encryption and authentication come with a later release",
        "sasl.mechanism": "encryption and authentication come with a later release",
    }
    SPELLED_OUT: ClassVar[Mapping[str, str]] = {"security.protocol": "PLAINTEXT"}

    bootstrap: str | Sequence[str] = setting(
        "localhost:9092",
        "Addresses (HOST:PORT) of any nodes of the cluster, on any of their ports; those that are down are skipped.",
        names=("bootstrap.servers",),
    )
    client_id: str = setting("kraftpy", "A name for this client in the brokers' logs and metrics.")
    request_timeout_ms: int = setting(
        30_000,
        "How long an answer may take before the request is given up and tried again. Raising it hides dead peers.",
        minimum=1,
        maximum=INT32_MAX,
    )
    metadata_max_age_ms: int = setting(
        300_000,
        "After how long the picture of topics and leaders is renewed unasked. Lowering it costs requests.",
        minimum=1,
    )
    retry_backoff_ms: int = setting(100, "The pause before the first retry; doubles from retry to retry.", minimum=0)
    retry_backoff_max_ms: int = setting(1_000, "The longest pause between retries.", minimum=0)
    reconnect_backoff_ms: int = setting(50, "The pause before a broken connection is tried again; doubles.", minimum=0)
    reconnect_backoff_max_ms: int = setting(1_000, "The longest pause between connection attempts.", minimum=0)

    def __post_init__(self) -> None:
        parse_bootstrap(self.bootstrap)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The bootstrap addresses, at least one."""
        return parse_bootstrap(self.bootstrap)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerConfig(ClientConfig):
    """A producer's settings."""

    transactional_id: str | None = field(
        default=None,
        metadata=documented(
            "A name under which this producer writes transactions: unique among the producers that run at a time, the "
            "same after a restart. Whoever takes it over fences whoever had it. None: no transactions."
        ),
    )
    transaction_timeout_ms: int = setting(
        60_000,
        "How long a transaction may take before the cluster aborts it; at most transaction.max.timeout.ms. Raising it "
        "makes readers of committed records wait longer for a producer that has died.",
        minimum=1,
        maximum=INT32_MAX,
    )
    acks: int | str = setting(
        "all",
        "How many replicas must hold a record before it counts as delivered: 0 none (no answer, offset -1), "
        "1 the leader, all (-1) every in-sync replica.",
        names=("request.required.acks",),
    )
    enable_idempotence: bool | None = setting(
        None,
        "Whether retries can neither duplicate nor reorder. Unset: on, unless acks, retries or max_in_flight rule it "
        "out; switched on explicitly, those must fit (acks=all, retries > 0, max_in_flight <= 5).",
    )
    linger_ms: int = setting(
        5,
        "How long a batch waits for more records. Raising it makes larger batches and every record slower.",
        minimum=0,
    )
    batch_size: int = setting(
        131_072,
        "Bytes of records in a batch of one partition (before compression). Raising it costs memory and latency, "
        "lowering it throughput. Kafka's default is 16384; a request costs Python more than it costs the JVM.",
        minimum=1,
        maximum=BATCH_BYTES_MAX,
    )
    buffer_memory: int = setting(
        33_554_432, "Bytes of records that may wait for delivery; send() waits for room when they are full.", minimum=1
    )
    max_block_ms: int = setting(
        60_000, "How long send() waits for metadata or for room in buffer_memory before it fails.", minimum=0
    )
    topic_metadata_propagation_max_ms: int = setting(
        5_000,
        "How long send() waits for a topic that the cluster says it does not have: a new topic needs a moment to be "
        "known everywhere. The name is librdkafka's; Kafka's Java client waits for max.block.ms.",
        minimum=0,
    )
    compression_type: str = setting(
        "none",
        "How batches are compressed: zstd is small, lz4 and snappy are fast.",
        choices=("none", "gzip", "snappy", "lz4", "zstd"),
    )
    retries: int = setting(
        INT32_MAX,
        "How often a batch is tried again; delivery_timeout_ms is the better limit.",
        minimum=0,
        maximum=INT32_MAX,
    )
    delivery_timeout_ms: int = setting(
        120_000,
        "How long after send() a record is given up; above linger_ms. Raising it rides out longer failures. Unlike in "
        "Kafka's Java client it may be shorter than request_timeout_ms.",
        minimum=1,
    )
    max_in_flight: int = setting(
        5,
        "Requests to one broker that may wait for answers. Above 5 idempotence is impossible; without idempotence, "
        "above 1 a retry may change the order.",
        names=("max.in.flight.requests.per.connection",),
        minimum=1,
    )
    max_request_size: int = setting(
        1_048_576,
        "Bytes of one request, hence of one record. The topic's max.message.bytes must allow it.",
        minimum=1,
        maximum=BATCH_BYTES_MAX,
    )
    key_serializer: Any = field(
        default=None,
        metadata=documented("Turns keys into bytes: a name (bytes, str, int, long, double, json) or a callable."),
    )
    value_serializer: Any = field(
        default=None,
        metadata=documented("Turns values into bytes: a name (bytes, str, int, long, double, json) or a callable."),
    )
    partitioner: Any = field(
        default="sticky",
        metadata=documented(
            "Chooses a partition where the record names none: sticky (key hash, else one partition for a batch and "
            "then another), round_robin, or a callable (topic, key, value, partition_count) -> partition.",
            names=("partitioner.class",),
        ),
    )
    interceptors: Any = field(
        default=(),
        metadata=documented(
            "Objects with on_send(record), called before anything else, which returns the record to send; "
            "on_acknowledgement(metadata, error), called once a record, before its own callback; close(). Each may be "
            "left out.",
            names=("interceptor.classes",),
        ),
    )

    def __post_init__(self) -> None:
        ClientConfig.__post_init__(self)
        object.__setattr__(self, "acks", _acks(self.acks))
        interceptors = tuple(self.interceptors.split() if isinstance(self.interceptors, str) else self.interceptors)
        object.__setattr__(self, "interceptors", interceptors)
        if any(isinstance(each, str) for each in interceptors):
            raise ConfigurationError(f"interceptors are objects here, not the names of classes: {interceptors!r}")
        obstacles = [
            name
            for name, stands in (
                ("acks must be all", self.acks != -1),
                ("retries must be above 0", self.retries == 0),
                (f"max_in_flight must be at most {IN_FLIGHT_MAX}", self.max_in_flight > IN_FLIGHT_MAX),
            )
            if stands
        ]
        if self.linger_ms >= self.delivery_timeout_ms:
            raise ConfigurationError(
                f"linger_ms={self.linger_ms} must be below delivery_timeout_ms={self.delivery_timeout_ms}, or records "
                "are given up before their batch is sent"
            )
        if self.enable_idempotence and obstacles:
            raise ConfigurationError(f"enable_idempotence is on, so {' and '.join(obstacles)}")
        if self.transactional_id is not None and (obstacles or self.enable_idempotence is False):
            needs = obstacles or ["enable_idempotence must not be off"]
            raise ConfigurationError(f"transactional_id is set, so {' and '.join(needs)}")
        if self.transactional_id is not None and not self.transactional_id:
            raise ConfigurationError("transactional_id is empty; leave it out to write without transactions")

    @property
    def acks_code(self) -> int:
        """-1, 0 or 1."""
        return _acks(self.acks)

    @property
    def idempotent(self) -> bool:
        """Whether batches carry a producer id and sequences."""
        fits = self.acks == -1 and self.retries > 0 and self.max_in_flight <= IN_FLIGHT_MAX
        return fits if self.enable_idempotence is None else self.enable_idempotence


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerConfig(ClientConfig):
    """A consumer's settings."""

    group_id: str | None = field(
        default=None,
        metadata=documented(
            "The group that this consumer belongs to: its members share the partitions of their topics, and its "
            "committed offsets say where they go on. None: this consumer reads all partitions of its topics alone."
        ),
    )
    group_protocol: str = setting(
        "classic",
        "How the group shares partitions: classic (a member assigns) or consumer (KIP-848: the coordinator does, and "
        "nobody stops for what stays).",
        choices=("classic", "consumer"),
    )
    group_instance_id: str | None = field(
        default=None,
        metadata=documented(
            "A name that outlives restarts (KIP-345): whoever is back under it within session_timeout_ms gets its "
            "partitions back without a rebalance. Unique in the group."
        ),
    )
    group_remote_assignor: str | None = field(
        default=None,
        metadata=documented("With group_protocol=consumer: uniform or range; None: the coordinator's default."),
    )
    partition_assignment_strategy: Any = field(
        default=("range", "cooperative-sticky"),
        metadata=documented(
            "With group_protocol=classic, best first: range, roundrobin, sticky, cooperative-sticky, or objects "
            "(kraftpy.client.assignors). A rebalance is cooperative where all of them are.",
            names=("assignors",),
        ),
    )
    session_timeout_ms: int = setting(
        45_000,
        "With group_protocol=classic: after how long without a heartbeat a member counts as dead. Lowering it finds "
        "crashes sooner, and takes pauses for crashes.",
        minimum=1,
        maximum=INT32_MAX,
    )
    heartbeat_interval_ms: int = setting(
        3_000, "How often a member says that it lives; at most a third of session_timeout_ms.", minimum=1
    )
    max_poll_interval_ms: int = setting(
        300_000,
        "How long a program may take between two polls before its partitions go to others.",
        minimum=1,
        maximum=INT32_MAX,
    )
    enable_auto_commit: bool | None = setting(
        None,
        "Whether what earlier polls have returned is committed by itself: every auto_commit_interval_ms, before a "
        "rebalance and on close. Where a `with` ends by an exception, what was polled last is left out. Unset: on in a "
        "group.",
        names=("auto.commit",),
    )
    auto_commit_interval_ms: int = setting(
        5_000, "How often. Raising it repeats more records after a crash.", minimum=1
    )
    client_rack: str | None = field(
        default=None,
        metadata=documented("Where this consumer runs: assignors prefer partitions with a replica in the same rack."),
    )
    auto_offset_reset: str = setting(
        "latest",
        "Where to start a partition without a position: earliest, latest, or none (an error).",
        choices=("earliest", "latest", "none"),
    )
    fetch_min_bytes: int = setting(
        1,
        "A broker answers a fetch when it has this much. Raising it trades latency for CPU.",
        minimum=0,
        maximum=INT32_MAX,
    )
    fetch_max_wait_ms: int = setting(500, "… or when this long has passed.", minimum=0, maximum=INT32_MAX)
    fetch_max_bytes: int = setting(
        52_428_800,
        "Bytes of one fetch, and of what waits here for poll(). Raising it costs memory.",
        minimum=1,
        maximum=60 << 20,
    )
    max_partition_fetch_bytes: int = setting(
        1_048_576,
        "Bytes of one partition in a fetch; a larger batch still arrives, alone.",
        minimum=1,
        maximum=60 << 20,
    )
    max_poll_records: int = setting(500, "Records that one poll() returns at most.", minimum=1)
    isolation_level: str = setting(
        "read_uncommitted",
        "read_committed leaves out the records of aborted transactions, and waits where one is undecided. The end of a "
        "partition is then the first record of its oldest open transaction.",
        choices=("read_uncommitted", "read_committed"),
    )
    check_crcs: bool = setting(True, "Whether each batch's checksum is checked when it arrives.")
    allow_auto_create_topics: bool = setting(
        False,
        "Whether asking for an unknown topic may create it. Kafka's default is true; a reader's misspelling should not "
        "create anything.",
    )
    key_deserializer: Any = field(
        default=None,
        metadata=documented("Turns bytes into keys: a name (bytes, str, int, long, double, json) or a callable."),
    )
    value_deserializer: Any = field(
        default=None,
        metadata=documented("Turns bytes into values: a name (bytes, str, int, long, double, json) or a callable."),
    )

    def __post_init__(self) -> None:
        ClientConfig.__post_init__(self)
        if self.group_id is not None and not self.group_id.strip():
            raise ConfigurationError("group_id is empty; leave it out to read without a group")
        if self.enable_auto_commit and self.group_id is None:
            raise ConfigurationError("enable_auto_commit is on, so there must be a group_id to commit for")
        if self.heartbeat_interval_ms >= self.session_timeout_ms:
            raise ConfigurationError("heartbeat_interval_ms must be below session_timeout_ms, best below a third of it")
        assignors_of(self.partition_assignment_strategy)

    @property
    def assignors(self) -> tuple[Assignor, ...]:
        """As partition_assignment_strategy names them."""
        return assignors_of(self.partition_assignment_strategy)

    @property
    def auto_commit(self) -> bool:
        """Whether offsets are committed without being told to."""
        return self.group_id is not None if self.enable_auto_commit is None else self.enable_auto_commit

    @property
    def isolation(self) -> int:
        """0 or 1, as requests say it."""
        return int(self.isolation_level == "read_committed")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminConfig(ClientConfig):
    """An admin's settings."""


def _acks(value: int | str) -> int:
    text = str(value).strip().lower()
    known = {"all": -1, "-1": -1, "0": 0, "1": 1}
    if text not in known or isinstance(value, bool):
        raise ConfigurationError(f"acks={value!r}: must be all (-1), 1 or 0")
    return known[text]
