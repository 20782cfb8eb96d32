"""A consumer is closed by one task while another waits in it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kraftpy.client.values import TopicPartition
from kraftpy.errors import ClosedError
from tests.client.membership import cluster_with, fill, member, settle
from tests.client.support import consumer, run
from tests.client.test_tutorial_consumer import PLACE, filled

AT_ONCE_S = 0.1


async def iterate(reader: Any, seen: list[int]) -> None:
    async for record in reader:
        seen.append(record.offset)


async def ends_at_once(waiting: asyncio.Task[Any]) -> None:
    with pytest.raises(ClosedError, match="the consumer is closed"):
        await asyncio.wait_for(waiting, AT_ONCE_S)


def test_an_iteration_ends() -> None:
    async def story() -> None:
        cluster = await filled([b"one", b"two"])
        reader = consumer(cluster, "lines")
        seen: list[int] = []
        iterating = asyncio.create_task(iterate(reader, seen))
        await asyncio.sleep(10)
        await reader.close()
        await ends_at_once(iterating)
        assert seen == [0, 1]

    run(story)


def test_a_poll_ends_and_so_does_a_wait_for_a_position() -> None:
    async def story() -> None:
        cluster = await filled([])
        cluster.down |= set(cluster.nodes)
        reader = consumer(cluster)
        reader.assign([PLACE])
        waiting = [asyncio.create_task(reader.poll(timeout=60)), asyncio.create_task(reader.position(PLACE))]
        await asyncio.sleep(1)
        await reader.close()
        for each in waiting:
            await ends_at_once(each)

    run(story)


def test_an_iteration_of_a_member_ends() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        await fill(cluster, "lines", 2)
        reader = member(cluster, "lines")
        seen: list[int] = []
        iterating = asyncio.create_task(iterate(reader, seen))
        await asyncio.sleep(10)
        await reader.close()
        await ends_at_once(iterating)
        assert seen == [0, 1]
        groups.stop()

    run(story)


def test_what_comes_while_a_member_leaves_is_not_committed() -> None:
    """The iteration ends without handing it out, so that the program's last commit must not cover it."""

    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        reader = member(cluster, auto_commit=False)

        async def finish(_places: list[TopicPartition]) -> None:
            await fill(cluster, "lines", 3)
            await asyncio.sleep(1)
            await reader.commit()

        reader.subscribe("lines", on_revoke=finish)
        await settle(reader, until=lambda: bool(reader.assignment()))
        await fill(cluster, "lines", 5)
        seen: list[int] = []
        iterating = asyncio.create_task(iterate(reader, seen))
        await asyncio.sleep(5)
        await reader.close()
        await ends_at_once(iterating)
        assert seen == [0, 1, 2, 3, 4]
        async with member(cluster, "lines") as successor:
            await iterate_to(successor, 3, seen)
        assert seen == [0, 1, 2, 3, 4, 5, 6, 7]
        groups.stop()

    run(story)


@pytest.mark.parametrize("at", ["on_assign", "on_revoke"])
@pytest.mark.parametrize("ends", ["close", "unsubscribe"])
def test_a_callback_may_end_what_it_is_told_of(at: str, ends: str) -> None:
    """It is told once, and who polls meanwhile hears that the consumer is closed, if it is."""

    async def story() -> None:
        cluster, groups = await cluster_with(lines=2)
        told: list[list[TopicPartition]] = []
        one, two = member(cluster), member(cluster, "lines")

        async def end(places: list[TopicPartition]) -> None:
            told.append(places)
            await getattr(one, ends)()

        callbacks: dict[str, Any] = {at: end}
        one.subscribe("lines", **callbacks)
        try:
            await settle(one, until=lambda: bool(told) or len(one.assignment()) == 2)
            if at == "on_revoke":
                assert not told
                await settle(one, two, until=lambda: bool(told))
        except ClosedError:
            assert ends == "close"
        else:
            assert ends == "unsubscribe" and one.assignment() == []
        assert len(told) == 1
        await settle(two, until=lambda: len(two.assignment()) == 2)
        assert len(two.assignment()) == 2, "what the other left is read on"
        await one.close()
        await two.close()
        groups.stop()

    run(story)


def test_who_is_closed_while_another_task_is_told_commits_and_is_told_too() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=2, words=1)
        told: list[str] = []
        going, is_slow = asyncio.Event(), asyncio.Event()

        async def slow(_places: list[TopicPartition]) -> None:
            told.append("assigned")
            if told.count("assigned") == 2:
                is_slow.set()
                await going.wait()

        reader = member(cluster)
        reader.subscribe("lines", on_assign=slow, on_revoke=lambda _places: told.append("revoked"))
        await settle(reader, until=lambda: len(reader.assignment()) == 2)
        await fill(cluster, "lines", 6)
        read = await settle(reader, turns=20)
        reader.subscribe(["lines", "words"], on_assign=slow, on_revoke=lambda _places: told.append("revoked"))
        polling = asyncio.create_task(settle(reader, until=lambda: len(told) > 3))
        await is_slow.wait()
        await reader.close()
        going.set()
        with pytest.raises(ClosedError):
            await polling
        assert told[-1] == "revoked"
        async with member(cluster) as look:
            committed = await look.committed([("lines", 0), ("lines", 1)])
            assert sum(found.offset for found in committed.values() if found) == len(read) == 6
        groups.stop()

    run(story)


def test_who_closes_it_too_waits_until_it_is_closed() -> None:
    """As the end of `async with` does, while a task that was told to stop closes: else the program ended before it."""

    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        await fill(cluster, "lines", 3)
        done: list[str] = []

        async def slow(_places: list[TopicPartition]) -> None:
            await asyncio.sleep(2)
            done.append("handed over")

        async with member(cluster) as reader:
            reader.subscribe("lines", on_revoke=slow)
            assert len(await settle(reader, turns=30)) == 3
            stopping = asyncio.create_task(reader.close())
            await asyncio.sleep(0.5)
        assert done == ["handed over"]
        await stopping
        async with member(cluster) as look:
            assert (await look.committed([("lines", 0)]))[TopicPartition("lines", 0)] is not None
        groups.stop()

    run(story)


def test_a_callback_that_takes_partitions_by_hand_keeps_them() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=2)
        one, two = member(cluster), member(cluster, "lines")
        mine = TopicPartition("lines", 0)

        async def by_hand(_places: list[TopicPartition]) -> None:
            await one.unsubscribe()
            one.assign([mine])

        one.subscribe("lines", on_revoke=by_hand)
        await settle(one, until=lambda: len(one.assignment()) == 2)
        await settle(one, two, until=lambda: one.assignment() == [mine] and len(two.assignment()) == 2)
        await fill(cluster, "lines", 2)
        assert [record.partition for record in await settle(one, turns=20)] == [0]
        await one.close()
        await two.close()
        groups.stop()

    run(story)


async def iterate_to(reader: Any, count: int, seen: list[int]) -> None:
    for _ in range(count):
        record = await asyncio.wait_for(anext(reader), 30)
        seen.append(record.offset)


class Poison(Exception):
    """What a program raises at a record that it cannot process."""


async def poll_until(reader: Any, bad: int, poll_at_most: int, told: type[BaseException] = Poison) -> None:
    while True:
        for record in await reader.poll(timeout=1, max_records=poll_at_most):
            if record.offset == bad:
                raise told


async def iterate_until(reader: Any, bad: int) -> None:
    async for record in reader:
        if record.offset == bad:
            raise Poison


async def committed_of(cluster: Any) -> int | None:
    async with member(cluster) as look:
        found = (await look.committed([TopicPartition("lines", 0)]))[TopicPartition("lines", 0)]
    return None if found is None else found.offset


@pytest.mark.parametrize("is_subscribed", [True, False])
@pytest.mark.parametrize("told", [Poison, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize(("poll_at_most", "processed"), [(10, 0), (2, 2)])
def test_what_a_program_dies_of_is_not_committed(
    is_subscribed: bool, told: type[BaseException], poll_at_most: int, processed: int
) -> None:
    """What the last poll returned was not processed, as nobody can say how far the program came; the rest was."""

    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        await fill(cluster, "lines", 10)
        reader = member(cluster, *(["lines"] if is_subscribed else []), auto_commit_interval_ms=3_600_000)
        if not is_subscribed:
            reader.assign([TopicPartition("lines", 0)])
        try:
            async with reader:
                await poll_until(reader, 3, poll_at_most, told)
        except BaseException as error:
            assert type(error) is told
        assert (await committed_of(cluster) or 0) == processed
        groups.stop()

    run(story)


def test_what_an_iteration_dies_of_is_read_again_and_nothing_before_it() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        await fill(cluster, "lines", 10)
        with pytest.raises(Poison):
            async with member(cluster, "lines") as reader:
                await iterate_until(reader, 3)
        assert await committed_of(cluster) == 3
        groups.stop()

    run(story)


def taking_one_off(batch: list[Any]) -> Any:
    return batch.pop(0)


def clearing_it(batch: list[Any]) -> Any:
    record = batch[0]
    batch.clear()
    return record


def replacing_all_by_values(batch: list[Any]) -> Any:
    record = batch[0]
    batch[:] = [each.value for each in batch]
    return record


@pytest.mark.parametrize("take", [taking_one_off, clearing_it, replacing_all_by_values])
def test_what_a_program_does_to_the_list_that_poll_gave_it_changes_nothing_of_what_is_committed(
    take: Callable[[list[Any]], Any],
) -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        await fill(cluster, "lines", 10)
        with pytest.raises(Poison):
            async with member(cluster, "lines") as reader:
                while True:
                    batch = await reader.poll(timeout=1, max_records=3)
                    if batch and take(batch).offset == 3:
                        raise Poison
        with pytest.raises(ClosedError):
            await reader.poll()
        assert await committed_of(cluster) == 3
        groups.stop()

    run(story)


def test_what_a_program_has_committed_itself_before_it_dies_stays_committed() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        await fill(cluster, "lines", 10)
        with pytest.raises(Poison):
            async with member(cluster, "lines") as reader:
                while not (records := await reader.poll(timeout=1)):
                    pass
                await reader.commit(records[:2])
                raise Poison
        assert await committed_of(cluster) == 2
        groups.stop()

    run(story)


def test_a_callback_that_commits_where_the_consumer_stands_does_not_commit_what_the_program_died_of() -> None:
    async def story() -> None:
        cluster, groups = await cluster_with(lines=1)
        await fill(cluster, "lines", 10)
        reader = member(cluster, auto_commit=False)

        async def commit(_places: list[TopicPartition]) -> None:
            await reader.commit()

        reader.subscribe("lines", on_revoke=commit)
        with pytest.raises(Poison):
            async with reader:
                await poll_until(reader, 3, 2)
        assert await committed_of(cluster) == 2
        groups.stop()

    run(story)
