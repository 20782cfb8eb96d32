"""One of the directories of `log.dirs`: its logs, and what they share.

    .lock                                only one process
    meta.properties                      whose it is: cluster, node, directory id
    .kafka_cleanshutdown                 the last stop was clean; gone as soon as logs are opened
    recovery-point-offset-checkpoint     what was durable (for tools; recovery has better proof, see `recovery`)
    replication-offset-checkpoint        high watermarks
    log-start-offset-checkpoint          start offsets that lie above the first segment's
    cleaner-offset-checkpoint            how far logs are compacted
    scrub-offset-checkpoint, scrub-time-checkpoint    how far logs were read again, and when that began
    my-topic-0/                          a log
    my-topic-0.<id>-delete/              a log that is being deleted
    my-topic-0.<id>-future/              a copy that will replace the log of another directory (KIP-113)

Invariants: the marker of a clean stop is removed, durably, before any log is opened, and written after the last one was
closed; so a crash in mid-recovery counts as unclean again (KAFKA-10471). The first failure of the disk fences the whole
directory.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

from kraftpy.errors import KafkaStorageError
from kraftpy.runtime.ports import Disk
from log_store import checkpoints, file_names
from log_store.checkpoint_files import CheckpointFiles, Offsets
from log_store.checkpoints import CorruptCheckpointError, MetaProperties
from log_store.config import LogConfig
from log_store.doomed_logs import DoomedLogs
from log_store.durability import ProofBudget
from log_store.fence import Fence
from log_store.flush import carry_out
from log_store.flusher import LOGS_PER_ROUND, Flusher
from log_store.log import Log
from log_store.log_checkpoints import LogCheckpoints, lowered
from log_store.new_log import make_directory
from log_store.open_segments import OPEN_SEGMENTS_MAX, OpenSegments
from log_store.opened_log import Unsynced
from log_store.partition_metadata import topic_id_in, write_topic_id
from log_store.recovery import UNREADABLE
from log_store.small_files import read_small
from log_store.snapshots import newest_proof

RECOVERY_THREADS = 2
"""Logs opened side by side by default, as Kafka's `num.recovery.threads.per.data.dir`."""

LOGS_TOGETHER = 64
"""Opened or closed by one turn of a thread, which syncs them at once."""

T = TypeVar("T")
ConfigOf = Callable[[str, UUID | None], LogConfig]
"""The settings of a log, by its name and its topic's id."""


class LogDirectory:
    """A locked log directory. `open_logs` before anything else, `close` at the end."""

    def __init__(
        self,
        disk: Disk,
        path: str,
        *,
        on_flushed: Callable[[Log], None] | None = None,
        on_failed: Callable[[KafkaStorageError], None] | None = None,
        open_segments_max: int = OPEN_SEGMENTS_MAX,
        recovery_threads: int = RECOVERY_THREADS,
    ) -> None:
        """Make the directory where it is missing, and lock it.

        Raises `BlockingIOError` where another process has it, `OSError`.
        """
        self.path = path
        self.disk = disk
        self.fence = Fence(path)
        self.flusher = Flusher(self.fence, on_flushed, max(1, min(LOGS_PER_ROUND, open_segments_max // 2)))
        self.open_segments = OpenSegments(open_segments_max)
        self.logs: dict[str, Log] = {}
        self.failed_logs: dict[str, KafkaStorageError] = {}
        """Logs that could not be opened because a segment below the recovered part is damaged."""
        self.high_watermarks: dict[str, int] = {}
        """As last read or written: what a start, or `write_high_watermarks`, knew."""
        self.was_clean = False
        self.previous_broker_epoch = -1
        """The broker epoch that a clean stop ended (KIP-966); -1 after any other stop."""
        self.properties: MetaProperties | None = None
        """As last read or written."""
        self.futures: dict[str, str] = {}
        """Copies under way, found or made here: their directories' names, by the log that each will replace."""
        self.recovery_threads = recovery_threads
        self.log_count = 0
        """How many logs there are to open; known once `open_logs` has looked."""
        self._proof_budget = ProofBudget()
        self._checkpoints = CheckpointFiles(disk, path, self.fence)
        self._log_checkpoints = LogCheckpoints(self._checkpoints)
        self.before_counting: Callable[[Sequence[Log]], Awaitable[None]] | None = None
        """What is to be durable before anything counts of logs that are on the disk now. Raises `KafkaStorageError`."""
        self.flusher.before_counting = self._before_counting
        self._doomed = DoomedLogs(disk, path, self.fence)
        self._openings: dict[asyncio.Future[Any], None] = {}  # on disk threads, which no cancellation ends
        self._is_closing = False
        if on_failed is not None:
            self.fence.on_failure(on_failed)
        make_directory(disk, path)
        self._lock = disk.lock(self._file(file_names.LOCK))

    @property
    def failure(self) -> KafkaStorageError | None:
        """Why the directory is fenced; None while it is well."""
        return self.fence.failure

    def _file(self, name: str) -> str:
        return f"{self.path}/{name}"

    # --- whose it is -------------------------------------------------------------------------------------------------

    def read_properties(self) -> MetaProperties | None:
        """What `meta.properties` says; None where there is none. Raises `OSError`, `CorruptCheckpointError`."""
        path = self._file(file_names.META_PROPERTIES)
        if self.disk.exists(path):
            self.properties = checkpoints.decode_meta_properties(self.disk.read_bytes(path))
        return self.properties

    def write_properties(self, properties: MetaProperties) -> None:
        """Durable when it returns. Blocks. Raises `OSError`."""
        data = checkpoints.encode_meta_properties(properties)
        self.disk.write_atomically(self._file(file_names.META_PROPERTIES), data)
        self.properties = properties

    # --- start and stop ----------------------------------------------------------------------------------------------

    async def open_logs(self, config_of: ConfigOf, wall_ms: int) -> None:
        """Open every log, after recovery where the last stop was not clean. Raises `KafkaStorageError`.

        What was deleted before the last stop is removed now. A log with a damaged segment below its recovered part is
        left out and noted in `failed_logs`: its files are for an operator, its records for the other replicas.
        """
        try:
            names = await self._run_opening(self._prepare)
        except OSError as error:
            raise self.fence.raise_for(error, "opening its logs") from error
        self.log_count = len(names)
        waiting = iter(names)
        streams = max(1, min(self.recovery_threads, len(names)))
        await asyncio.gather(*[self._open_stream(waiting, config_of, wall_ms) for _ in range(streams)])
        self.fence.check()
        self.logs = dict(sorted(self.logs.items()))
        self._proof_budget.logs = len(self.logs)
        if self._log_checkpoints.say_too_much(self.logs.values()):
            await self.write_checkpoints()

    def _prepare(self) -> list[str]:
        """Read the checkpoints, then remove the marker, and only then look at logs."""
        self.high_watermarks = self._checkpoints.load(file_names.HIGH_WATERMARKS)
        self._log_checkpoints.load()
        marker = self._file(file_names.CLEAN_SHUTDOWN)
        if self.disk.exists(marker):
            self.was_clean = True
            try:
                self.previous_broker_epoch = checkpoints.decode_clean_shutdown(read_small(self.disk, marker))
            except CorruptCheckpointError:
                self.was_clean = False
            self.disk.remove(marker)
        self.disk.sync_directory(self.path)  # and of the logs that the process before had just made when it died
        names = []
        for name in self.disk.list(self.path):
            if name.endswith(file_names.DELETED_LOG):
                self.disk.remove_tree(self._file(name))
            elif file_names.is_partition_log(name):
                names.append(name)
            elif (replaced := file_names.future_of(name)) is not None:
                self._prepare_future(replaced, name)
        if not self.was_clean:
            self._log_checkpoints.lower_to_proofs(lambda name: newest_proof(self.disk, self._file(name)))
        self._checkpoints.found(names)
        return names

    def _prepare_future(self, replaced: str, name: str) -> None:
        """Keep one copy under way for each log; a second is left over from a move that was given up."""
        if replaced in self.futures:
            self.disk.remove_tree(self._file(self.futures[replaced]))
        self.futures[replaced] = name

    async def _run_opening(self, work: Callable[[], T]) -> T:
        running = asyncio.ensure_future(self.disk.run(work))
        self._openings[running] = None
        running.add_done_callback(lambda done: self._openings.pop(done))
        return await asyncio.shield(running)

    async def _open_stream(self, names: Iterator[str], config_of: ConfigOf, wall_ms: int) -> None:
        while some := list(islice(names, LOGS_TOGETHER)):
            if self.failure is not None:
                return
            try:
                opened, failed = await self._run_opening(partial(self._open_some, some, config_of, wall_ms))
            except OSError as error:
                self.fence.raise_for(error, f"opening {some[0]}" + (f" … {some[-1]}" if len(some) > 1 else ""))
                return
            self.logs |= opened
            self.failed_logs |= failed

    def _open_some(
        self, names: Sequence[str], config_of: ConfigOf, wall_ms: int
    ) -> tuple[dict[str, Log], dict[str, KafkaStorageError]]:
        """On a disk thread: none of them is used before what recovery wrote of all of them was synced."""
        unsynced = Unsynced()
        opened: dict[str, Log] = {}
        failed: dict[str, KafkaStorageError] = {}
        for name in names:
            if self._is_closing:
                break
            try:
                opened[name] = self._open_log(name, config_of, wall_ms, unsynced)
            except UNREADABLE as error:
                failed[name] = KafkaStorageError(f"{name} is damaged: {error}")
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                failed[name] = KafkaStorageError(f"{name} cannot be read: {error}")
        unsynced.sync(self.disk, self.path)
        return opened, failed

    def _open_log(self, name: str, config_of: ConfigOf, wall_ms: int, unsynced: Unsynced) -> Log:
        topic_id = topic_id_in(self.disk, self._file(name))
        start_offset = self._log_checkpoints.start_offset_of(name)
        config = config_of(name, topic_id)
        committed_offset = self.high_watermarks.get(name, 0)
        log = self._open_at(
            self._file(name), config, topic_id, self.was_clean, wall_ms, start_offset, unsynced, committed_offset
        )
        self._log_checkpoints.restore(log)
        return log

    def topic_id_of_failed(self, name: str) -> UUID | None:
        """Whose a log is that could not be opened; None where that cannot be read, either."""
        try:
            return topic_id_in(self.disk, self._file(name))
        except (OSError, CorruptCheckpointError):
            return None

    def restore_topic_id(self, name: str, topic_id: UUID) -> None:
        """Write, durably, whose an opened log is that has lost its id. Raises `KafkaStorageError`."""
        self.fence.check()
        with self.fence.guard(f"writing whose {name} is"):
            write_topic_id(self.disk, self._file(name), topic_id)
        self.logs[name].topic_id = topic_id

    def _open_at(
        self,
        path: str,
        config: LogConfig,
        topic_id: UUID | None,
        clean: bool,
        wall_ms: int,
        start_offset: int = 0,
        unsynced: Unsynced | None = None,
        committed_offset: int = 0,
    ) -> Log:
        return Log.open(
            self.disk,
            path,
            config,
            clean=clean,
            wall_ms=wall_ms,
            start_offset=start_offset,
            topic_id=topic_id,
            fence=self.fence,
            open_segments=self.open_segments,
            proof_budget=self._proof_budget,
            unsynced=unsynced,
            committed_offset=committed_offset,
        )

    async def close(self, *, clean: bool = True, broker_epoch: int = -1) -> None:
        """Flush and close every log, and mark the stop as clean, unless the directory failed. Releases the lock.

        Also where `open_logs` was cancelled: what it has begun on threads is waited for, and the rest is not begun.
        `broker_epoch` goes into the marker. `clean=False` closes without writing anything.
        """
        self._is_closing = True
        await asyncio.gather(*self._openings, return_exceptions=True)  # a stop in mid-recovery: threads are writing
        await self.flusher.stop()
        await self._checkpoints.wait_written()  # likewise, at the end of a start
        self._doomed.leave()
        logs = list(self.logs.values())
        self.logs = {}
        try:
            await self._close_logs(logs, clean and self.failure is None, broker_epoch)
        except OSError as error:
            self.fence.raise_for(error, "closing")
        except KafkaStorageError:
            pass  # the fence is up, and it was told; without the marker the next start recovers
        finally:
            self._lock.release()

    async def _close_logs(self, logs: Sequence[Log], clean: bool, broker_epoch: int) -> None:
        try:
            for at in range(0, len(logs) if clean else 0, LOGS_TOGETHER):
                await self._finish(logs[at : at + LOGS_TOGETHER])
        finally:
            for log in logs:
                log.close(clean=False)
        if clean:
            offsets = self._log_checkpoints.contents(logs, self.failed_logs)
            await self.disk.run(partial(self._note_clean_stop, offsets, broker_epoch))

    def _note_clean_stop(self, offsets: Mapping[str, Offsets], broker_epoch: int) -> None:
        """On a disk thread."""
        self._checkpoints.write_now(offsets)
        marker = checkpoints.encode_clean_shutdown(broker_epoch)
        self.disk.write_atomically(self._file(file_names.CLEAN_SHUTDOWN), marker)

    async def _finish(self, logs: Sequence[Log]) -> None:
        """What a clean start wants to find of these, made durable together. Raises `KafkaStorageError`, `OSError`."""
        left = [log for log in logs if log.begin_close()]
        while left:
            flushes = [log.begin_flush() for log in left]
            await carry_out(flushes, self.path)
            for log, flush in zip(left, flushes, strict=True):
                log.complete_flush(flush)
            left = [log for log in left if log.needs_flush]

    # --- logs come and go --------------------------------------------------------------------------------------------

    def create_log(self, name: str, config: LogConfig, *, topic_id: UUID | None, wall_ms: int) -> Log:
        """The log that is there, or a new one, of which the disk knows nothing before its first record.

        Raises `KafkaStorageError`.
        """
        self.fence.check()
        _check_is_no_quorum_log(name)
        if name in self.logs:
            return self.logs[name]
        if name in self.failed_logs:
            raise self.failed_logs[name]
        log = Log.create(
            self.disk,
            self._file(name),
            config,
            wall_ms=wall_ms,
            topic_id=topic_id,
            fence=self.fence,
            open_segments=self.open_segments,
            proof_budget=self._proof_budget,
        )
        self.high_watermarks.pop(name, None)  # of a former log
        self.logs[name] = log
        self._proof_budget.logs = len(self.logs)
        return log

    def delete_log(self, name: str) -> None:
        """Delete a log: at once by name, its files after `file_delete_delay_ms`. Raises `KafkaStorageError`.

        Readers that hold slices of it can finish.
        """
        _check_is_no_quorum_log(name)
        log = self.logs.pop(name, None)
        self._checkpoints.deleted(name)
        delay_ms = log.config.file_delete_delay_ms if log is not None else 0
        self.high_watermarks.pop(name, None)
        self._log_checkpoints.forget(name)
        self.failed_logs.pop(name, None)
        if log is not None:
            log.close(clean=False)
        if not self.disk.exists(self._file(name)):
            return
        self._doomed.take(name, name, log.topic_id if log is not None else None, delay_ms)

    # --- copies that will replace logs (KIP-113) ---------------------------------------------------------------------

    async def open_future(
        self, name: str, config: LogConfig, *, topic_id: UUID, start_offset: int, wall_ms: int
    ) -> Log:
        """The copy that will replace the log `name` of another directory: as it was left, or a new one, empty.

        It is not among `logs`. A copy that was damaged is begun anew. Raises `KafkaStorageError`.
        """
        self.fence.check()
        path = self._file(self.futures.setdefault(name, file_names.future_name(name, topic_id.int)))
        try:
            return await self.disk.run(partial(self._open_or_make, path, config, topic_id, start_offset, wall_ms))
        except OSError as error:
            raise self.fence.raise_for(error, f"opening the copy of {name}") from error

    def _open_or_make(self, path: str, config: LogConfig, topic_id: UUID, start_offset: int, wall_ms: int) -> Log:
        if self.disk.exists(path):
            try:
                if topic_id_in(self.disk, path) == topic_id:  # written with the first flush: else nothing is there yet
                    return self._open_at(path, config, topic_id, clean=False, wall_ms=wall_ms)
            except UNREADABLE:
                pass
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
            self.disk.remove_tree(path)
        copy = Log.create(
            self.disk,
            path,
            config,
            wall_ms=wall_ms,
            start_offset=start_offset,
            topic_id=topic_id,
            fence=self.fence,
            open_segments=self.open_segments,
            proof_budget=self._proof_budget,
        )
        copy.make()  # it will be renamed, whether or not there is something to copy
        return copy

    async def arrive(self, name: str, copy: Log, wall_ms: int) -> Log:
        """Give a copy the name of the log that it will replace, durably: the log under that name, not yet in `logs`.

        No flush of it may be wanted or under way. Raises `KafkaStorageError`.
        """
        self.fence.check()
        await self._checkpoints.forget_former([name])
        try:
            await self._finish([copy])
            copy.close(clean=False)
            return await self.disk.run(partial(self._take_name, name, copy, wall_ms))
        except OSError as error:
            raise self.fence.raise_for(error, f"naming the copy of {name}") from error

    def _take_name(self, name: str, copy: Log, wall_ms: int) -> Log:
        self.disk.rename(copy.directory, self._file(name))
        self.disk.sync_directory(self.path)
        return self._open_at(self._file(name), copy.config, copy.topic_id, clean=True, wall_ms=wall_ms)

    def adopt(self, name: str, arrived: Log) -> None:
        """The copy is the log from now on."""
        self.futures.pop(name, None)
        self.high_watermarks.pop(name, None)  # of a former log
        self.logs[name] = arrived

    def make_future(self, name: str) -> None:
        """A log here is a copy that a crash kept from replacing another: it becomes one again. Raises
        `KafkaStorageError`."""
        log = self.logs.pop(name)
        log.close(clean=False)
        self._checkpoints.deleted(name)
        self.futures[name] = file_names.future_name(name, 0 if log.topic_id is None else log.topic_id.int)
        path = self._file(self.futures[name])
        try:
            if self.disk.exists(path):
                self.disk.remove_tree(path)
            self.disk.rename(log.directory, path)
        except OSError as error:
            raise self.fence.raise_for(error, f"renaming {name}") from error

    def delete_future(self, name: str, copy: Log | None = None) -> None:
        """Give up the copy that was to replace the log `name`. Raises `KafkaStorageError`."""
        found = self.futures.pop(name, None)
        if copy is not None:
            copy.close(clean=False)
        directory = copy.name if copy is not None else found  # a copy that has arrived has another name
        if found is not None and directory is not None and self.disk.exists(self._file(directory)):
            self._doomed.take(directory, name, None, 0)

    # --- checkpoints -------------------------------------------------------------------------------------------------

    async def write_checkpoints(self) -> None:
        """Write recovery points, start offsets, and how far logs are compacted; once a minute is plenty.

        Raises `KafkaStorageError`.
        """
        await self._checkpoints.write(lambda: self._log_checkpoints.contents(self.logs.values(), self.failed_logs))

    async def write_high_watermarks(self, high_watermarks: Callable[[], Offsets]) -> None:
        """Write the high watermarks of logs here, as they are when it comes to it. Raises `KafkaStorageError`.

        Logs that nobody uses, the damaged ones too, keep what was known of them: it alone tells the next start what was
        committed, and is no torn tail.
        """

        def contents() -> dict[str, Offsets]:
            known = self.high_watermarks.items()
            kept = {name: offset for name, offset in known if name in self.logs or name in self.failed_logs}
            self.high_watermarks = {**kept, **high_watermarks()}
            return {file_names.HIGH_WATERMARKS: dict(self.high_watermarks)}

        await self._checkpoints.write(contents)

    async def _before_counting(self, logs: Sequence[Log]) -> None:
        await self._checkpoints.forget_former(log.name for log in logs)
        if self._log_checkpoints.say_too_much(logs):
            await self.write_checkpoints()
        if cut := self._log_checkpoints.cut_below_watermarks(logs):
            await self.write_high_watermarks(lambda: lowered(self.high_watermarks, cut))
        if self.before_counting is not None:
            await self.before_counting(logs)


def _check_is_no_quorum_log(name: str) -> None:
    """It lies beside the logs of partitions under a name like theirs."""
    if name == file_names.QUORUM_LOG:
        raise KafkaStorageError(f"{name} is the quorum's log, and no partition's")
