"""What appends, reads, flushes and recovery of a log cost, each beside the bare system calls that move the same bytes.

    python -m bench.log_append [DIRECTORY]

On the file system of DIRECTORY (a temporary directory by default). Every line is the median over several runs; a run is
itself the median of many calls, ours and bare ones in turn, because fresh pages of the cache cost the most, and not
always alike. The ratio is ours to bare.
"""

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count

from bench.costs import RUNS, Costs, in_turn, report
from kraftpy.record import Record, encode_batch
from kraftpy.runtime.disk import LocalDisk
from log_store.config import LogConfig
from log_store.log import Log
from log_store.log_directory import LogDirectory

WALL_MS = 1_700_000_000_000
READ_BYTES = 65_536
SEGMENT = LogConfig(segment_bytes=1 << 29)


def batch_of(records: int, value_bytes: int) -> bytearray:
    return encode_batch([Record(number, WALL_MS, b"key", bytes(value_bytes), ()) for number in range(records)])


def measure_appends(disk: LocalDisk, directory: str) -> None:
    for name, records, value_bytes in (("1 KB", 1, 960), ("16 KB", 16, 1000), ("1 MB", 1000, 1000)):
        batch = batch_of(records, value_bytes)
        times = 2000 if len(batch) < 100_000 else 100
        runs = []
        for run in range(RUNS):
            raw = disk.open(f"{directory}/raw-{records}-{run}", create=True)
            raw.allocate(times * len(batch))
            log = Log.create(disk, f"{directory}/append-{records}-{run}", LogConfig(), wall_ms=WALL_MS)
            runs.append(_appends(log, raw.write, batch, times))
            log.close(clean=False)
        report(f"append {name} | pwritev", runs, len(batch))


def _appends(log: Log, write: Callable[[tuple[bytearray], int], None], batch: bytearray, times: int) -> Costs:
    positions = count(0, len(batch))
    return in_turn(lambda: log.append(batch, 1, WALL_MS), lambda: write((batch,), next(positions)), times)


def measure_replication(disk: LocalDisk, directory: str) -> None:
    batch = batch_of(16, 1000)
    source = Log.create(disk, f"{directory}/source-0", LogConfig(), wall_ms=WALL_MS)
    for _ in range(1000):
        source.append(batch, 1, WALL_MS)
    pieces = [source.read_bytes(at * 16, 1, source.end_offset) for at in range(1000)]
    runs = []
    for run in range(RUNS):
        log = Log.create(disk, f"{directory}/replica-{run}", LogConfig(), wall_ms=WALL_MS)
        raw = disk.open(f"{directory}/raw-replica-{run}", create=True)
        raw.allocate(1000 * len(batch))
        runs.append(_replicated(log, raw.write, pieces))
        log.close(clean=False)
    report("append 16 KB as a follower | pwritev", runs, len(batch))


def _replicated(log: Log, write: Callable[[tuple[bytes], int], None], pieces: list[bytes]) -> Costs:
    ours, bare = iter(pieces), iter(enumerate(pieces))

    def write_bare() -> None:
        number, piece = next(bare)
        write((piece,), number * len(piece))

    return in_turn(lambda: log.append_replicated(next(ours)), write_bare, len(pieces))


def measure_reads(disk: LocalDisk, directory: str) -> None:
    batch = batch_of(16, 1000)
    log = Log.create(disk, f"{directory}/read-0", LogConfig(segment_bytes=1 << 26), wall_ms=WALL_MS)
    for _ in range(10_000):
        log.append(batch, 1, WALL_MS)
    end = log.end_offset
    file = log.segments[0].file()
    places = iter(range(0, end - 50_000, 77))

    def pread() -> bytes:
        return file.read(READ_BYTES, 0)

    for name, ours in (
        ("find 64 KB at the end | pread", lambda: log.read(end - 64, READ_BYTES, end)),
        ("find 64 KB anywhere, by the index | pread", lambda: log.read(next(places), READ_BYTES, end)),
        ("read 64 KB at the end | pread", lambda: log.read_bytes(end - 64, READ_BYTES, end)),
    ):
        report(name, [in_turn(ours, pread, 250) for _ in range(RUNS)])
    log.close(clean=False)


async def measure_flushes(disk: LocalDisk, path: str) -> None:
    """Bare: the same writes, and an fdatasync each, one after the other on one disk thread."""
    directory = LogDirectory(disk, path)
    await directory.open_logs(lambda name, topic_id: SEGMENT, WALL_MS)
    logs = [directory.create_log(f"f-{n}", SEGMENT, topic_id=None, wall_ms=WALL_MS) for n in range(100)]
    batch = batch_of(16, 1000)
    files = [disk.open(f"{path}/raw-{number}", create=True) for number in range(100)]
    for log, file in zip(logs, files, strict=True):
        file.allocate(1000 * len(batch))
        file.sync()
        await directory.flusher.flush(log)
    positions = count(0, len(batch))

    def bare(log_count: int) -> None:
        position = next(positions)
        for file in files[:log_count]:
            file.write((batch,), position)
        for file in files[:log_count]:
            file.sync()

    async def ours(log_count: int) -> None:
        for log in logs[:log_count]:
            log.append(batch, 1, WALL_MS)
        await asyncio.gather(*[directory.flusher.flush(log) for log in logs[:log_count]])

    for log_count in (1, 10, 100):
        runs = []
        for _ in range(RUNS):  # not in turn: what one has the journal commit, the other need not
            times = 20 if log_count < 100 else 5
            bare_us = [await _took_us(disk.run(partial(bare, log_count))) for _ in range(times)]
            ours_us = [await _took_us(ours(log_count)) for _ in range(times)]
            runs.append((statistics.median(ours_us), statistics.median(bare_us)))
        report(f"append and flush 16 KB in {log_count} logs | fdatasync", runs)
    await directory.close()


async def _took_us(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return (time.perf_counter() - began) * 1e6


def measure_recovery(disk: LocalDisk, directory: str) -> None:
    """After a kill: a segment that was flushed as it grew. Bare: reading the same bytes once."""
    batch = batch_of(16, 1000)
    config = SEGMENT
    runs = []
    size_bytes = 0
    for run in range(RUNS):
        path = f"{directory}/recover-{run}"
        log = Log.create(disk, path, config, wall_ms=WALL_MS)
        for number in range(20_000):
            log.append(batch, 1, WALL_MS)
            if number % 64 == 0:
                log.sync()
        log.sync()
        log.close(clean=False)
        file = log.segments[-1].file()
        size_bytes = log.size_bytes
        began = time.perf_counter()
        for position in range(0, size_bytes, 1 << 20):
            file.read(1 << 20, position)
        between = time.perf_counter()
        Log.open(disk, path, config, clean=False, wall_ms=WALL_MS).close(clean=False)
        runs.append(((time.perf_counter() - between) * 1e6, (between - began) * 1e6))
        disk.remove_tree(path)
    report(f"recover a segment of {size_bytes >> 20} MiB | pread", runs, size_bytes)


def main() -> None:
    directory = tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None)
    disk = LocalDisk()
    try:
        measure_appends(disk, directory)
        measure_replication(disk, directory)
        measure_reads(disk, directory)
        asyncio.run(measure_flushes(disk, f"{directory}/flush"))
        measure_recovery(disk, directory)
    finally:
        disk.close()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
