"""A thread that waits for the SDK's loop, and may be interrupted anywhere.

Python runs the handler of a signal between any two instructions of the main thread. Where Ctrl-C comes while
`threading.Event`, `Condition` or `concurrent.futures.Future` hold the lock inside them, nobody gives it back, and the
loop, which is to wake the waiter, waits for it for ever. Here the only lock is taken by who waits and given back by who
wakes, each in one call that no handler can divide.
"""

import threading


class Waiter:
    """One wait for one wake-up."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, timeout: float | None = None) -> bool:
        """Until `wake`; false after `timeout` seconds."""
        return self._lock.acquire(timeout=-1 if timeout is None else min(max(timeout, 0.0), threading.TIMEOUT_MAX))

    def wake(self) -> None:
        """Once; whether or not somebody still waits."""
        self._lock.release()
