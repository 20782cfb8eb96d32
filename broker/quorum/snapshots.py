"""Snapshots of the quorum's state machine on disk: `<end offset>-<epoch>.checkpoint`, as Kafka names them (KIP-630).

    header (control) | voters (control) | the state machine's batches … | footer (control)

Offsets in the file count from 0. A file is written under another name, flushed, and renamed, so one that bears the
right name is complete; what comes from another replica is verified before that: every batch by its CRC, and that it
begins with the header and ends with the footer. The newest two are kept, because somebody may still be fetching the
older.
"""

import errno
from collections.abc import Iterator
from functools import partial

from broker.quorum.entries import voter_batch, voters_of
from kraftpy.errors import CorruptRecordError, KafkaStorageError, UnsupportedForMessageFormatError
from kraftpy.record import (
    HEADER_BYTES,
    BatchHeader,
    ControlType,
    check_batch,
    decode_control_batch,
    encode_control_batch,
    patch,
    read_header,
)
from kraftpy.runtime.ports import Disk, File
from raft.events import Epoch, Offset, SnapshotId, VoterSet
from raft.ports import SnapshotCorrupted

SUFFIX = ".checkpoint"
PART = ".part"
DAMAGED = ".damaged"
KEPT = 2
BATCH_BYTES_MAX = 64 << 20  # no writer comes near; a damaged length field may


class SnapshotFiles:
    """The snapshots in one directory."""

    def __init__(self, disk: Disk, directory: str) -> None:
        """Forgets downloads and snapshots that a crash interrupted. Raises `OSError`."""
        self._disk = disk
        self._directory = directory
        for name in disk.list(directory):
            if name.endswith(PART):
                disk.remove(f"{directory}/{name}")
        self._ids = sorted(found for name in disk.list(directory) if (found := _parse(name)) is not None)
        self._file: tuple[SnapshotId, File] | None = None  # the one that was read last
        self._begun = 0

    @property
    def latest(self) -> SnapshotId | None:
        return self._ids[-1] if self._ids else None

    @property
    def former(self) -> SnapshotId | None:
        """The one before the latest."""
        return self._ids[-2] if len(self._ids) > 1 else None

    def path(self, snapshot: SnapshotId) -> str:
        return f"{self._directory}/{snapshot.end_offset:020d}-{snapshot.epoch:010d}{SUFFIX}"

    def size(self, snapshot: SnapshotId) -> int | None:
        return self._open(snapshot).size() if snapshot in self._ids else None

    def read(self, snapshot: SnapshotId, position: int, size_max: int) -> bytes:
        return self._open(snapshot).read(size_max, position)

    def voters(self, snapshot: SnapshotId) -> VoterSet:
        """Raises `KafkaStorageError` where the file is not what was written."""
        try:
            return _head(self._open(snapshot))[1]
        except CorruptRecordError as error:
            raise KafkaStorageError(f"{self.path(snapshot)} is damaged: {error}") from error

    def damage_of(self, snapshot: SnapshotId) -> str | None:
        """Why the file is not what was written; None: it is, or it is gone. Reads all of it, on a disk thread."""
        try:
            file = self._disk.open(self.path(snapshot))
        except FileNotFoundError:
            return None
        try:
            _verify(file)
        except (CorruptRecordError, UnsupportedForMessageFormatError) as error:
            return str(error)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return error.strerror or str(error)
        finally:
            file.close()
        return None

    def begin(self, snapshot: SnapshotId, voters: VoterSet | None) -> "SnapshotFileWriter":
        """Under a name of its own: the last part of a download may still be on a disk thread when it is begun anew."""
        self._begun += 1
        path = self.path(snapshot)
        return SnapshotFileWriter(
            self._disk, self._directory, path, f"{path}.{self._begun}{PART}", voters, partial(self._add, snapshot)
        )

    def set_aside(self, snapshot: SnapshotId) -> str:
        """Be without it from now on; the name under which the file stays for whoever wants to look into it, until there
        is another one."""
        self.close()
        for former in self._disk.list(self._directory):
            if former.endswith(f"{SUFFIX}{DAMAGED}"):
                self._disk.remove(f"{self._directory}/{former}")
        name = f"{self.path(snapshot)}{DAMAGED}"
        self._disk.rename(self.path(snapshot), name)
        self._disk.sync_directory(self._directory)
        self._ids.remove(snapshot)
        return name

    def close(self) -> None:
        if self._file is not None:
            self._file[1].close()
            self._file = None

    def _open(self, snapshot: SnapshotId) -> File:
        if self._file is None or self._file[0] != snapshot:
            self.close()
            self._file = (snapshot, self._disk.open(self.path(snapshot)))
        return self._file[1]

    def _add(self, snapshot: SnapshotId) -> None:
        self.close()
        self._ids = sorted({*self._ids, snapshot})
        for old in self._ids[:-KEPT]:
            self._disk.remove(self.path(old))
        self._ids = self._ids[-KEPT:]


class SnapshotFileWriter:
    """`raft.ports.SnapshotWriter`. With `voters` the chunks are batches of our own; without, another replica's file."""

    def __init__(
        self, disk: Disk, directory: str, path: str, part: str, voters: VoterSet | None, added: "partial[None]"
    ) -> None:
        self._disk = disk
        self._directory = directory
        self._path = path
        self._part = part
        self._added = added
        self._is_own = voters is not None
        self._file: File | None = disk.open(part, create=True)
        self._size = 0
        self._records = 0
        if voters is not None:
            self.write(encode_control_batch(ControlType.SNAPSHOT_HEADER, b"", timestamp_ms=0, leader_epoch=0))
            self.write(voter_batch(voters))

    def write(self, chunk: bytes | bytearray) -> None:
        """Append a chunk; one of our own is a whole batch."""
        assert self._file is not None
        if self._is_own:
            batch = bytearray(chunk)
            patch(batch, 0, self._records, 0)
            self._records += read_header(batch).record_count
            chunk = batch
        self._file.write([chunk], self._size)
        self._size += len(chunk)

    async def finish(self) -> VoterSet:
        assert self._file is not None
        if self._is_own:
            self.write(encode_control_batch(ControlType.SNAPSHOT_FOOTER, b"", timestamp_ms=0, leader_epoch=0))
        voters = await self._disk.run(partial(self._seal, self._file))
        self._file = None
        self._added()
        return voters

    def abort(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self._disk.remove(self._part)

    def _seal(self, file: File) -> VoterSet:
        """On a disk thread: prove it whole, and give it its name."""
        try:
            voters = _verify(file)
        except (CorruptRecordError, UnsupportedForMessageFormatError) as error:
            raise SnapshotCorrupted(str(error)) from error
        file.sync()
        file.close()
        self._disk.rename(self._part, self._path)
        self._disk.sync_directory(self._directory)
        return voters


def _parse(name: str) -> SnapshotId | None:
    offset, dash, epoch = name.removesuffix(SUFFIX).partition("-")
    if not (name.endswith(SUFFIX) and dash and offset.isdecimal() and epoch.isdecimal()):
        return None
    return SnapshotId(Epoch(int(epoch)), Offset(int(offset)))


def _verify(file: File) -> VoterSet:
    position, voters = _head(file)
    last: tuple[BatchHeader, bytes] | None = None
    for header, batch in _batches(file, position):
        last = header, batch
    if last is None or not last[0].is_control or decode_control_batch(last[1])[0].type != ControlType.SNAPSHOT_FOOTER:
        raise CorruptRecordError("the snapshot has no footer")
    return voters


def _head(file: File) -> tuple[int, VoterSet]:
    """The position after the two control batches with which a snapshot begins, and its voters."""
    batches = _batches(file, 0)
    first, second = next(batches, None), next(batches, None)
    if first is None or second is None:
        raise CorruptRecordError("the snapshot is too short")
    header, batch = first
    if not header.is_control or decode_control_batch(batch)[0].type != ControlType.SNAPSHOT_HEADER:
        raise CorruptRecordError("the snapshot has no header")
    voters = voters_of(*second)
    if voters is None:
        raise CorruptRecordError("the snapshot names no voters")
    return header.size_bytes + second[0].size_bytes, voters


def _batches(file: File, position: int) -> Iterator[tuple[BatchHeader, bytes]]:
    size = file.size()
    while position < size:
        length = read_header(file.read(HEADER_BYTES, position)).size_bytes
        if length > min(size - position, BATCH_BYTES_MAX):
            raise CorruptRecordError(f"the snapshot breaks off inside the batch at byte {position}")
        batch = file.read(length, position)
        yield check_batch(batch), batch
        position += length
