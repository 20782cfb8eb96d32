"""What one append, one read and one flush of a log cost: `python bench/log_append.py [DIRECTORY]`.

Medians of single calls, on the file system of DIRECTORY (a temporary directory by default). Appends and reads are CPU
and page cache, so a bare `pwritev` of the same bytes stands beside them; flushes are the device.
"""

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kraftpy.record import Record, encode_batch
from kraftpy.runtime.disk import LocalDisk
from log_store.config import LogConfig
from log_store.log import Log
from log_store.log_directory import LogDirectory

RUNS = 7
WALL_MS = 1_700_000_000_000


def batch_of(records: int, value_bytes: int, producer_id: int = -1) -> bytearray:
    values = [Record(number, WALL_MS, b"key", bytes(value_bytes), ()) for number in range(records)]
    return encode_batch(values, producer_id=producer_id, producer_epoch=0 if producer_id >= 0 else -1,
                        base_sequence=0 if producer_id >= 0 else -1)  # fmt: skip


def measure_us(work: Callable[[], object], times: int) -> float:
    """The median over `RUNS * times` calls."""
    costs = []
    for _ in range(RUNS * times):
        began = time.perf_counter()
        work()
        costs.append(time.perf_counter() - began)
    return statistics.median(costs) * 1e6


def report(name: str, us: float, size_bytes: int = 0) -> None:
    speed = f"{size_bytes / us:10.0f} MB/s" if size_bytes else ""
    print(f"{name:<44}{us:10.1f} µs{speed}")


def measure_appends(disk: LocalDisk, directory: str) -> None:
    """Each append beside a bare write of the same bytes: fresh pages of the cache cost the most, not always alike."""
    for name, records, value_bytes in (("1 KB", 1, 960), ("16 KB", 16, 1000), ("1 MB", 1000, 1000)):
        batch = batch_of(records, value_bytes)
        times = 2000 if len(batch) < 100_000 else 100
        raw = disk.open(f"{directory}/raw-{records}", create=True)
        raw.allocate(times * len(batch))
        log = Log.create(disk, f"{directory}/append-{records}-0", LogConfig(), wall_ms=WALL_MS)
        bare, whole = [], []
        for number in range(times):
            began = time.perf_counter()
            raw.write((batch,), number * len(batch))
            between = time.perf_counter()
            log.append(batch, 1, WALL_MS)
            bare.append(between - began)
            whole.append(time.perf_counter() - between)
        report(f"pwritev {name}", statistics.median(bare) * 1e6, len(batch))
        report(f"append {name}", statistics.median(whole) * 1e6, len(batch))
        log.close(clean=False)
    batch = batch_of(16, 1000)
    log = Log.create(disk, f"{directory}/replica-0", LogConfig(), wall_ms=WALL_MS)
    source = Log.create(disk, f"{directory}/source-0", LogConfig(), wall_ms=WALL_MS)
    for _ in range(RUNS * 500):
        source.append(batch, 1, WALL_MS)
    pieces = iter([source.read_bytes(at * 16, 1, source.end_offset) for at in range(RUNS * 500)])
    report("append replicated 16 KB", measure_us(lambda: log.append_replicated(next(pieces)), 500), len(batch))


def measure_reads(disk: LocalDisk, directory: str) -> None:
    batch = batch_of(16, 1000)
    log = Log.create(disk, f"{directory}/read-0", LogConfig(segment_bytes=1 << 26), wall_ms=WALL_MS)
    for _ in range(20_000):
        log.append(batch, 1, WALL_MS)
    end = log.end_offset
    report("read 64 KB at the end", measure_us(lambda: log.read(end - 64, 65_536, end), 3000))
    report("read 64 KB below a watermark at the end", measure_us(lambda: log.read(end - 640, 65_536, end - 32), 3000))
    places = iter(range(0, end - 100_000, 977))
    report("read 64 KB somewhere (index and scan)", measure_us(lambda: log.read(next(places), 65_536, end), 20))
    report("prefetch somewhere, hot", measure_us(lambda: log.prefetch(end // 2, 65_536), 500))
    report("read_bytes 64 KB at the end", measure_us(lambda: log.read_bytes(end - 64, 65_536, end), 2000), 65_536)


async def measure_flushes(disk: LocalDisk, path: str) -> None:
    directory = LogDirectory(disk, path)
    await directory.open_logs(lambda name, topic_id: LogConfig(), WALL_MS)
    logs = [directory.create_log(f"f-{n}", LogConfig(), topic_id=None, wall_ms=WALL_MS) for n in range(100)]
    batch = batch_of(16, 1000)
    for count in (1, 10, 100):
        rounds = []
        for _ in range(30):
            for log in logs[:count]:
                log.append(batch, 1, WALL_MS)
            began = time.perf_counter()
            await asyncio.gather(*[directory.flusher.flush(log) for log in logs[:count]])
            rounds.append((time.perf_counter() - began) * 1e6)
        report(f"flush of 16 KB in each of {count} logs", statistics.median(rounds))
    await directory.close()


def measure_roll(disk: LocalDisk, directory: str) -> None:
    """On the loop: seal (shorten three files), snapshot, new segment. The sync is the flusher's."""
    batch = batch_of(1000, 1000)
    costs = []
    for number in range(RUNS):
        log = Log.create(disk, f"{directory}/roll-{number}", LogConfig(), wall_ms=WALL_MS)
        log.sync()
        for _ in range(100):
            log.append(batch, 1, WALL_MS)
        began = time.perf_counter()
        log.roll(WALL_MS)
        costs.append((time.perf_counter() - began) * 1e6)
        log.close(clean=False)
    report("roll after 100 MB, not synced", statistics.median(costs))


def measure_recovery(disk: LocalDisk, directory: str) -> None:
    batch = batch_of(16, 1000)
    log = Log.create(disk, f"{directory}/recover-0", LogConfig(), wall_ms=WALL_MS)
    for _ in range(20_000):
        log.append(batch, 1, WALL_MS)
    log.close(clean=False)
    began = time.perf_counter()
    Log.open(disk, f"{directory}/recover-0", LogConfig(), clean=False, wall_ms=WALL_MS)
    us = (time.perf_counter() - began) * 1e6
    report("recover 324 MB of 16 KB batches (once)", us, 20_000 * len(batch))


def main() -> None:
    directory = tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None)
    disk = LocalDisk()
    try:
        measure_appends(disk, directory)
        measure_reads(disk, directory)
        measure_roll(disk, directory)
        asyncio.run(measure_flushes(disk, f"{directory}/flush"))
        measure_recovery(disk, directory)
    finally:
        disk.close()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
