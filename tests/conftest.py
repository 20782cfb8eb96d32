"""The order of the tests, what takes long first; and no clock in properties, for a machine may be busy.

A shell that starts something in the background lets it ignore Ctrl-C, and its children too. Tests send it: they get it.

`make tests` shares out whole files (so that a module's cluster is started once), each to the worker that is free. With
the many quick files last, all workers end at about the same time.
"""

import gc
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

HERE = Path(__file__).parent
FIRST = ("simulation", "testing", "cluster", "cli", "kafka", "compatibility")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _turn(item.path))


def _turn(path: Path) -> int:
    folder = path.relative_to(HERE).parts[0]
    return FIRST.index(folder) if folder in FIRST else len(FIRST)


@given(st.none())
def _prepare_hypothesis(nothing: None) -> None:
    """Hypothesis asks the collector once who holds its random numbers, and what is frozen is not told of."""


def pytest_collection_finish() -> None:
    _prepare_hypothesis()
    gc.freeze()  # else each full collection looks through all tests and modules again, a fifth of a second at a time
