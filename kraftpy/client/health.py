"""The health of a cluster, computed from descriptions. Pure."""

from collections.abc import Mapping, Sequence

from kraftpy.client.admin_values import ClusterDescription, ClusterHealth, TopicDescription

NAMES_MAX = 5  # in a sentence; the rest is counted


def cluster_health(
    cluster: ClusterDescription,
    topics: Sequence[TopicDescription],
    min_isr: Mapping[str, int],
    told: Sequence[str] = (),
) -> ClusterHealth:
    """`min_isr` holds min.insync.replicas by topic; one that is missing counts as 1. `told`: what nodes complain of."""
    offline: list[str] = []
    under_replicated: list[str] = []
    under_min_isr: list[str] = []
    at_min_isr: list[str] = []
    not_preferred: list[str] = []
    partitions = 0
    for topic in topics:
        for partition in topic.partitions:
            partitions += 1
            # More than there are replicas cannot be asked for, as in Kafka; those on their way do not count (KIP-455).
            settled = len(partition.replicas) - len(partition.adding_replicas)
            needed = min(min_isr.get(topic.name, 1), settled)
            name = f"{topic.name}-{partition.partition}"
            in_sync = len(partition.isr)
            if partition.leader < 0:
                offline.append(name)
            elif partition.replicas and partition.leader != partition.replicas[0]:
                not_preferred.append(name)
            if partition.is_under_replicated:
                under_replicated.append(name)
            if in_sync < needed:
                under_min_isr.append(name)
            elif in_sync == needed and settled > needed:
                at_min_isr.append(name)
    fenced = tuple(broker.node_id for broker in cluster.brokers if broker.fenced)
    problems = [
        *(["the metadata quorum has no leader"] if cluster.controller_id < 0 else []),
        *([f"brokers out of service: {', '.join(map(str, fenced))}"] if fenced else []),
        *_sentence("without a leader", offline),
        *_sentence("with fewer in-sync replicas than min.insync.replicas", under_min_isr),
        *_sentence("with replicas out of sync", under_replicated),
        *told,
    ]
    return ClusterHealth(
        cluster_id=cluster.cluster_id,
        controller_id=cluster.controller_id,
        brokers=len(cluster.brokers),
        fenced_brokers=fenced,
        partitions=partitions,
        offline=tuple(offline),
        under_replicated=tuple(under_replicated),
        under_min_isr=tuple(under_min_isr),
        at_min_isr=tuple(at_min_isr),
        not_preferred=tuple(not_preferred),
        problems=tuple(problems),
    )


def _sentence(what: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    rest = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return [f"{len(names)} partitions {what}: {', '.join(names[:NAMES_MAX])}{rest}"]
