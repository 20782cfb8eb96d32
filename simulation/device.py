"""The medium below a simulated disk: what is in the page cache, what is durable, and what a power failure leaves.

A file has `content` (what every reader sees) and `durable` (what the medium holds); `journal` lists the changes between
them, in order, and is emptied by a sync. A directory likewise has `entries` and `durable` entries, with the pending
operations (a rename is one) kept in order by the device and made durable by `sync_directory` of a directory concerned.
A crash applies to `durable` what its mode says of the pending changes, drops the rest, and that is the new content.

Rules, stricter than most file systems so that nothing is relied on that POSIX does not promise: a file that was synced
but whose directory was not may be gone; changes of different files, and of files and directories, reach the medium in
any order; a write is torn at sectors of 512 bytes.
"""

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from random import Random

from simulation.loop import NodeCrashed, SimulationError

SECTOR_BYTES = 512
BLOCK_BYTES = 4096


class CrashMode(Enum):
    """What becomes of changes that were not synced."""

    LOST = "lost"  # all of them
    KEPT = "kept"  # none: the kernel had just written everything back
    PREFIX = "prefix"  # per file, the first few reached the medium, and the next one in part
    SCATTERED = "scattered"  # every block for itself, some of them torn


class DiskFault(Enum):
    """Faults to arm by `Device.arm`; each hits the next operation that it fits."""

    SYNC_FAILURE = "fsync fails (EIO); the pages are then clean, and the next fsync succeeds without them"
    FULL = "no space left (ENOSPC)"
    READ_ERROR = "a read fails (EIO)"
    WRITE_ERROR = "a write fails (EIO)"
    STALE_BLOCK = "a block of the next sync never reaches the medium and is read back as it was before"
    MISDIRECTED_WRITE = "a block of the next sync lands on another block of the file"


class MappedFileShrunk(SimulationError):
    """A file was cut below a range that is mapped: on a real machine the next touch kills the process (SIGBUS)."""


class Inode:
    """A file's bytes. `content` may be longer than `size`; what lies beyond is zero."""

    __slots__ = ("content", "durable", "identity", "journal", "mappings", "reserved", "size", "spoilt", "version")

    def __init__(self, identity: int) -> None:
        self.identity = identity
        self.content = bytearray()
        self.size = 0
        self.durable = bytearray()
        self.version = 0  # rises whenever `durable` may have changed
        self.journal: list[tuple[int, bytes | None]] = []  # (position, data), or (length, None) for a new length
        self.reserved = 0  # bytes for which space was taken
        self.spoilt: dict[int, None] = {}  # sectors that cannot be read until they are written again
        self.mappings: list[Mapping] = []

    def resize(self, length: int) -> None:
        """Truncate or extend by zeros."""
        self.fold_mappings()
        if length < self.size:
            for mapping in self.mappings:
                if -length // BLOCK_BYTES * -BLOCK_BYTES < mapping.length:
                    raise MappedFileShrunk(f"cut to {length} bytes while {mapping.length} are mapped")
                mapping.put(length, bytes(max(0, mapping.length - length)))
            self.content[length : self.size] = bytes(self.size - length)
            for sector in [sector for sector in self.spoilt if sector * SECTOR_BYTES >= length]:
                del self.spoilt[sector]  # the file has it no more
        else:
            self._make_room(length)
        self.size = length
        self.journal.append((length, None))

    def write(self, position: int, data: bytes) -> None:
        end = position + len(data)
        for sector in [sector for sector in self.spoilt if position <= sector * SECTOR_BYTES < end]:
            del self.spoilt[sector]  # the device puts another one in its place
        if self.mappings:
            self.fold_mappings()
        self._make_room(end)
        self.content[position:end] = data
        self.size = max(self.size, end)
        self.journal.append((position, data))
        for mapping in self.mappings:
            mapping.put(position, data)

    def is_spoilt(self, position: int, length: int) -> bool:
        """Whether a read would meet a sector that cannot be read."""
        end = min(position + length, self.size)
        return any(position < (sector + 1) * SECTOR_BYTES and sector * SECTOR_BYTES < end for sector in self.spoilt)

    def read(self, position: int, length: int) -> bytes:
        self.fold_mappings()
        return bytes(self.content[position : min(position + length, self.size)])

    def holds_data(self, position: int) -> bool:
        """Whether anything but zeros stands there or behind."""
        return self.size > position and self.content[position : self.size] != bytes(self.size - position)

    def fold_mappings(self) -> None:
        """Note what was written through mappings as changes not yet synced."""
        for mapping in self.mappings:
            if mapping.seen is not None:
                mapping.fold()

    def persist(self) -> None:
        """All changes reach the medium."""
        self.fold_mappings()
        self.version += bool(self.journal)
        for change in self.journal:
            apply_change(self.durable, *change)
        self.journal.clear()

    def forget_pending(self) -> None:
        """The page cache calls itself clean although the medium never got the changes (a failed fsync)."""
        self.fold_mappings()
        self.journal.clear()

    def reload(self) -> None:
        """The content is read from the medium again."""
        self.content = bytearray(self.durable)
        self.size = len(self.durable)
        self.journal.clear()
        self.mappings.clear()

    def _make_room(self, length: int) -> None:
        if length > len(self.content):
            grown = bytearray(max(length, 2 * len(self.content), 256))
            grown[: self.size] = memoryview(self.content)[: self.size]
            self.content = grown


class Mapping:
    """A mapped range: a buffer of its own, so that its exports can be told from others', kept equal to the content.

    A writable one keeps a copy of what was last seen, since a view tells nobody of a write.
    """

    __slots__ = ("buffer", "inode", "length", "seen")

    def __init__(self, inode: Inode, length: int, writable: bool) -> None:
        inode.fold_mappings()
        self.inode = inode
        self.length = length
        self.buffer = inode.content[:length]
        self.seen = bytearray(self.buffer) if writable else None
        inode.mappings.append(self)

    def put(self, position: int, data: bytes) -> None:
        """Something was written by `write` or `resize`: show it here too."""
        part = memoryview(data)[: max(0, self.length - position)]
        end = position + len(part)
        memoryview(self.buffer)[position:end] = part
        if self.seen is not None:
            self.seen[position:end] = part

    def fold(self) -> None:
        assert self.seen is not None
        if self.buffer == self.seen:
            return
        now = memoryview(self.buffer)
        for start in range(0, self.length, SECTOR_BYTES):
            end = min(start + SECTOR_BYTES, self.length)
            data = bytes(now[start:end])
            if data == self.seen[start:end]:
                continue
            self.seen[start:end] = data
            self.inode.content[start:end] = data
            self.inode.journal.append((start, data))
            for other in self.inode.mappings:
                if other is not self:
                    other.put(start, data)

    def close(self) -> None:
        if self in self.inode.mappings:
            self.inode.fold_mappings()
            self.inode.mappings.remove(self)


class Directory:
    __slots__ = ("__weakref__", "durable", "entries", "version")

    def __init__(self) -> None:
        self.entries: dict[str, Node] = {}
        self.durable: dict[str, Node] = {}
        self.version = 0  # rises whenever `durable` changes


Node = Inode | Directory


@dataclass(frozen=True, slots=True)
class EntryChange:
    directory: Directory
    name: str
    node: Node | None  # None: the name is gone


class Device:
    """One node's medium; it outlives the node's lives. `random` decides what a crash keeps and where faults hit."""

    def __init__(self, random: Random, *, capacity_bytes: int | None = None) -> None:
        self.random = random
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self.operations = 0  # changes so far: writes, syncs, renames and so on
        self.crash_at_operation: int | None = None  # crash before the operation of this number (the first is 1)
        self.on_crash_point: Callable[[], None] | None = None
        self.on_event: Callable[..., None] | None = None
        self.injected: dict[DiskFault, int] = {}
        self.root = Directory()
        self.locks: dict[str, object] = {}
        self.slowness = 1.0
        self.slow_until_us = 0
        """When the last of what was begun while it was slow ends."""
        self._pending: list[tuple[EntryChange, ...]] = []
        self._armed: list[tuple[DiskFault, str, int]] = []
        self._inodes = 0

    # --- faults ------------------------------------------------------------------------------------------------------

    def arm(self, fault: DiskFault, path_part: str = "", times: int = 1) -> None:
        """Let `fault` hit the next `times` operations on paths that contain `path_part`."""
        self._armed.append((fault, path_part, times))

    def disarm(self) -> None:
        self._armed.clear()

    def fires(self, fault: DiskFault, path: str) -> bool:
        for index, (armed, part, times) in enumerate(self._armed):
            if armed is fault and part in path:
                if times > 1:
                    self._armed[index] = (armed, part, times - 1)
                else:
                    del self._armed[index]
                self.note_fault(fault, path)
                return True
        return False

    def note_fault(self, fault: DiskFault, path: str) -> None:
        self.injected[fault] = self.injected.get(fault, 0) + 1
        self.event("disk-fault", fault.name, path)

    def flip_bit(self, path: str, position: int | None = None) -> int:
        """Flip one bit of a file, on the medium and in the cache; gives the position of the byte."""
        inode = self.file(path)
        inode.persist()
        assert inode.size, "an empty file has no bit to flip"
        position = self.random.randrange(inode.size) if position is None else position
        flipped = bytes([inode.content[position] ^ (1 << self.random.randrange(8))])
        inode.write(position, flipped)
        inode.persist()
        self.event("disk-fault", "BIT_FLIP", path, position)
        return position

    def replace_block(self, path: str, position: int, data: bytes) -> None:
        """Put `data` there, on the medium and in the cache, as a stale or misdirected block does; the length stays."""
        inode = self.file(path)
        inode.persist()
        inode.write(position, data[: max(0, inode.size - position)])
        inode.persist()
        self.event("disk-fault", "BLOCK", path, position)

    def spoil(self, path: str, position: int | None = None) -> int:
        """Let a sector of a file be unreadable (EIO), until it is written again; gives its position."""
        inode = self.file(path)
        inode.persist()
        assert inode.size, "an empty file has no sector to spoil"
        position = self.random.randrange(inode.size) if position is None else position
        inode.spoilt[position // SECTOR_BYTES] = None
        self.event("disk-fault", "BAD_SECTOR", path, position)
        return position // SECTOR_BYTES * SECTOR_BYTES

    def wipe(self) -> None:
        """A new, empty disk."""
        self.root = Directory()
        self._pending.clear()
        self.locks.clear()
        self.used_bytes = 0
        self.event("disk-wiped")

    # --- changes -----------------------------------------------------------------------------------------------------

    def count_operation(self) -> None:
        """Every change passes here first, so that a test can crash before any of them."""
        self.operations += 1
        if self.crash_at_operation is not None and self.operations >= self.crash_at_operation:
            self.crash_at_operation = None
            if self.on_crash_point is not None:
                self.on_crash_point()
            raise NodeCrashed(f"crash point at operation {self.operations}")

    def reserve(self, inode: Inode, end: int, path: str) -> None:
        """Take space for the file up to `end`, or raise ENOSPC with nothing taken."""
        more = end - inode.reserved
        if more <= 0:
            return
        over = self.capacity_bytes is not None and self.used_bytes + more > self.capacity_bytes
        if over or self.fires(DiskFault.FULL, path):
            raise OSError(errno.ENOSPC, "No space left on device", path)
        inode.reserved = end
        self.used_bytes += more

    def release(self, inode: Inode, end: int) -> None:
        if inode.reserved > end:
            self.used_bytes -= inode.reserved - end
            inode.reserved = end

    def sync(self, inode: Inode, path: str) -> None:
        self.count_operation()
        if self.fires(DiskFault.SYNC_FAILURE, path):
            inode.forget_pending()
            raise OSError(errno.EIO, "Input/output error", path)
        inode.fold_mappings()
        before = None
        if self._armed and inode.journal:
            if self.fires(DiskFault.STALE_BLOCK, path):
                before, misdirected = bytes(inode.durable), False
            elif self.fires(DiskFault.MISDIRECTED_WRITE, path):
                before, misdirected = bytes(inode.durable), True
        written = [position for position, data in inode.journal if data]
        inode.persist()
        if before is not None and written:
            self._damage_block(inode, before, self.random.choice(written) // BLOCK_BYTES, misdirected)

    def _damage_block(self, inode: Inode, before: bytes, block: int, misdirected: bool) -> None:
        """Give `block` back the bytes that it had, and, misdirected, put its new ones where they do not belong."""
        start = block * BLOCK_BYTES
        length = min(BLOCK_BYTES, inode.size - start)
        new = inode.read(start, length)
        if misdirected and inode.size > BLOCK_BYTES:
            other = self.random.randrange(inode.size // BLOCK_BYTES) * BLOCK_BYTES
            inode.write(other, new[: inode.size - other])
        inode.write(start, before[start : start + length].ljust(length, b"\0"))
        inode.persist()

    def new_inode(self) -> Inode:
        self._inodes += 1
        return Inode(self._inodes)

    def change_entries(self, *changes: EntryChange) -> None:
        """One atomic change of names, visible at once, durable by `sync_directory`."""
        for change in changes:
            if change.node is None:
                change.directory.entries.pop(change.name, None)
            else:
                change.directory.entries[change.name] = change.node
        self._pending.append(changes)

    def sync_directory(self, directory: Directory) -> None:
        self.count_operation()
        rest = []
        for changes in self._pending:
            if any(change.directory is directory for change in changes):
                _make_durable(changes)
            else:
                rest.append(changes)
        self._pending = rest

    def process_ended(self) -> None:
        """The process is gone, the machine is not: locks and mappings go, unsynced changes stay in the page cache,
        still to be lost by a later power failure."""
        self.locks.clear()
        self.crash_at_operation = None
        for _, inode in self.files():
            inode.fold_mappings()
            inode.mappings.clear()

    # --- the crash ---------------------------------------------------------------------------------------------------

    def crash(self, mode: CrashMode | None = None) -> CrashMode:
        """Power fails: decide what of the unsynced changes is left, and reload."""
        mode = self.random.choice(list(CrashMode)) if mode is None else mode
        self.locks.clear()
        self.crash_at_operation = None
        for _, inode in self.files():
            inode.fold_mappings()
        for changes in self._surviving_entries(mode):
            _make_durable(changes)
        self._pending.clear()
        _reload_entries(self.root)
        self.used_bytes = 0
        for _, inode in self.files():
            self._crash_file(inode, mode)
            inode.reserved = inode.size
            self.used_bytes += inode.size
        self.event("disk-crash", mode.value)
        return mode

    def _surviving_entries(self, mode: CrashMode) -> list[tuple[EntryChange, ...]]:
        match mode:
            case CrashMode.LOST:
                return []
            case CrashMode.KEPT:
                return self._pending
            case CrashMode.PREFIX:
                return self._pending[: self.random.randint(0, len(self._pending))]
            case CrashMode.SCATTERED:
                return [changes for changes in self._pending if self.random.random() < 0.5]

    def _crash_file(self, inode: Inode, mode: CrashMode) -> None:
        inode.version += 1
        if mode is CrashMode.KEPT:
            inode.persist()
        elif mode is CrashMode.PREFIX and inode.journal:
            kept = self.random.randint(0, len(inode.journal))
            for change in inode.journal[:kept]:
                apply_change(inode.durable, *change)
            for position, data in inode.journal[kept : kept + 1]:
                if data:
                    self._tear(inode.durable, position, data)
        elif mode is CrashMode.SCATTERED:
            for position, data in inode.journal:
                for start, part in _blocks(position, data):
                    draw = self.random.random()
                    if draw < 0.4:
                        apply_change(inode.durable, start, part)
                    elif draw < 0.6 and part:
                        self._tear(inode.durable, start, part)
        inode.reload()

    def _tear(self, durable: bytearray, position: int, data: bytes) -> None:
        """Let some sectors of a write reach the medium: the first few, or any."""
        sectors = list(_split(position, data, SECTOR_BYTES))
        if self.random.random() < 0.5:
            sectors = sectors[: self.random.randint(0, len(sectors))]
        else:
            sectors = [sector for sector in sectors if self.random.random() < 0.5]
        for start, part in sectors:
            apply_change(durable, start, part)

    # --- looking -----------------------------------------------------------------------------------------------------

    def files(self) -> Iterator[tuple[str, Inode]]:
        """Every file with its path, in the order of names."""
        yield from _walk(self.root, "")

    def node(self, path: str) -> Node | None:
        node: Node | None = self.root
        for name in path.split("/"):
            if name:
                node = node.entries.get(name) if isinstance(node, Directory) else None
        return node

    def file(self, path: str) -> Inode:
        node = self.node(path)
        if not isinstance(node, Inode):
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        return node

    def event(self, kind: str, *details: object) -> None:
        if self.on_event is not None:
            self.on_event(kind, *details)


def apply_change(durable: bytearray, position: int, data: bytes | None) -> None:
    """Apply one change of a journal."""
    if data is None:
        if position < len(durable):
            del durable[position:]
        else:
            durable.extend(bytes(position - len(durable)))
        return
    if position > len(durable):
        durable.extend(bytes(position - len(durable)))
    durable[position : position + len(data)] = data


def _split(position: int, data: bytes, unit: int) -> Iterator[tuple[int, bytes]]:
    """Cut a write at multiples of `unit`."""
    start = 0
    while start < len(data):
        end = min(len(data), start + unit - (position + start) % unit)
        yield position + start, data[start:end]
        start = end


def _blocks(position: int, data: bytes | None) -> Iterator[tuple[int, bytes | None]]:
    if data is None:
        yield position, None
    else:
        yield from _split(position, data, BLOCK_BYTES)


def _make_durable(changes: tuple[EntryChange, ...]) -> None:
    for change in changes:
        change.directory.version += 1
        if change.node is None:
            change.directory.durable.pop(change.name, None)
        else:
            change.directory.durable[change.name] = change.node


def _reload_entries(directory: Directory) -> None:
    directory.entries = dict(directory.durable)
    for node in directory.entries.values():
        if isinstance(node, Directory):
            _reload_entries(node)


def _walk(directory: Directory, path: str) -> Iterator[tuple[str, Inode]]:
    for name in sorted(directory.entries):
        node = directory.entries[name]
        if isinstance(node, Directory):
            yield from _walk(node, f"{path}/{name}")
        else:
            yield f"{path}/{name}", node
