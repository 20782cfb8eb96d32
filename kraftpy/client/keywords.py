"""The clients' keyword arguments, for type checkers. `config` says what each means; a test keeps the two equal."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict


class ClientKeywords(TypedDict, total=False):
    bootstrap_servers: str | Sequence[str]
    client_id: str
    request_timeout_ms: int
    metadata_max_age_ms: int
    retry_backoff_ms: int
    retry_backoff_max_ms: int
    reconnect_backoff_ms: int
    reconnect_backoff_max_ms: int


class ProducerKeywords(ClientKeywords, total=False):
    transactional_id: str | None
    transaction_timeout_ms: int
    acks: int | str
    enable_idempotence: bool | None
    linger_ms: int
    batch_size: int
    buffer_memory: int
    max_block_ms: int
    topic_metadata_propagation_max_ms: int
    compression_type: str
    retries: int
    delivery_timeout_ms: int
    max_in_flight: int
    max_in_flight_requests_per_connection: int
    max_request_size: int
    key_serializer: Any
    value_serializer: Any
    partitioner: Any
    interceptors: Any


class ConsumerKeywords(ClientKeywords, total=False):
    group_id: str | None
    group_protocol: str
    group_instance_id: str | None
    group_remote_assignor: str | None
    partition_assignment_strategy: Any
    assignors: Any
    session_timeout_ms: int
    heartbeat_interval_ms: int
    max_poll_interval_ms: int
    enable_auto_commit: bool | None
    auto_commit: bool | None
    auto_commit_interval_ms: int
    client_rack: str | None
    auto_offset_reset: str
    fetch_min_bytes: int
    fetch_max_wait_ms: int
    fetch_max_bytes: int
    max_partition_fetch_bytes: int
    max_poll_records: int
    isolation_level: str
    check_crcs: bool
    allow_auto_create_topics: bool
    key_deserializer: Any
    value_deserializer: Any


class AdminKeywords(ClientKeywords, total=False):
    pass


def with_bootstrap(bootstrap: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the address that was given beside them."""
    given = dict(settings)
    if bootstrap is not None:
        given["bootstrap"] = bootstrap
    return given
