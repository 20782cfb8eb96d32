"""Ctrl-C and SIGTERM: while something is measured, the first one ends it early, and what was measured is told."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Raises `KeyboardInterrupt` at a signal; within `held` only notes the first one."""

    def __init__(self) -> None:
        self.told = False
        self._is_held = False

    @contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Handle both signals within the block. On the main thread."""
        before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within the block `told` says whether to end."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        if not self._is_held or self.told:
            raise KeyboardInterrupt
        self.told = True
