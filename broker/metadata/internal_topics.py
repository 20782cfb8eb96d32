"""The topics that brokers keep for themselves, under Kafka's names. Clients may read and describe them, never write."""

from collections.abc import Mapping
from typing import Final, NamedTuple

CONSUMER_OFFSETS: Final = "__consumer_offsets"
"""Groups and what they have committed."""
TRANSACTION_STATE: Final = "__transaction_state"
"""Transactional ids, and how their transactions stand."""

INTERNAL_TOPICS: Final = (CONSUMER_OFFSETS, TRANSACTION_STATE, "__share_group_state")


class TopicTemplate(NamedTuple):
    """How a topic is made that differs from the cluster's defaults."""

    partitions: int
    replication_factor: int
    settings: Mapping[str, str]
