"""Control batches: what brokers and the quorum write into logs about transactions and about themselves.

The record's key is a version and a type, two int16; the value depends on the type. No consumer ever gives one to its
user. Types as Kafka numbers them (KIP-98, KIP-595, KIP-630, KIP-853).
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from struct import error as StructError

from kraftpy.errors import InvalidRecordError
from kraftpy.record.builder import BatchBuilder
from kraftpy.record.header import check_batch
from kraftpy.record.reader import decode_records
from kraftpy.runtime.ports import Buffer

_KEY = Struct(">hh")
_MARKER = Struct(">hi")


class ControlType(IntEnum):
    ABORT = 0
    COMMIT = 1
    LEADER_CHANGE = 2
    SNAPSHOT_HEADER = 3
    SNAPSHOT_FOOTER = 4
    KRAFT_VERSION = 5
    KRAFT_VOTERS = 6


@dataclass(frozen=True, slots=True)
class ControlRecord:
    """One control record. `type` is a plain number where a newer node wrote one that is not known here."""

    offset: int
    timestamp_ms: int
    type: ControlType | int
    value: bytes


def encode_control_batch(
    control_type: ControlType, value: Buffer, *, timestamp_ms: int, base_offset: int = 0, leader_epoch: int = -1
) -> bytearray:
    """A batch of one control record with any value, as the quorum writes them."""
    builder = BatchBuilder()
    builder.append(timestamp_ms, _KEY.pack(0, control_type), value)
    return builder.build(base_offset, leader_epoch, control=True)


def encode_marker(
    *,
    commit: bool,
    coordinator_epoch: int,
    timestamp_ms: int,
    producer_id: int,
    producer_epoch: int,
    base_offset: int = 0,
    leader_epoch: int = -1,
) -> bytearray:
    """The batch that ends a producer's transaction in one partition."""
    builder = BatchBuilder()
    control_type = ControlType.COMMIT if commit else ControlType.ABORT
    builder.append(timestamp_ms, _KEY.pack(0, control_type), _MARKER.pack(0, coordinator_epoch))
    return builder.build(base_offset, leader_epoch, producer_id, producer_epoch, transactional=True, control=True)


def decode_control_batch(view: Buffer, position: int = 0) -> list[ControlRecord]:
    """The records of the control batch at `position`. Raises as `decode_batch`, and where a key is none of these."""
    header = check_batch(view, position, compacted=True)
    if not header.is_control:
        raise InvalidRecordError("the batch is not a control batch")
    records = []
    for record in decode_records(header, view, position):
        try:
            _, number = _KEY.unpack_from(record.key or b"")
        except StructError as error:
            raise InvalidRecordError("a control record's key is too short") from error
        control_type = ControlType(number) if number in _TYPES else number
        records.append(ControlRecord(record.offset, record.timestamp_ms, control_type, record.value or b""))
    return records


def marker_epoch(record: ControlRecord) -> int:
    """The coordinator's epoch in the value of an abort or commit marker. Raises `InvalidRecordError`."""
    if len(record.value) < _MARKER.size:
        raise InvalidRecordError("a transaction marker's value is too short")
    _, epoch = _MARKER.unpack_from(record.value)
    return int(epoch)


_TYPES = frozenset(int(control_type) for control_type in ControlType)
