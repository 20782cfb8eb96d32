"""What a case of commands works with: a folder for files, commands that run to their end, ones that run meanwhile."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.compatibility.clusters import ClusterUnderTest

TIMEOUT_S = 120.0
LOOK_S = 0.2
NOTE_CHARACTERS = 300


class CommandFailedError(Exception):
    """A command ended otherwise than it should; the message holds the end of what it printed."""


class Workshop:
    """One case's. `directory` goes with it; so do all processes."""

    def __init__(self, cluster: ClusterUnderTest, directory: Path, name: str) -> None:
        self.cluster = cluster
        self.directory = directory
        self.name = name
        """The case's own, for topics and groups."""

    @property
    def bootstrap(self) -> str:
        return self.cluster.bootstrap

    def topic(self, partitions: int = 1, suffix: str = "") -> str:
        """A new topic with three replicas; its name."""
        self.cluster.create_topic(self.name + suffix, partitions)
        return self.name + suffix

    def file(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def run(self, *command: str | Path, input: str = "", timeout_s: float = TIMEOUT_S, code: int = 0) -> str:
        """Run it to its end; what it printed, errors too. Raises `CommandFailedError`."""
        try:
            ended = subprocess.run(
                list(map(str, command)),
                input=input,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=timeout_s,
                cwd=self.directory,
            )
        except subprocess.TimeoutExpired as error:
            printed = (error.stdout or b"").decode(errors="replace")
            raise CommandFailedError(f"not done within {timeout_s:.0f} s: {_end_of(printed)}") from None
        if ended.returncode != code:
            raise CommandFailedError(f"exit code {ended.returncode}: {_end_of(ended.stdout)}")
        return ended.stdout

    @contextlib.contextmanager
    def background(self, *command: str | Path, stop: signal.Signals = signal.SIGTERM) -> Iterator[Path]:
        """Run it meanwhile, and `stop` it in the end; the file that it prints to."""
        output = self.directory / f"output-{time.monotonic_ns()}"
        with open(output, "wb") as printed:
            process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,
            )
        try:
            yield output
        finally:
            process.send_signal(stop)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def wait(self, look: Callable[[], object], what: str, timeout_s: float = TIMEOUT_S) -> None:
        """Look until it is so. Raises `TimeoutError`."""
        deadline = time.monotonic() + timeout_s
        while not look():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout_s:.0f} s: {what}")
            time.sleep(LOOK_S)


def expect(found: str, *parts: str) -> None:
    """Raise `AssertionError` where `found` lacks one of the parts."""
    for part in parts:
        if part not in found:
            raise AssertionError(f"no {part!r} in: {_end_of(found)}")


def expect_equal(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise AssertionError(f"{what}: {found!r:.150} instead of {expected!r:.150}")


def lines(text: str) -> Sequence[str]:
    """Without blank ones."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _end_of(printed: str) -> str:
    """What tells most: the first line that names an error, and the last one."""
    said = lines(printed)
    telling = [line for line in said if "rror" in line or "xception" in line]
    return " | ".join(dict.fromkeys([*telling[:1], *said[-1:]]))[:NOTE_CHARACTERS] or "nothing was printed"
