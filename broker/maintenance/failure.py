"""Why a cleaning job came to nothing."""

import errno

from kraftpy.errors import KraftpyError
from log_store.compaction.cleaned_file import SegmentTooLargeError


class JobFailed(Exception):
    """`is_permanent`: the log itself cannot be cleaned (a damaged batch), so trying again changes nothing.

    `is_unreadable`: the device gave an error, of a bad sector perhaps; the scrub finds out.
    """

    def __init__(self, message: str, *, is_permanent: bool, is_unreadable: bool = False) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent
        self.is_unreadable = is_unreadable


def failure_of(error: Exception) -> JobFailed | None:
    """What an exception of `log_store.compaction.cleaner.clean` means; None for a bug."""
    if isinstance(error, (KraftpyError, SegmentTooLargeError)):
        return JobFailed(f"{type(error).__name__}: {error}", is_permanent=True)
    if isinstance(error, OSError):
        why = f"{type(error).__name__}: {error}"
        return JobFailed(why, is_permanent=False, is_unreadable=error.errno == errno.EIO)
    return None
