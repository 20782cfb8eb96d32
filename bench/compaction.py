"""What compaction costs: a log of many records of few keys, cleaned by the maintenance process while it is written.

    python -m bench.compaction [--records N] [--keys N] [--map-mib N] [DIRECTORY]

On the file system of DIRECTORY (a temporary directory by default). One loop appends, flushes, reads and swaps, as a
node does; the process cleans beside it. Told are the rounds and what they read and wrote, the process's RssAnon at its
highest, and how long the loop stood still at most. At the end a reader of the compacted log must find the last value of
every key.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from uuid import UUID

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from broker.maintenance.compactor import CompactableLog, Compactor
from broker.maintenance.config import CompactionConfig
from broker.maintenance.process import MaintenanceProcess
from kraftpy.record import Record, decode_batches, encode_batch
from kraftpy.runtime.clock import SystemClock
from kraftpy.runtime.disk import LocalDisk
from log_store.config import LogConfig
from log_store.log import Log
from log_store.log_directory import LogDirectory

RECORDS_PER_BATCH = 100
VALUE_BYTES = 100
READ_BYTES = 1 << 20
SEGMENT_BYTES = 64 << 20
CONFIG = LogConfig(cleanup_policy="compact", segment_bytes=SEGMENT_BYTES, file_delete_delay_ms=1000)


class Bench:
    """One run."""

    def __init__(self, home: LogDirectory, log: Log, records: int, keys: int, map_bytes: int) -> None:
        self.home = home
        self.log = log
        self.records = records
        self.keys = keys
        self.last: dict[bytes, int] = {}
        self.process = MaintenanceProcess()
        self.clock = SystemClock()
        self.compactor = Compactor(
            lambda: [CompactableLog(log, home, log.flushed_offset)],
            self.process,
            self.clock,
            CompactionConfig(backoff_ms=500, map_bytes=map_bytes),
        )
        self.is_writing = True
        self.rss_kib = 0
        self.stall_ms = 0.0
        self.busy_ms = 0.0

    async def run(self) -> None:
        compacting = asyncio.create_task(self.compact())
        watching = [asyncio.create_task(self.watch_stalls()), asyncio.create_task(self.watch_memory())]
        began = time.perf_counter()
        await self.write()
        wrote_s = time.perf_counter() - began
        print(
            f"written: {self.records} records in {wrote_s:.1f} s, {self.compactor.figures.rounds} rounds meanwhile",
            flush=True,
        )
        self.log.roll(self.clock.wall_ms())
        await self.home.flusher.flush(self.log)
        self.is_writing = False
        await compacting
        took_s = time.perf_counter() - began
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        await self.process.stop()
        compactor = self.compactor
        print(
            f"compacted: {compactor.figures.rounds} rounds until {took_s:.1f} s, read {compactor.figures.bytes_read >> 20} MiB,"
        )
        print(f"  wrote {compactor.figures.bytes_written >> 20} MiB; the log has {self.log.size_bytes >> 20} MiB")
        print(f"RssAnon of the maintenance process at most: {self.rss_kib / 1024:.1f} MiB")
        print(
            f"the loop stood still for at most {self.stall_ms:.1f} ms, of which it worked {self.busy_ms:.1f} ms at most"
        )
        self.check()

    async def compact(self) -> None:
        """Until all is written and what is left is not worth a round."""
        while True:
            if not await self.compactor.compact_next() and not self.is_writing:
                return
            await asyncio.sleep(0.1)

    async def write(self) -> None:
        random, value = Random(1), bytes(VALUE_BYTES - 12)
        for first in range(0, self.records, RECORDS_PER_BATCH):
            now_ms = self.clock.wall_ms()
            batch = []
            for number in range(first, first + RECORDS_PER_BATCH):
                key = b"key-%08d" % random.randrange(self.keys)
                self.last[key] = number
                batch.append(Record(number - first, now_ms, key, b"%012d" % number + value, ()))
            self.log.append(encode_batch(batch), 1, now_ms)
            self.home.flusher.request(self.log)
            if first % (10 * RECORDS_PER_BATCH) == 0:
                self.log.enforce_retention(now_ms, self.log.flushed_offset)
            await asyncio.sleep(0)

    async def watch_stalls(self) -> None:
        """By the wall's clock, which also counts that others had the core, and by the loop's own processor time."""
        while True:
            began, worked = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0)
            self.stall_ms = max(self.stall_ms, (time.perf_counter() - began) * 1000)
            self.busy_ms = max(self.busy_ms, (time.thread_time() - worked) * 1000)

    async def watch_memory(self) -> None:
        while True:
            pid = self.process.pid
            if pid is not None:
                self.rss_kib = max(self.rss_kib, rss_anon_kib(pid))
            await asyncio.sleep(0.05)

    def check(self) -> None:
        """A reader of the compacted log finds the last value of each key."""
        found: dict[bytes | None, int] = {}
        count, offset = 0, self.log.start_offset
        while offset < self.log.end_offset:
            data = self.log.read_bytes(offset, READ_BYTES, self.log.end_offset)
            for record in decode_batches(data):
                assert record.value is not None
                found[record.key] = int(record.value[:12])
                count += 1
            offset = self.log.read(offset, READ_BYTES, self.log.end_offset).next_offset
        assert found == self.last, "the compacted log says something else"
        print(f"read again: {count} records, the last value of each of {len(found)} keys is right")


def rss_anon_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0)


async def main(directory: str, records: int, keys: int, map_bytes: int) -> None:
    disk = LocalDisk()
    home = LogDirectory(disk, f"{directory}/data")
    clock = SystemClock()
    await home.open_logs(lambda name, topic_id: CONFIG, clock.wall_ms())
    log = home.create_log("bench-0", CONFIG, topic_id=UUID(int=1), wall_ms=clock.wall_ms())
    await Bench(home, log, records, keys, map_bytes).run()
    await home.close()
    disk.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", nargs="?")
    parser.add_argument("--records", type=int, default=2_400_000)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--map-mib", type=int, default=128)
    given = parser.parse_args()
    folder = given.directory or tempfile.mkdtemp(prefix="kraftpy-bench-")
    try:
        asyncio.run(main(folder, given.records, given.keys, given.map_mib << 20))
    finally:
        if given.directory is None:
            shutil.rmtree(folder)
