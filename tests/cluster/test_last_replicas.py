"""The last replicas standing (KIP-966), as real processes: who may lead when everybody has died."""

import pytest

from kraftpy import Consumer, Producer
from kraftpy.testing import Cluster
from tests.cluster.test_moves import wait_until


def test_kip_966_of_three_that_die_one_by_one_the_last_two_may_lead_and_not_the_first() -> None:
    with Cluster(nodes=3, config={"min.insync.replicas": 2}) as cluster:  # these vote, and live on
        for _ in range(3):
            cluster.add_node()
        cluster.admin.create_topic("lines", assignment={0: (4, 5, 6)})

        def state() -> tuple[int, tuple[int, ...], tuple[int, ...]]:
            partition = cluster.admin.describe_topic("lines").partitions[0]
            return partition.leader, partition.isr, tuple(sorted(partition.eligible_replicas))

        with Producer(cluster.bootstrap) as producer:
            producer.send("lines", b"with all three").result(30)
            cluster.kill(6)
            wait_until(lambda: len(state()[1]) == 2)
            producer.send("lines", b"without 6").result(30)
        cluster.kill(4)
        wait_until(lambda: state() == (5, (5,), (4,)))
        cluster.kill(5)
        wait_until(lambda: state() == (-1, (), (4, 5)))
        cluster.start(6)
        assert state() == (-1, (), (4, 5)), "6 does not know of what the other two committed without it"
        cluster.start(4)
        wait_until(lambda: state()[0] == 4)
        with Consumer(bootstrap=cluster.bootstrap, auto_offset_reset="earliest") as consumer:
            consumer.assign([("lines", 0)])
            values: list[bytes | None] = []

            def read() -> bool:
                values.extend(record.value for record in consumer.poll(0.5))
                return len(values) >= 2

            wait_until(read)
        assert values == [b"with all three", b"without 6"]
        cluster.start(5)
        cluster.wait_in_sync()
        assert state()[2] == ()


@pytest.mark.parametrize("flush", [True, False])
def test_all_nodes_killed_at_once_come_back_by_themselves(flush: bool) -> None:
    """The death of processes takes nothing from the page cache, so nobody has to be asked, whatever is flushed when."""
    with Cluster(nodes=3, flush=flush) as cluster:
        cluster.admin.create_topic("lines", partitions=3, replication_factor=3)
        with Producer(cluster.bootstrap) as producer:
            producer.send("lines", b"kept", partition=1).result(30)
        for node_id in (1, 2, 3):
            cluster.kill(node_id)
        for node_id in (1, 2, 3):
            cluster.start(node_id, wait=False)
        cluster.wait_in_sync()
        with Consumer(bootstrap=cluster.bootstrap, auto_offset_reset="earliest") as consumer:
            assert consumer.end_offsets([("lines", 1)]) == {("lines", 1): 1}
        assert all("unclean election" not in cluster.log(node_id) for node_id in cluster.node_ids)
