"""What was sent, acknowledged and read, record by record, and everything that is wrong with it. Pure.

Every key counts its own records: 0, 1, 2, …; key and number stand in the record. A reader goes through each partition
from its first offset, so that a gap, a step back, a repetition or a swap shows at the record where it happens; what was
acknowledged and never read shows in the end.

A record that was sent and not acknowledged may be there or not, and both are right.
"""

from array import array
from dataclasses import dataclass, field

FINDINGS_MAX = 20
_ABSENT = -1
_PARTITION_SHIFT = 48  # a place is one number: the partition above, the offset below


@dataclass(slots=True)
class _Key:
    """One key's records by number."""

    acknowledged: "array[int]" = field(default_factory=lambda: array("q"))  # their places; an offset may be unknown
    read: "array[int]" = field(default_factory=lambda: array("q"))
    is_acknowledged: bytearray = field(default_factory=bytearray)
    last_acknowledged: int = -1
    last_read: int = -1
    partition: int | None = None


class Ledger:
    """See the module's docstring. Callers keep threads apart."""

    def __init__(self, keys: int) -> None:
        self._keys = [_Key() for _ in range(keys)]
        self._next_offset: dict[int, int] = {}  # by partition: what a reader must see next
        self.findings: list[str] = []
        self.sent = self.acknowledged = self.failed = self.read = 0

    # --- writing ------------------------------------------------------------------------------------------------------

    def send(self, key: int) -> bytes:
        """The value of this key's next record."""
        record = self._keys[key]
        number = len(record.acknowledged)
        record.acknowledged.append(_ABSENT)
        record.read.append(_ABSENT)
        record.is_acknowledged.append(0)
        self.sent += 1
        return value_of(key, number)

    def acknowledge(self, key: int, number: int, partition: int, offset: int) -> None:
        """This record was delivered there; offset -1 where only a repetition was answered."""
        record = self._keys[key]
        if record.is_acknowledged[number]:
            self._find(f"key {key}: record {number} was acknowledged twice")
        if number <= record.last_acknowledged:
            self._find(f"key {key}: record {number} was acknowledged after {record.last_acknowledged}")
        record.is_acknowledged[number] = 1
        record.last_acknowledged = number
        if offset >= 0:
            record.acknowledged[number] = _place(partition, offset)
        self.acknowledged += 1

    def fail(self, key: int, number: int) -> None:
        """This record was given up; it may be there all the same."""
        self.failed += 1

    # --- reading ------------------------------------------------------------------------------------------------------

    def see(self, partition: int, offset: int, key: bytes | None, value: bytes | None) -> None:
        """One record was read, the next of its partition."""
        self.read += 1
        expected = self._next_offset.get(partition, 0)
        if offset != expected:
            self._find(f"partition {partition}: offset {offset} was read where {expected} comes next")
        self._next_offset[partition] = offset + 1
        named = _named(key, value)
        if named is None or named[0] >= len(self._keys) or named[1] >= len(self._keys[named[0]].read):
            self._find(f"partition {partition}, offset {offset}: nobody sent {key!r}: {value!r:.80}")
            return
        self._see(partition, offset, *named)

    def _see(self, partition: int, offset: int, index: int, number: int) -> None:
        record = self._keys[index]
        where = f"partition {partition}, offset {offset}: key {index}, record {number}"
        if record.partition not in (None, partition):
            self._find(f"{where}: the key's others are in partition {record.partition}")
        record.partition = partition
        if record.read[number] != _ABSENT:
            self._find(f"{where} was read at {_told(record.read[number])} already")
        elif number < record.last_read:
            self._find(f"{where} comes after {record.last_read}")
        record.last_read = max(number, record.last_read)
        record.read[number] = _place(partition, offset)

    def confirm(self, partition: int, offset: int, key: bytes | None, value: bytes | None) -> None:
        """Another reader, which began at the first offset again, must find everything where the first one did."""
        named = _named(key, value)
        if named is None or self._keys[named[0]].read[named[1]] != _place(partition, offset):
            self._find(
                f"partition {partition}, offset {offset} read again: {key!r}: {value!r:.80} was not there before"
            )

    def has_read_up_to(self, ends: dict[int, int]) -> bool:
        """Whether a reader has seen everything below these ends, by partition."""
        return all(self._next_offset.get(partition, 0) >= end for partition, end in ends.items())

    def judge(self) -> list[str]:
        """Everything that is wrong, once everything has been read; at most `FINDINGS_MAX` sentences."""
        for index, record in enumerate(self._keys):
            for number, place in enumerate(record.read):
                if not record.is_acknowledged[number]:
                    continue
                told = record.acknowledged[number]
                if place == _ABSENT:
                    self._find(f"key {index}: record {number}, acknowledged at {_told(told)}, is lost")
                elif told not in (_ABSENT, place):
                    self._find(f"key {index}: record {number}, acknowledged at {_told(told)}, lies at {_told(place)}")
        return self.findings

    def _find(self, what: str) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(what)


def key_of(index: int) -> bytes:
    return b"key-%d" % index


def value_of(key: int, number: int) -> bytes:
    """Key and number, and some bytes that follow from them."""
    return b"%d:%d:" % (key, number) + b"%08x" % ((number * 2_654_435_761 + key) & 0xFFFFFFFF) * (1 + number % 12)


def number_in(value: bytes) -> int:
    return int(value.split(b":", 2)[1])


def _named(key: bytes | None, value: bytes | None) -> tuple[int, int] | None:
    """Whose record this is, and which; None where it is not as it was sent."""
    try:
        index, number, _ = (value or b"").split(b":", 2)
        named = int(index), int(number)
    except ValueError:
        return None
    return named if min(named) >= 0 and (key, value) == (key_of(named[0]), value_of(*named)) else None


def _place(partition: int, offset: int) -> int:
    return partition << _PARTITION_SHIFT | offset


def _told(place: int) -> str:
    if place == _ABSENT:
        return "an unknown place"
    return f"partition {place >> _PARTITION_SHIFT}, offset {place & (1 << _PARTITION_SHIFT) - 1}"
