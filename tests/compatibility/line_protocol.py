"""How the harness talks with a program in any language.

    PROGRAM BOOTSTRAP RUN CAPABILITY…

The program tries the capabilities in this order, on the topic and group RUN-CAPABILITY (what it makes itself begins so,
too), and prints one line for each, its fields apart by tabs:

    case  CAPABILITY  passed|failed|absent  NOTE

Whatever else it prints is its log. One that is silent for too long is killed, the case at hand has failed, and the
program is started again with the rest.
"""

import contextlib
import os
import queue
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.compatibility.case import Verdict

SILENCE_S = 120.0  # a program's own limit for one wait is 60 s
LOG_LINES = 200
NOTE_CHARACTERS = 400
_WORDS = {verdict.value: verdict for verdict in (Verdict.PASSED, Verdict.FAILED, Verdict.ABSENT)}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program said of one capability."""

    capability: str
    verdict: Verdict
    note: str


def ask(
    command: Sequence[str], bootstrap: str, run_name: str, capabilities: Sequence[str], silence_s: float = SILENCE_S
) -> Iterator[Answer]:
    """An answer for each capability, in order, whatever the program does."""
    left = list(capabilities)
    while left:
        with _Program([*command, bootstrap, run_name, *left]) as program:
            for capability in list(left):
                verdict, note = program.answer(capability, silence_s)
                left.remove(capability)
                yield Answer(capability, verdict, note)
                if program.ended:
                    break


class _Program:
    """The process, and a thread that reads what it prints."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._log: list[str] = []
        self.ended = False

    def __enter__(self) -> "_Program":
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0 if self.ended else 10)  # after its last answer it ends by itself
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def answer(self, capability: str, silence_s: float) -> tuple[Verdict, str]:
        deadline = time.monotonic() + silence_s
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                self.ended = True
                return Verdict.FAILED, f"no answer within {silence_s:.0f} s; last said: {self._last_words()}"
            if line is None:
                self.ended = True
                return Verdict.FAILED, f"ended with exit code {self._process.wait()}; last said: {self._last_words()}"
            match line.split("\t", 3):
                case ["case", found, word, note] if found == capability and word in _WORDS:
                    return _WORDS[word], note[:NOTE_CHARACTERS]
                case _:
                    self._log = [*self._log[-LOG_LINES:], line]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _last_words(self) -> str:
        telling = [line.strip() for line in self._log if line.strip()]
        return " | ".join(telling[-3:])[:NOTE_CHARACTERS] or "nothing"
