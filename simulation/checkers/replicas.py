"""Do the replicas of a partition hold the same records? Compared batch by batch, as their logs stand on disk.

Two logs of one lineage have the same batch, byte for byte, at every offset that both hold (reliability.md, invariant
9). Where one ends earlier or starts later, nothing is said: that is a follower that lags, or retention. Nor of what
lies below the log's start and is not removed yet: a replica that comes back when the leader has deleted all that it
has keeps what it had, and nobody reads that.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kraftpy.record import BatchHeader, iterate_headers
from kraftpy.record.checksum import crc32c
from kraftpy.record.header import CRC_START


@dataclass(frozen=True, slots=True)
class Divergence:
    """Two replicas that differ, and where they first do."""

    partition: str
    offset: int
    one: str
    other: str
    detail: str

    def __str__(self) -> str:
        return f"{self.partition}: {self.one} and {self.other} differ from offset {self.offset} on: {self.detail}"


def headers_of(segments: Sequence[bytes]) -> list[BatchHeader]:
    """The batches of a log from its segments' bytes, each with the checksum that it has, whatever it says; blocks
    reserved behind the last one are left out."""
    return [
        header._replace(crc=crc32c(data[position + CRC_START : position + header.size_bytes]))
        for data in map(written, segments)
        for position, header in iterate_headers(data)
    ]


def written(segment: bytes) -> bytes:
    """Without the zeros of reserved blocks: a batch's length is never zero."""
    return segment[: written_end(segment)]


def written_end(segment: bytes | bytearray, position: int = 0) -> int:
    """Where the reserved blocks begin, looked for from the boundary of a batch on."""
    size = len(segment)
    while position + 12 <= size and (length := int.from_bytes(segment[position + 8 : position + 12])) > 0:
        position += 12 + length
    return min(position, size)


def compare_replicas(
    partition: str, replicas: Mapping[str, Sequence[BatchHeader]], log_start: int = 0
) -> Iterator[Divergence]:
    """Compare each replica with the first one, from `log_start` on."""
    names = list(replicas)
    for other in names[1:]:
        found = _first_difference(replicas[names[0]], replicas[other], log_start)
        if found is not None:
            yield Divergence(partition, found[0], names[0], other, found[1])


def _first_difference(
    one: Sequence[BatchHeader], other: Sequence[BatchHeader], log_start: int
) -> tuple[int, str] | None:
    if not one or not other:
        return None
    start = max(one[0].base_offset, other[0].base_offset, log_start)
    end = min(one[-1].end_offset, other[-1].end_offset)
    left = [header for header in one if header.end_offset > start and header.base_offset < end]
    right = [header for header in other if header.end_offset > start and header.base_offset < end]
    for mine, theirs in zip(left, right, strict=False):
        if mine != theirs:
            return min(mine.base_offset, theirs.base_offset), f"{_show(mine)} is not {_show(theirs)}"
    if len(left) != len(right):
        return end, f"{len(left)} batches are not {len(right)}"
    return None


def _show(header: BatchHeader) -> str:
    return f"[{header.base_offset}, {header.end_offset}) epoch {header.leader_epoch} crc {header.crc:#010x}"
