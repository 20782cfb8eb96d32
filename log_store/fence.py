"""The fence around a log directory: after its first failure nothing is accepted there any more (KAFKA-10778).

Any `OSError` of an append, a flush or a roll raises the fence, a full disk included: what reached the medium is then
unknown, and after a failed fsync the kernel may call the lost pages clean, so that a second fsync succeeds without
them. Only a restart, with its recovery, takes a fence down.
"""

from collections.abc import Callable

from kraftpy.errors import KafkaStorageError


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

    def check(self) -> None:
        """Raises `KafkaStorageError` behind the fence."""
        if self.failure is not None:
            raise KafkaStorageError(f"log directory {self.directory} is offline since: {self.failure}")


class Guard:
    """Turns an `OSError` into the `KafkaStorageError` of a fence."""

    __slots__ = ("_doing", "_fence")

    def __init__(self, fence: Fence, doing: str) -> None:
        self._fence = fence
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise self._fence.raise_for(error, self._doing) from error
