"""What a newer image of the metadata changes, as words of a trace: the cluster's decisions, each told once.

    broker 2 registered epoch=31 new-disk          topic-created lines 3          topic-deleted lines
    partition lines-0 leader=1->2 epoch=3->4 isr=1,2,3->2,3

Of a partition only what changed is told: `leader`, `epoch` (of the leader), `isr`, `elr` (KIP-966), `replicas`,
`adding` (KIP-455) and `recovering` (an unclean election). A new one's fields have nothing before the arrow.
"""

from collections.abc import Iterator

from broker.metadata.delta import BrokerDelta, MetadataDelta
from broker.metadata.image import MetadataImage
from broker.metadata.state import PartitionState

Words = tuple[str, ...]


def changes_between(old: MetadataImage, new: MetadataImage, delta: MetadataDelta) -> Iterator[Words]:
    """`delta` names at least everything that differs between the two."""
    for broker in delta.brokers:
        yield from _broker(BrokerDelta(broker.broker_id, old.brokers.get(broker.broker_id), broker.new))
    for topic in delta.topics:
        if topic.old is not None and topic.old.topic_id in old.topics and topic.old.topic_id not in new.topics:
            yield "topic-deleted", topic.old.name
        if topic.new is not None:
            before = old.topics.get(topic.new.topic_id)
            if before is None:
                yield "topic-created", topic.new.name, str(len(topic.new.partitions))
            for index, state in enumerate(topic.new.partitions):
                known = before.partitions[index] if before is not None and index < len(before.partitions) else None
                if state is not known:
                    yield from _partition(f"{topic.new.name}-{index}", known, state)


def _broker(change: BrokerDelta) -> Iterator[Words]:
    name, old, new = str(change.broker_id), change.old, change.new
    if new is None:
        yield "broker", name, "unregistered"
        return
    if old is None or old.epoch != new.epoch:
        on_new_disk = old is not None and old.registration.directory_id != new.registration.directory_id
        yield "broker", name, "registered", f"epoch={new.epoch}", *(["new-disk"] if on_new_disk else [])
    if new.fenced and (old is not None and not old.fenced) and old.epoch == new.epoch:
        yield "broker", name, "fenced"
    if not new.fenced and (old is None or old.fenced or old.epoch != new.epoch):
        yield "broker", name, "unfenced"
    if new.in_controlled_shutdown and not (old is not None and old.in_controlled_shutdown):
        yield "broker", name, "shutting-down"


def _partition(name: str, old: PartitionState | None, new: PartitionState) -> Iterator[Words]:
    before, after = _fields(old), _fields(new)
    changed = [
        f"{field}={before.get(field, '')}->{value}" for field, value in after.items() if before.get(field, "") != value
    ]
    if changed:
        yield "partition", name, *changed


def _fields(state: PartitionState | None) -> dict[str, str]:
    if state is None:
        return {}
    return {
        "leader": str(state.leader) if state.has_leader else "none",
        "epoch": str(state.leader_epoch),
        "isr": _ids(state.isr),
        "elr": _ids(state.eligible_replicas),
        "replicas": _ids(state.replicas),
        "adding": _ids(state.adding_replicas),
        "recovering": "yes" if state.recovering else "",
    }


def _ids(broker_ids: tuple[int, ...]) -> str:
    return ",".join(map(str, broker_ids))
