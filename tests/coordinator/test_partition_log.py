"""A real partition as the log of its coordinator."""

import asyncio
import errno

import pytest

from broker.coordinator.partition_log import PartitionLog
from broker.coordinator.shard import Shard
from kraftpy.errors import CoordinatorNotAvailableError, KafkaStorageError
from log_store.log import Log
from tests.coordinator.counters import Add, Counted, CountedCodec, Counters, WaitFor
from tests.replication.cluster import Cluster, play

Counting = Shard[Add | WaitFor, Counted]


def log_of_leader(cluster: Cluster) -> PartitionLog:
    leader = cluster.leader()
    replica = cluster.replica(leader)
    assert replica.leadership is not None
    return PartitionLog(replica, replica.leadership.leader_epoch, cluster.brokers[leader].ports.disk)


@pytest.mark.parametrize("failure", [errno.EIO, errno.EMFILE])
def test_what_cannot_be_read_is_looked_into(monkeypatch: pytest.MonkeyPatch, failure: int) -> None:
    """Else nobody finds out how much is damaged, and the partition stays where it is. Where a descriptor lacked,
    there is nothing to find out."""

    async def story(cluster: Cluster) -> None:
        leader = cluster.leader()
        await cluster.produce(leader, count=3)
        replicas = cluster.brokers[leader].replicas
        suspected: list[tuple[Log, int | None]] = []
        monkeypatch.setattr(replicas, "on_suspicion", lambda log, offset: suspected.append((log, offset)))

        def fail(*_: object, **__: object) -> bytes:
            raise KafkaStorageError("it cannot be read") from OSError(failure, "planted")

        log = log_of_leader(cluster)
        monkeypatch.setattr(cluster.replica(leader).log, "read_bytes", fail)
        with pytest.raises(KafkaStorageError):
            await cluster.in_lane(leader, log.read(1, 1_000))
        assert suspected == ([(cluster.replica(leader).log, 1)] if failure == errno.EIO else [])

    play(story)


async def nothing(shard: Counting, effect: object) -> None:
    return


def test_who_waits_no_longer_is_not_kept_while_nothing_is_committed() -> None:
    """Clients ask again and again while the replicas are away, and would fill the memory."""

    async def story(cluster: Cluster) -> None:
        leader = cluster.leader()
        replica, clock = cluster.replica(leader), cluster.brokers[leader].ports.clock
        shard: Counting = Shard(
            Counters(), CountedCodec(), log_of_leader(cluster), clock, nothing, commit_timeout_ms=10
        )
        shard.start()
        await cluster.until(lambda: shard.is_active)
        for follower in (node_id for node_id in (1, 2, 3) if node_id != leader):
            cluster.crash(follower)
        await cluster.produce(leader, acks=1)
        for _ in range(100):
            told = await asyncio.gather(*[shard.submit(Add("a", 0)) for _ in range(100)], return_exceptions=True)
            assert all(isinstance(each, CoordinatorNotAvailableError) for each in told)
        assert replica.high_watermark < replica.log.end_offset
        assert len(replica.committed_waits) < 1_000
        shard.close()

    play(story)
