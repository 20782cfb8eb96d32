"""Asks a finder about one seed. Runs in a process that was started in the copy with the bug."""

import io
import signal
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import assert_never

import pytest
from hypothesis import Phase, settings

from simulation.scenario import find_scenario, run_scenario
from tests.bugs.bug import Bug, Finder, Scenario, Seeds, Story

CPU_SECONDS_MAX = 240
"""Of one seed: most take one or two, a test with hundreds of examples some tens."""
OF_THE_BUG_ITSELF = ("NameError", "ImportError", "SyntaxError", "UnboundLocalError", "ModuleNotFoundError")


class DoesNotEnd(BaseException):
    """A seed has computed for `CPU_SECONDS_MAX`. Not an `Exception`, so that no program under test can catch it."""


def find(bug: Bug, seed: int) -> str:
    """What the check says of this seed; empty where it notices nothing.

    Raises `ValueError` where the bug is no bug but a program that cannot run.
    """
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS_MAX)
    try:
        said = _ask(bug.finder, seed)
    except DoesNotEnd:
        said = f"the run does not end: {CPU_SECONDS_MAX} s computed"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if any(word in said for word in OF_THE_BUG_ITSELF):
        raise ValueError(f"{bug.name} does not run: {said}")
    return said


def _stop(number: int, frame: FrameType | None) -> None:
    raise DoesNotEnd


def _ask(finder: Finder, seed: int) -> str:
    match finder:
        case Scenario():
            scenario = find_scenario(finder.name)
            plan = replace(scenario, faults=finder.faults or scenario.faults).plan(seed)
            return run_scenario(finder.name, seed, plan).error
        case Seeds():
            module, _, function = finder.function.partition(":")
            return _said_by(partial(getattr(import_module(module), function), seed))
        case Story():
            return _run_test(finder.test, seed)
        case _:
            assert_never(finder)


def _said_by(check: partial[object]) -> str:
    try:
        check()
    except Exception as error:  # the top of the run: whatever it says is what is looked for
        return f"{type(error).__name__}: {error}"
    return ""


class _Failures:
    """A plugin of pytest's that keeps what the failed test said, and where: the check, or the step, by its name."""

    def __init__(self) -> None:
        self.said = ""

    def pytest_exception_interact(self, call: pytest.CallInfo[None]) -> None:
        if call.excinfo is not None and not self.said:
            frames = [entry.name for entry in call.excinfo.traceback if "tests" in Path(entry.path).parts]
            self.said = ": ".join([*frames[-1:], call.excinfo.exconly()])


def _run_test(test: str, seed: int) -> str:
    """Without shrinking: what is there at all is what is asked, and to shrink it takes minutes."""
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile("known-bugs", database=None, phases=phases, report_multiple_bugs=False)
    settings.load_profile("known-bugs")
    failures, printed = _Failures(), io.StringIO()
    arguments = [test, "-q", "-x", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}"]
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis is imported here already
    with redirect_stdout(printed), redirect_stderr(printed):
        code = pytest.main(arguments, plugins=[failures])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise ValueError(f"{test} cannot be run: {printed.getvalue()}")
    return failures.said
