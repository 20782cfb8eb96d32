"""Which log comes next, and what becomes of failures; without a process, on a simulated disk."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID

import pytest

from broker.maintenance.compactor import LOGS_PER_TURN, CompactableLog, Compactor
from broker.maintenance.config import CompactionConfig
from broker.maintenance.failure import JobFailed
from broker.maintenance.inline import InlineWorker
from broker.maintenance.observed import ObservedCompaction
from log_store import file_names
from log_store.checkpoints import decode_offsets
from log_store.compaction.job import Cleaned, CleaningJob
from log_store.log import Log
from log_store.log_directory import LogDirectory
from simulation.device import Device
from simulation.disk import DiskConfig, SimulatedDisk
from tests.log_store.batches import WALL_MS
from tests.log_store.compaction.support import compacted_config, keyed, offsets_of

PATH = "/data"


class FixedClock:
    def __init__(self) -> None:
        self.now_ms = WALL_MS

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self.now_ms


Clean = Callable[[CleaningJob], Awaitable[Cleaned]]


class Setting:
    """A log directory, a compactor, and what the compactor asked for."""

    def __init__(self, clean: Clean | None = None) -> None:
        self.disk = SimulatedDisk(Device(Random(1)), DiskConfig(run_us_min=1, run_us_max=10))
        self.home = LogDirectory(self.disk, PATH)
        self.jobs: list[str] = []
        self.paces: list[float] = []
        self.carry_out = clean or InlineWorker(self.disk).clean
        self.clock = FixedClock()
        self.compactor = Compactor(self.logs, self, self.clock, CompactionConfig(backoff_ms=1))

    deaths = 0

    def limit(self, bytes_per_second: float) -> None:
        self.paces.append(bytes_per_second)

    def logs(self) -> list[CompactableLog]:
        return [CompactableLog(log, self.home, log.flushed_offset) for log in self.home.logs.values()]

    async def clean(self, job: CleaningJob) -> Cleaned:
        self.jobs.append(job.directory.rpartition("/")[2])
        return await self.carry_out(job)

    async def stop(self) -> None:
        pass

    async def until_rounds(self, count: int) -> None:
        for _ in range(10_000):
            if self.compactor.figures.rounds >= count:
                return
            await asyncio.sleep(0.001)
        raise AssertionError(f"{self.compactor.figures.rounds} rounds")

    async def filled(self, name: str, records: int, **more: object) -> Log:
        log = self.home.create_log(name, compacted_config(**more), topic_id=UUID(int=1), wall_ms=WALL_MS)
        for number in range(records):
            log.append(keyed([(b"k%d" % (number % 5), b"%d" % number)]), 1, WALL_MS)
        log.roll(WALL_MS)
        await self.home.flusher.flush(log)
        return log


def played(story: Callable[[Setting], Awaitable[None]], clean: Clean | None = None) -> None:
    async def play() -> None:
        setting = Setting(clean)
        await setting.home.open_logs(lambda name, topic_id: compacted_config(), WALL_MS)
        await story(setting)
        await setting.home.close()

    asyncio.run(play())


def test_the_dirtiest_comes_first_and_then_there_is_peace() -> None:
    async def story(setting: Setting) -> None:
        half = await setting.filled("half-0", 50)
        assert await setting.compactor.compact_next()
        for number in range(3):
            half.append(keyed([(b"k", b"%d" % number)]), 1, WALL_MS)
        half.roll(WALL_MS)
        await setting.home.flusher.flush(half)
        dirty = await setting.filled("dirty-0", 50)
        late = await setting.filled("late-0", 5, max_compaction_lag_ms=1000, min_cleanable_dirty_ratio=1.0)
        await setting.filled("plain-0", 50, cleanup_policy="delete")
        setting.clock.now_ms += 5000
        setting.jobs.clear()
        while await setting.compactor.compact_next():
            pass
        assert setting.jobs == ["late-0", "dirty-0", "half-0"]
        assert len(offsets_of(dirty)) == len(offsets_of(late)) == 5
        assert not any(log.has_loose_ends for log in (half, dirty, late))
        data = setting.disk.read_bytes(f"{PATH}/{file_names.FIRST_DIRTY_OFFSETS}")
        assert decode_offsets(data) == {"half-0": 53, "dirty-0": 50, "late-0": 5}

    played(story)


def test_how_far_it_came_survives_a_restart() -> None:
    async def story(setting: Setting) -> None:
        await setting.filled("t-0", 50)
        assert await setting.compactor.compact_next()
        await setting.home.close()
        setting.home = LogDirectory(setting.disk, PATH)
        await setting.home.open_logs(lambda name, topic_id: compacted_config(), WALL_MS)
        assert setting.home.logs["t-0"].compacting.first_dirty_offset == 50
        assert not await setting.compactor.compact_next()

    played(story)


@pytest.mark.parametrize("permanent", [True, False])
def test_what_fails_for_good_is_left_alone(permanent: bool) -> None:
    async def fail(job: CleaningJob) -> Cleaned:
        raise JobFailed("planted", is_permanent=permanent)

    async def story(setting: Setting) -> None:
        log = await setting.filled("t-0", 50)
        for _ in range(2):
            assert not await setting.compactor.compact_next()
            setting.clock.now_ms += 10
        assert len(setting.jobs) == (1 if permanent else 2)
        assert setting.compactor.uncleanable == ({log: "planted"} if permanent else {})
        assert len(offsets_of(log)) == 50

    played(story, fail)


def test_a_damaged_log_does_not_hold_up_the_others() -> None:
    async def story(setting: Setting) -> None:
        bad = await setting.filled("bad-0", 50)
        good = await setting.filled("good-0", 50)
        setting.disk.device.flip_bit(bad.segments[0].files.log, 100)
        assert not await setting.compactor.compact_next()
        assert await setting.compactor.compact_next()
        assert "damaged" in setting.compactor.uncleanable[bad]
        assert len(offsets_of(good)) == 5

    played(story)


def test_a_log_that_cannot_be_read_now_is_suspected_and_does_not_hold_up_the_others() -> None:
    async def story(setting: Setting) -> None:
        suspected: list[Log] = []
        setting.compactor.on_suspicion = suspected.append
        bad = await setting.filled("bad-0", 50)
        good = await setting.filled("good-0", 50)
        setting.disk.device.spoil(bad.segments[0].files.log, 0)
        assert not await setting.compactor.compact_next()
        assert await setting.compactor.compact_next()
        assert setting.jobs == ["bad-0", "good-0"] and len(offsets_of(good)) == 5
        assert suspected == [bad] and not setting.compactor.uncleanable

    played(story)


def test_what_fails_again_and_again_is_tried_ever_more_rarely_until_it_is_repaired() -> None:
    async def fail(job: CleaningJob) -> Cleaned:
        raise JobFailed("planted", is_permanent=False)

    async def story(setting: Setting) -> None:
        log = await setting.filled("t-0", 50)
        tried_ms: list[int] = []
        for _ in range(31):
            setting.jobs.clear()
            await setting.compactor.compact_next()
            tried_ms += [setting.clock.now_ms - WALL_MS] * len(setting.jobs)
            setting.clock.now_ms += 1
        assert tried_ms == [0, 2, 6, 14, 30]
        setting.carry_out = InlineWorker(setting.disk).clean
        assert not await setting.compactor.compact_next()
        setting.compactor.forgive(log)
        assert await setting.compactor.compact_next()

    played(story, fail)


def test_a_full_disk_gets_back_what_a_job_has_written_and_the_log_its_turn() -> None:
    async def story(setting: Setting) -> None:
        log = await setting.filled("t-0", 50)
        device = setting.disk.device
        device.capacity_bytes = device.used_bytes + 50
        assert not await setting.compactor.compact_next()
        assert not any(name.endswith(file_names.CLEANED) for name in setting.disk.list(log.directory))
        device.capacity_bytes = None
        setting.clock.now_ms += 10
        assert await setting.compactor.compact_next()
        assert len(offsets_of(log)) == 5

    played(story)


def test_a_log_that_is_deleted_meanwhile_is_nobodys_business() -> None:
    async def story(setting: Setting) -> None:
        await setting.filled("t-0", 50)
        inline = setting.carry_out

        async def delete_meanwhile(job: CleaningJob) -> Cleaned:
            cleaned = await inline(job)
            setting.home.delete_log("t-0")
            return cleaned

        setting.carry_out = delete_meanwhile
        assert await setting.compactor.compact_next()
        assert not await setting.compactor.compact_next()
        assert setting.compactor.figures.rounds == 0

    played(story)


def test_the_next_log_of_a_name_waits_for_the_job_of_the_deleted_one() -> None:
    """Both would write the same files."""

    async def story(setting: Setting) -> None:
        await setting.filled("t-0", 50)
        inline = setting.carry_out

        async def make_anew_meanwhile(job: CleaningJob) -> Cleaned:
            setting.carry_out = inline
            setting.home.delete_log("t-0")
            await setting.filled("t-0", 50)
            assert not await setting.compactor.compact_next()
            raise JobFailed("its files are gone", is_permanent=False)

        setting.carry_out = make_anew_meanwhile
        assert not await setting.compactor.compact_next()
        assert setting.jobs == ["t-0"]
        assert await setting.compactor.compact_next()
        assert setting.jobs == ["t-0", "t-0"] and not setting.compactor.uncleanable

    played(story)


def test_what_was_cut_under_the_cleaners_eyes_is_no_damage() -> None:
    async def story(setting: Setting) -> None:
        log = await setting.filled("t-0", 50)
        inline = setting.carry_out

        async def cut_first(job: CleaningJob) -> Cleaned:
            log.truncate(30)
            return await inline(job)

        setting.carry_out = cut_first
        assert not await setting.compactor.compact_next()
        assert not setting.compactor.uncleanable
        setting.carry_out = inline
        await setting.home.flusher.flush(log)
        assert await setting.compactor.compact_next()
        assert offsets_of(log)[-1] == 29

    played(story)


def test_what_another_slot_has_compacted_meanwhile_is_no_damage() -> None:
    async def story(setting: Setting) -> None:
        log = await setting.filled("t-0", 50)
        for number in range(LOGS_PER_TURN):
            setting.home.create_log(f"u-{number}", compacted_config(), topic_id=UUID(int=2), wall_ms=WALL_MS)
        late = setting.compactor.compact_next()
        late.send(None)  # it has a plan for the log, and others have their turn
        assert await setting.compactor.compact_next()
        assert await asyncio.create_task(late)
        assert not setting.compactor.uncleanable
        assert setting.jobs == ["t-0"] and len(offsets_of(log)) == 5

    played(story)


def test_a_topic_of_the_same_name_starts_with_a_clean_slate() -> None:
    async def fail(job: CleaningJob) -> Cleaned:
        raise JobFailed("planted", is_permanent=True)

    async def story(setting: Setting) -> None:
        await setting.filled("t-0", 50)
        assert not await setting.compactor.compact_next()
        setting.home.delete_log("t-0")
        await setting.filled("t-0", 50)
        setting.carry_out = InlineWorker(setting.disk).clean
        assert await setting.compactor.compact_next()
        assert not setting.compactor.uncleanable

    played(story, fail)


def test_it_runs_until_it_is_cancelled() -> None:
    async def story(setting: Setting) -> None:
        log = await setting.filled("t-0", 50)
        running = asyncio.ensure_future(setting.compactor.run())
        await setting.until_rounds(1)
        for _ in range(9):
            log.append(keyed([(b"k%d" % n, b"new") for n in range(5)]), 1, WALL_MS)
        log.roll(WALL_MS)
        setting.home.flusher.request(log)
        await setting.until_rounds(2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert len(offsets_of(log)) == 5

    played(story)


def test_switched_off_it_ends_at_once_and_touches_nothing() -> None:
    async def story(setting: Setting) -> None:
        log = await setting.filled("t-0", 50)
        compactor = Compactor(setting.logs, setting, setting.clock, CompactionConfig(enable=False))
        await asyncio.wait_for(compactor.run(), 10)
        assert not setting.jobs and len(offsets_of(log)) == 50

    played(story)


def test_appends_go_on_while_it_works() -> None:
    async def story(setting: Setting) -> None:
        log = await setting.filled("t-0", 50)
        inline = setting.carry_out

        async def append_meanwhile(job: CleaningJob) -> Cleaned:
            for number in range(60):
                log.append(keyed([(b"k%d" % (number % 2), b"later")]), 1, WALL_MS)
            setting.home.flusher.request(log)
            return await inline(job)

        setting.carry_out = append_meanwhile
        assert await setting.compactor.compact_next()
        assert offsets_of(log) == [45, 46, 47, 48, 49, *range(50, 110)]
        assert log.end_offset == 110

    played(story)


def test_several_logs_are_compacted_at_a_time_and_share_pace_and_memory() -> None:
    async def story(setting: Setting) -> None:
        compactor = setting.compactor
        for number in range(4):
            await setting.filled(f"t-{number}", 50)
        inline, gate = setting.carry_out, asyncio.Event()
        map_bytes: list[int] = []

        async def wait_first(job: CleaningJob) -> Cleaned:
            map_bytes.append(job.map_bytes)
            await gate.wait()
            return await inline(job)

        async def until_jobs(count: int) -> None:
            for _ in range(1000):
                if len(setting.jobs) == count:
                    return
                await asyncio.sleep(0.001)
            raise AssertionError(setting.jobs)

        setting.carry_out = wait_first
        compactor.reconfigure(replace(compactor.config, threads=2, map_bytes=8 << 20, bytes_per_second=100.0))
        running = asyncio.ensure_future(compactor.run())
        await until_jobs(2)
        assert setting.paces[-1] == 50.0
        compactor.reconfigure(replace(compactor.config, threads=3, bytes_per_second=300.0))
        await until_jobs(3)
        await asyncio.sleep(0.05)
        assert len(setting.jobs) == len(set(setting.jobs)) == 3, "one job a log, and no more than threads"
        assert setting.paces[-1] == 100.0
        assert map_bytes == [4 << 20, 4 << 20, (8 << 20) // 3]
        compactor.reconfigure(replace(compactor.config, threads=1))
        gate.set()
        await setting.until_rounds(4)
        assert setting.paces[-1] == 300.0
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    played(story)


def test_new_settings_end_a_rest() -> None:
    async def story(setting: Setting) -> None:
        compactor = setting.compactor
        compactor.reconfigure(replace(compactor.config, backoff_ms=10**9))
        running = asyncio.ensure_future(compactor.run())
        await asyncio.sleep(0.05)
        await setting.filled("t-0", 50)
        compactor.reconfigure(replace(compactor.config, backoff_ms=1))
        await setting.until_rounds(1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    played(story)


def test_a_bug_in_a_slot_is_not_swallowed() -> None:
    async def crash(job: CleaningJob) -> Cleaned:
        raise ZeroDivisionError

    async def story(setting: Setting) -> None:
        await setting.filled("t-0", 50)
        with pytest.raises(ZeroDivisionError):
            await setting.compactor.run()

    played(story, crash)


def test_what_is_told_of_it() -> None:
    async def story(setting: Setting) -> None:
        observed = ObservedCompaction(setting.compactor, setting.clock, [PATH, "/other"])

        def told() -> dict[str, float]:
            found = observed.metrics()
            return {f"{each.name.partition('_log_')[2]}{''.join(each.labels.values())}": each.value for each in found}

        assert told()["logcleanermanager_time_since_last_run_ms"] == -1
        bad = await setting.filled("bad-0", 50)
        await setting.filled("good-0", 50)
        await setting.filled("good-1", 50, min_cleanable_dirty_ratio=1.0)
        setting.disk.device.flip_bit(bad.segments[0].files.log, 100)
        while not setting.compactor.figures.rounds:
            await setting.compactor.compact_next()
        await setting.compactor.compact_next()
        setting.clock.now_ms += 30
        numbers = told()
        assert 0 < numbers["logcleaner_cleaner_recopy_percent"] < 30
        assert 0 < numbers["logcleaner_max_buffer_utilization_percent"] < 1
        assert numbers["logcleanermanager_max_dirty_percent"] == 100
        assert numbers["logcleanermanager_time_since_last_run_ms"] == 30
        assert numbers["cleaner_rounds_total"] == 1
        assert numbers["cleaner_read_bytes_total"] > numbers["cleaner_written_bytes_total"] > 0
        assert numbers[f"logcleanermanager_uncleanable_partitions_count{PATH}"] == 1
        assert numbers["logcleanermanager_uncleanable_partitions_count/other"] == 0
        assert numbers[f"logcleanermanager_uncleanable_bytes{PATH}"] == bad.size_bytes
        (problem,) = observed.problems()
        assert problem.startswith("bad-0 cannot be compacted") and f"remove {bad.directory}" in problem

    played(story)


@pytest.mark.parametrize(
    "wrong",
    [
        {"backoff_ms": 0},
        {"map_bytes": 1000},
        {"threads": 0},
        {"threads": 33},
        {"bytes_per_second": 0.5},
        {"bytes_per_second": float("nan")},
    ],
)
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"log\.cleaner"):
        CompactionConfig(**wrong)
