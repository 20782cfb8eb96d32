"""How long a log directory takes to open, by the number of logs and of threads (num.recovery.threads.per.data.dir).

    python -m bench.recovery [DIRECTORY] [--partitions 3000] [--bytes 100000]

Makes that many logs of that size in DIRECTORY (a temporary directory by default), and opens them again and again:
after a kill, when every log was just appended to and is recovered, and after a clean stop. The loop runs meanwhile, as
in a node that joins its quorum while its logs open; the longest time that it was held up stands beside each figure.
"""

import argparse
import asyncio
import shutil
import tempfile
import time
from uuid import UUID

from kraftpy.record import Record, encode_batch
from kraftpy.runtime.disk import LocalDisk
from log_store.config import LogConfig
from log_store.log_directory import LogDirectory

WALL_MS = 1_700_000_000_000
BATCH_BYTES = 16_384
THREADS = (1, 2, 4, 8)
LOOK_S = 0.005


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how fast a log directory opens.")
    parser.add_argument("directory", nargs="?")
    parser.add_argument("--partitions", type=int, default=3_000)
    parser.add_argument("--bytes", type=int, default=100_000, help="of each log")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as place:
        path = f"{place}/data"
        asyncio.run(_make(path, options.partitions, options.bytes))
        for _ in range(2):  # what is new on the file system costs more the first time
            asyncio.run(_open(path, 4, clean=False))
        total_mib = options.partitions * options.bytes / 2**20
        print(f"{options.partitions} logs of {options.bytes} bytes, {total_mib:.0f} MiB in all")
        for threads in THREADS:
            recovered, stall = asyncio.run(_open(path, threads, clean=True))
            print(f"{threads} threads, after a kill:       {recovered:6.2f} s, loop held up for {stall * 1000:.0f} ms")
            opened, stall = asyncio.run(_open(path, threads, clean=False))
            print(f"{threads} threads, after a clean stop: {opened:6.2f} s, loop held up for {stall * 1000:.0f} ms")
        shutil.rmtree(path)


async def _make(path: str, partitions: int, size_bytes: int) -> None:
    """The logs, left as by a kill."""
    disk = LocalDisk(threads=8)
    home = LogDirectory(disk, path)
    await home.open_logs(lambda name, topic_id: LogConfig(), WALL_MS)
    for number in range(partitions):
        log = home.create_log(f"t-{number}", LogConfig(), topic_id=UUID(int=1), wall_ms=WALL_MS)
        while log.size_bytes < size_bytes:
            log.append(_batch(), 1, WALL_MS)
        if number % 100 == 99:
            await home.flusher.flush(log)
    await home.close(clean=False)
    disk.close()


async def _open(path: str, threads: int, *, clean: bool) -> tuple[float, float]:
    """Seconds until all are open, and the longest that the loop was held up. `clean`: how it is left afterwards."""
    disk = LocalDisk(threads=max(4, threads))
    home = LogDirectory(disk, path, recovery_threads=threads)
    stalls: list[float] = []
    looking = asyncio.create_task(_look(stalls))
    began = time.perf_counter()
    await home.open_logs(lambda name, topic_id: LogConfig(), WALL_MS)
    took = time.perf_counter() - began
    looking.cancel()
    if not clean:
        for log in home.logs.values():
            log.append(_batch(), 1, WALL_MS)
    await home.close(clean=clean)
    disk.close()
    return took, max(stalls, default=0.0)


def _batch() -> bytearray:
    return encode_batch([Record(at, WALL_MS, b"key", bytes(1_000), ()) for at in range(BATCH_BYTES // 1_000)])


async def _look(stalls: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(LOOK_S)
        stalls.append(time.perf_counter() - began - LOOK_S)


if __name__ == "__main__":
    main()
