"""Opening the logs of a node's directories: all of them side by side, with lines that tell how far it is.

A directory that fails meanwhile takes its replicas offline; the first takes the node with it, because the quorum's log
lies there.
"""

import asyncio
import logging

from broker.directories import Directories
from kraftpy.errors import KafkaStorageError
from kraftpy.runtime.ports import Clock
from log_store.config import LogConfig
from log_store.log_directory import LogDirectory

logger = logging.getLogger(__name__)

PROGRESS_INTERVAL_MS = 3_000  # between two lines about a recovery


async def open_logs(directories: Directories, config: LogConfig, clock: Clock) -> None:
    """Recover what was there; settings of topics come with the first image. Raises `KafkaStorageError`."""
    opening = asyncio.gather(*[_open_directory(directories, home, config, clock) for home in directories.all])
    telling = asyncio.ensure_future(_tell_progress(directories))
    try:
        await opening
    finally:
        telling.cancel()
        opening.cancel()
        await asyncio.gather(opening, telling, return_exceptions=True)


async def _open_directory(directories: Directories, home: LogDirectory, config: LogConfig, clock: Clock) -> None:
    started_ms = clock.monotonic_ms()
    try:
        await home.open_logs(lambda name, topic_id: config, clock.wall_ms())
    except KafkaStorageError as error:
        if home is directories.first:
            raise
        logger.error("its replicas are offline: %s", error)
    for name, damage in home.failed_logs.items():
        logger.error("the log %s is not served: %s", name, damage)
    took_ms = clock.monotonic_ms() - started_ms
    how = "as they were left" if home.was_clean else "after recovery"
    logger.info("%s: %d logs opened %s in %d ms", home.path, len(home.logs), how, took_ms)


async def _tell_progress(directories: Directories) -> None:
    while True:
        await asyncio.sleep(PROGRESS_INTERVAL_MS / 1_000)
        for home in directories.all:
            done = len(home.logs) + len(home.failed_logs)
            if home.failure is None and done < home.log_count:
                logger.info("%s: %d of %d logs opened", home.path, done, home.log_count)
