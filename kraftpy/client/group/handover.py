"""Partitions that change hands: what poll() does for a member, with the user's callbacks. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kraftpy.client.values import TopicPartition


class Change(Enum):
    ASSIGN = "assign"
    """They are this consumer's from now on."""
    REVOKE = "revoke"
    """They will be somebody else's; what was processed can still be committed."""
    LOSE = "lose"
    """They are somebody else's already: a commit would come too late."""


@dataclass(frozen=True, slots=True)
class Handover:
    """One step of a rebalance."""

    change: Change
    places: tuple[TopicPartition, ...]


OnPartitions = Callable[[list[TopicPartition]], Any]
"""A user's callback. In the asyncio consumer it may be a coroutine function."""


@dataclass(frozen=True, slots=True)
class RebalanceListener:
    """The user's callbacks. They run inside poll(), on the thread or task that polls, and may use the consumer."""

    on_assign: OnPartitions | None = None
    on_revoke: OnPartitions | None = None
    on_lost: OnPartitions | None = None
    """None: `on_revoke` is called."""

    def callback(self, change: Change) -> OnPartitions | None:
        if change is Change.ASSIGN:
            return self.on_assign
        return self.on_revoke if change is Change.REVOKE else self.on_lost or self.on_revoke
