"""Finalized features: what every node of the cluster must know before anyone may use it (KIP-584).

A feature's level only rises once all nodes support it, and by an operator's word (`kraftpy cluster upgrade`), so a
cluster of neighbouring releases works on the older one's level. A node that meets a level which it does not know stops.

| level | what it brought |
|---|---|
| kraft.version 1 | the voter set in the log (KIP-853) |
| metadata.version 1 | everything of the first release |
| metadata.version 2 | registrations name the release of their node (`RegisterBrokerRecord.release`) |
| | and replicas that their broker cannot serve are marked (`OfflineReplicasRecord`) |
| metadata.version 3 | partitions say where they were before a reassignment (`original_replicas`, KIP-455) |
| | and replicas that are damaged may say so, and lead as the last resort only (`Standing.DAMAGED`) |
| group.version 1 | consumer groups (KIP-848) in the log of the group coordinators |
| eligible.leader.replicas.version 1 | who leaves an in-sync set that is too small may still lead (KIP-966) |
| transaction.version 1 | the state of transactions is written in Kafka's flexible form |
| transaction.version 2 | producers get a new epoch with each transaction (KIP-890) |

Levels do not go back: what records of a higher level say would be lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from broker.metadata.records import SupportedFeature

METADATA_VERSION: Final = "metadata.version"
"""What the metadata records may say."""

KRAFT_VERSION: Final = "kraft.version"
"""What the quorum's control records and messages may say; 1 brought the voter set in the log (KIP-853)."""

ELIGIBLE_LEADER_REPLICAS_VERSION: Final = "eligible.leader.replicas.version"
"""1: who leaves an in-sync set that is too small stays eligible as a leader (KIP-966)."""

GROUP_VERSION: Final = "group.version"
"""What the group coordinators' log may say; 1 brought consumer groups (KIP-848)."""

TRANSACTION_VERSION: Final = "transaction.version"
"""How producers may speak of their transactions, and how their state is written down."""

RELEASE_IN_REGISTRATIONS: Final = 2
"""The metadata.version from which on registrations name their release."""

OFFLINE_REPLICAS: Final = 2
"""The metadata.version from which on replicas that their broker cannot serve are marked (`OfflineReplicasRecord`)."""

DAMAGED_REPLICAS: Final = 3
"""The metadata.version from which on every controller knows the standing of a replica that is damaged."""

REASSIGNMENTS: Final = 3
"""The metadata.version from which on partitions can be moved (`PartitionRecord.original_replicas`)."""

RELEASE: Final = "0.3"
"""What this code calls itself towards operators: the last of `RELEASES`."""

RELEASES: Final[Mapping[str, Mapping[str, int]]] = MappingProxyType(
    {
        "0.1": MappingProxyType({KRAFT_VERSION: 1, METADATA_VERSION: 1}),
        "0.2": MappingProxyType({KRAFT_VERSION: 1, METADATA_VERSION: 2}),
        "0.3": MappingProxyType(
            {
                KRAFT_VERSION: 1,
                METADATA_VERSION: 3,
                ELIGIBLE_LEADER_REPLICAS_VERSION: 1,
                GROUP_VERSION: 1,
                TRANSACTION_VERSION: 2,
            }
        ),
    }
)
"""The highest levels of each release, oldest release first."""

SUPPORTED_FEATURES: Final = (
    SupportedFeature(ELIGIBLE_LEADER_REPLICAS_VERSION, 0, 1),
    SupportedFeature(GROUP_VERSION, 0, 1),
    SupportedFeature(KRAFT_VERSION, 1, 1),
    SupportedFeature(METADATA_VERSION, 1, 3),
    SupportedFeature(TRANSACTION_VERSION, 0, 2),
)
"""What this release can work with: sent with every registration, by name."""

INITIAL_LEVELS: Final = {
    KRAFT_VERSION: 1,
    METADATA_VERSION: 3,
    ELIGIBLE_LEADER_REPLICAS_VERSION: 1,
    GROUP_VERSION: 1,
    TRANSACTION_VERSION: 2,
}
"""What the first controller of a new cluster finalizes."""


@dataclass(frozen=True, slots=True)
class NodeRelease:
    """What one node's process can work with. `release` is "" where it did not say."""

    node_id: int
    release: str
    features: tuple[SupportedFeature, ...]


def unsupported(finalized: Mapping[str, int], supported: tuple[SupportedFeature, ...]) -> list[str]:
    """Sentences about finalized levels that lie outside of what is supported; none: all is well."""
    ranges = {feature.name: feature for feature in supported}
    told = []
    for name, level in sorted(finalized.items()):
        known = ranges.get(name)
        if known is None:
            told.append(f"the cluster works with {name}={level}, which this node does not know")
        elif not known.min_level <= level <= known.max_level:
            told.append(
                f"the cluster works with {name}={level}, this node knows {known.min_level} to {known.max_level}"
            )
    return told
