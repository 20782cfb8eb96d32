"""A real partition as the log of its coordinator."""

import pytest

from broker.coordinator.partition_log import PartitionLog
from kraftpy.errors import KafkaStorageError
from log_store.log import Log
from tests.replication.cluster import Cluster, play


def log_of_leader(cluster: Cluster) -> PartitionLog:
    leader = cluster.leader()
    replica = cluster.replica(leader)
    assert replica.leadership is not None
    return PartitionLog(replica, replica.leadership.leader_epoch, cluster.brokers[leader].ports.disk)


def test_what_cannot_be_read_is_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nobody finds out how much is damaged, and the partition stays where it is."""

    async def story(cluster: Cluster) -> None:
        leader = cluster.leader()
        await cluster.produce(leader, count=3)
        replicas = cluster.brokers[leader].replicas
        suspected: list[tuple[Log, int | None]] = []
        monkeypatch.setattr(replicas, "on_suspicion", lambda log, offset: suspected.append((log, offset)))

        def fail(*_: object, **__: object) -> bytes:
            raise KafkaStorageError("a sector cannot be read")

        log = log_of_leader(cluster)
        monkeypatch.setattr(cluster.replica(leader).log, "read_bytes", fail)
        with pytest.raises(KafkaStorageError):
            await cluster.in_lane(leader, log.read(1, 1_000))
        assert suspected == [(cluster.replica(leader).log, 1)]

    play(story)
