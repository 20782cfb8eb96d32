"""Leaves nothing behind, however the test ends: a process that outlives it for a moment.

    python -m kraftpy.testing.reaper PID

It reads commands on its standard input, one a line: `+PID` watch a process, `-PID` it is gone, `directory PATH` remove
this at the end, `end`. Then, or when the test's process (the PID that it was given) has ended (kill -9 included), it
kills what is still watched, paused processes too, and removes the directories. The end of its input alone would not
do: a child that the test has forked, as multiprocessing does, holds the other end of it as well.

Processes are held by descriptors where the system has them (Linux), so a number that was given to another process in
the meantime is never hit.
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

LOOK_S = 0.5  # between two looks at the parent, where the system has no descriptors of processes


class Reaper:
    """The test's end of the line."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process_id = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kraftpy.testing.reaper", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt from the terminal is not for it
            env={**os.environ, "PYTHONPATH": os.pathsep.join(python_path())},
        )

    def watch(self, pid: int) -> None:
        self._tell(f"+{pid}")

    def forget(self, pid: int) -> None:
        self._tell(f"-{pid}")

    def remove_at_the_end(self, directory: str) -> None:
        self._tell(f"directory {directory}")

    def close(self) -> None:
        """End, and wait until everything is gone. May be repeated. In a child that was forked off nothing happens: what
        is watched is its parent's."""
        if os.getpid() != self._process_id:
            return
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):  # it was killed itself
                self._tell("end")
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, command: str) -> None:
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(os.fsencode(f"{command}\n"))
            self._process.stdin.flush()


def python_path() -> list[str]:
    """Where a child finds the same kraftpy as this process."""
    ours = str(Path(__file__).resolve().parents[2])
    return [ours, *[part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]]


class _Watched:
    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._descriptor = _descriptor_of(pid)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
            else:
                os.kill(self._pid, signal.SIGKILL)
        self.forget()

    def forget(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _descriptor_of(pid: int) -> int | None:
    """A descriptor of the process; None where the system has none. Raises `ProcessLookupError`."""
    try:
        return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    except ProcessLookupError:
        raise
    except OSError:  # an old kernel, or a sandbox that does not know the call
        return None


def _commands(parent: int) -> Iterator[str]:
    """What the parent says, until it says `end`, or says nothing more because it is no more."""
    source = sys.stdin.fileno()
    try:
        descriptor = _descriptor_of(parent)
        patience_s = LOOK_S if descriptor is None else None
    except ProcessLookupError:  # before this began; what it has said is there all the same
        descriptor, patience_s = None, 0.0
    heard = b""
    while True:
        waited_for = [source] if descriptor is None else [source, descriptor]
        readable = select.select(waited_for, [], [], patience_s)[0]
        if source in readable:  # first: what it has said before its end still counts
            part = os.read(source, 65_536)
            *lines, heard = (heard + part).split(b"\n")
            for line in lines:
                if line == b"end":
                    return
                yield os.fsdecode(line)
            if not part:
                return
        elif descriptor in readable or os.getppid() != parent:
            return


def main() -> None:
    watched: dict[int, _Watched] = {}
    directories: list[str] = []
    for command in _commands(int(sys.argv[1])):
        if command.startswith("+"):
            with contextlib.suppress(ProcessLookupError):
                watched[int(command[1:])] = _Watched(int(command[1:]))
        elif command.startswith("-"):
            if (gone := watched.pop(int(command[1:]), None)) is not None:
                gone.forget()
        elif command.startswith("directory "):
            directories.append(command.removeprefix("directory "))
    for process in watched.values():
        process.kill()
    for directory in directories:
        _remove(directory)


def _remove(directory: str) -> None:
    """A process that was killed this moment may still be creating files."""
    for _ in range(50):
        shutil.rmtree(directory, ignore_errors=True)
        if not os.path.exists(directory):
            return
        threading.Event().wait(0.02)


if __name__ == "__main__":
    main()
