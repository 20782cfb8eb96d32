"""Replicas that answer what they are told to, and remember what they were asked."""

from typing import cast

from broker.replication.fetch_types import FetchAnswer, FetchQuery, FoundOffset, OffsetsQuery
from kraftpy.runtime.ports import Buffer, File, FileSlice, FrameParts


class FakeReplicas:
    def __init__(self, answer: FetchAnswer | None = None) -> None:
        self.answer = answer or FetchAnswer([])
        self.fetches: list[FetchQuery] = []
        self.offset_queries: list[OffsetsQuery] = []

    async def fetch(self, query: FetchQuery) -> FetchAnswer:
        self.fetches.append(query)
        return self.answer

    async def list_offsets(self, query: OffsetsQuery) -> list[FoundOffset]:
        self.offset_queries.append(query)
        return [FoundOffset(target, None, 100 + index, 5, 2) for index, target in enumerate(query.partitions)]


class _MemoryFile:
    """The reading half of a file."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def path(self) -> str:
        return "/memory"

    def size(self) -> int:
        return len(self._data)

    def read(self, length: int, position: int) -> bytes:
        return self._data[position : position + length]

    def is_cached(self, length: int, position: int) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError("a file in memory has no descriptor")


def range_of(data: bytes, position: int, length: int) -> FileSlice:
    """A range of a file of `data`, of which only the reading half is there."""
    return FileSlice(cast(File, _MemoryFile(data)), position, length)


def join(parts: FrameParts) -> bytes:
    """What would go over the wire."""
    return b"".join(_bytes_of(part) for part in parts)


def _bytes_of(part: Buffer | FileSlice) -> Buffer:
    return part.file.read(part.length, part.position) if isinstance(part, FileSlice) else part
