"""The quorum grows, loses a disk, and gets another voter in its place, while records flow."""

import re

from kraftpy.testing import Cluster
from tests.cluster.load import STEADY, Load


def voters_of(cluster: Cluster) -> list[int]:
    return sorted(voter.node_id for voter in cluster.admin.describe_quorum().voters)


def test_one_node_grows_to_three_and_five_and_a_lost_disk_is_replaced() -> None:
    with Cluster(nodes=1) as cluster:
        cluster.admin.create_topic("lines", partitions=3, replication_factor=1)
        with Load(cluster.bootstrap, "lines", partitions=3, records_per_s=STEADY) as load:
            load.wait_acknowledged(300)
            for node_id in (2, 3):
                assert cluster.add_node() == node_id
                assert voters_of(cluster) == list(range(1, node_id))
                voters = cluster.admin.add_raft_voter(node_id)
                assert [voter.node_id for voter in voters] == voters_of(cluster) == list(range(1, node_id + 1))
                load.wait_acknowledged(300)
            assert load.finish() == []
        survive_a_lost_disk(cluster)
        grow_to_five(cluster)


def survive_a_lost_disk(cluster: Cluster) -> None:
    cluster.admin.create_topic("orders", partitions=3, replication_factor=3, config={"min.insync.replicas": "2"})
    cluster.wait_in_sync()
    with Load(cluster.bootstrap, "orders", partitions=3, records_per_s=STEADY) as load:
        load.wait_acknowledged(300)
        cluster.kill(3)
        cluster.wipe(3)
        load.wait_acknowledged(300)
        cluster.start(3)
        told = re.search(
            r"kraftpy quorum remove 3 --directory-id (\S+); then: .* --directory-id (\S+)\.", cluster.log(3)
        )
        assert told is not None
        cluster.admin.remove_raft_voter(3, directory_id=told[1])
        assert voters_of(cluster) == [1, 2]
        cluster.admin.add_raft_voter(3, directory_id=told[2])
        assert voters_of(cluster) == [1, 2, 3]
        cluster.wait_in_sync()
        cluster.kill(1)  # who was the only voter once: the two that came later go on without it
        load.wait_acknowledged(300)
        assert cluster.quorum_leader() in (2, 3)
        cluster.start(1)
        cluster.wait_in_sync()
        assert load.finish() == []


def grow_to_five(cluster: Cluster) -> None:
    cluster.admin.create_topic("invoices", partitions=3, replication_factor=3, config={"min.insync.replicas": "2"})
    with Load(cluster.bootstrap, "invoices", partitions=3, records_per_s=STEADY) as load:
        for node_id in (4, 5):
            assert cluster.add_node() == node_id
            cluster.admin.add_raft_voter(node_id)
            assert voters_of(cluster) == list(range(1, node_id + 1))
            load.wait_acknowledged(300)
        leader = cluster.quorum_leader()
        assert leader in (1, 2, 3)
        for node_id in (leader, 5):  # two of five, and one of the three that hold the records
            cluster.kill(node_id)
        load.wait_acknowledged(300)
        assert cluster.quorum_leader() not in (leader, 5)
        assert cluster.admin.create_topic("late", partitions=3, replication_factor=3)
        for node_id in (leader, 5):
            cluster.start(node_id)
        cluster.wait_in_sync()
        assert load.finish() == []
