"""The compaction of one open log, as the log sees it: what to clean next, the job for it, and taking over the result.

Invariants:
- Nothing is planned that a recovery would look into: only what lies below the newest proof of what is durable.
- What came of a job is taken over only if the log was not cut since the job was made (`cut`), and by one job only, the
  latest.

Used by the loop's thread only. Methods that touch the disk raise `OSError`.
"""

from log_store.compaction.job import Cleaned, CleaningJob, KnownProducer, Source
from log_store.compaction.plan import CompactionPlan, survey, waits_too_long
from log_store.config import LogConfig
from log_store.producer_state import ProducerState
from log_store.segments import Segments
from log_store.snapshots import Snapshots


class Compacting:
    """That of one log."""

    __slots__ = ("_directory", "_in_vain_below", "_job", "_producers", "_segments", "_snapshots", "dirty_ratio")

    def __init__(self, directory: str, segments: Segments, snapshots: Snapshots, producers: ProducerState) -> None:
        self.dirty_ratio = 0.0
        """The share of what may be compacted that is not, when it was last looked at."""
        self._directory = directory
        self._segments = segments
        self._snapshots = snapshots
        self._producers = producers
        self._job: CleaningJob | None = None  # what a cleaner is working on
        self._in_vain_below = 0  # a round that reaches no further than this would change nothing

    def plan(self, config: LogConfig, *, start_offset: int, bound: int, wall_ms: int) -> CompactionPlan | None:
        """What to compact below `bound`, which is durable and stable; None where there is nothing, or not enough yet.

        Rolls a last segment that `max_compaction_lag_ms` does not let wait.
        """
        segments, last = self._segments, self._segments.last
        if segments.is_swapping:
            return None
        if last.size_bytes and waits_too_long(segments.state_of(last), config, wall_ms):
            segments.roll(last.end_offset, self._producers, wall_ms)
        unstable = self._producers.first_unstable_offset
        plan = survey(
            segments.states(),
            config,
            first_dirty_offset=segments.first_dirty_offset,
            start_offset=start_offset,
            bound=min(bound, self._snapshots.newest, bound if unstable is None else unstable),
            wall_ms=wall_ms,
        )
        self.dirty_ratio = 0.0 if plan is None else plan.dirty_ratio
        if plan is None or plan.end_offset <= self._in_vain_below or not plan.is_due(config):
            return None
        return plan

    def job_for(self, plan: CompactionPlan, config: LogConfig, wall_ms: int, map_bytes: int) -> CleaningJob:
        """What a cleaner needs to know; this job takes the place of one before."""
        end_offset = plan.end_offset
        self._job = CleaningJob(
            self._directory,
            tuple(Source(each.base_offset, each.end_offset, each.size_bytes) for each in plan.sources),
            plan.first_dirty_offset,
            wall_ms,
            map_bytes,
            config.delete_retention_ms,
            config.segment_bytes,
            config.segment_index_bytes,
            config.index_interval_bytes,
            # The newest batch of the others lies beyond what is cleaned.
            tuple(KnownProducer(*each) for each in self._producers.last_data_offsets() if each[2] < end_offset),
        )
        return self._job

    def take_over(self, job: CleaningJob, cleaned: Cleaned, due_ms: int) -> bool:
        """Begin to put what came of `job` in its place; false, and nothing is changed, where the log was cut since."""
        if not self.is_current(job):
            return False
        self._job = None
        # Where a round got nowhere, a transaction is undecided: the same again would get nowhere, too.
        self._in_vain_below = job.sources[-1].end_offset if cleaned.end_offset <= job.first_dirty_offset else 0
        self._segments.begin_swap(cleaned.segments, cleaned.end_offset, due_ms)
        return True

    def is_current(self, job: CleaningJob) -> bool:
        """Whether the log is still what `job` was made of."""
        return self._job is job

    def cut(self) -> None:
        """The log is being cut: whatever is under way was made of something else."""
        self._job = None
        self._in_vain_below = 0
