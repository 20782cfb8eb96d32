"""The quorum's log on this node's disk: `raft.ports.ReplicatedLog` over a `log_store` log, with snapshots beside it.

It lies in `__cluster_metadata-0` of the first log directory, as in Kafka, but it is no log of that directory: it is
opened before the others, flushed on its own (the quorum never waits behind data), and its failure is the node's.

Invariant: one entry is one batch, so every offset that raft cuts or reads at is a batch's.
"""

import logging
from collections.abc import Sequence
from functools import partial

from broker.quorum import committed
from broker.quorum.committed import CommittedOffset
from broker.quorum.entries import decode_entries, encode_entries, voters_of
from broker.quorum.snapshots import SnapshotFiles, SnapshotFileWriter
from kraftpy.errors import CorruptRecordError, KafkaStorageError
from kraftpy.record import iterate_headers
from kraftpy.runtime.ports import Clock, Disk
from log_store.config import LogConfig
from log_store.file_names import QUORUM_LOG
from log_store.log import Log
from raft.events import Entry, Epoch, Offset, SnapshotId, VoterSet
from raft.stored import leads_up_to

CONFIG = LogConfig(segment_bytes=8 << 20, segment_ms=2**62, retention_ms=-1, file_delete_delay_ms=0)
"""Segments of 8 MiB, so that what a snapshot covers can go; nothing goes for any other reason."""

ADVICE = (
    "Where other voters are alive, give this node an empty first log directory, so that it comes back as a new "
    "replica, and make that a voter by `kraftpy quorum remove` and `kraftpy quorum add`: what other brokers hold too "
    "it copies anew. The only voter needs a copy of the directory from before the damage"
)

logger = logging.getLogger(__name__)

SCAN_BYTES_MAX = 1 << 20  # read at once where the whole log is looked through


class QuorumLog:
    """See the module's docstring. Make one by `open`."""

    def __init__(self, disk: Disk, clock: Clock, log: Log) -> None:
        self._clock = clock
        self._disk = disk
        self._log = log
        self._snapshots = SnapshotFiles(disk, log.directory)
        self._committed = CommittedOffset(disk, log.directory, lambda: log.flushed_offset)

    @classmethod
    async def open(cls, disk: Disk, clock: Clock, log_directory: str) -> "QuorumLog":
        """Open or make it. Its name is durable afterwards.

        Raises `OSError`, and `KafkaStorageError` where something is gone or unreadable that was committed.
        """
        path = f"{log_directory}/{QUORUM_LOG}"
        log = await disk.run(partial(_open, disk, path, clock.wall_ms()))
        opened = cls(disk, clock, log)
        await disk.run(opened._do_without_damaged_snapshot)
        return opened

    def _do_without_damaged_snapshot(self) -> None:
        """On a disk thread. One that rotted is set aside where all that it is of is there a second time: in the log, on
        from its beginning or from the snapshot before. Applying so much makes the next snapshot be taken soon."""
        latest, former = self._snapshots.latest, self._snapshots.former
        damage = self._snapshots.damage_of(latest) if latest is not None else None
        if latest is None or damage is None or not leads_up_to(self, latest):
            return
        if former is None:
            is_there = self.start_offset == 0
        else:
            is_there = leads_up_to(self, former) and self._snapshots.damage_of(former) is None
        if is_there:
            name = self._snapshots.set_aside(latest)
            logger.error("the quorum's %s is damaged (%s); it is done without, and kept as %s", latest, damage, name)

    @property
    def directory(self) -> str:
        return self._log.directory

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever founded here."""
        return self._log.end_offset == 0 and self._snapshots.latest is None

    @property
    def founding_voters(self) -> VoterSet | None:
        """Entry 0, or the voters of the latest snapshot; None where the log is empty or begins later."""
        if self._snapshots.latest is not None:
            return self._snapshots.voters(self._snapshots.latest)
        first = self.read(Offset(0), Offset(1), 1) if self.start_offset == 0 < self.end_offset else []
        body = first[0].body if first else None
        return body if isinstance(body, VoterSet) else None

    @property
    def voters(self) -> VoterSet | None:
        """The last voters that the log names, committed or not; None where it is empty. Reads the log's headers."""
        latest = self._snapshots.latest
        found = self._snapshots.voters(latest) if latest is not None else None
        offset = self._log.start_offset if latest is None else max(self._log.start_offset, latest.end_offset)
        while offset < self._log.end_offset:
            data = self._log.read_bytes(offset, SCAN_BYTES_MAX, self._log.end_offset)
            for position, header in iterate_headers(data):
                found = voters_of(header, data[position : position + header.size_bytes]) or found
                offset = header.end_offset
        return found

    @property
    def start_offset(self) -> Offset:
        return Offset(self._log.start_offset)

    @property
    def end_offset(self) -> Offset:
        return Offset(self._log.end_offset)

    def epochs(self) -> Sequence[tuple[Epoch, Offset]]:
        return [(Epoch(entry.epoch), Offset(entry.start_offset)) for entry in self._log.epochs.entries]

    def append(self, entries: Sequence[Entry]) -> None:
        self._log.append_replicated(encode_entries(entries), wall_ms=self._clock.wall_ms())
        assert self._log.end_offset == entries[-1].end_offset, "the entries did not continue the log"

    async def flush(self) -> Offset:
        flush = self._log.begin_flush()
        await flush.carry_out()
        self._log.complete_flush(flush)
        return Offset(self._log.flushed_offset)

    def read(self, offset: Offset, end_offset: Offset, bytes_max: int) -> list[Entry]:
        return decode_entries(self._log.read_bytes(offset, bytes_max, end_offset))

    def note_committed(self, end_offset: Offset) -> None:
        self._committed.note(end_offset)

    def truncate(self, end_offset: Offset) -> None:
        self._log.truncate(end_offset)

    def drop_before(self, start_offset: Offset) -> None:
        """Whole segments go, at the next call for those whose names were waiting for a flush."""
        self._log.delete_records(start_offset)
        self._log.enforce_retention(self._clock.wall_ms(), start_offset)

    def reset_to(self, snapshot: SnapshotId) -> None:
        self._log.reset(snapshot.end_offset, wall_ms=self._clock.wall_ms())
        self._log.sync()

    def latest_snapshot(self) -> SnapshotId | None:
        return self._snapshots.latest

    def snapshot_voters(self, snapshot: SnapshotId) -> VoterSet:
        return self._snapshots.voters(snapshot)

    def snapshot_size(self, snapshot: SnapshotId) -> int | None:
        return self._snapshots.size(snapshot)

    def read_snapshot(self, snapshot: SnapshotId, position: int, size_max: int) -> bytes:
        return self._snapshots.read(snapshot, position, size_max)

    async def damage_of(self, snapshot: SnapshotId) -> str | None:
        return await self._disk.run(partial(self._snapshots.damage_of, snapshot))

    def begin_snapshot(self, snapshot: SnapshotId, voters: VoterSet | None) -> SnapshotFileWriter:
        return self._snapshots.begin(snapshot, voters)

    def close(self) -> None:
        """Give descriptors back. What is durable was durable before; the next start recovers the rest."""
        self._committed.close()
        self._snapshots.close()
        self._log.close(clean=False)


def _open(disk: Disk, path: str, wall_ms: int) -> Log:
    """On a disk thread. A stop is never taken for clean: the tail is short, and its CRCs are cheap to check."""
    if not disk.exists(path):
        log = Log.create(disk, path, CONFIG, wall_ms=wall_ms)
        log.make()
        log.sync()
        return log
    disk.sync_directory(path.rpartition("/")[0])  # a crash may have come between its making and its first flush
    # A snapshot that is newer stands for what was committed: a crash in `reset_to` may leave nothing else.
    snapshot = SnapshotFiles(disk, path).latest
    known = committed.load(disk, path)
    committed_offset = 0 if snapshot is not None and known <= snapshot.end_offset else known
    try:
        log = Log.open(disk, path, CONFIG, clean=False, wall_ms=wall_ms, committed_offset=committed_offset)
    except CorruptRecordError as error:
        raise KafkaStorageError(f"the quorum's log is damaged: {error}. {ADVICE}") from error
    if log.recovery.short_of:
        log.close(clean=False)
        raise KafkaStorageError(
            f"the quorum's log {path} ends at {log.end_offset}, and everything below {log.recovery.short_of} was "
            f"committed. {ADVICE}"
        )
    return log
