"""Whether processes are gone, without races: by descriptors where the system has them."""

import os
import select
import time
from collections.abc import Callable


def ends_within(pid: int, seconds: float) -> bool:
    """Whether `pid`, which need not be a child, ends within `seconds`; True also where it has ended already."""
    if not hasattr(os, "pidfd_open"):
        return _polled(pid, seconds)
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def _polled(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
    return False


def path_vanishes_within(path: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while os.path.exists(path):
        if time.monotonic() > deadline:
            return False
        select.select([], [], [], 0.01)
    return True


def becomes_true_within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        select.select([], [], [], 0.05)
    return True
