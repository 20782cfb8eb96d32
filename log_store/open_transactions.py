"""Which transactions of one log are not decided yet, and so where its committed readers have to stop. Pure.

    [ decided | transaction A …… | B …… | end of A | …      high watermark
              ▲ first unstable offset

A transaction is undecided until its marker is committed, that is, lies below the high watermark: a marker that only
some replicas have may yet be lost. So there are two kinds: those without a marker, and those whose marker waits.

Invariants:
- `_ongoing` is in the order of first offsets, for a transaction begins at the end of the log.
- `_ended` is in the order of markers and of first offsets: one that began no earlier than a later-ended one is left
  out, because that one holds readers back for longer, and further down.
"""

from collections import deque
from collections.abc import Iterable


class OpenTransactions:
    """By producer. Filled in the order of offsets."""

    __slots__ = ("_ended", "_ongoing")

    def __init__(self, ongoing: Iterable[tuple[int, int]] = ()) -> None:
        """`ongoing`: (first offset, producer id), in any order."""
        self._ongoing = {producer_id: first_offset for first_offset, producer_id in sorted(ongoing)}
        self._ended: deque[tuple[int, int]] = deque()  # (first offset, offset of the marker)

    @property
    def first_ongoing_offset(self) -> int | None:
        """Where the oldest transaction starts that has no marker."""
        return next(iter(self._ongoing.values()), None)

    def start_of(self, producer_id: int) -> int | None:
        """Where the producer's transaction starts; None: it has none here."""
        return self._ongoing.get(producer_id)

    def begin(self, producer_id: int, offset: int) -> None:
        """A batch of a transaction stands at `offset`: the first one begins it."""
        self._ongoing.setdefault(producer_id, offset)

    def end(self, producer_id: int, marker_offset: int) -> int | None:
        """Its marker is in the log. Gives where the transaction began; None: nothing of it is here."""
        first_offset = self._ongoing.pop(producer_id, None)
        if first_offset is not None:
            while self._ended and self._ended[-1][0] >= first_offset:
                self._ended.pop()
            self._ended.append((first_offset, marker_offset))
        return first_offset

    def stable_end(self, high_watermark: int) -> int:
        """Everything below is committed and decided: the last stable offset (KIP-98).

        Markers below `high_watermark` are settled by this for good, for what is committed stays so.
        """
        ended = self._ended
        while ended and ended[0][1] < high_watermark:
            ended.popleft()
        stable = high_watermark
        if ended and ended[0][0] < stable:
            stable = ended[0][0]
        ongoing = self.first_ongoing_offset
        return stable if ongoing is None else min(stable, ongoing)

    def clear(self) -> None:
        self._ongoing.clear()
        self._ended.clear()
