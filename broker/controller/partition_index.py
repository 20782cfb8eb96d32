"""Who leads and holds what: partitions by broker, so that a failover costs by one broker's share, not by the cluster.

Derived from the image and kept up with it by every delta. Orders are those of insertion, which replay alone decides, so
two controllers that replayed the same records act in the same order. (They are dicts and not sets for that reason.)
"""

from broker.metadata.delta import MetadataDelta, PartitionDelta
from broker.metadata.image import MetadataImage
from broker.metadata.records import NO_LEADER
from broker.metadata.state import PartitionKey, PartitionState


class PartitionIndex:
    """Invariant: every answer equals what a scan of the image would give."""

    def __init__(self) -> None:
        self._led: dict[int, dict[PartitionKey, None]] = {}
        self._in_sync: dict[int, dict[PartitionKey, None]] = {}
        self._eligible: dict[int, dict[PartitionKey, None]] = {}
        self._displaced: dict[int, dict[PartitionKey, None]] = {}  # preferred leader → led by another, or by none
        self._replica_counts: dict[int, int] = {}
        self._preferred_counts: dict[int, int] = {}
        self._spelled: dict[str, str] = {}  # names with '.' or '_', by their form in metrics → the name

    @staticmethod
    def of(image: MetadataImage) -> "PartitionIndex":
        """Costs by the size of the image: about 30 ms at 10,000 partitions of three replicas."""
        index = PartitionIndex()
        for topic in image.topics.values():
            index._spell(topic.name)
            for number, state in enumerate(topic.partitions):
                index._add(PartitionKey(topic.topic_id, number), state)
        return index

    def update(self, delta: MetadataDelta) -> None:
        for deleted in delta.topics_deleted:
            self._spelled.pop(collision_form(deleted.name), None)
        for created in delta.topics_created:
            self._spell(created.name)
        for change in delta.partitions():
            self._update(change)

    # --- questions ---

    def led_by(self, broker_id: int) -> list[PartitionKey]:
        return list(self._led.get(broker_id, ()))

    def leader_count(self, broker_id: int) -> int:
        return len(self._led.get(broker_id, ()))

    def without_leader(self) -> list[PartitionKey]:
        return self.led_by(NO_LEADER)

    def in_sync_on(self, broker_id: int) -> list[PartitionKey]:
        """Partitions whose ISR holds the broker. Whatever it leads is among them."""
        return list(self._in_sync.get(broker_id, ()))

    def eligible_on(self, broker_id: int) -> list[PartitionKey]:
        """Partitions whose ELR holds the broker."""
        return list(self._eligible.get(broker_id, ()))

    def with_eligible(self) -> list[PartitionKey]:
        """Partitions that have an ELR."""
        return list(dict.fromkeys(key for keys in self._eligible.values() for key in keys))

    def displaced_from(self, broker_id: int) -> list[PartitionKey]:
        """Partitions that the broker should lead by preference and does not."""
        return list(self._displaced.get(broker_id, ()))

    def displaced_count(self, broker_id: int) -> int:
        return len(self._displaced.get(broker_id, ()))

    def preferred_count(self, broker_id: int) -> int:
        """Partitions whose preferred leader is the broker."""
        return self._preferred_counts.get(broker_id, 0)

    def replica_count(self, broker_id: int) -> int:
        return self._replica_counts.get(broker_id, 0)

    def name_in_use_like(self, name: str) -> str | None:
        """A topic whose name cannot be told from `name` in metrics, where '.' becomes '_'."""
        return self._spelled.get(collision_form(name))

    # --- upkeep ---

    def _spell(self, name: str) -> None:
        if "." in name or "_" in name:
            self._spelled[collision_form(name)] = name

    def _update(self, change: PartitionDelta) -> None:
        key = PartitionKey(change.topic_id, change.partition)
        old, new = change.old, change.new
        if old is not None and new is not None and old.replicas == new.replicas:
            self._move(key, old, new)
            return
        if old is not None:
            self._remove(key, old)
        if new is not None:
            self._add(key, new)

    def _move(self, key: PartitionKey, old: PartitionState, new: PartitionState) -> None:
        if old.leader != new.leader:
            self._led[old.leader].pop(key)
            self._led.setdefault(new.leader, {})[key] = None
            displaced = self._displaced.setdefault(new.preferred_leader, {})
            if new.leader == new.preferred_leader:
                displaced.pop(key, None)
            else:
                displaced[key] = None
        if old.isr != new.isr:
            for broker_id in old.isr:
                if broker_id not in new.isr:
                    self._in_sync[broker_id].pop(key)
            for broker_id in new.isr:
                self._in_sync.setdefault(broker_id, {})[key] = None
        for broker_id in old.eligible_replicas:
            if broker_id not in new.eligible_replicas:
                self._eligible[broker_id].pop(key)
        for broker_id in new.eligible_replicas:
            self._eligible.setdefault(broker_id, {})[key] = None

    def _add(self, key: PartitionKey, state: PartitionState) -> None:
        self._led.setdefault(state.leader, {})[key] = None
        for broker_id in state.isr:
            self._in_sync.setdefault(broker_id, {})[key] = None
        for broker_id in state.eligible_replicas:
            self._eligible.setdefault(broker_id, {})[key] = None
        for broker_id in state.replicas:
            self._replica_counts[broker_id] = self._replica_counts.get(broker_id, 0) + 1
        preferred = state.preferred_leader
        self._preferred_counts[preferred] = self._preferred_counts.get(preferred, 0) + 1
        if state.leader != preferred:
            self._displaced.setdefault(preferred, {})[key] = None

    def _remove(self, key: PartitionKey, state: PartitionState) -> None:
        self._led[state.leader].pop(key)
        for broker_id in state.isr:
            self._in_sync[broker_id].pop(key)
        for broker_id in state.eligible_replicas:
            self._eligible[broker_id].pop(key)
        for broker_id in state.replicas:
            self._replica_counts[broker_id] -= 1
        preferred = state.preferred_leader
        self._preferred_counts[preferred] -= 1
        self._displaced.get(preferred, {}).pop(key, None)


def collision_form(name: str) -> str:
    """The form in which names collide in metrics: `a.b` and `a_b` are one (as Kafka's Topic.hasCollision)."""
    return name.replace(".", "_")
