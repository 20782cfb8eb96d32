"""Why a cleaning job came to nothing."""

from kraftpy.errors import KraftpyError
from log_store.compaction.cleaned_file import SegmentTooLargeError


class JobFailed(Exception):
    """`is_permanent`: the log itself cannot be cleaned (a damaged batch), so trying again changes nothing."""

    def __init__(self, message: str, *, is_permanent: bool) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


def failure_of(error: Exception) -> JobFailed | None:
    """What an exception of `log_store.compaction.cleaner.clean` means; None for a bug."""
    if isinstance(error, (KraftpyError, SegmentTooLargeError)):
        return JobFailed(f"{type(error).__name__}: {error}", is_permanent=True)
    if isinstance(error, OSError):
        return JobFailed(f"{type(error).__name__}: {error}", is_permanent=False)
    return None
