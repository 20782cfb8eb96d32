"""What stderr shows while something is measured: on a terminal a line that is drawn over, else lines if wanted."""

import shutil
import time
from typing import TextIO

from cli.bench.histogram import Histogram

DRAWN_EVERY_S = 0.2
LINE_EVERY_S = 1.0


class Live:
    """`show` is called as often as one likes; it prints as often as is of use."""

    def __init__(self, out: TextIO, verbose: bool) -> None:
        self._out = out
        self._verbose = verbose
        self._draws = out.isatty() and not verbose
        self._started = time.monotonic()
        self._shown_s = 0.0
        self._width = 0
        self._records = 0
        self._bytes = 0

    def begin(self) -> None:
        """The measurement begins now."""
        self._started = time.monotonic()
        self._shown_s = 0.0
        self._records = self._bytes = 0

    def show(self, records: int, size_bytes: int, histogram: Histogram | None, more: str = "") -> None:
        """What has been done since the beginning: rates are those since the line before, `more` is told first."""
        seconds = time.monotonic() - self._started
        passed = seconds - self._shown_s
        if not (self._draws or self._verbose) or passed < (DRAWN_EVERY_S if self._draws else LINE_EVERY_S):
            return
        text = line_of(seconds, records, (records - self._records) / passed, (size_bytes - self._bytes) / passed)
        text += f"  {more}" if more else ""
        if histogram is not None and histogram.count:
            text += f"  p99 {histogram.at_percentile(99) / 1_000:,.1f} ms  max {histogram.most / 1_000:,.1f} ms"
        self._shown_s, self._records, self._bytes = seconds, records, size_bytes
        self._print(text)

    def say(self, sentence: str) -> None:
        """Something that stays on the screen, whatever stderr is."""
        self.clear()
        print(sentence, file=self._out, flush=True)

    def clear(self) -> None:
        """Wipe the line that is drawn over."""
        if self._width:
            print(f"\r{'':<{self._width}}\r", end="", file=self._out, flush=True)
            self._width = 0

    def _print(self, text: str) -> None:
        if not self._draws:
            print(text, file=self._out, flush=True)
            return
        shown = text[: shutil.get_terminal_size().columns - 1]
        print(f"\r{shown:<{self._width}}", end="", file=self._out, flush=True)
        self._width = len(shown)


def line_of(seconds: float, records: int, records_per_second: float, bytes_per_second: float) -> str:
    rates = f"{records_per_second:,.0f} records/s  {bytes_per_second / 1e6:,.1f} MB/s"
    return f"{seconds:6.1f} s  {records:,} records  {rates}"
