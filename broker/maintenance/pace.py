"""How fast the maintenance process may read and write, on average, as the node says at the moment.

What is read or written runs up a debt of bytes, which time pays back at the pace; beyond a tenth of a second's worth of
it the worker waits. A new pace holds at once, also for whoever waits.
"""

import threading
import time
from collections.abc import Callable

DEBT_S = 0.1


class Pace:
    """`spend` on the worker's thread, `limit` on any."""

    def __init__(self, bytes_per_second: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._bytes_per_second = bytes_per_second
        self._now_s = now_s
        self._debt_bytes = 0.0
        self._paid_s = now_s()
        self._changed = threading.Condition()

    def limit(self, bytes_per_second: float) -> None:
        """The pace from now on."""
        with self._changed:
            self._pay()
            self._bytes_per_second = bytes_per_second
            self._changed.notify_all()

    def spend(self, size_bytes: int) -> None:
        """So many bytes are read or written; wait until that is not too fast."""
        with self._changed:
            self._pay()
            self._debt_bytes += size_bytes
            while (rest_s := self._debt_bytes / self._bytes_per_second) > DEBT_S:
                self._changed.wait(rest_s)
                self._pay()

    def _pay(self) -> None:
        now_s = self._now_s()
        self._debt_bytes = max(0.0, self._debt_bytes - (now_s - self._paid_s) * self._bytes_per_second)
        self._paid_s = now_s
