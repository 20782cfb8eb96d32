"""Assignors: who of a group reads which partitions. Pure, and with the results of Kafka's own (kafka-clients 4.x).

| name | class | manner |
|---|---|---|
| `range` | `RangeAssignor` | topic by topic, neighbours together; equal topics side by side |
| `roundrobin` | `RoundRobinAssignor` | one after the other, over all topics |
| `sticky` | `StickyAssignor` | even, and as few changes as that allows |
| `cooperative-sticky` | `CooperativeStickyAssignor` | the same, and nobody stops for a partition that stays |

The leader of a classic group runs one of them, whatever language its members are written in, so members of Java and of
Python may be in one group. `model` says what goes in, `java_hash` why the order of Java's hash tables is known here;
the golden file of `tests/client/assignors` was printed by kafka-clients itself.
"""

from kraftpy.client.assignors.choice import DEFAULT_ASSIGNORS, assignors_of
from kraftpy.client.assignors.model import Assignor, Subscription
from kraftpy.client.assignors.range import RangeAssignor
from kraftpy.client.assignors.round_robin import RoundRobinAssignor
from kraftpy.client.assignors.sticky import CooperativeStickyAssignor, StickyAssignor

__all__ = [
    "DEFAULT_ASSIGNORS",
    "Assignor",
    "CooperativeStickyAssignor",
    "RangeAssignor",
    "RoundRobinAssignor",
    "StickyAssignor",
    "Subscription",
    "assignors_of",
]
