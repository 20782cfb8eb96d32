"""Damage that is met while its replica goes: nobody is to be repaired who is not here."""

import asyncio

import pytest

from broker.metadata.features import DAMAGED_REPLICAS, METADATA_VERSION
from broker.metadata.records import FeatureLevelRecord, OfflineReplicasRecord, PartitionChangeRecord
from broker.metadata.state import Standing
from log_store.integrity import Damage
from tests.replication.cluster import TOPIC, Cluster, play

DAMAGES = [Damage(0, 1, 0, 10, "planted")]


async def understood(cluster: Cluster) -> None:
    cluster.controller.commit(FeatureLevelRecord(METADATA_VERSION, DAMAGED_REPLICAS))
    assert (await cluster.produce(1)).error is None
    await asyncio.sleep(0.2)


def damaged_reports(cluster: Cluster, node_id: int) -> list[Standing]:
    told = [standing for node, news in cluster.controller.reports if node == node_id for standing in news.values()]
    return [standing for standing in told if standing is Standing.DAMAGED]


@pytest.mark.parametrize("node_id", [1, 3])
def test_a_read_ahead_that_ends_after_its_replica_was_moved_away_harms_nobody(node_id: int) -> None:
    """A sector that is hard to read takes its time. A new replica there, well and in sync, was put out for it; and
    where that was marked, what was cut was gone: the whole directory counted as failed."""

    async def story(cluster: Cluster) -> None:
        controller = cluster.controller
        await understood(cluster)
        topic_id, others = controller.image.topic_ids[TOPIC], tuple(each for each in (1, 2, 3) if each != node_id)
        replicas, partition = cluster.brokers[node_id].replicas, cluster.replica(node_id)
        prefetch = partition.log.prefetch(0, 1000, cached_too=True, newest_too=True)
        assert prefetch is not None
        controller.commit(PartitionChangeRecord(topic_id, 0, leader=others[0], isr=others, replicas=others))
        await cluster.until(lambda: not replicas.partitions())

        partition.found_damage(prefetch, DAMAGES)
        replicas.damaged(partition)
        controller.commit(OfflineReplicasRecord(node_id, controller.image.brokers[node_id].epoch, topic_id, (0,)))
        await asyncio.sleep(6)
        controller.commit(OfflineReplicasRecord(node_id, controller.image.brokers[node_id].epoch, topic_id, ()))
        controller.commit(PartitionChangeRecord(topic_id, 0, replicas=(1, 2, 3)))
        await cluster.until(lambda: cluster.in_sync(1, 2, 3))
        await asyncio.sleep(12)
        assert not damaged_reports(cluster, node_id) and not len(replicas.repairs)
        assert cluster.is_up(node_id) and not any(home.failure for home in cluster.brokers[node_id].directories)

    play(story)


def test_a_replica_whose_directory_failed_is_offline_and_not_damaged() -> None:
    async def story(cluster: Cluster) -> None:
        await understood(cluster)
        replicas, partition = cluster.brokers[3].replicas, cluster.replica(3)
        replicas.gone_offline(partition)
        partition.log.note_damage(DAMAGES)
        replicas.log_damaged(partition.log)
        await asyncio.sleep(6)
        assert not damaged_reports(cluster, 3) and not len(replicas.repairs)

    play(story)
