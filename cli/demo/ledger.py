"""Who was sent, who was acknowledged, who came back: the demo's bookkeeping, and its judgement. Pure.

Every record has an id of its own: 0, 1, 2, … in the order of sending. Record `id` is line `id % len(lines)` of the
input, so the ledger knows what each id must look like without keeping it. It keeps one byte an id.

| finding | what it means |
|---|---|
| lost | acknowledged, and not read back |
| duplicated | read more often than once; every further time counts |
| out of order | read after a record of its key that was sent later, or in another partition than that key's others |
| damaged | read with another key or value than was sent under its id |
| foreign | read with an id that was never sent, or with none |

A record that was sent and not acknowledged may be there or not; both are right.

Invariants: `acknowledged <= sent`; a reading counts every record in exactly one way, as read, duplicated or foreign.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cli.demo.access_log import Line

ID_HEADER = "id"
EXAMPLES_MAX = 5


class Ledger:
    """What was sent and what was acknowledged."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines
        self.sent = 0
        self.acknowledged = 0
        self.acknowledged_bytes = 0
        self._is_acknowledged = bytearray()

    def send(self) -> tuple[int, Line]:
        """The next record, and its id."""
        record_id = self.sent
        self.sent += 1
        self._is_acknowledged.append(0)
        return record_id, self.line(record_id)

    def acknowledge(self, record_id: int) -> None:
        assert not self._is_acknowledged[record_id], f"record {record_id} was acknowledged twice"
        self._is_acknowledged[record_id] = 1
        self.acknowledged += 1
        line = self.line(record_id)
        self.acknowledged_bytes += len(line.key) + len(line.value)

    def line(self, record_id: int) -> Line:
        return self.lines[record_id % len(self.lines)]

    def is_acknowledged(self, record_id: int) -> bool:
        return bool(self._is_acknowledged[record_id])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one reading of everything shows. Counts are of records."""

    read: int
    lost: int
    duplicated: int
    out_of_order: int
    damaged: int
    foreign: int
    examples: tuple[str, ...]
    """A sentence each about the first findings."""

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.out_of_order or self.damaged or self.foreign)


class Reading:
    """One pass over the topic: `see` every record in the order of its partition, then `judge`."""

    def __init__(self, ledger: Ledger) -> None:
        self.read = 0
        self._ledger = ledger
        self._is_read = bytearray()
        self._last: dict[bytes, tuple[int, int]] = {}  # key → (its partition, the highest id read)
        self._duplicated = 0
        self._out_of_order = 0
        self._damaged = 0
        self._foreign = 0
        self._examples: list[str] = []

    def see(
        self,
        partition: int,
        offset: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
    ) -> None:
        """Note one record."""
        record_id = _id_in(headers)
        if record_id is None or record_id >= self._ledger.sent:
            self._foreign += 1
            self._example(partition, offset, f"the id {record_id} was never sent")
            return
        if record_id >= len(self._is_read):
            self._is_read.extend(bytes(self._ledger.sent - len(self._is_read)))
        if self._is_read[record_id]:
            self._duplicated += 1
            self._example(partition, offset, f"record {record_id} once more")
            return
        self._is_read[record_id] = 1
        self.read += 1
        line = self._ledger.line(record_id)
        if (key, value) != line:
            self._damaged += 1
            self._example(partition, offset, f"record {record_id} is not what was sent")
        self._check_order(partition, offset, line.key, record_id)

    def judge(self) -> Verdict:
        """The findings, once everything has been read."""
        ledger = self._ledger
        lost = 0
        for record_id in range(ledger.sent):
            if ledger.is_acknowledged(record_id) and not self._has(record_id):
                lost += 1
                if lost <= EXAMPLES_MAX:
                    self._examples.append(f"record {record_id} was acknowledged and is not there")
        return Verdict(
            read=self.read,
            lost=lost,
            duplicated=self._duplicated,
            out_of_order=self._out_of_order,
            damaged=self._damaged,
            foreign=self._foreign,
            examples=tuple(self._examples),
        )

    def _check_order(self, partition: int, offset: int, key: bytes, record_id: int) -> None:
        home, highest = self._last.get(key, (partition, -1))
        if home != partition:
            self._out_of_order += 1
            self._example(partition, offset, f"record {record_id}: its key's others are in partition {home}")
        elif record_id < highest:
            self._out_of_order += 1
            self._example(partition, offset, f"record {record_id} comes after record {highest} of the same key")
        self._last[key] = (home, max(highest, record_id))

    def _has(self, record_id: int) -> bool:
        return record_id < len(self._is_read) and bool(self._is_read[record_id])

    def _example(self, partition: int, offset: int, what: str) -> None:
        if len(self._examples) < EXAMPLES_MAX:
            self._examples.append(f"partition {partition}, offset {offset}: {what}")


def id_header(record_id: int) -> list[tuple[str, bytes | None]]:
    """The headers that carry an id."""
    return [(ID_HEADER, b"%d" % record_id)]


def _id_in(headers: Sequence[tuple[str, bytes | None]]) -> int | None:
    for name, value in headers:
        if name == ID_HEADER and value is not None and value.isdigit():
            return int(value)
    return None
