"""What one node knows, another hears of a moment later: as with any Kafka."""

import time
from collections.abc import Callable

WAIT_S = 20.0


def wait_until(holds: Callable[[], bool]) -> None:
    """Ask again and again. Raises `AssertionError` where it does not come to hold."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
