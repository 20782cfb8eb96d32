"""Looking at a log elsewhere, off the loop: pictures of it for the scrub and for digests, and what the scrub found.

A job is a picture of one moment: the log goes on while somebody reads its files. A digest speaks of that moment. The
scrub's verdict is about the log as it is, so it counts only where nothing of the picture was cut, replaced or removed.
"""

from collections.abc import Sequence

from log_store.digest import DigestJob, Stretch
from log_store.integrity import Damage
from log_store.readable_log import ReadableLog
from log_store.scrub import ScrubJob
from log_store.segment import Segment


def scrub_job(log: ReadableLog, segment: Segment) -> ScrubJob:
    """What it takes to check one of the log's segments, as it is now."""
    return ScrubJob(
        log.directory,
        segment.base_offset,
        segment.end_offset,
        segment.size_bytes,
        segment.index.entries.size_bytes,
        segment.time_index.entries.size_bytes,
        log.epochs.entries,
        log.may_have_gaps,
    )


def take_verdict(log: ReadableLog, job: ScrubJob, segment: Segment, damages: Sequence[Damage]) -> bool | None:
    """What came of `job`: the truth about its offsets. True: there is damage that was not known. None: the segment was
    cut, replaced or removed since, and nothing is known of it."""
    is_same = segment in log.segments and segment.size_bytes >= job.size_bytes
    if log.is_closed or not is_same or not _is_prefix(log, job):
        return None
    inside = [each for each in damages if each.end_offset > log.start_offset]
    return log.damages.replace(job.base_offset, job.end_offset, inside)


def _is_prefix(log: ReadableLog, job: ScrubJob) -> bool:
    """Whether nothing was cut since, as far as the epochs tell: then they are those of the job, or go on."""
    now = [each for each in log.epochs.entries if each.start_offset < job.end_offset]
    then = [each for each in job.epochs if each.start_offset < job.end_offset]
    return job.end_offset <= log.end_offset and now[-1:] == then[-1:]


def scrub_goes_on_at(log: ReadableLog) -> int:
    """For the next start: where the pass goes on, or what is known to be damaged, which a start does not know."""
    offset = log.scrubbed.next_offset
    return min(offset, log.damages.start_offset) if log.damages and log.scrubbed.began_ms else offset


def digest_job(
    log: ReadableLog, start_offset: int, end_offset: int, *, step: int, bytes_max: int, records: bool
) -> DigestJob:
    """What it takes to make checksums of `[start_offset, end_offset)`. Raises `KafkaStorageError`."""
    stretches = []
    with log.reading("searching"):
        for segment in log.segments:
            if segment.end_offset > start_offset and segment.base_offset < end_offset and segment.size_bytes:
                position = segment.position_before(start_offset)
                stretches.append(Stretch(segment.base_offset, position, segment.size_bytes, segment.end_offset))
    return DigestJob(
        log.directory,
        tuple(stretches),
        log.epochs.entries,
        log.may_have_gaps,
        start_offset,
        end_offset,
        step,
        bytes_max,
        records,
    )
