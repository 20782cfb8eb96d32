"""How a client keeps its picture of the cluster: quickly at first, patiently later, past nodes that do not answer."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from kraftpy.errors import FatalProducerError, InvalidTopicError, KraftpyError, UnknownTopicOrPartitionError
from kraftpy.runtime.ports import Address
from simulation.loop import Loop
from tests.client.fake_broker import FakeCluster
from tests.client.support import consumer, producer, run


def lines() -> FakeCluster:
    cluster = FakeCluster(3)
    for topic in ("lines", "words"):
        cluster.create(topic, 3)
    return cluster


def asked(cluster: FakeCluster, method: str = "GetMetadata") -> list[int]:
    return [node_id for node_id, name in cluster.requests if name == method]


def test_a_first_send_waits_for_no_timer() -> None:
    async def story() -> None:
        cluster = lines()
        loop = asyncio.get_running_loop()
        async with producer(cluster, linger_ms=0) as sender:
            for topic in ("lines", "words"):
                started = loop.time()
                await (await sender.send(topic, b"x"))
                assert loop.time() - started < 0.01

    run(story)


def test_who_never_waits_finds_a_topic_a_little_later() -> None:
    async def story() -> None:
        cluster = lines()
        async with producer(cluster, max_block_ms=0, linger_ms=0) as sender:
            for topic in ("lines", "later"):
                with pytest.raises(KraftpyError, match=topic):
                    await sender.send(topic, b"x")
            await asyncio.sleep(1)
            with pytest.raises(UnknownTopicOrPartitionError, match="later"):
                await sender.send("later", b"x")
            cluster.create("later")
            for topic in ("lines", "later"):
                with suppress(UnknownTopicOrPartitionError):
                    await sender.send(topic, b"x")
                await asyncio.sleep(1)
                await (await sender.send(topic, b"x"))

    run(story)


def test_a_silent_node_costs_its_time_once() -> None:
    async def story() -> None:
        cluster = lines()
        cluster.silent.add(2)
        for partition in range(3):
            cluster.move_leader("lines", partition, 1)
        loop = asyncio.get_running_loop()
        async with producer(cluster) as sender:
            for _ in range(20):
                await (await sender.send("lines", b"x"))
                assert sender._producing is not None
                await sender._producing.metadata.updated(10_000)
            assert loop.time() < 20 * 0.15 + 3

    run(story)


def test_a_consumer_that_reaches_nobody_says_so_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        cluster = lines()
        cluster.down |= {1, 2, 3}
        async with consumer(cluster, "lines") as reader:
            await reader.poll(95)
            cluster.down.clear()
            await reader.poll(5)

    caplog.set_level("INFO", "kraftpy.client.metadata")
    run(story)
    said = [(record.levelname, record.message) for record in caplog.records if "metadata" in record.name]
    assert [level for level, _ in said] == ["WARNING"] * 4 + ["INFO"]
    assert "10.0.0.1:9093, 10.0.0.2:9093, 10.0.0.3:9093 (last: node " in said[0][1]
    assert "kraftpy doctor -b 10.0.0.1:9093" in said[0][1]
    assert said[-1][1].startswith("the cluster answers again, after 9")


def test_idle_clients_ask_rarely_and_troubled_ones_not_too_often() -> None:
    async def story() -> None:
        cluster = lines()
        async with producer(cluster) as sender:
            await (await sender.send("lines", b"x"))
            cluster.requests.clear()
            await asyncio.sleep(590)
            assert len(asked(cluster)) == 1
            await (await sender.send("lines", b"x"))
            cluster.requests.clear()
            cluster.down |= {1, 2, 3}
            await sender.send("lines", b"y")
            await asyncio.sleep(60)
            assert len(asked(cluster)) < 3 * 90
            cluster.down.clear()
            await sender.flush()

    run(story)


def test_topics_that_nobody_uses_are_forgotten_and_found_again() -> None:
    async def story() -> None:
        cluster = lines()
        async with producer(cluster, metadata_max_age_ms=60_000) as sender:
            await (await sender.send("words", b"x"))
            for _ in range(40):
                await (await sender.send("lines", b"x"))
                await asyncio.sleep(10)
            assert sender._producing is not None
            assert list(sender._producing.metadata.view.topics) == ["lines"]
            await (await sender.send("words", b"x"))

    run(story)


def test_a_cluster_whose_nodes_have_all_moved_is_found_by_its_bootstrap_addresses() -> None:
    async def story() -> None:
        cluster = lines()
        bootstrap = cluster.bootstrap
        async with producer(cluster, bootstrap=bootstrap) as sender:
            await (await sender.send("lines", b"x"))
            cluster.nodes = {1: cluster.nodes[1], 2: Address("10.1.0.2", 1), 3: Address("10.1.0.3", 1)}
            cluster.break_streams()
            for partition in range(3):
                await (await sender.send("lines", b"y", partition=partition))

    run(story)


def test_what_did_not_exist_is_asked_for_again_before_that_is_believed() -> None:
    async def story() -> None:
        cluster = lines()
        async with consumer(cluster) as reader:
            assert reader.assignment() == [] and reader._consuming is not None
            metadata = reader._consuming.metadata
            for _ in range(2):
                with pytest.raises(UnknownTopicOrPartitionError):
                    await metadata.topic("later", 10_000, patience_ms=0)
                await asyncio.sleep(1)
            cluster.create("later", 2)
            assert len((await metadata.topic("later", 10_000, patience_ms=0)).partitions) == 2

    run(story)


def test_a_topic_that_does_not_exist_is_told_as_such_when_time_is_up() -> None:
    async def story() -> None:
        cluster = lines()
        cluster.latency_s = lambda: 0.02
        async with consumer(cluster) as reader:
            with pytest.raises(UnknownTopicOrPartitionError):
                await reader.partitions_for("missing", timeout=0.5)

    run(story)


def test_a_node_that_knows_of_no_brokers_yet_is_passed_over() -> None:
    async def story() -> None:
        cluster = lines()
        answer = cluster._GetMetadata

        async def empty(node_id: int, data: bytes) -> bytes:
            return b"" if node_id != 3 else await answer(node_id, data)

        cluster._GetMetadata = empty  # type: ignore[method-assign]
        async with producer(cluster) as sender:
            await (await sender.send("lines", b"x"))

    run(story)


def test_a_sender_that_crashes_fails_everything_loudly() -> None:
    async def story() -> list[str]:
        cluster = lines()
        sender = producer(cluster, linger_ms=100)
        delivery = await sender.send("lines", b"x")
        assert sender._producing is not None

        def broken(now_ms: int) -> Any:
            raise ZeroDivisionError("a planted bug")

        sender._producing.sender._plan = broken  # type: ignore[method-assign]
        with pytest.raises(FatalProducerError, match="a planted bug"):
            await delivery
        with pytest.raises(FatalProducerError):
            await sender.send("lines", b"y")
        await sender.close()
        return told()

    assert "which is a bug" in run(story)[0]


def told() -> list[str]:
    """What the loop's exception handler has heard."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    return list(loop.failures)


def test_a_fetcher_that_crashes_says_so_at_every_poll() -> None:
    async def story() -> list[str]:
        cluster = lines()
        async with consumer(cluster, "lines") as reader:
            assert await reader.poll(timeout=1) == []
            assert reader._consuming is not None

            def broken() -> Any:
                raise ZeroDivisionError("a planted bug")

            reader._consuming.fetcher._start_positions = broken  # type: ignore[method-assign]
            for _ in range(2):
                with pytest.raises(KraftpyError, match="a planted bug"):
                    await reader.poll(timeout=5)
            return told()

    assert "which is a bug" in run(story)[0]


def test_a_fetch_that_cannot_be_made_is_told_by_every_poll() -> None:
    """It would be a bug; a fetch that ended without a word would hold up all partitions of its node."""

    async def story() -> list[str]:
        cluster = lines()
        async with consumer(cluster, "lines") as reader:
            assert await reader.poll(timeout=1) == []
            assert reader._consuming is not None
            for position in reader._consuming.fetcher.positions.values():
                position.seek(2**63)
            reader._consuming.fetcher.changed()
            for _ in range(2):
                with pytest.raises(KraftpyError, match="the fetcher failed"):
                    await reader.poll(timeout=5)
            return told()

    failures = run(story)
    assert 1 <= len(failures) <= 3 and "which is a bug" in failures[0]  # once for each node


BAD_NAMES = [None, 5, b"lines", "", "..", "caf\udce9", "two words", "x" * 250]


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_a_name_that_no_topic_has_is_refused_and_spoils_nothing(name: Any) -> None:
    """It would be asked for with all others from then on, in a request that cannot be made."""

    async def story() -> None:
        cluster = lines()
        async with producer(cluster) as sender, consumer(cluster, "lines") as reader:
            await (await sender.send("lines", b"before"))
            calls: list[Callable[[], Coroutine[Any, Any, Any]]] = [
                lambda: sender.send(name, b"x"),
                lambda: sender.partitions_for(name),
                lambda: reader.partitions_for(name),
                lambda: reader.end_offsets([(name, 0)]),
            ]
            for call in calls:
                with pytest.raises(InvalidTopicError):
                    await call()
            with pytest.raises(InvalidTopicError):
                reader.subscribe([name])
            with pytest.raises(InvalidTopicError):
                reader.assign([(name, 0)])
            for partition in range(3):
                cluster.move_leader("lines", partition, 1)
            async with asyncio.timeout(5):
                await (await sender.send("lines", b"after"))
                seen: list[bytes | None] = []
                while len(seen) < 2:
                    seen += [record.value for record in await reader.poll(1)]

    run(story)


def test_a_group_refuses_a_name_that_no_topic_has() -> None:
    async def story() -> None:
        async with consumer(lines(), group_id="readers") as reader:
            with pytest.raises(InvalidTopicError):
                reader.subscribe(["caf\udce9"])
            with pytest.raises(InvalidTopicError):
                reader.assign([("two words", 0)])

    run(story)
