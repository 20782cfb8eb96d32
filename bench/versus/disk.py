"""What the disk gives to processes that write 1 MB and flush it by turns: the bound of flushed rows."""

import contextlib
import tempfile

from bench.versus.rows import Figures
from bench.versus.stage import PROGRAM_S, ProgramFailedError, found_in, last_words, python_command, started

SECONDS = 5.0
WRITERS = 3


def flushed(seconds: float) -> Figures:
    """MB/s of one writer, and of three together, in the folder where clusters keep their data."""
    with tempfile.TemporaryDirectory(prefix="versus-") as folder:
        return {"one": _together(1, folder, seconds), "three": _together(WRITERS, folder, seconds)}


def _together(writers: int, folder: str, seconds: float) -> float:
    command = python_command("flushing_writer", {"folder": folder, "seconds": seconds})
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(started(command)) for _ in range(writers)]
        printed = [process.communicate(timeout=PROGRAM_S)[0] for process in processes]
    if any(process.returncode for process in processes):
        raise ProgramFailedError(last_words("\n".join(printed)))
    found = [found_in(each) for each in printed]
    return float(sum(each["bytes"] / each["seconds"] for each in found)) / 1e6
