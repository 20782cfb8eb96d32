"""Rot on a simulated disk: what of a log can be damaged, how, and whether a segment is whole again."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from kraftpy.errors import KraftpyError
from kraftpy.record import check_batch, iterate_headers
from simulation.checkers.replicas import written
from simulation.device import SECTOR_BYTES, Device, Directory, Inode
from simulation.fault_kinds import Fault

BAD_SECTOR = "bad-sector"
KINDS = (Fault.FLIPPED_BIT.value, Fault.STALE_BLOCK.value, Fault.MISDIRECTED_WRITE.value, BAD_SECTOR)


@dataclass(frozen=True, slots=True)
class Damaged:
    """A segment that was damaged."""

    path: str
    batches: bytes  # that it held

    @property
    def log(self) -> str:
        return self.path.split("/")[-2]

    def is_mended(self, device: Device) -> bool:
        """Whether it holds what it held, up to the next segment or, where there is none, as far as it goes by now; or
        it is gone. A checksum would not do: it covers neither a batch's leader epoch nor whose batch it is."""
        inode = device.node(self.path)
        if not isinstance(inode, Inode):
            return True
        now = written(inode.read(0, inode.size))
        common = min(len(now), len(self.batches))
        if not common or now[:common] != self.batches[:common] or inode.spoilt or any(inode.read(len(now), inode.size)):
            return False
        follows = self._next_base(device)
        return follows is None or [header.end_offset for _, header in iterate_headers(now)][-1] == follows

    def _next_base(self, device: Device) -> int | None:
        """Where the next segment of the log begins."""
        directory, _, own = self.path.rpartition("/")
        log = device.node(directory)
        names = sorted(log.entries) if isinstance(log, Directory) else []
        return next((int(name[:-4]) for name in names if name.endswith(".log") and name > own), None)


def closed_segments(device: Device, data: str, ends_before: Callable[[str], int]) -> list[str]:
    """The closed segments of logs in the directory `data` that end at or before `ends_before(log)` (`topic-0`)."""
    by_log: dict[str, list[str]] = {}
    for path, inode in device.files():
        directory, _, name = path.rpartition("/")
        home, _, log = directory.rpartition("/")
        if home == data and log[-1].isdigit() and name.endswith(".log") and inode.size:
            by_log.setdefault(directory, []).append(path)
    return [
        path
        for directory, paths in by_log.items()
        for path, following in pairwise(sorted(paths))
        if int(following.rpartition("/")[2].removesuffix(".log")) <= ends_before(directory.rpartition("/")[2])
    ]


def damage(device: Device, closed: list[str], kind: str, random: Random) -> Damaged:
    """Damage one of these files, so that it can be told from what it holds: whole batches of another log that have its
    very offsets would pass for its own, since nothing in Kafka's format says whose a batch is."""
    path = random.choice(closed)
    inode = device.file(path)
    damaged = Damaged(path, written(inode.read(0, inode.size)))
    match kind:
        case Fault.FLIPPED_BIT.value:
            device.flip_bit(path)
        case Fault.STALE_BLOCK.value:
            device.replace_block(path, random.randrange(0, inode.size, SECTOR_BYTES), bytes(SECTOR_BYTES))
        case Fault.MISDIRECTED_WRITE.value:
            other = device.file(random.choice(closed))
            data = other.read(random.randrange(0, other.size, SECTOR_BYTES), SECTOR_BYTES)
            position = random.randrange(0, inode.size, SECTOR_BYTES)
            device.replace_block(path, position, data)
            if is_whole(inode):
                device.replace_block(path, position, bytes(SECTOR_BYTES))
        case _:
            device.spoil(path)
    return damaged


def is_whole(inode: Inode) -> bool:
    """Whether every batch is intact, up to the room that is reserved behind them."""
    data = written(inode.read(0, inode.size))
    position, expected = 0, -1
    try:
        while position < len(data):
            header = check_batch(data, position)
            if expected not in (-1, header.base_offset):
                return False
            position, expected = position + header.size_bytes, header.end_offset
    except KraftpyError:
        return False
    return not inode.spoilt and not any(inode.read(position, inode.size))
