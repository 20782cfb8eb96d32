"""The compaction of one open log: what to clean next, the job for it, and taking over the result.

Invariants:
- Nothing is planned that a recovery would look into: only what lies below the newest proof of what is durable.
- What came of a job is taken over only if the log was neither cut nor closed since the job was made (`cut`), and by one
  job only, the latest.

Used by the loop's thread only.
"""

from collections.abc import Sequence

from log_store.compaction.job import Cleaned, CleaningJob, KnownProducer, Source
from log_store.compaction.plan import CompactionPlan, SegmentState, survey, waits_too_long
from log_store.durability import Durability
from log_store.fence import Fence
from log_store.readable_log import ReadableLog
from log_store.segments import Segments
from log_store.snapshots import Snapshots


class Compacting:
    """That of one log."""

    __slots__ = (
        "_durability",
        "_fence",
        "_in_vain_below",
        "_job",
        "_log",
        "_segments",
        "_snapshots",
        "dirty_ratio",
        "is_paused",
    )

    def __init__(
        self, log: ReadableLog, fence: Fence, segments: Segments, snapshots: Snapshots, durability: Durability
    ) -> None:
        self.dirty_ratio = 0.0
        """The share of what may be compacted that is not, as of the last plan."""
        self.is_paused = False
        self._log = log
        self._fence = fence
        self._segments = segments
        self._snapshots = snapshots
        self._durability = durability
        self._job: CleaningJob | None = None  # what a cleaner is working on
        self._in_vain_below = 0  # a round that reaches no further than this would change nothing

    @property
    def first_dirty_offset(self) -> int:
        """Everything below is compacted."""
        return self._segments.first_dirty_offset

    @property
    def is_swapping(self) -> bool:
        """Whether the last round is still on its way into place: flushes bring it there."""
        return self._segments.is_swapping

    def pause(self) -> None:
        """Somebody copies the log piece by piece, and what is under way comes to nothing.

        Who has what a tombstone deletes, and comes to the tombstone's place after that has gone, shows it for ever; and
        so it is with aborted records and their marker.
        """
        self.is_paused = True
        self._job = None

    def resume(self) -> None:
        """Nobody copies it any more."""
        self.is_paused = False

    def note_cleaned(self, first_dirty_offset: int) -> None:
        """What the directory's checkpoint says, after opening.

        It speaks of what lay below a proof, and a cut removes that: so much of it as no proof covers is of the log as
        it was before.
        """
        recovery, end_offset = self._log.recovery, self._log.end_offset
        self._segments.first_dirty_offset = min(first_dirty_offset, end_offset if recovery.clean else recovery.proven)

    def plan(self, stable_offset: int, wall_ms: int) -> CompactionPlan | None:
        """What to compact now: durable, and below `stable_offset` (the high watermark or the last stable offset).

        None: nothing, not yet, it is paused, or the last round is still on its way into place. Rolls a last segment
        that `max_compaction_lag_ms` does not let wait; it takes a flush before that may go. Raises `KafkaStorageError`.
        """
        log = self._log
        if self.is_paused or not log.config.compacted or log.is_closed or self._durability.is_cut:
            return None
        self._fence.check()
        if self._segments.is_swapping:
            return None
        bound = min(stable_offset, log.recovery_point)
        doing = "planning the compaction of"
        with log.reading(doing):
            last = self._segments.last
            is_late = last.size_bytes > 0 and waits_too_long(self._segments.state_of(last), log.config, wall_ms)
        if is_late:
            with self._fence.guard(f"{doing} {log.name}"):
                self._segments.roll(last.end_offset, log.producers, wall_ms)
        with log.reading(doing):
            states = self._segments.states()
        return self._plan(states, bound, wall_ms)

    def _plan(self, states: Sequence[SegmentState], bound: int, wall_ms: int) -> CompactionPlan | None:
        log, segments = self._log, self._segments
        unstable = log.producers.first_unstable_offset
        plan = survey(
            states,
            log.config,
            first_dirty_offset=segments.first_dirty_offset,
            start_offset=log.start_offset,
            bound=min(bound, self._snapshots.newest, bound if unstable is None else unstable),
            wall_ms=wall_ms,
        )
        self.dirty_ratio = 0.0 if plan is None else plan.dirty_ratio
        if plan is None or plan.end_offset <= self._in_vain_below or not plan.is_due(log.config):
            return None
        return plan

    def job_for(self, plan: CompactionPlan, wall_ms: int, map_bytes: int) -> CleaningJob:
        """What a cleaner needs to know to carry out `plan`; a later job takes the place of this one."""
        config, end_offset = self._log.config, plan.end_offset
        self._job = CleaningJob(
            self._log.directory,
            tuple(Source(each.base_offset, each.end_offset, each.size_bytes) for each in plan.sources),
            plan.first_dirty_offset,
            wall_ms,
            map_bytes,
            config.delete_retention_ms,
            config.segment_bytes,
            config.segment_index_bytes,
            config.index_interval_bytes,
            # The newest batch of the others lies beyond what is cleaned.
            tuple(KnownProducer(*each) for each in self._log.producers.last_data_offsets() if each[2] < end_offset),
        )
        return self._job

    def is_current(self, job: CleaningJob) -> bool:
        """Whether `job` is the latest, and the log was neither cut nor closed since, and is not paused."""
        return not self._log.is_closed and not self.is_paused and self._job is job

    def swap(self, job: CleaningJob, cleaned: Cleaned, wall_ms: int) -> bool:
        """Let what came of `job` take its place. The flushes that follow bring it there; readers notice nothing.

        False, and nothing is changed, where the log was cut or closed since, or is paused. Raises `KafkaStorageError`.
        """
        log = self._log
        if log.is_closed:
            return False
        self._fence.check()
        if not self.is_current(job):
            return False
        self._job = None
        # Where a round got nowhere, a transaction is undecided: the same again would get nowhere, too.
        self._in_vain_below = job.sources[-1].end_offset if cleaned.end_offset <= job.first_dirty_offset else 0
        with self._fence.guard(f"compacting {log.name}"):
            self._segments.begin_swap(cleaned.segments, cleaned.end_offset, wall_ms + log.config.file_delete_delay_ms)
        return True

    def cut(self) -> None:
        """The log is being cut: whatever is under way was made of something else."""
        self._job = None
        self._in_vain_below = 0
