"""The workloads' histories are right: judged fine on a cluster that behaves, and not on one that loses or doubles.

The cluster is the fake one of the client's tests, on the simulation's loop.
"""

import asyncio

import pytest

from kraftpy.aio import Admin, Consumer, Producer
from simulation import workloads
from simulation.checkers.history import Event, Operation, Send
from simulation.scenario import Refuted
from simulation.scenarios.whole_cluster import told, verdicts_on
from simulation.world import World, WorldConfig
from tests.client.fake_broker import FakeCluster

TOPIC = "lines"


def clients(world: World, cluster: FakeCluster) -> tuple[Producer, Consumer, Consumer, Admin]:
    lives = [world.open_life(name) for name in ("p1", "c1", "last", "a1")]
    world_of = [{"_clock": life.ports.clock, "_random": life.ports.random, "_transport": cluster} for life in lives]
    return (
        Producer(cluster.bootstrap, linger_ms=2, **world_of[0]),  # type: ignore[arg-type]
        Consumer(TOPIC, bootstrap=cluster.bootstrap, auto_offset_reset="earliest", **world_of[1]),  # type: ignore[arg-type]
        Consumer(bootstrap=cluster.bootstrap, auto_offset_reset="earliest", **world_of[2]),  # type: ignore[arg-type]
        Admin(cluster.bootstrap, **world_of[3]),  # type: ignore[arg-type]
    )


def history_of(damage: str = "") -> list[Event]:
    """Ten seconds of clients; `damage` is done to the log before it is read for the last time."""
    world = World(3, WorldConfig(time_limit_ms=120_000))
    cluster = FakeCluster()
    cluster.create(TOPIC, 2)
    history: list[Event] = []

    async def main(_: World) -> None:
        producer, consumer, last, admin = clients(world, cluster)
        until_us = 10_000_000
        await asyncio.gather(
            workloads.produce(world, producer, "p1", TOPIC, 2, history, until_us),
            workloads.consume(world, consumer, "c1", history, until_us + 1_000_000),
            workloads.administer(world, admin, "a1", history, until_us),
        )
        async with Admin(cluster.bootstrap, _transport=cluster, _clock=world.lives["a1"].ports.clock) as looking:
            await workloads.change_topic(world, looking, "a1", "kept", "create", 2, history)
            await asyncio.sleep(1)
            if damage == "lost":
                del cluster.partition(TOPIC).batches[5]
            elif damage == "topics":
                del cluster.topics["kept"]
            names = list(dict.fromkeys(event.key for event in history if isinstance(event, Operation)))
            await workloads.describe_topics(world, looking, names, history)
        assert await workloads.read_to_the_end(world, last, TOPIC, 2, history, 20_000) == []

    world.run(main)
    return history


def test_a_cluster_that_behaves_is_judged_fine() -> None:
    history = history_of()
    assert "0 unseen" in told(verdicts_on(history))
    assert sum(isinstance(event, Send) for event in history) > 50
    assert sum(isinstance(event, Operation) for event in history) > 10


@pytest.mark.parametrize(("damage", "verdict"), [("lost", "lost lines-0"), ("topics", "invalid")])
def test_a_cluster_that_loses_is_not(damage: str, verdict: str) -> None:
    with pytest.raises(Refuted, match=verdict):
        told(verdicts_on(history_of(damage)))


def test_its_histories_replay() -> None:
    assert history_of() == history_of()
