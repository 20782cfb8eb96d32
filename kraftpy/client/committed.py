"""Which batches of an answer are left out for a reader with isolation_level=read_committed. Pure.

The broker gives no batch of an undecided transaction, and lists the aborted ones that reach into an answer: from
`first_offset` on, whatever its producer wrote transactionally is skipped until that producer's abort marker (KIP-98).
"""

from collections.abc import Iterable
from typing import NamedTuple

from kraftpy.record import BatchHeader, ControlType, decode_control_batch


class AbortedTransaction(NamedTuple):
    """An aborted transaction, as the broker lists it."""

    first_offset: int
    producer_id: int


class AbortedTransactions:
    """Those of one answer; asked about its batches in their order."""

    __slots__ = ("_aborting", "_coming")

    def __init__(self, listed: Iterable[AbortedTransaction] = ()) -> None:
        self._coming = sorted(listed, reverse=True)
        self._aborting: dict[int, None] = {}  # producers whose batches are skipped for now

    def leave_out(self, header: BatchHeader, batch: memoryview) -> bool:
        """Whether the next batch, `batch` with `header`, is to be skipped: control batches always are.

        Raises `InvalidRecordError` for a control batch that is none.
        """
        coming, aborting = self._coming, self._aborting
        while coming and coming[-1].first_offset <= header.last_offset:
            aborting[coming.pop().producer_id] = None
        if header.is_control:
            if header.producer_id in aborting and _is_abort(batch):
                del aborting[header.producer_id]
            return True
        return header.is_transactional and header.producer_id in aborting


def _is_abort(batch: memoryview) -> bool:
    return any(record.type is ControlType.ABORT for record in decode_control_batch(batch))
