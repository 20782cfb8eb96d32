"""How the demo tells what happens: a line an event, and in between a bar on a terminal or a line now and then."""

import shutil
import time
from typing import TextIO

BAR_CELLS = 24
LINE_EVERY_S = 5.0
BAR_EVERY_S = 0.1
COLUMNS_MAX = 100


class Progress:
    """Lines with the seconds since the start; on a terminal the last line is a bar that is drawn over and over."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._started = time.monotonic()
        self._drawn = False
        self._last = self._started

    def say(self, text: str) -> None:
        """One event."""
        self._wipe()
        self._print(f"{time.monotonic() - self._started:6.1f} s  {text}")

    def show(self, done: float, text: str) -> None:
        """How far it is (`done` of 1) and what the numbers are; drawn as often as is of use."""
        now = time.monotonic()
        if now - self._last < (BAR_EVERY_S if self._is_terminal else LINE_EVERY_S):
            return
        self._last = now
        if not self._is_terminal:
            self.say(text)
            return
        cells = round(BAR_CELLS * min(max(done, 0.0), 1.0))
        columns = _columns()
        line = f"{now - self._started:6.1f} s  [{'#' * cells}{'.' * (BAR_CELLS - cells)}] {text}"
        self._out.write(f"\r{line[:columns]:<{columns}}")
        self._out.flush()
        self._drawn = True

    def print_plain(self, text: str) -> None:
        """A line without a time."""
        self._wipe()
        self._print(text)

    def _wipe(self) -> None:
        if self._drawn:
            self._out.write("\r" + " " * _columns() + "\r")
            self._drawn = False

    def _print(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()


def _columns() -> int:
    """What fits into a line; in the last column some terminals break it."""
    return min(shutil.get_terminal_size().columns - 1, COLUMNS_MAX)
