"""The states of a transactional id, by Kafka's numbers and names, and the table of their transitions. Pure.

Two of Kafka's states are passed through within one record here, and never stand in a log: PrepareEpochFence, whose bump
of the epoch comes with the abort that follows from it, and Dead, in whose place the record that deletes the id is
written at once.
"""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final


class TransactionState(IntEnum):
    """Where a transactional id stands."""

    EMPTY = 0
    """A producer has it, and has begun nothing yet."""
    ONGOING = 1
    PREPARE_COMMIT = 2
    """Decided: markers are being written."""
    PREPARE_ABORT = 3
    COMPLETE_COMMIT = 4
    """Every partition has its marker; the next transaction may begin."""
    COMPLETE_ABORT = 5
    DEAD = 6
    PREPARE_EPOCH_FENCE = 7

    @property
    def label(self) -> str:
        """Kafka's name."""
        return _LABELS[self]

    @property
    def is_decided(self) -> bool:
        """The outcome stands, and markers are under way."""
        return self in (TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT)

    @property
    def is_at_rest(self) -> bool:
        """No transaction is open."""
        return self in AT_REST


_LABELS: Final[Mapping[TransactionState, str]] = MappingProxyType(
    {state: "".join(word.capitalize() for word in state.name.split("_")) for state in TransactionState}
)

AT_REST: Final = (TransactionState.EMPTY, TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT)

TRANSITIONS: Final[Mapping[TransactionState, tuple[TransactionState, ...]]] = MappingProxyType(
    {
        # a producer comes (again)
        TransactionState.EMPTY: AT_REST,
        # its first partition, or one more
        TransactionState.ONGOING: (*AT_REST, TransactionState.ONGOING),
        TransactionState.PREPARE_COMMIT: (TransactionState.ONGOING,),
        # in KIP-890's second version also where nothing was begun: the producer cannot know, and wants a new epoch
        TransactionState.PREPARE_ABORT: (*AT_REST, TransactionState.ONGOING, TransactionState.PREPARE_EPOCH_FENCE),
        TransactionState.COMPLETE_COMMIT: (TransactionState.PREPARE_COMMIT,),
        TransactionState.COMPLETE_ABORT: (TransactionState.PREPARE_ABORT,),
        TransactionState.DEAD: AT_REST,
        TransactionState.PREPARE_EPOCH_FENCE: (TransactionState.ONGOING,),
    }
)
"""Each state, with those that it may follow. An id that is not there yet begins as Empty."""


def state_called(label: str) -> TransactionState | None:
    """The state that Kafka calls so."""
    return next((state for state, name in _LABELS.items() if name == label), None)
