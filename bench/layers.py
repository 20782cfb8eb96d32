"""Where a log's speed comes from, one layer at a time: appending in order, the page cache, sendfile, and batches.

    python -m bench.layers [DIRECTORY]

On the file system of DIRECTORY (a temporary directory by default). Each pair of lines does the same work with and
without one layer; the ratio is what the layer is worth here. The first three are bare system calls, as nothing of ours
is in question there; the last is our log. A virtual disk's own cache answers some of it, so the figures are this
machine's.
"""

import asyncio
import os
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from random import Random

from bench.costs import RUNS
from kraftpy.record import Record, encode_batch
from kraftpy.runtime.disk import LocalDisk
from log_store.config import LogConfig
from log_store.log_directory import LogDirectory

PIECE = 16_384
PIECES = 2_000
SENT_BYTES = 256 << 20
CHUNK_BYTES = 1 << 20
WALL_MS = 1_700_000_000_000
SECONDS = 0.2
MB = 1_000_000


def report(what: str, with_it: tuple[str, float], without: tuple[str, float], unit: str) -> None:
    ratio = with_it[1] / without[1]
    print(f"{what:<14}{with_it[0]:<34}{with_it[1]:12,.0f} {unit}", flush=True)
    print(f"{'':<14}{without[0]:<34}{without[1]:12,.0f} {unit} {ratio:8.1f} x", flush=True)


def median(run: Callable[[], float]) -> float:
    return statistics.median(run() for _ in range(RUNS))


def written(path: str, positions: list[int], flushed: bool) -> float:
    """MB/s of pieces at these positions of a file with its room made ahead, durable in the end."""
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.posix_fallocate(file, 0, PIECE * PIECES)
        os.fsync(file)
        piece = os.urandom(PIECE)
        began = time.perf_counter()
        for position in positions:
            os.pwrite(file, piece, position)
            if flushed:
                os.fdatasync(file)
        os.fdatasync(file)
        return len(positions) * PIECE / MB / (time.perf_counter() - began)
    finally:
        os.close(file)
        os.unlink(path)


def measure_order(path: str) -> None:
    in_order = [number * PIECE for number in range(PIECES)]
    scattered = Random(1).sample(in_order, PIECES)
    one, other = median(lambda: written(path, in_order, False)), median(lambda: written(path, scattered, False))
    report("append", ("16 KB pieces in order", one), ("… anywhere in the file", other), "MB/s")


def measure_cache(path: str) -> None:
    places = [number * PIECE for number in range(PIECES)]
    one, other = median(lambda: written(path, places, False)), median(lambda: written(path, places[:300], True))
    report("page cache", ("16 KB pieces, one flush for all", one), ("… a flush for each", other), "MB/s")
    with open(path, "wb") as made:
        made.write(os.urandom(1 << 20) * 128)
        os.fsync(made.fileno())
    with open(path, "rb", buffering=0) as file:
        hot = median(lambda: read(file.fileno(), forgotten=False))
        cold = median(lambda: read(file.fileno(), forgotten=True))
    report("", ("128 MiB read again", hot), ("… after the cache forgot it", cold), "MB/s")
    os.unlink(path)


def read(file: int, forgotten: bool) -> float:
    if forgotten:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    began, size = time.perf_counter(), os.fstat(file).st_size
    for position in range(0, size, CHUNK_BYTES):
        os.pread(file, CHUNK_BYTES, position)
    return size / MB / (time.perf_counter() - began)


def measure_sendfile(path: str) -> None:
    """Processor seconds of the sender alone; the reader is a thread that throws everything away."""
    with open(path, "wb") as made:
        made.write(os.urandom(1 << 20) * 64)
    with open(path, "rb", buffering=0) as file:

        def by_sendfile(to: socket.socket, position: int) -> None:
            sent = 0
            while sent < CHUNK_BYTES:
                sent += os.sendfile(to.fileno(), file.fileno(), position + sent, CHUNK_BYTES - sent)

        def by_copy(to: socket.socket, position: int) -> None:
            to.sendall(os.pread(file.fileno(), CHUNK_BYTES, position))

        one, other = median(lambda: sent_a_second(by_sendfile)), median(lambda: sent_a_second(by_copy))
    report("sendfile", ("1 MiB pieces, by sendfile", one), ("… read, and sent", other), "MB a CPU second")
    os.unlink(path)


def sent_a_second(send: Callable[[socket.socket, int], None]) -> float:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        sender = socket.create_connection(listener.getsockname())
        receiver, _ = listener.accept()
    thread = threading.Thread(target=drain, args=(receiver,))
    thread.start()
    with closing(sender):
        began = time.thread_time()
        for number in range(SENT_BYTES // CHUNK_BYTES):
            send(sender, number % 64 * CHUNK_BYTES)
        took = time.thread_time() - began
    thread.join()
    return SENT_BYTES / MB / took


def drain(receiver: socket.socket) -> None:
    with closing(receiver):
        room = bytearray(CHUNK_BYTES)
        while receiver.recv_into(room):
            pass


async def measure_batches(path: str) -> None:
    """Records of 1 KB through our log: each batch waits for its flush, and 16 of them share one."""
    disk = LocalDisk()
    directory = LogDirectory(disk, path)
    try:
        await directory.open_logs(lambda name, topic_id: LogConfig(), WALL_MS)
        found: dict[tuple[int, int], float] = {}
        for records in (1, 16, 1_000):
            for together in (1, 16):
                name = f"{records}-{together}"
                rates = [await records_a_second(directory, f"{name}-{run}", records, together) for run in range(RUNS)]
                found[records, together] = statistics.median(rates)
    finally:
        await directory.close()
        disk.close()
    alone = ("records one by one, a flush each", found[1, 1])
    for (records, together), rate in found.items():
        if (records, together) != (1, 1):
            report("batches", (f"{records} records a batch, {together} a flush", rate), alone, "records/s")


async def records_a_second(directory: LogDirectory, name: str, records: int, together: int) -> float:
    log = directory.create_log(f"b{name}-0", LogConfig(), topic_id=None, wall_ms=WALL_MS)
    batch = encode_batch([Record(number, WALL_MS, None, bytes(1_000), ()) for number in range(records)])
    appended, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < SECONDS:
        for _ in range(together):
            log.append(batch, 1, WALL_MS)
            appended += records
        await directory.flusher.flush(log)
    return appended / took


def main() -> None:
    folder = tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None)
    try:
        path = f"{folder}/file"
        measure_order(path)
        measure_cache(path)
        measure_sendfile(path)
        asyncio.run(measure_batches(f"{folder}/logs"))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
