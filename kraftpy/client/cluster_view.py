"""A client's picture of the cluster: brokers, topics, who leads what. Pure and immutable.

Invariant: a partition's leader epoch never goes back, unless its topic was created anew (another topic id). So an
answer of a node that lags never undoes what a newer one, or a leader's hint (KIP-951), has told.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from kraftpy.runtime.ports import Address


class Leader(NamedTuple):
    """Who leads a partition, and since which epoch. `epoch` is -1 where it is not known."""

    node_id: int
    epoch: int


@dataclass(frozen=True, slots=True)
class PartitionView:
    """One partition; `leader` -1: nobody leads it now."""

    partition: int
    leader: int
    leader_epoch: int
    replicas: tuple[int, ...] = ()
    isr: tuple[int, ...] = ()
    offline_replicas: tuple[int, ...] = ()
    adding_replicas: tuple[int, ...] = ()
    removing_replicas: tuple[int, ...] = ()
    eligible_replicas: tuple[int, ...] = ()
    last_known_elr: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TopicView:
    """One topic; `partitions` is indexed by partition number."""

    name: str
    topic_id: bytes
    internal: bool
    partitions: tuple[PartitionView, ...]


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What is known now. `errors` holds Kafka's code for each topic that was asked for and not found."""

    cluster_id: str = ""
    controller_id: int = -1
    brokers: Mapping[int, Address] = field(default_factory=dict)
    topics: Mapping[str, TopicView] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    racks: Mapping[int, str] = field(default_factory=dict)  # of the brokers that have one

    def leader(self, topic: str, partition: int) -> Leader | None:
        """Who leads the partition and can be reached; None where nobody does as far as is known."""
        known = self.topics.get(topic)
        if known is None or not 0 <= partition < len(known.partitions):
            return None
        view = known.partitions[partition]
        return Leader(view.leader, view.leader_epoch) if view.leader in self.brokers else None

    def merged(
        self,
        cluster_id: str,
        controller_id: int,
        brokers: Mapping[int, Address],
        topics: Iterable[TopicView],
        errors: Mapping[str, int],
        racks: Mapping[int, str] | None = None,
    ) -> "ClusterView":
        """The view after an answer that holds all brokers and the topics that were asked for."""
        known = dict(self.topics)
        for topic in topics:
            known[topic.name] = _newer(self.topics.get(topic.name), topic)
        for name in errors:
            known.pop(name, None)
        still = {name: code for name, code in self.errors.items() if name not in known}
        return ClusterView(cluster_id, controller_id, dict(brokers), known, {**still, **errors}, racks or {})

    def with_leader(self, topic: str, partition: int, leader: Leader) -> "ClusterView":
        """The view after a broker's hint. Older hints, and leaders whose address is unknown, change nothing."""
        known = self.topics.get(topic)
        if known is None or partition >= len(known.partitions) or leader.node_id not in self.brokers:
            return self
        view = known.partitions[partition]
        if leader.epoch <= view.leader_epoch:
            return self
        partitions = list(known.partitions)
        partitions[partition] = replace(view, leader=leader.node_id, leader_epoch=leader.epoch)
        return replace(self, topics={**self.topics, topic: replace(known, partitions=tuple(partitions))})

    def without(self, names: Iterable[str]) -> "ClusterView":
        """The view without topics that nobody uses any more."""
        gone = frozenset(names)
        return replace(
            self,
            topics={name: view for name, view in self.topics.items() if name not in gone},
            errors={name: code for name, code in self.errors.items() if name not in gone},
        )


def _newer(old: TopicView | None, new: TopicView) -> TopicView:
    if old is None or old.topic_id != new.topic_id:
        return new
    partitions = tuple(
        old.partitions[view.partition]
        if view.partition < len(old.partitions) and old.partitions[view.partition].leader_epoch > view.leader_epoch
        else view
        for view in new.partitions
    )
    # Partitions are never taken away: a shorter answer comes from a node that has not heard of the growth yet.
    return replace(new, partitions=partitions + old.partitions[len(partitions) :])
