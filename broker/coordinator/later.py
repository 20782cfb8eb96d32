"""What coordinators are made of and what they are asked, loaded when it is first asked for.

A node needs it once an internal topic is in its metadata (`load_for`, so that no election waits for it), or when the
first call about groups or transactions comes. All of it costs 50 ms, a sixth of a start, most of that the making of
commands and records. What is always loaded of this package names these classes in annotations only.
"""

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from broker.metadata.internal_topics import CONSUMER_OFFSETS, TRANSACTION_STATE

if TYPE_CHECKING:
    from broker.coordinator.groups.codec import GroupRecordCodec as GroupRecordCodec
    from broker.coordinator.groups.commands import OffsetResults as OffsetResults
    from broker.coordinator.groups.commands import TopicsChanged as TopicsChanged
    from broker.coordinator.groups.commands import TopicsDeleted as TopicsDeleted
    from broker.coordinator.groups.core import GroupCore as GroupCore
    from broker.coordinator.transactions.codec import TransactionRecordCodec as TransactionRecordCodec
    from broker.coordinator.transactions.commands import AddPartitions as AddPartitions
    from broker.coordinator.transactions.commands import AllocateProducerId as AllocateProducerId
    from broker.coordinator.transactions.commands import Marker as Marker
    from broker.coordinator.transactions.commands import MarkersWritten as MarkersWritten
    from broker.coordinator.transactions.commands import ProducerIdAllocated as ProducerIdAllocated
    from broker.coordinator.transactions.commands import ProducerIdentity as ProducerIdentity
    from broker.coordinator.transactions.commands import SendMarkers as SendMarkers
    from broker.coordinator.transactions.commands import TopicPartition as TopicPartition
    from broker.coordinator.transactions.commands import TransactionalProducer as TransactionalProducer
    from broker.coordinator.transactions.commands import VerifyPartitions as VerifyPartitions
    from broker.coordinator.transactions.core import TransactionCore as TransactionCore

_GROUPS: Final = "broker.coordinator.groups"
_TRANSACTIONS: Final = "broker.coordinator.transactions"
_HOMES: Final = {
    f"{_GROUPS}.codec": ("GroupRecordCodec",),
    f"{_GROUPS}.commands": ("OffsetResults", "TopicsChanged", "TopicsDeleted"),
    f"{_GROUPS}.core": ("GroupCore",),
    f"{_TRANSACTIONS}.codec": ("TransactionRecordCodec",),
    f"{_TRANSACTIONS}.commands": (
        "AddPartitions",
        "AllocateProducerId",
        "Marker",
        "MarkersWritten",
        "ProducerIdAllocated",
        "ProducerIdentity",
        "SendMarkers",
        "TopicPartition",
        "TransactionalProducer",
        "VerifyPartitions",
    ),
    f"{_TRANSACTIONS}.core": ("TransactionCore",),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}
_NEEDED_BY: Final = {
    CONSUMER_OFFSETS: (f"{_GROUPS}.core", f"{_GROUPS}.codec"),
    TRANSACTION_STATE: (f"{_TRANSACTIONS}.core", f"{_TRANSACTIONS}.codec"),
}
"""By the coordinators of an internal topic."""


def load_for(topic_names: Iterable[str]) -> None:
    """Whoever leads a partition of these topics will need it at once."""
    for name in topic_names:
        for module in _NEEDED_BY.get(name, ()):
            import_module(module)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value
