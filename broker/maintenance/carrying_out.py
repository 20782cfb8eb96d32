"""Doing the heavy work. Loaded where it is done, in a maintenance process or a simulation; a node only gives jobs."""

import errno

from broker.maintenance.failure import JobFailed
from broker.maintenance.jobs import Job, Outcome
from kraftpy.errors import KraftpyError
from kraftpy.runtime.ports import Disk
from log_store.compaction.cleaned_file import SegmentTooLargeError
from log_store.compaction.cleaner import clean
from log_store.compaction.job import CleaningJob
from log_store.digest import DigestJob, digest
from log_store.integrity import Spend
from log_store.scrub import ScrubJob, scrub


def carry_out(disk: Disk, job: Job, spend: Spend) -> Outcome:
    """Do it, here and now. Blocks. Raises what `failure_of` knows."""
    match job:
        case CleaningJob():
            return clean(disk, job, spend)
        case ScrubJob():
            return scrub(disk, job, spend)
        case DigestJob():
            return digest(disk, job, spend)


def failure_of(error: Exception) -> JobFailed | None:
    """What an exception of `log_store.compaction.cleaner.clean` means; None for a bug."""
    if isinstance(error, (KraftpyError, SegmentTooLargeError)):
        return JobFailed(f"{type(error).__name__}: {error}", is_permanent=True)
    if isinstance(error, OSError):
        why = f"{type(error).__name__}: {error}"
        return JobFailed(why, is_permanent=False, is_unreadable=error.errno == errno.EIO)
    return None
