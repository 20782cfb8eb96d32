"""What the media of a cluster hold of its logs, read again only where a file has changed.

A witness looks at every disk many times a virtual second; most segments are closed, and stay as they are.
"""

from collections.abc import Mapping, Sequence

from kraftpy.errors import KraftpyError
from kraftpy.record import BatchHeader, iterate_headers
from simulation.checkers.replicas import written
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
        if not inode.durable.startswith(self.written):
            return False
        added = written(bytes(inode.durable[len(self.written) :]))
        try:
            for _, header in iterate_headers(added):
                self.headers.append(header)
        except KraftpyError:
            pass  # a header that cannot be: what lies there is not durable, as whoever looks for it will find
        self.written += added
        self.version = inode.version
        return True


class DurableLogs:
    """`data` are the log directories of every host."""

    def __init__(self, data: Sequence[str]) -> None:
        self._data = data
        self._known: dict[tuple[str, int], Segment] = {}

    def logs(self, devices: Mapping[str, Device]) -> dict[str, dict[str, list[Segment]]]:
        """By host and log: its segments that hold batches, in their order.

        Of two logs of one name, which there are in the middle of a move between directories, the one that goes further:
        the one that the next life would take.
        """
        known, self._known = self._known, {}
        return {host: self._logs_of(host, device, known) for host, device in devices.items()}

    def _logs_of(self, host: str, device: Device, known: dict[tuple[str, int], Segment]) -> dict[str, list[Segment]]:
        found: dict[str, list[Segment]] = {}
        for path in self._data:
            directory: object = device.root
            for name in path.strip("/").split("/"):
                directory = directory.durable.get(name) if isinstance(directory, Directory) else None
            for name, log in directory.durable.items() if isinstance(directory, Directory) else ():
                if isinstance(log, Directory):
                    segments = self._segments(host, log, known)
                    if name not in found or _reach(segments) > _reach(found[name]):
                        found[name] = segments
        return found

    def _segments(self, host: str, log: Directory, known: dict[tuple[str, int], Segment]) -> list[Segment]:
        segments = []
        for name in sorted(name for name in log.durable if name.endswith(".log")):
            inode = log.durable[name]
            if isinstance(inode, Inode):
                place = (host, inode.identity)
                segment = known.get(place) or Segment()
                if segment.version != inode.version and not segment.grow(inode):
                    segment = Segment()
                    segment.grow(inode)
                self._known[place] = segment
                if segment.headers:
                    segments.append(segment)
        return segments


def _reach(segments: list[Segment]) -> tuple[int, int]:
    return (segments[-1].headers[-1].leader_epoch, segments[-1].end_offset) if segments else (-1, -1)
