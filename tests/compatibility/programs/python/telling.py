"""The Python side of the line protocol, and checks that all programs share."""

import sys
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

PATIENCE_S = 60.0
"""How long a program waits for one thing: also a cluster that loses a leader in between has to deliver by then."""

RETRY_S = 0.2

T = TypeVar("T")

Attempt = Callable[[str, str], str]
"""Takes the bootstrap addresses and the name of topic and group; returns a note; raises where it fails."""


class AbsentError(Exception):
    """The client has no such thing."""


def tell(attempts: Mapping[str, Attempt]) -> None:
    """Try what the command line asks for: BOOTSTRAP RUN CAPABILITY…"""
    bootstrap, run_name, *capabilities = sys.argv[1:]
    for capability in capabilities:
        print(
            "\t".join(["case", capability, *_try(attempts, capability, bootstrap, f"{run_name}-{capability}")]),
            flush=True,
        )


def _try(attempts: Mapping[str, Attempt], capability: str, bootstrap: str, name: str) -> tuple[str, str]:
    try:
        return "passed", _line(attempts[capability](bootstrap, name))
    except AbsentError as error:
        return "absent", _line(str(error))
    except (Exception, CancelledError) as error:  # whatever it is, it is the answer
        return "failed", _line(f"{type(error).__name__}: {error}")


def _line(text: str) -> str:
    return " ".join(text.split())


def check(holds: object, message: str) -> None:
    """Raise `AssertionError` where it does not hold."""
    if not holds:
        raise AssertionError(message)


def check_equal(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise AssertionError(f"{what}: {found!r:.150} instead of {expected!r:.150}")


def poll_until(done: Callable[[], bool], what: Callable[[], str] | str) -> None:
    """Call `done`, which does the polling itself, until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE_S:.0f} s: {what if isinstance(what, str) else what()}")


def persist(
    call: Callable[[], T], is_lost: Callable[[Exception], bool], is_done: Callable[[Exception], bool] | None = None
) -> T | None:
    """Call again while the answer is lost with the broker that was asked: some clients leave that to their users.

    `is_done`: the refusal of a repeated call that tells that the first one was heard; None is returned then.
    """
    deadline = time.monotonic() + PATIENCE_S
    repeated = False
    while True:
        try:
            return call()
        except Exception as error:
            if repeated and is_done is not None and is_done(error):
                return None
            if not is_lost(error) or time.monotonic() > deadline:
                raise
        repeated = True
        time.sleep(RETRY_S)


def keyed_records(count: int) -> list[tuple[bytes, bytes]]:
    """Keys and values; the value tells the order."""
    return [(b"key-%d" % (number % 10), b"value-%05d" % number) for number in range(count)]


def check_all_once_in_order(found: Iterable[tuple[int, bytes]], expected: Iterable[bytes]) -> None:
    """`found` are partitions and values as they were read, `expected` the values in the order of their sends."""
    read = list(found)
    check_equal(sorted(value for _, value in read), sorted(expected), "values")
    for partition in {partition for partition, _ in read}:
        values = [value for of, value in read if of == partition]
        check(values == sorted(values), f"partition {partition} is not in order: {values!r:.150}")
