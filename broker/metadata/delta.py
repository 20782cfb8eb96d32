"""What differs between two images of the metadata: what a broker acts on.

Old and new state stand side by side, so that nobody has to keep the older image to see what happened.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from broker.metadata.records import ConfigResource
from broker.metadata.state import BrokerImage, PartitionState, TopicImage


@dataclass(frozen=True, slots=True)
class PartitionDelta:
    """A partition that changed. `old` None: it is new; `new` None: it is gone, with its topic."""

    topic: str
    topic_id: UUID
    partition: int
    old: PartitionState | None
    new: PartitionState | None


@dataclass(frozen=True, slots=True)
class TopicDelta:
    """A topic that changed. `old` None: created; `new` None: deleted. A name made anew is a deletion and a creation."""

    old: TopicImage | None
    new: TopicImage | None

    def partitions(self) -> Iterator[PartitionDelta]:
        """The partitions that differ, by index."""
        either = self.new or self.old
        assert either is not None
        old = self.old.partitions if self.old else ()
        new = self.new.partitions if self.new else ()
        for index in range(max(len(old), len(new))):
            before = old[index] if index < len(old) else None
            after = new[index] if index < len(new) else None
            if before is not after and before != after:
                yield PartitionDelta(either.name, either.topic_id, index, before, after)


@dataclass(frozen=True, slots=True)
class BrokerDelta:
    """A broker that changed. `old` None: it is new; `new` None: it was unregistered."""

    broker_id: int
    old: BrokerImage | None
    new: BrokerImage | None


@dataclass(frozen=True, slots=True)
class ConfigDelta:
    """The settings of one resource, before and after."""

    resource: ConfigResource
    old: Mapping[str, str]
    new: Mapping[str, str]

    def changed_names(self) -> list[str]:
        return [name for name in {**self.old, **self.new} if self.old.get(name) != self.new.get(name)]


@dataclass(frozen=True, slots=True)
class MetadataDelta:
    """What differs between two images. Everything is in the order in which it first changed; deletions come first."""

    topics: tuple[TopicDelta, ...] = ()
    brokers: tuple[BrokerDelta, ...] = ()
    configs: tuple[ConfigDelta, ...] = ()
    features: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.topics or self.brokers or self.configs or self.features)

    @property
    def topics_created(self) -> tuple[TopicImage, ...]:
        return tuple(topic.new for topic in self.topics if topic.new is not None and topic.old is None)

    @property
    def topics_deleted(self) -> tuple[TopicImage, ...]:
        return tuple(topic.old for topic in self.topics if topic.old is not None and topic.new is None)

    def partitions(self) -> Iterator[PartitionDelta]:
        """Every partition that differs, those of deleted topics first."""
        for topic in self.topics:
            yield from topic.partitions()
