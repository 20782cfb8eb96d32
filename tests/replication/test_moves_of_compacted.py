"""Replicas that are compacted move between directories: a copy never has what its source has left behind."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from broker.maintenance.compactor import CompactableLog, Compactor
from broker.maintenance.inline import InlineWorker
from broker.replication.config import ReplicationConfig
from broker.replication.directory_moves import Move
from broker.replication.repairs import Repair
from kraftpy.errors import CorruptRecordError
from kraftpy.record import Record, encode_batch
from log_store.compaction.job import Cleaned, CleaningJob
from log_store.integrity import Damage
from tests.replication.cluster import Cluster, play
from tests.replication.directories import FIRST, SECOND, SMALL, Story, hold_flushes, move, where

COMPACTED = replace(SMALL, cleanup_policy="compact", delete_retention_ms=0, min_cleanable_dirty_ratio=0.01)


class Cleaning:
    """Compaction on one node, a round at a time."""

    def __init__(self, cluster: Cluster, node_id: int) -> None:
        broker = cluster.brokers[node_id]
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.has_begun = asyncio.Event()
        self._cluster, self._node_id = cluster, node_id
        self._worker = InlineWorker(broker.ports.disk)
        self._compactor = Compactor(self._logs, self._worker, broker.ports.clock)
        self._clean = self._worker.clean
        self._worker.clean = self._clean_late  # type: ignore[method-assign]

    def _logs(self) -> list[CompactableLog]:
        found = self._cluster.brokers[self._node_id].replicas.with_homes()
        return [CompactableLog(each.log, home, each.last_stable_offset) for each, home in found]

    async def _clean_late(self, job: CleaningJob) -> Cleaned:
        cleaned = await self._clean(job)
        self.has_begun.set()
        await self.may_end.wait()
        return cleaned

    def round(self) -> "asyncio.Task[bool]":
        return self._cluster.in_lane(self._node_id, self._compactor.compact_next())

    @property
    def rounds(self) -> int:
        return self._compactor.figures.rounds


async def keyed(cluster: Cluster, *pairs: tuple[bytes, bytes | None], fillers: int = 40) -> None:
    """Produce these, and then so many records of few other keys that a segment is full."""
    fill = [(b"filler-%d" % (at % 5), b"x" * 100) for at in range(fillers)]
    for key, value in [*pairs, *fill]:
        batch = encode_batch([Record(0, 1_000, key, value, ())])
        assert (await cluster.produce_batch(1, batch)).error is None


def values(cluster: Cluster) -> dict[bytes | None, bytes | None]:
    """What a reader of the whole log ends with, of what is no filler; a value that was deleted is left out."""
    newest = {record.key: record.value for record in cluster.log(1)}
    return {key: value for key, value in newest.items() if value is not None and b"filler" not in (key or b"")}


async def begin_slow_move(cluster: Cluster) -> tuple[str, Move]:
    """Of partition 0 on node 1, which leads it; it has copied something when this returns, and will not go far."""
    target = SECOND if where(cluster, 1, 0) == FIRST else FIRST
    cluster.brokers[1].replicas.limit_moves(500)
    await move(cluster, 1, 0, target)
    (under_way,) = cluster.brokers[1].replicas._moves.under_way()
    return target, under_way


def has_copied(under_way: Move, count: int = 1) -> bool:
    return under_way.copy is not None and under_way.copy.end_offset >= count


def played_compacted(story: Story) -> None:
    play(story, 1, None, COMPACTED, log_dirs=(FIRST, SECOND))


def test_what_was_deleted_does_not_come_back_with_a_copy_that_was_compacted_behind_its_back() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.until(lambda: cluster.replica(1).is_leader)
        await keyed(cluster, (b"gone", b"value"), (b"kept", b"value"))
        await keyed(cluster)
        await keyed(cluster, (b"gone", None))
        await keyed(cluster)
        target, under_way = await begin_slow_move(cluster)
        await cluster.until(lambda: has_copied(under_way))
        cleaning = Cleaning(cluster, 1)
        for _ in range(6):  # the first removes the value, and a later one its tombstone
            await cleaning.round()
            await keyed(cluster)
        assert under_way.copy is not None and under_way.copy.end_offset < 60, "long before the tombstone"
        cluster.brokers[1].replicas.limit_moves(10_000_000)
        await cluster.until(lambda: where(cluster, 1, 0) == target)
        assert values(cluster) == {b"kept": b"value"}
        await keyed(cluster)
        before = cluster.replica(1).log.size_bytes
        for _ in range(6):
            await cleaning.round()
        assert cleaning.rounds and cluster.replica(1).log.size_bytes < before, "compaction goes on"
        assert values(cluster) == {b"kept": b"value"}

    played_compacted(story)


def test_a_compaction_that_a_move_finds_under_way_comes_to_nothing() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.until(lambda: cluster.replica(1).is_leader)
        await keyed(cluster, (b"kept", b"value"))
        await keyed(cluster)
        cleaning = Cleaning(cluster, 1)
        cleaning.may_end.clear()
        under_way = cleaning.round()
        await cluster.until(cleaning.has_begun.is_set)
        before = cluster.log(1)
        target, moving = await begin_slow_move(cluster)
        await cluster.until(lambda: has_copied(moving))
        cleaning.may_end.set()
        await under_way
        assert cleaning.rounds == 0 and cluster.log(1) == before
        cluster.brokers[1].replicas.limit_moves(10_000_000)
        await cluster.until(lambda: where(cluster, 1, 0) == target)
        assert cluster.log(1) == before

    played_compacted(story)


def test_a_move_waits_for_what_is_being_swapped_in() -> None:
    """Else it would begin with what was there before, and go on with what is there after."""

    async def story(cluster: Cluster) -> None:
        await cluster.until(lambda: cluster.replica(1).is_leader)
        await keyed(cluster, (b"kept", b"value"))
        await keyed(cluster)
        cleaning, log = Cleaning(cluster, 1), cluster.replica(1).log
        let_go = hold_flushes(cluster, 1, where(cluster, 1, 0))
        under_way = cleaning.round()
        await cluster.until(lambda: log.compacting.is_swapping)
        before = len(cluster.log(1))
        target, moving = await begin_slow_move(cluster)
        await asyncio.sleep(1)
        assert not has_copied(moving)
        let_go()
        await under_way
        compacted = cluster.log(1)
        assert len(compacted) < before
        cluster.brokers[1].replicas.limit_moves(10_000_000)
        await cluster.until(lambda: where(cluster, 1, 0) == target)
        assert cluster.log(1) == compacted

    played_compacted(story)


@pytest.mark.parametrize("ending", ["cancelled", "refused"])
def test_a_log_is_compacted_again_after_a_move_that_came_to_nothing(ending: str) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.until(lambda: cluster.replica(1).is_leader)
        await keyed(cluster, (b"kept", b"value"))
        await keyed(cluster)
        source, log = where(cluster, 1, 0), cluster.replica(1).log
        _, moving = await begin_slow_move(cluster)
        await cluster.until(lambda: has_copied(moving))
        cleaning = Cleaning(cluster, 1)
        await cleaning.round()
        assert cleaning.rounds == 0
        if ending == "cancelled":
            await move(cluster, 1, 0, source)
        else:
            assert moving.copy is not None
            moving.copy.append_replicated = refuse  # type: ignore[method-assign]
        await cluster.until(lambda: not cluster.brokers[1].replicas._moves.under_way())
        await cluster.until(lambda: not any("-future" in path for path, _ in cluster.world.device("n1").files()))
        await cluster.until(lambda: not log.compacting.is_paused)
        await cleaning.round()
        assert cleaning.rounds == 1

    def refuse(*_: Any, **__: Any) -> Any:
        raise CorruptRecordError("a bit has changed")

    played_compacted(story)


@pytest.mark.parametrize("is_compacted_between", [False, True])
def test_the_next_life_goes_on_with_a_copy_unless_the_log_was_compacted_beyond_it(is_compacted_between: bool) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.until(lambda: cluster.replica(1).is_leader)
        await keyed(cluster, (b"gone", b"value"), (b"kept", b"value"))
        await keyed(cluster)
        await keyed(cluster, (b"gone", None))
        await keyed(cluster)
        log = cluster.replica(1).log
        target, moving = await begin_slow_move(cluster)
        await cluster.until(lambda: has_copied(moving, 20))
        await cluster.in_lane(1, cluster.brokers[1].replicas._moves.stop())
        cleaning = Cleaning(cluster, 1)
        await cleaning.round()
        assert cleaning.rounds == 0 and moving.copy is not None
        copied = moving.copy.end_offset
        if is_compacted_between:  # by a life that could not read the target
            log.compacting.resume()
            for _ in range(4):
                await cleaning.round()
                await keyed(cluster)
            assert cleaning.rounds > 1
        await cluster.stop(1)
        cluster.controller.fence(1)
        await cluster.start(1)
        await cluster.until(lambda: bool(cluster.brokers[1].replicas._moves.under_way()))
        (moving,) = cluster.brokers[1].replicas._moves.under_way()
        await cluster.until(lambda: has_copied(moving), every_ms=1)
        assert moving.copy is not None
        assert (moving.copy.end_offset < copied) == is_compacted_between
        cluster.brokers[1].replicas.limit_moves(10_000_000)
        await cluster.until(lambda: where(cluster, 1, 0) == target)
        assert values(cluster) == {b"kept": b"value"}

    play(story, 1, ReplicationConfig(alter_log_dirs_bytes_per_second=500), COMPACTED, log_dirs=(FIRST, SECOND))


def test_a_move_ends_where_its_log_is_damaged_and_fetched_anew() -> None:
    """Its copy may have what a tombstone deletes, and the leader's log neither of both any more."""

    async def story(cluster: Cluster) -> None:
        await cluster.until(lambda: cluster.replica(1).is_leader)
        for _ in range(3):
            await keyed(cluster, (b"kept", b"value"))
        cluster.brokers[2].replicas.limit_moves(500)
        source = where(cluster, 2, 0)
        await move(cluster, 2, 0, SECOND if source == FIRST else FIRST)
        replica = cluster.replica(2)

        repairs = cluster.brokers[2].replicas.repairs

        async def cut() -> None:
            replica.log.note_damage([Damage(0, 1, 0, 100, "a bit has changed")])
            repairs._repairs[replica] = repair = Repair()
            await repairs._cut(replica, repair)

        await cluster.in_lane(2, cut())
        assert not cluster.brokers[2].replicas._moves.under_way()
        await cluster.until(lambda: not any("-future" in path for path, _ in cluster.world.device("n2").files()))
        assert where(cluster, 2, 0) == source and not replica.log.compacting.is_paused

    played_compacted(story)


def test_a_move_that_waited_behind_one_of_the_same_name_is_no_more_when_it_is_cancelled() -> None:
    """A topic that is made anew may have begun to move while its forerunner's move ends."""

    async def story(cluster: Cluster) -> None:
        await cluster.until(lambda: cluster.replica(1).is_leader)
        await keyed(cluster)
        source = where(cluster, 1, 0)
        _, moving = await begin_slow_move(cluster)
        moves = cluster.brokers[1].replicas._moves
        await cluster.until(lambda: has_copied(moving))
        moves._moves.clear()
        await move(cluster, 1, 0, SECOND if source == FIRST else FIRST)  # waits: that name is under way
        assert cluster.replica(1).log.compacting.is_paused
        await move(cluster, 1, 0, source)
        assert not cluster.replica(1).log.compacting.is_paused

    played_compacted(story)
