"""The segments of one log, end to end: which one holds an offset, and how they come and go without leaving a hole.

Invariants:
- Ascending, never empty, each beginning where the one before it ends; only the last is appended to.
- Whatever order a crash gives to changes of names, what is left has no hole that recovery would misjudge. A new segment
  is made only after the names of the others are durable. From the end they go one by one, each durably, after the
  snapshots that prove them. From the front they go oldest first, and only what is durable and proven.

All methods that touch the disk raise `OSError`.
"""

from bisect import bisect_right, insort
from collections.abc import Callable, Sequence

from kraftpy.runtime.limits import INT64_MAX
from kraftpy.runtime.ports import Disk
from log_store import file_names
from log_store.compaction.job import CleanedSegment
from log_store.compaction.plan import SegmentState
from log_store.compaction.swap import Swap
from log_store.config import LogConfig
from log_store.cutting import Cut, plan_cut
from log_store.open_segments import OpenSegments
from log_store.producer_state import ProducerState
from log_store.retention import SegmentFacts
from log_store.segment import Segment
from log_store.segment_files import SegmentFiles
from log_store.snapshots import Snapshots
from log_store.spare import Spare
from log_store.unflushed import Unflushed


class Segments:
    """The segments of one open log, with the snapshots that belong to them and the work they leave for a flush."""

    __slots__ = (
        "_config",
        "_directory",
        "_disk",
        "_later",
        "_open_segments",
        "_snapshots",
        "_spare",
        "_swap",
        "_unflushed",
        "_write_epochs",
        "all",
        "first_dirty_offset",
        "last",
    )

    def __init__(
        self,
        disk: Disk,
        directory: str,
        config: LogConfig,
        segments: list[Segment],
        snapshots: Snapshots,
        unflushed: Unflushed,
        open_segments: OpenSegments,
        write_epochs: Callable[[], None],
    ) -> None:
        """`write_epochs` makes the file of leader epochs say what they are: before any proof."""
        self.all = segments
        self.last = segments[-1]
        self._disk = disk
        self._directory = directory
        self._config = config
        self._snapshots = snapshots
        self._unflushed = unflushed
        self._open_segments = open_segments
        self._write_epochs = write_epochs
        self._spare = Spare(disk, directory)
        self._later: list[tuple[int, str]] = []  # (when, path) of files that wait for removal, ascending
        self._swap: Swap | None = None  # cleaned segments on their way into place
        self.first_dirty_offset = 0
        """Everything below is compacted."""
        for segment in segments:
            segment.adopt(open_segments, config)

    @property
    def base_offset(self) -> int:
        return self.all[0].base_offset

    @property
    def size_bytes(self) -> int:
        return sum(segment.size_bytes for segment in self.all)

    def from_offset(self, offset: int) -> Sequence[Segment]:
        """The segment that holds `offset`, or would, and those after it."""
        if offset >= self.last.base_offset:
            return (self.last,)
        return self.all[max(0, bisect_right(self.all, offset, key=_base_offset) - 1) :]

    def facts(self) -> list[SegmentFacts]:
        return [self.facts_of(segment) for segment in self.all]

    def facts_of(self, segment: Segment) -> SegmentFacts:
        youngest_ms = segment.youngest_ms()
        return SegmentFacts(
            segment.base_offset,
            segment.end_offset,
            segment.size_bytes,
            youngest_ms if youngest_ms >= 0 else segment.written_ms,
        )

    def reconfigure(self, config: LogConfig) -> None:
        self._config = config
        for segment in self.all:
            segment.reconfigure(config)

    def close(self) -> None:
        for segment in self.all:
            segment.close()
        self._spare.drop()

    # --- at the end --------------------------------------------------------------------------------------------------

    def roll(self, base_offset: int, producers: ProducerState, wall_ms: int) -> Segment:
        """Seal the last segment, to be synced by the next flush, and begin one at `base_offset`; not if it is empty."""
        sealed = self.last
        if sealed.size_bytes == 0:
            return sealed
        if not self._unflushed.names_durable:  # two segments since the last flush: rare
            self._unflushed.sync_names(self._disk)
        if base_offset != sealed.end_offset:
            # A gap so wide that the next record cannot stand in a segment that begins where this one ends: from here on
            # nothing but a proof tells it from a hole. Rare, and an fsync on the loop.
            sealed.seal()
            sealed.sync_all()
            self._write_epochs()
            self._snapshots.write(self._snapshots.to_write(producers, base_offset))
        elif self._snapshots.newest >= base_offset and not sealed.is_sealed:
            # A proof was put down where this segment happens to end. Once another one follows, recovery takes it to
            # cover this one's indexes too: rare, and an fsync on the loop.
            sealed.seal()
            sealed.sync_all()
        self._unflushed.unsettled += sealed.finish()
        self._unflushed.files += sealed.open_files()
        self._unflushed.write_snapshot(self._snapshots.to_write(producers, base_offset))
        self._append(base_offset, wall_ms)
        return self.last

    def _append(self, base_offset: int, wall_ms: int) -> None:
        lengths = self._spare.take(SegmentFiles.of(self._directory, base_offset))
        begin = Segment.new if lengths else Segment.create
        segment = begin(self._disk, self._open_segments, self._config, self._directory, base_offset, created_ms=wall_ms)
        if lengths:
            segment.room.adopt(lengths)
        self.all.append(segment)
        self.last = segment
        self._unflushed.note_names_changed()

    def look_ahead(self) -> None:
        """Leave to the next flush to make the room that will soon be needed, while the last segment is appended to."""
        last = self.last
        if last.size_bytes == 0 or last.is_sealed:
            return
        self._unflushed.unsettled += last.look_ahead()
        if last.is_filling_up and self._spare.want(last.next_lengths()):
            self._unflushed.unsettled.append(self._spare)

    def plan_cut(self, end_offset: int, *, at_once: bool = False) -> Cut | None:
        """What a cut at `end_offset`, which lies above the first base offset, leaves of the segment that it falls into.

        None: all of it, where `at_once` takes a segment's boundary at its word. Reads only; `CorruptRecordError`.
        """
        assert end_offset > self.base_offset
        kept = self.from_offset(end_offset - 1)[0]
        return None if at_once and kept.end_offset == end_offset else plan_cut(kept, end_offset)

    def cut(self, end_offset: int, planned: Cut | None, *, at_once: bool = False) -> None:
        """Remove the batches that reach to `end_offset` or beyond, by what `plan_cut` gave.

        `at_once`: the segments that go need not go one by one: a crash before the next flush may bring some back.
        """
        self.settle_swap()
        self._forget_proofs(end_offset)
        while self.last.base_offset >= end_offset:
            self._remove(self.last, None)
            if not at_once:
                self._disk.sync_directory(self._directory)
            self.all.pop()
            self.last = self.all[-1]
        if planned is None:
            self.last.room.keep()  # it is appended to again
        else:
            self.last.cut(planned)
        self.first_dirty_offset = min(self.first_dirty_offset, self.last.end_offset)

    def replace(self, start_offset: int, wall_ms: int) -> None:
        """Remove everything, and begin anew at `start_offset`.

        A crash may bring some of it back; whoever replaces a log has no use for any of it, so that does no harm.
        """
        self.settle_swap()
        self._forget_proofs(-1)
        self._unflushed.files = []
        for segment in reversed(self.all):
            self._remove(segment, None)
        self._later = sorted((due_ms, self._set_aside(path)) for due_ms, path in self._later)
        self._append(start_offset, wall_ms)
        del self.all[:-1]
        self.first_dirty_offset = start_offset

    def _forget_proofs(self, end_offset: int) -> None:
        """Durably: they prove what will no longer be so."""
        self._unflushed.snapshots = [each for each in self._unflushed.snapshots if each.offset <= end_offset]
        self._snapshots.drop_above(end_offset)

    def drop_superseded_snapshots(self) -> None:
        """Leave to the next flush those that a newer one has replaced, and with which no segment begins."""
        bases = {segment.base_offset for segment in self.all}
        self._unflushed.removals += self._snapshots.forget_superseded(bases)

    # --- at the front ------------------------------------------------------------------------------------------------

    def removable(self, count: int) -> int:
        """How many of the oldest `count` may go now: those below the newest proof, once its name is durable."""
        if not self._unflushed.names_durable or self._swap is not None:
            return 0
        while count and self.all[count - 1].end_offset > self._snapshots.newest:
            count -= 1
        return min(count, len(self.all) - 1)

    def remove_oldest(self, count: int, due_ms: int) -> None:
        """Remove the oldest `count`, all `removable`; their files stay until `due_ms`, the batches under another name.

        An index keeps its name until that of its batches is durable: a crash may bring a segment back, and one without
        its index of aborted transactions would show them to committed readers.
        """
        for segment in self.all[:count]:
            segment.close()
            batches, *indexes = segment.files
            insort(self._later, (due_ms, self._set_aside(batches)))
            for path in indexes:
                if self._disk.exists(path):
                    insort(self._later, (due_ms, path))
        del self.all[:count]
        self._unflushed.removals += self._snapshots.forget_below(self.base_offset)
        self._unflushed.note_names_changed()

    def remove_due(self, wall_ms: int) -> None:
        """Leave the files whose time has come to the next flush; an index once the name of its batches is durable."""
        waiting = []
        for due_ms, path in self._later:
            if due_ms <= wall_ms and (self._unflushed.names_durable or path.endswith(file_names.DELETED)):
                # Under a name of its own: a log that is replaced meanwhile may have files of the old ones' names.
                self._unflushed.removals.append(self._set_aside(path))
            else:
                waiting.append((due_ms, path))
        self._later = waiting

    # --- compaction --------------------------------------------------------------------------------------------------

    def states(self) -> list[SegmentState]:
        """Of the closed ones, as compaction wants to know them."""
        return [self.state_of(segment) for segment in self.all[:-1]]

    def state_of(self, segment: Segment) -> SegmentState:
        base_offset, end_offset, size_bytes, youngest_ms = self.facts_of(segment)
        first_ms = segment.created_ms
        if self._config.max_compaction_lag_ms < INT64_MAX and end_offset > self.first_dirty_offset:
            first_ms = segment.oldest_ms()
        return SegmentState(base_offset, end_offset, size_bytes, youngest_ms, first_ms)

    def begin_swap(self, cleaned: Sequence[CleanedSegment], end_offset: int, due_ms: int) -> None:
        """Take over finished files; those whose sources retention took meanwhile are left to the next flush to remove.

        After the flushes that follow they are in place, and the log is clean up to `end_offset`. Where retention took
        only some of the sources of one, none is taken over: what is left of them would stay raw, and the others were
        cleaned as if it were not. Their tombstones and aborted transactions may be gone with what they concern, and
        would be missing: a deleted value came back, and an aborted one was shown as committed. The files that are
        replaced stay until `due_ms`, for readers that hold them.
        """
        assert self._swap is None
        bases = [segment.base_offset for segment in self.all[:-1]]
        fitting = [each for each in cleaned if _are_neighbours(each.sources, bases)]
        if any(base in bases for each in cleaned if each not in fitting for base in each.sources):
            fitting, end_offset = [], max(self.first_dirty_offset, self.base_offset)
        swap = Swap(self._disk, self._directory, fitting, end_offset, due_ms)
        for each in cleaned:
            if each not in fitting:
                self._unflushed.removals += swap.cleaned_paths(each)
        if not fitting:
            self.first_dirty_offset = end_offset
            return
        self._swap = swap
        swap.begin()
        self._unflushed.note_names_changed()

    @property
    def is_swapping(self) -> bool:
        return self._swap is not None

    def advance_swap(self) -> None:
        """A flush is over: take the next step, if the names of the one before are durable now."""
        swap = self._swap
        if swap is None or not self._unflushed.names_durable:
            return
        if not swap.is_placed:
            for each in swap.cleaned:
                self._place(swap, each)
            swap.is_placed = True
            self.first_dirty_offset = swap.end_offset
            self.drop_superseded_snapshots()
        else:
            swap.finish()
            self._swap = None
        self._unflushed.note_names_changed()

    def _place(self, swap: Swap, each: CleanedSegment) -> None:
        first = next(at for at, segment in enumerate(self.all) if segment.base_offset == each.base_offset)
        replaced = self.all[first : first + len(each.sources)]
        for segment in replaced:
            self._remove(segment, swap.due_ms)
        segment = swap.place(each, self._config, self._open_segments, max(old.created_ms for old in replaced))
        segment.written_ms = max(old.written_ms for old in replaced)
        self.all[first : first + len(replaced)] = [segment]

    def settle_swap(self) -> None:
        """Before the log is cut: a swap is undone or carried through, durably. Rare, and an fsync on the loop."""
        swap, self._swap = self._swap, None
        if swap is None:
            return
        if not swap.is_placed:
            swap.undo()
        self._unflushed.sync_names(self._disk)
        if swap.is_placed:
            swap.finish()
            self._disk.sync_directory(self._directory)

    def _remove(self, segment: Segment, due_ms: int | None) -> None:
        """Rename its files, the batches first: an index without them is cleared away by the next start."""
        segment.close()
        for path in segment.files:
            if self._disk.exists(path):
                aside = self._set_aside(path)
                if due_ms is None:
                    self._unflushed.removals.append(aside)
                else:
                    insort(self._later, (due_ms, aside))

    def _set_aside(self, path: str) -> str:
        """The path of the file afterwards, which a start removes."""
        if path.endswith(file_names.DELETED):
            return path
        self._disk.rename(path, path + file_names.DELETED)
        return path + file_names.DELETED


def _are_neighbours(sources: Sequence[int], bases: Sequence[int]) -> bool:
    if not sources or sources[0] not in bases:
        return False
    at = bases.index(sources[0])
    return list(bases[at : at + len(sources)]) == list(sources)


def _base_offset(segment: Segment) -> int:
    return segment.base_offset
