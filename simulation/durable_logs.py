"""What the media of a cluster hold of its logs, read again only where a file has changed.

A witness looks at every disk many times a virtual second; most segments are closed, and stay as they are.

Invariant: what is given is what reading everything anew would give. A directory and a file have versions, which rise
with whatever becomes durable in them, so an equal version means that nothing has to be read.
"""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from kraftpy.errors import KraftpyError
from kraftpy.record import BatchHeader, check_batch
from simulation.checkers.replicas import written_end
from simulation.device import Device, Directory, Inode


class Segment:
    """The batches of one segment as they are durable. It grows with its file; a file that was otherwise changed gets
    another one."""

    __slots__ = ("agreed", "agreed_with", "headers", "version", "written")

    def __init__(self) -> None:
        self.version = -1
        self.headers: list[BatchHeader] = []
        self.written = b""  # what `headers` were read from
        self.agreed = 0  # of `headers`, how many a reader has found right
        self.agreed_with: object = None  # … when it compared them with this

    @property
    def base_offset(self) -> int:
        return self.headers[0].base_offset

    @property
    def end_offset(self) -> int:
        return self.headers[-1].end_offset

    def grow(self, inode: Inode) -> bool:
        """Read what was added, up to damage; False where the file does not go on from what was read."""
        durable, start = inode.durable, len(self.written)
        if not durable.startswith(self.written):
            return False
        added, end = bytes(durable[start : written_end(durable, start)]), 0
        try:
            while end < len(added):
                header = check_batch(added, end, compacted=True)
                self.headers.append(header)
                end += header.size_bytes
        except KraftpyError:
            pass  # cut off or damaged: what lies there is not durable, as whoever looks for it will find
        self.written += added[:end]
        self.version = inode.version
        return True


class DurableLog:
    """One log: its segments that hold batches, in their order. `changes` rises whenever they have changed."""

    __slots__ = ("_endings", "_files", "_version", "changes", "segments")

    def __init__(self, endings: tuple[str, ...] = (".log",)) -> None:
        self._endings = endings
        self.segments: list[Segment] = []
        self.changes = 0
        self._files: list[tuple[Inode, Segment]] = []  # in the order of their names
        self._version = -1  # of the directory, when they were listed

    @property
    def reach(self) -> tuple[int, int]:
        """The epoch and the end of its last batch."""
        last = self.segments[-1] if self.segments else None
        return (-1, -1) if last is None else (last.headers[-1].leader_epoch, last.end_offset)

    def read(self, directory: Directory) -> None:
        """Read what has changed."""
        is_changed = directory.version != self._version
        if is_changed:
            known = dict(self._files)
            names = sorted(name for name in directory.durable if name.endswith(self._endings))
            inodes = [node for name in names if isinstance(node := directory.durable[name], Inode)]
            self._files = [(inode, known.get(inode) or Segment()) for inode in inodes]
            self._version = directory.version
        for number, (inode, segment) in enumerate(self._files):
            if segment.version != inode.version:
                is_changed = True
                if not segment.grow(inode):
                    segment = Segment()
                    segment.grow(inode)
                    self._files[number] = (inode, segment)
        if is_changed:
            self.segments = [segment for _, segment in self._files if segment.headers]
            self.changes += 1


NONE = DurableLog()


class DurableLogs:
    """`data` are the log directories of every host. `endings`: of the names of segments."""

    def __init__(self, data: Sequence[str], endings: tuple[str, ...] = (".log",)) -> None:
        self._endings = endings
        self._homes = [[name for name in path.split("/") if name] for path in data]
        self._known: WeakKeyDictionary[Directory, DurableLog] = WeakKeyDictionary()

    def log(self, device: Device, name: str) -> DurableLog:
        """The log of that name (`topic-0`) on a medium; an empty one where there is none.

        Of two, which there are in the middle of a move between directories, the one that goes further: the one that the
        next life would take.
        """
        furthest = NONE
        for home in self._homes:
            directory = _durable_directory(device, (*home, name))
            if directory is not None:
                log = self._known.get(directory)
                if log is None:
                    log = self._known[directory] = DurableLog(self._endings)
                log.read(directory)
                if furthest is NONE or log.reach > furthest.reach:
                    furthest = log
        return furthest


def _durable_directory(device: Device, names: Sequence[str]) -> Directory | None:
    node: object = device.root
    for name in names:
        node = node.durable.get(name) if isinstance(node, Directory) else None
    return node if isinstance(node, Directory) else None
