"""The ends of blocking clients: what is refused changes nothing, and what has begun is brought to its end."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kraftpy import Consumer, Producer
from kraftpy.client import loop_thread
from kraftpy.errors import ClosedError
from tests.client.fake_broker import FakeCluster
from tests.client.fake_groups import FakeGroups
from tests.client.test_closing_consumer import Poison, clearing_it, replacing_all_by_values, taking_one_off


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster(3)
    cluster.create("lines", 1)
    return cluster


@pytest.fixture
def groups(cluster: FakeCluster) -> Iterator[FakeGroups]:
    """Coordinators on the SDK's loop."""
    thread = loop_thread.acquire()

    async def begin() -> FakeGroups:
        return FakeGroups(cluster)

    async def end() -> None:
        made.stop()

    made = thread.run(begin)
    yield made
    thread.run(end)
    loop_thread.release(thread)
    assert loop_thread._shared is None, "no client is left"


def fill(cluster: FakeCluster, count: int) -> None:
    with Producer(cluster.bootstrap, _transport=cluster) as producer:
        for number in range(count):
            producer.send("lines", b"%d" % number)


def member(cluster: FakeCluster, *topics: str, **settings: Any) -> Consumer:
    return Consumer(
        *topics,
        bootstrap=cluster.bootstrap,
        _transport=cluster,
        group_id="g",
        auto_offset_reset="earliest",
        **settings,
    )


def committed_of(cluster: FakeCluster) -> int | None:
    with member(cluster) as look:
        (found,) = look.committed([("lines", 0)]).values()
    return None if found is None else found.offset


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize("take", [taking_one_off, clearing_it, replacing_all_by_values])
def test_what_a_program_does_to_the_list_that_poll_gave_it_changes_nothing_of_what_is_committed(
    cluster: FakeCluster, take: Callable[[list[Any]], Any]
) -> None:
    fill(cluster, 10)
    with pytest.raises(Poison), member(cluster, "lines") as reader:
        while True:
            batch = reader.poll(1, max_records=3)
            if batch and take(batch).offset == 3:
                raise Poison
    with pytest.raises(ClosedError):
        reader.poll()
    assert committed_of(cluster) == 3
