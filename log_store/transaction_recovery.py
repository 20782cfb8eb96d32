"""The index of aborted transactions, made anew from the batches of a segment.

What a marker decides began before it, perhaps in an earlier segment; so a scan begins with the transactions that were
open at the beginning of its first segment, as the producers' snapshot of that offset tells, or, where there is none,
an older snapshot and the batches since.

Everything here raises `OSError`.
"""

from collections.abc import Sequence

from kraftpy.record import BatchHeader
from log_store.batch_scan import batch_headers
from log_store.open_transactions import OpenTransactions
from log_store.producer_batches import marker_of
from log_store.segment import Segment
from log_store.snapshots import Snapshots
from log_store.transaction_index import Aborted


class TransactionScan:
    """Filled in the order of offsets by `note`; after each segment `take` gives what its index has to hold."""

    __slots__ = ("_aborted", "_open")

    def __init__(self, open_transactions: OpenTransactions) -> None:
        self._open = open_transactions
        self._aborted: list[Aborted] = []

    @classmethod
    def begin(cls, snapshots: Snapshots, before: Sequence[Segment], base_offset: int) -> "TransactionScan":
        """For what begins at `base_offset`; `before` are the segments that lie below."""
        offset, ongoing = snapshots.open_transactions(base_offset)
        scan = cls(OpenTransactions(ongoing))
        for segment in before:
            if segment.end_offset > offset:
                scan.read(segment, offset)
        scan.take()
        return scan

    def read(self, segment: Segment, from_offset: int) -> None:
        """Note the batches of a segment that is trusted."""
        file = segment.file()
        for position, header, data in batch_headers(file, segment.position_of(from_offset), segment.size_bytes):
            if header.is_transactional:
                if header.is_control and len(data) < header.size_bytes:
                    data = memoryview(file.read(header.size_bytes, position))
                self.note(header, data)

    def note(self, header: BatchHeader, data: memoryview) -> None:
        """The next transactional batch; whole, where it is a control batch."""
        producer_id, offset = header.producer_id, header.base_offset
        marker = marker_of(header, data)
        if marker is None:
            if not header.is_control:
                self._open.begin(producer_id, offset)
            return
        first_offset = self._open.end(producer_id, offset)
        self._open.stable_end(offset + 1)  # whether markers are committed is nothing to us
        if marker.is_abort and first_offset is not None:
            ongoing = self._open.first_ongoing_offset
            self._aborted.append(Aborted(producer_id, first_offset, offset, offset + 1 if ongoing is None else ongoing))

    def take(self) -> list[Aborted]:
        taken, self._aborted = self._aborted, []
        return taken


def rebuild_unsound(snapshots: Snapshots, segments: Sequence[Segment]) -> None:
    """Make anew whatever cannot be the index of its segment."""
    for number, segment in enumerate(segments):
        if not segment.transactions.is_sound(segment.base_offset, segment.end_offset):
            scan = TransactionScan.begin(snapshots, segments[:number], segment.base_offset)
            scan.read(segment, segment.base_offset)
            segment.transactions.replace(scan.take())
