"""The reaper: what was watched is gone when the test ends, also where a child of the test's lives on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kraftpy.testing.reaper import Reaper, python_path
from tests.testing.processes import ends_within, path_vanishes_within

LONG_S = 15
PATIENCE_S = 10.0

CRASHING = f"""
import os, signal, subprocess, sys, time
from kraftpy.testing.reaper import Reaper

reaper = Reaper()
watched = subprocess.Popen([sys.executable, "-c", "import time; time.sleep({LONG_S})"], stdout=subprocess.DEVNULL)
reaper.watch(watched.pid)
reaper.remove_at_the_end(sys.argv[1])
child = os.fork()
if child == 0:
    os.close(1)
    time.sleep({LONG_S})
    os._exit(0)
print(watched.pid, child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def sleeper() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({LONG_S})"])
    yield process.pid
    process.kill()
    process.wait()


@contextmanager
def forked_child() -> Iterator[None]:
    """As multiprocessing forks one: it holds whatever this process had open."""
    child = os.fork()
    if child == 0:
        time.sleep(LONG_S)
        os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_does_not_hold_up_the_end(sleeper: int, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    reaper = Reaper()
    reaper.watch(sleeper)
    reaper.remove_at_the_end(str(directory))
    with forked_child():
        began = time.monotonic()
        reaper.close()
        assert time.monotonic() - began < 1
    assert os.waitpid(sleeper, 0)[1] == signal.SIGKILL
    assert not directory.exists()
    reaper.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_that_leaves_the_reaper_too_ends_nothing(sleeper: int) -> None:
    """As one does that raises inside of the `with` that its parent is in."""
    with Reaper() as reaper:
        reaper.watch(sleeper)
        child = os.fork()
        if child == 0:
            try:
                reaper.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        reaper.forget(sleeper)  # said after whatever the child has said
    assert not ends_within(sleeper, 0)


def test_a_forked_child_does_not_hide_that_the_test_was_killed(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(python_path())}
    test = subprocess.run(
        [sys.executable, "-c", CRASHING, str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        timeout=PATIENCE_S,
    )
    watched, child = map(int, test.stdout.split())
    try:
        assert ends_within(watched, PATIENCE_S)
        assert path_vanishes_within(str(directory), PATIENCE_S)
        assert not ends_within(child, 0), "nobody has asked for that one"
    finally:
        os.kill(child, signal.SIGKILL)
