"""Which segment is read again when, and what becomes of what is found; on a simulated disk."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from random import Random
from uuid import UUID

import pytest

from broker.maintenance.config import ScrubConfig
from broker.maintenance.failure import JobFailed
from broker.maintenance.inline import InlineWorker
from broker.maintenance.scrubber import Scrubber
from log_store.config import LogConfig
from log_store.inspection import scrub_goes_on_at
from log_store.log import Log
from log_store.log_directory import LogDirectory
from log_store.scrub import NEVER_SCRUBBED, PASS_IS_OVER, Scrubbed, ScrubJob, ScrubPass, due_pass
from simulation.device import Device, DiskFault
from simulation.disk import DiskConfig, SimulatedDisk
from tests.log_store.batches import WALL_MS, batch

PATH = "/data"
CONFIG = LogConfig(segment_bytes=1000, index_interval_bytes=150)
INTERVAL_MS = 60_000


class Setting:
    """A log directory and its scrubber; what it read, and whom it told."""

    def __init__(self) -> None:
        self.disk = SimulatedDisk(Device(Random(1)), DiskConfig(run_us_min=1, run_us_max=10))
        self.home = LogDirectory(self.disk, PATH)
        self.now_ms = WALL_MS
        self.read: list[tuple[str, int]] = []
        self.damaged: list[str] = []
        self.paces: list[float] = []
        self.failing = False
        self.failing_log = ""
        self.looks = 0
        self.scrubber = Scrubber(
            self.logs,
            self,
            self,
            ScrubConfig(interval_ms=INTERVAL_MS, bytes_per_second=1000.0),
            lambda log: self.damaged.append(log.name),
        )

    def logs(self) -> list[Log]:
        self.looks += 1
        return list(self.home.logs.values())

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms

    async def scrub(self, job: ScrubJob) -> Scrubbed:
        self.read.append((job.directory.rpartition("/")[2], job.base_offset))
        if self.failing or self.read[-1][0] == self.failing_log:
            raise JobFailed("the process died", is_permanent=False)
        return await InlineWorker(self.disk).scrub(job)

    def limit(self, bytes_per_second: float) -> None:
        self.paces.append(bytes_per_second)

    async def rest(self) -> None:
        pass

    async def filled(self, name: str, batches: int = 30) -> Log:
        log = self.home.create_log(name, CONFIG, topic_id=UUID(int=1), wall_ms=WALL_MS)
        for number in range(batches):
            log.append(batch([b"%d" % number]), 1, WALL_MS)
        await self.home.flusher.flush(log)
        return log

    async def to_the_end(self) -> list[tuple[str, int]]:
        self.read.clear()
        while await self.scrubber.scrub_next():
            pass
        return list(self.read)


def played(story: Callable[[Setting], Awaitable[None]]) -> None:
    async def play() -> None:
        setting = Setting()
        await setting.home.open_logs(lambda name, topic_id: CONFIG, WALL_MS)
        await story(setting)
        await setting.home.close()

    asyncio.run(play())


def test_each_closed_segment_is_read_once_an_interval() -> None:
    async def story(setting: Setting) -> None:
        logs = [await setting.filled("a-0"), await setting.filled("b-0")]
        closed = [(log.name, segment.base_offset) for log in logs for segment in log.segments[:-1]]
        assert len(closed) == 4
        assert sorted(await setting.to_the_end()) == closed
        assert await setting.to_the_end() == []
        setting.now_ms += INTERVAL_MS - 1
        assert await setting.to_the_end() == []
        setting.now_ms += 1
        assert sorted(await setting.to_the_end()) == closed
        assert setting.damaged == [] and set(setting.paces) == {1000.0}

    played(story)


def test_a_pass_goes_on_where_it_was_after_a_restart() -> None:
    async def story(setting: Setting) -> None:
        log = await setting.filled("a-0")
        assert await setting.scrubber.scrub_next()
        await setting.home.write_checkpoints()
        went_on_at = log.segments[0].end_offset
        assert log.scrubbed == ScrubPass(WALL_MS, went_on_at)
        await setting.home.close()
        setting.home = LogDirectory(setting.disk, PATH)
        await setting.home.open_logs(lambda name, topic_id: CONFIG, WALL_MS)
        assert setting.home.logs["a-0"].scrubbed == ScrubPass(WALL_MS, went_on_at)
        assert (await setting.to_the_end())[0] == ("a-0", went_on_at)

    played(story)


def test_what_is_found_is_told_once_and_kept_from_readers() -> None:
    async def story(setting: Setting) -> None:
        log = await setting.filled("a-0")
        setting.disk.device.flip_bit(log.segments[1].files.log, 100)
        await setting.to_the_end()
        assert setting.damaged == ["a-0"]
        assert log.damages.start_offset >= log.segments[1].base_offset
        assert scrub_goes_on_at(log) == log.damages.start_offset, "the next start begins there"
        assert any("is damaged" in problem for problem in setting.scrubber.problems())
        setting.now_ms += INTERVAL_MS
        await setting.to_the_end()
        assert setting.damaged == ["a-0"]

    played(story)


def test_a_closed_segment_that_lost_everything_is_found() -> None:
    async def story(setting: Setting) -> None:
        log = await setting.filled("a-0")
        lost = log.segments[1]
        await setting.home.close()
        setting.disk.open(lost.files.log).truncate(0)
        setting.home = LogDirectory(setting.disk, PATH)
        await setting.home.open_logs(lambda name, topic_id: CONFIG, WALL_MS)
        await setting.to_the_end()
        assert setting.damaged == ["a-0"]
        damages = setting.home.logs["a-0"].damages.all
        assert [(each.start_offset, each.end_offset) for each in damages] == [(lost.base_offset, lost.end_offset)]

    played(story)


def test_a_suspicion_is_looked_into_at_once_and_may_be_unfounded() -> None:
    async def story(setting: Setting) -> None:
        log = await setting.filled("a-0")
        await setting.to_the_end()
        setting.paces.clear()
        setting.disk.device.arm(DiskFault.READ_ERROR, ".log", times=2)
        setting.scrubber.suspect(log, 0)
        assert await setting.to_the_end() == [("a-0", 0)]
        assert setting.paces[0] > 1e9 and setting.paces[-1] == 1000.0
        assert log.damages, "the device said so"
        setting.scrubber.suspect(log, 0)
        assert await setting.to_the_end() == [], "it was looked at a moment ago"
        setting.now_ms += 5_000
        setting.scrubber.suspect(log)
        assert len(await setting.to_the_end()) == len(log.segments)
        assert not log.damages, "it was a passing failure"

    played(story)


def test_a_dead_process_is_no_verdict() -> None:
    async def story(setting: Setting) -> None:
        log = await setting.filled("a-0")
        setting.failing = True
        with pytest.raises(JobFailed):
            await setting.scrubber.scrub_next()
        assert log.scrubbed == NEVER_SCRUBBED
        setting.failing = False
        setting.now_ms += 1_000
        assert len(await setting.to_the_end()) == len(log.segments) - 1

    played(story)


def test_a_log_that_cannot_be_scrubbed_holds_up_no_other() -> None:
    async def story(setting: Setting) -> None:
        logs = {name: await setting.filled(name) for name in ("a-0", "b-0")}
        setting.failing_log = "a-0"
        setting.scrubber.suspect(logs["a-0"], 0)
        tries_at: list[int] = []
        for _ in range(2_000):
            try:
                await setting.scrubber.scrub_next()
            except JobFailed:
                tries_at.append(setting.now_ms - WALL_MS)
            setting.now_ms += 1_000
        closed = [("b-0", segment.base_offset) for segment in logs["b-0"].segments[:-1]]
        assert [each for each in setting.read if each[0] == "b-0"][: len(closed)] == closed
        pauses = [later - earlier for earlier, later in pairwise(tries_at)]
        assert pauses[:5] == [1_000, 2_000, 4_000, 8_000, 16_000] and max(pauses) == 600_000
        setting.failing_log = ""
        setting.now_ms += 600_000
        assert ("a-0", 0) in await setting.to_the_end()
        assert not setting.scrubber._pauses

    played(story)


def test_the_logs_are_looked_through_once_for_all_that_is_due() -> None:
    async def story(setting: Setting) -> None:
        for number in range(5):
            await setting.filled(f"a-{number}")
        setting.looks = 0
        assert len(await setting.to_the_end()) == 10
        assert setting.looks == 2, "and once to find that nothing is left"
        setting.now_ms += INTERVAL_MS
        await setting.scrubber.scrub_next()
        setting.home.logs["a-4"].scrubbed = NEVER_SCRUBBED
        setting.now_ms += 30_000
        await setting.scrubber.scrub_next()
        assert await setting.scrubber.scrub_next() and setting.read[-1] == ("a-4", 0), "what came up since comes in"

    played(story)


def test_when_a_pass_is_due() -> None:
    assert due_pass(NEVER_SCRUBBED, 5, WALL_MS, 100) == ScrubPass(WALL_MS, 5)
    under_way = ScrubPass(WALL_MS, 77)
    assert due_pass(under_way, 5, WALL_MS + 1, 100) is under_way
    over = ScrubPass(WALL_MS, PASS_IS_OVER)
    assert due_pass(over, 5, WALL_MS + 99, 100) is None
    assert due_pass(over, 5, WALL_MS + 100, 100) == ScrubPass(WALL_MS + 100, 5)
    assert due_pass(over, 5, WALL_MS - 100, 100) is not None, "the clock was set back"
