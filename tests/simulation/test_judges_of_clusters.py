"""What a whole cluster is judged by, shown to fail: each story breaks a cluster in a way that its judge must see."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from broker.coordinator.config import StateTopicsConfig
from broker.coordinator.transactions.commands import Marker
from broker.coordinator.transactions.deadlines import Deadlines
from broker.coordinator.transactions.marker_writer import MarkerWriter
from kraftpy.aio import Admin, Producer
from kraftpy.client.sender import Sender
from kraftpy.client.values import OffsetAndMetadata, TopicPartition
from kraftpy.errors import KraftpyError
from simulation.calm_transactions import CalmTransactions, all_places, wait_nothing_open
from simulation.cluster import DATA, SECOND, Cluster, ClusterConfig
from simulation.device import DiskFault
from simulation.scenario import Refuted
from simulation.scenarios.whole_cluster import judge_replicas
from simulation.simulate import run
from simulation.workloads import write_to_each
from simulation.world import NodeFailed, World, WorldConfig

Story = Callable[[Cluster, Admin, Producer], Coroutine[Any, Any, None]]


def told(story: Story, config: ClusterConfig | None = None) -> None:
    """A healthy cluster of three with a topic that holds some records, and what becomes of it then."""
    world = World(3, WorldConfig(time_limit_ms=600_000))

    async def main(world: World) -> None:
        cluster = Cluster(world, config)
        cluster.start()
        life = world.open_life("judge")

        async def inside() -> None:
            async with cluster.admin(life) as admin, cluster.producer(life, delivery_timeout_ms=5_000) as producer:
                assert await cluster.wait_healthy(admin, 30_000) == []
                await admin.create_topic("t", partitions=1, config={"min.insync.replicas": "2"})
                assert await cluster.wait_healthy(admin, 30_000) == []
                for number in range(10):
                    await (await producer.send("t", b"%d" % number, partition=0))
                await story(cluster, admin, producer)

        await world.run_in(life, inside())

    world.run(main)


def test_a_cluster_as_it_should_be_passes() -> None:
    async def story(cluster: Cluster, admin: Admin, producer: Producer) -> None:
        await judge_replicas(cluster, 5_000)
        life = cluster.world.lives["judge"]
        assert await write_to_each(cluster.world, cluster.producer(life), "w1", {"t": 1}, []) == []
        await judge_replicas(cluster, 5_000)

    told(story)


def test_a_high_watermark_that_stands_still() -> None:
    async def story(cluster: Cluster, admin: Admin, producer: Producer) -> None:
        await judge_replicas(cluster, 5_000)
        for server in cluster.servers.values():
            ends = server.ends()
            server.ends = lambda ends=ends: {key: (end, end - 1) for key, (end, _) in ends.items()}  # type: ignore
        with pytest.raises(Refuted, match=r"t-0: .* by broker"):
            await judge_replicas(cluster, 1_000)

    told(story)


def test_a_majority_that_takes_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes topics and has its leaders; but all three are to have what two of them can have."""
    create_topic = Admin.create_topic

    async def for_three(self: Admin, name: str, **settings: Any) -> Any:
        if name == run.BEFORE:
            settings["config"] = {"min.insync.replicas": "3"}
        return await create_topic(self, name, **settings)

    async def story(cluster: Cluster, admin: Admin, producer: Producer) -> None:
        with pytest.raises(Refuted, match=r"not live without n\d in 20 s: before-0 takes no record: .*before-2 takes"):
            await run._majority_alone(cluster, (1, 2, 3))

    async def as_it_should_be(cluster: Cluster, admin: Admin, producer: Producer) -> None:
        assert await run._majority_alone(cluster, (1, 2, 3)) < run.MAJORITY_MS

    monkeypatch.setattr(run, "MAJORITY_MS", 20_000)
    told(as_it_should_be)
    monkeypatch.setattr(Admin, "create_topic", for_three)
    told(story)


def test_a_partition_that_takes_no_record() -> None:
    async def story(cluster: Cluster, admin: Admin, producer: Producer) -> None:
        for host in ("n2", "n3"):
            cluster.world.crash(host)
        life = cluster.world.lives["judge"]
        impatient = cluster.producer(life, delivery_timeout_ms=2_000, request_timeout_ms=1_000)
        assert await write_to_each(cluster.world, impatient, "w1", {"t": 1}, []) == ["t-0"]

    told(story)


@pytest.mark.parametrize("log", ["t-0", "__consumer_offsets-0"])
def test_a_replica_that_differs_behind_its_header(log: str) -> None:
    """Also one of the coordinators' topics, as long as nobody compacts them."""

    async def story(cluster: Cluster, admin: Admin, producer: Producer) -> None:
        await admin.alter_group_offsets("g", {TopicPartition("t", 0): OffsetAndMetadata(1)})
        await judge_replicas(cluster, 5_000)
        (path,) = [path for path, _ in cluster._log_files("n2") if f"/{log}/" in path]
        cluster.witness.rots(2, log)  # who would see it at once
        cluster.world.device("n2").flip_bit(path, 70)
        with pytest.raises(Refuted, match=f"{log}: "):
            await judge_replicas(cluster, 1_000)

    told(story, ClusterConfig(state_topics=StateTopicsConfig(offsets_partitions=1)))


def test_a_client_whose_task_fails() -> None:
    async def story(cluster: Cluster, admin: Admin, producer: Producer) -> None:
        def broken(self: Sender, *_: object) -> Any:
            raise ZeroDivisionError("a planted bug")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Sender, "_plan", broken)
            with pytest.raises(KraftpyError):
                await (await producer.send("t", b"x", partition=0))
        await asyncio.sleep(1)

    with pytest.raises(NodeFailed, match="a planted bug"):
        told(story)


@pytest.mark.parametrize("directory", [DATA, SECOND])
def test_a_node_that_ends_though_it_has_another_directory(directory: str) -> None:
    """It must for the first, which has the quorum's log; no scenario lets that one fail."""

    async def story(cluster: Cluster, admin: Admin, producer: Producer) -> None:
        cluster.world.device("n1").arm(DiskFault.SYNC_FAILURE, f"{directory}/")
        for number in range(20):
            await (await producer.send("t", b"%d" % number, partition=0))
            await asyncio.sleep(0.5)

    config = ClusterConfig(log_dirs=(DATA, SECOND))
    if directory == SECOND:
        told(story, config)
    else:
        with pytest.raises(NodeFailed):
            told(story, config)


# --- transactions ----------------------------------------------------------------------------------------------------

FEW = ClusterConfig(state_topics=StateTopicsConfig(offsets_partitions=1, transactions_partitions=2))


def told_of_commits(problem: str, dead: tuple[int, ...] = (), *, is_known: bool = True) -> None:
    """What is said when somebody is to commit, and those lose power, which the judge knows or not; "": nothing."""

    async def story(cluster: Cluster, admin: Admin, producer: Producer) -> None:
        calm = CalmTransactions(cluster, cluster.world.lives["judge"])
        await calm.prepare(admin, dead if is_known else ())
        assert await cluster.wait_healthy(admin, 10_000) == []
        try:
            await calm.commit()
            for node_id in dead:
                cluster.world.crash(f"n{node_id}", power=True)
            await asyncio.sleep(15)
            await calm.commit(dead if is_known else ())
        except Refuted as refuted:
            assert problem and re.search(problem, str(refuted))
            return
        assert not problem and calm.commits == 3 and calm.slowest_ms > 0

    told(story, FEW)


@pytest.mark.parametrize("dead", [(), (2,)])
def test_a_cluster_that_commits_is_fine_also_without_a_minority(dead: tuple[int, ...]) -> None:
    told_of_commits("", dead)


def test_a_commit_whose_markers_nobody_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its producer is told that all is well."""

    async def lie(self: MarkerWriter, marker: Marker, place: object) -> None:
        return None

    monkeypatch.setattr(MarkerWriter, "_write", lie)
    told_of_commits("last-1 commits nothing in 3 s")


def test_an_abort_that_is_taken_for_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    write = MarkerWriter._write
    monkeypatch.setattr(
        MarkerWriter, "_write", lambda self, marker, place: write(self, replace(marker, commit=True), place)
    )
    told_of_commits("a committed reader finds .*last-1 aborted")


def test_transactions_of_a_cluster_without_a_majority() -> None:
    told_of_commits(r"not live: (the partitions of settled have the leaders|last-2-\d+ c)", (2, 3), is_known=False)


@pytest.mark.parametrize("forgets", [False, True])
def test_a_transaction_whose_producer_is_gone(monkeypatch: pytest.MonkeyPatch, forgets: bool) -> None:
    """Its coordinator is to end it when its time is over."""

    async def story(cluster: Cluster, admin: Admin, producer: Producer) -> None:
        life = cluster.world.open_life("dying")

        async def die() -> None:
            dying = cluster.producer(life, transactional_id="dying", transaction_timeout_ms=2_000)
            await dying.begin_transaction()
            await (await dying.send("t", b"open", partition=0))

        await cluster.world.run_in(life, die())
        cluster.world.crash("dying")
        judge = cluster.world.lives["judge"]
        try:
            await wait_nothing_open(cluster, judge, all_places(cluster), 2_000)
        except Refuted as refuted:
            assert (
                forgets
                and "a transaction hangs: committed readers stop, of logs that end: {'t-0': (10, 11)}" in str(refuted)
            )
        else:
            assert not forgets

    if forgets:
        monkeypatch.setattr(Deadlines, "next_ms", lambda self: None)
    told(story, FEW)
