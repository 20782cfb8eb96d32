"""The format of `.snapshot` files, which is Kafka's `ProducerSnapshot` version 1; pure.

version int16 · CRC32C uint32 of all that follows · count int32 · entries of 46 bytes
"""

from collections.abc import Iterable
from struct import Struct

from kraftpy.record.checksum import crc32c
from log_store.producer_state import ProducerEntry

VERSION = 1

_HEAD = Struct(">hI")
_COUNT = Struct(">i")
_ENTRY = Struct(">qhiqiqiq")  # the fields of ProducerEntry, in their order


class CorruptSnapshotError(ValueError):
    """A producer snapshot does not parse; it can be done without, at the price of a longer scan."""


def encode_snapshot(entries: Iterable[ProducerEntry]) -> bytes:
    packed = [_ENTRY.pack(*entry) for entry in entries]
    body = _COUNT.pack(len(packed)) + b"".join(packed)
    return _HEAD.pack(VERSION, crc32c(body)) + body


def decode_snapshot(data: bytes) -> list[ProducerEntry]:
    body = memoryview(data)[_HEAD.size :]
    if len(body) < _COUNT.size:
        raise CorruptSnapshotError("a producer snapshot is too short")
    version, crc = _HEAD.unpack_from(data)
    if version != VERSION:
        raise CorruptSnapshotError(f"a producer snapshot has version {version}, expected {VERSION}")
    if crc != crc32c(body):
        raise CorruptSnapshotError("a producer snapshot does not match its checksum")
    (count,) = _COUNT.unpack_from(body)
    if len(body) != _COUNT.size + count * _ENTRY.size:
        raise CorruptSnapshotError(f"a producer snapshot of {count} entries has {len(body)} bytes")
    return [ProducerEntry(*fields) for fields in _ENTRY.iter_unpack(body[_COUNT.size :])]
