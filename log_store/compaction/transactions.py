"""Which transactions of a stretch of log were aborted: what the markers say that lie behind the data.

The cleaner needs to know before it reads the data, so the markers are looked for first, in headers alone, from the
first transactional batch on. Bounded: after so many aborted transactions the rest counts as undecided, and what is
undecided is left to a later round.
"""

from bisect import bisect_right
from operator import itemgetter

from kraftpy.record import BatchHeader, ControlType, decode_control_batch

ABORTED_MAX = 100_000
"""About 150 bytes each."""


class Transactions:
    """Filled in the order of offsets by `note`, until `is_full`; then asked."""

    __slots__ = ("_aborted", "_aborted_max", "_count", "_noted_end", "_open")

    def __init__(self, aborted_max: int = ABORTED_MAX) -> None:
        self._aborted: dict[int, list[tuple[int, int]]] = {}  # producer id → (first offset, marker's), ascending
        self._aborted_max = aborted_max
        self._count = 0
        self._open: dict[int, int] = {}  # producer id → first offset
        self._noted_end = 0

    @property
    def is_full(self) -> bool:
        return self._count >= self._aborted_max

    def note(self, header: BatchHeader, outcome: ControlType | None) -> None:
        """The next transactional batch, or with an outcome, the marker."""
        producer_id = header.producer_id
        self._noted_end = header.end_offset
        if outcome is None:
            self._open.setdefault(producer_id, header.base_offset)
            return
        first_offset = self._open.pop(producer_id, None)
        if outcome is ControlType.ABORT and first_offset is not None:
            self._aborted.setdefault(producer_id, []).append((first_offset, header.base_offset))
            self._count += 1

    def decided_end(self, end_offset: int) -> int:
        """How far up to `end_offset` the outcome of every transaction is known."""
        if self.is_full:
            end_offset = min(end_offset, self._noted_end)
        return min(end_offset, min(self._open.values(), default=end_offset))

    def is_aborted(self, header: BatchHeader) -> bool:
        """Of a transactional batch below the decided end."""
        ranges = self._aborted.get(header.producer_id, ())
        at = bisect_right(ranges, header.base_offset, key=itemgetter(0)) - 1
        return at >= 0 and header.base_offset < ranges[at][1]


def outcome_of(batch: memoryview) -> ControlType | None:
    """COMMIT or ABORT; None for control batches of other kinds, and for emptied ones. Raises `InvalidRecordError`."""
    for record in decode_control_batch(batch):
        if record.type is ControlType.COMMIT or record.type is ControlType.ABORT:
            return ControlType(record.type)
    return None
