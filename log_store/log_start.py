"""Where a log begins that is opened again: what the file of epochs tells of it beside the directory's checkpoint.

DeleteRecords is durable with the file of epochs, whose first epoch then begins where the log does; the checkpoint is
written now and then, and may be of before. So the log begins where its first epoch does: a record whose epoch is
unknown cannot be told from another.

The first epoch of a log that may have gaps also begins late without that. What is copied of a compacted log begins
with the first batch that compaction has left, and so do epochs that were read from the batches: offsets 0 to 25 are
gone from the leader, the first batch of the copy is 26, in epoch 1, and its epochs are (1, 26). Nobody deleted anything
there, and a log that began at 26 would be out of range for whoever stands at 10. So the batches decide: where none lies
before the first epoch, nothing that was deleted can come back, and the checkpoint is right.
"""

import errno
from collections.abc import Iterable

from kraftpy.record import DAMAGED
from log_store.batch_scan import batch_headers
from log_store.segment import Segment


def start_of(segments: Iterable[Segment], checkpoint: int, epochs_known_from: int, *, may_have_gaps: bool) -> int:
    """Where the log of `segments` begins, unless they begin later. What cannot be read shows no gap.

    Raises `OSError`.
    """
    if checkpoint >= epochs_known_from:
        return checkpoint
    first_offset = _first_offset(segments, checkpoint) if may_have_gaps else None
    is_gap = first_offset is not None and first_offset >= epochs_known_from
    return checkpoint if is_gap else epochs_known_from


def _first_offset(segments: Iterable[Segment], start_offset: int) -> int | None:
    """Where the first batch begins that ends above `start_offset`; None without one, and where that cannot be read."""
    try:
        for segment in segments:
            if segment.end_offset <= start_offset:
                continue
            for _, header, _ in batch_headers(segment.file(), 0, segment.size_bytes):
                if header.end_offset > start_offset:
                    return header.base_offset
    except DAMAGED:
        pass
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    return None
