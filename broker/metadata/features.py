"""Finalized features: what every broker of the cluster must know before anyone may use it (KIP-584).

A feature's level only rises once all registered brokers support it, so a cluster of neighbouring releases works on the
older one's level.
"""

from typing import Final

from broker.metadata.records import SupportedFeature

METADATA_VERSION: Final = "metadata.version"
"""What the metadata records may say."""

KRAFT_VERSION: Final = "kraft.version"
"""What the quorum's control records and messages may say; 1 brought the voter set in the log (KIP-853)."""

ELIGIBLE_LEADER_REPLICAS_VERSION: Final = "eligible.leader.replicas.version"
"""1: who leaves an in-sync set that is too small stays eligible as a leader (KIP-966)."""

SUPPORTED_FEATURES: Final = (
    SupportedFeature(ELIGIBLE_LEADER_REPLICAS_VERSION, 0, 1),
    SupportedFeature(KRAFT_VERSION, 1, 1),
    SupportedFeature(METADATA_VERSION, 1, 1),
)
"""What this release can work with: sent with every registration, by name."""

INITIAL_LEVELS: Final = {KRAFT_VERSION: 1, METADATA_VERSION: 1, ELIGIBLE_LEADER_REPLICAS_VERSION: 1}
"""What the first controller of a new cluster finalizes."""
