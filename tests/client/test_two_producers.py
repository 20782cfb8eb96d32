"""What a program may not wait for in a handler of a signal that runs inside of another producer's send()."""

import pytest

from kraftpy import Producer
from kraftpy.errors import ConcurrentUseError
from tests.client.fake_broker import FakeCluster


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster(3)
    cluster.create("lines", 1)
    return cluster


def test_waiting_for_a_delivery_of_another_producer_is_refused(cluster: FakeCluster) -> None:
    with Producer(cluster.bootstrap, _transport=cluster) as one, Producer(cluster.bootstrap, _transport=cluster) as two:
        two.send("lines", b"x").result(5)
        with one._lock:
            delivery = two.send("lines", b"y")
            with pytest.raises(ConcurrentUseError, match="set a flag"):
                delivery.result(2)
        assert delivery.result(5).offset == 1


def test_waiting_for_room_in_another_producer_is_refused(cluster: FakeCluster) -> None:
    with Producer(cluster.bootstrap, _transport=cluster) as one:
        two = Producer(cluster.bootstrap, _transport=cluster, buffer_memory=1_000, batch_size=500, max_block_ms=2_000)
        two.send("lines", b"x").result(5)
        cluster.silent |= set(cluster.nodes)
        with one._lock, pytest.raises(ConcurrentUseError, match="set a flag"):
            for _ in range(10):
                two.send("lines", bytes(200))
        two.close(0)
