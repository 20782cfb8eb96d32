"""The fence around a log directory: after its first failure nothing is accepted there any more (KAFKA-10778).

Any `OSError` of an append, a flush or a roll raises the fence, a full disk included: what reached the medium is then
unknown, and after a failed fsync the kernel may call the lost pages clean, so that a second fsync succeeds without
them. Only a restart, with its recovery, takes a fence down.
"""

from collections.abc import Callable
from errno import EIO, EMFILE, ENFILE

from kraftpy.errors import KafkaStorageError

SPARED = {
    EIO: "a sector could not be read",
    EMFILE: "this process has no descriptor left",
    ENFILE: "this machine has no descriptor left",
}
"""What fails a reader alone."""


def is_unreadable(error: BaseException) -> bool:
    """Whether it was raised because the device gave an error (EIO), of a bad sector perhaps. That a descriptor lacked,
    or that the fence is up, says nothing of what lies there."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == EIO


def lacked_descriptors(error: BaseException) -> bool:
    """Whether it is the `KafkaStorageError` of a read that may succeed in a moment (EMFILE, ENFILE)."""
    cause = error.__cause__
    return isinstance(error, KafkaStorageError) and isinstance(cause, OSError) and cause.errno in (EMFILE, ENFILE)


class Fence:
    """Shared by the logs of one directory."""

    __slots__ = ("_on_failure", "directory", "failure")

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.failure: KafkaStorageError | None = None
        self._on_failure: list[Callable[[KafkaStorageError], None]] = []

    def on_failure(self, callback: Callable[[KafkaStorageError], None]) -> None:
        """Call `callback` once, when the fence goes up."""
        self._on_failure.append(callback)

    def raise_for(self, cause: OSError, doing: str) -> KafkaStorageError:
        """Put the fence up, if it is not up already, and give the error to raise."""
        error = KafkaStorageError(f"log directory {self.directory} failed while {doing}: {cause}")
        error.__cause__ = cause
        if self.failure is None:
            self.failure = error
            for callback in self._on_failure:
                callback(error)
        return error

    def guard(self, doing: str) -> "Guard":
        """Around work on the disk: `with fence.guard("rolling t-0")`; an `OSError` in it puts the fence up."""
        return Guard(self, doing)

    def reading(self, doing: str) -> "Guard":
        """Around reads: a sector that cannot be read (EIO) concerns what lies there, and a lack of descriptors
        (EMFILE, ENFILE) this moment, so these are a `KafkaStorageError` that leaves the directory alone. Whatever else
        fails puts the fence up."""
        return Guard(self, doing, spares_readers=True)

    def check(self) -> None:
        """Raises `KafkaStorageError` behind the fence."""
        if self.failure is not None:
            raise KafkaStorageError(f"log directory {self.directory} is offline since: {self.failure}")


class Guard:
    """Turns an `OSError` into the `KafkaStorageError` of a fence."""

    __slots__ = ("_doing", "_fence", "_spares_readers")

    def __init__(self, fence: Fence, doing: str, *, spares_readers: bool = False) -> None:
        self._fence = fence
        self._doing = doing
        self._spares_readers = spares_readers

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            if self._spares_readers and error.errno in SPARED:
                raise KafkaStorageError(f"{SPARED[error.errno]} while {self._doing}: {error}") from error
            raise self._fence.raise_for(error, self._doing) from error
