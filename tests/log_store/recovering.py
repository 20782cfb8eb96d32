"""A log that is stopped and opened again, for tests."""

from random import Random
from typing import Any

from log_store.config import LogConfig
from log_store.log import Log
from simulation.device import Device
from simulation.disk import SimulatedDisk
from tests.log_store.batches import WALL_MS, batch

DIRECTORY = "/data/topic-0"
CONFIG = LogConfig(segment_bytes=1000, index_interval_bytes=150)


def new_disk() -> SimulatedDisk:
    disk = SimulatedDisk(Device(Random(1)))
    disk.make_directory("/data")
    disk.sync_directory("/")
    return disk


def filled(disk: SimulatedDisk, count: int = 40, config: LogConfig = CONFIG) -> Log:
    """Batches of one record, ten an epoch."""
    log = Log.create(disk, DIRECTORY, config, wall_ms=WALL_MS)
    for number in range(count):
        log.append(batch([b"%d" % number], timestamp_ms=WALL_MS + number), 1 + number // 10, WALL_MS)
    log.sync()
    log.sync()
    return log


def reopened(disk: SimulatedDisk, *, clean: bool = False, config: LogConfig = CONFIG, **more: Any) -> Log:
    return Log.open(SimulatedDisk(disk.device), DIRECTORY, config, clean=clean, wall_ms=WALL_MS, **more)


def contents(log: Log) -> bytes:
    data, offset = b"", log.start_offset
    while offset < log.end_offset:
        data += log.read_bytes(offset, 10**6, log.end_offset)
        offset = log.read(offset, 10**6, log.end_offset).next_offset
    return data


def last_path(log: Log) -> str:
    return log.segments[-1].files.log
