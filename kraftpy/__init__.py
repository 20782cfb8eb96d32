"""kraftpy: Kafka's model without the JVM.

    from kraftpy import Admin, Consumer, Producer

    with Producer("localhost:9092") as producer:
        producer.send("lines", b"hello").result(5)
    with Consumer("lines", bootstrap="localhost:9092", auto_offset_reset="earliest") as consumer:
        for record in consumer:
            print(record.offset, record.value)

`kraftpy.aio` has the same three for asyncio, `kraftpy.errors` everything they raise, `kraftpy.testing` clusters for
tests. Names are loaded when first used: importing kraftpy costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kraftpy.client.admin_values import (
        ClusterDescription,
        ClusterHealth,
        ConfigEntry,
        ConfigResource,
        CreatedTopic,
        NewTopic,
        NodeDescription,
        PartitionDescription,
        PartitionReassignment,
        QuorumDescription,
        ReassignmentResult,
        TopicDescription,
        TopicListing,
    )
    from kraftpy.client.balancing import PlannedMove, RebalancePlan
    from kraftpy.client.blocking_admin import Admin
    from kraftpy.client.blocking_consumer import Consumer
    from kraftpy.client.blocking_producer import Producer
    from kraftpy.client.group_values import GroupDescription, GroupListing, GroupMemberDescription
    from kraftpy.client.values import (
        ConsumerRecord,
        GroupMetadata,
        OffsetAndMetadata,
        OffsetAndTimestamp,
        ProducerRecord,
        RecordMetadata,
        TopicPartition,
    )
    from kraftpy.errors import KraftpyError

__all__ = [
    "Admin",
    "ClusterDescription",
    "ClusterHealth",
    "ConfigEntry",
    "ConfigResource",
    "Consumer",
    "ConsumerRecord",
    "CreatedTopic",
    "GroupDescription",
    "GroupListing",
    "GroupMemberDescription",
    "GroupMetadata",
    "KraftpyError",
    "NewTopic",
    "NodeDescription",
    "OffsetAndMetadata",
    "OffsetAndTimestamp",
    "PartitionDescription",
    "PartitionReassignment",
    "PlannedMove",
    "Producer",
    "ProducerRecord",
    "QuorumDescription",
    "ReassignmentResult",
    "RebalancePlan",
    "RecordMetadata",
    "TopicDescription",
    "TopicListing",
    "TopicPartition",
]

_HOMES = {
    "Admin": "kraftpy.client.blocking_admin",
    "Consumer": "kraftpy.client.blocking_consumer",
    "KraftpyError": "kraftpy.errors",
    "PlannedMove": "kraftpy.client.balancing",
    "Producer": "kraftpy.client.blocking_producer",
    "RebalancePlan": "kraftpy.client.balancing",
    **dict.fromkeys(
        (
            "ConsumerRecord",
            "GroupMetadata",
            "OffsetAndMetadata",
            "OffsetAndTimestamp",
            "ProducerRecord",
            "RecordMetadata",
            "TopicPartition",
        ),
        "kraftpy.client.values",
    ),
    **dict.fromkeys(("GroupDescription", "GroupListing", "GroupMemberDescription"), "kraftpy.client.group_values"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "kraftpy.client.admin_values")), name)


def __dir__() -> list[str]:
    return __all__
