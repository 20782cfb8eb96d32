"""How a node begins whose wall clock a test sets, by a file for each node: how many milliseconds it is ahead.

    python -m tests.cluster.shifted_clock node --id 1 …      reads $CLOCK_SHIFTS/1 whenever it looks at the clock

The monotonic clock is left alone, as when somebody sets the clock of a machine. Nodes take the time from `time_ns`; by
`time.time` gRPC reckons deadlines for its core, which looks at the machine's clock, so that is left alone, too.
"""

import os
import sys
import time
from pathlib import Path

FOLDER = "CLOCK_SHIFTS"


def jump(node_id: int, by_ms: int) -> None:
    """From the test's process, where the folder is set in the environment too: so far ahead from now on."""
    path = Path(os.environ[FOLDER]) / f"{node_id}"
    written = path.with_suffix(".new")
    written.write_text(f"{by_ms}")
    written.replace(path)


def _shift(path: Path) -> None:
    real_ns = time.time_ns

    def shifted_ns() -> int:
        try:
            return real_ns() + int(path.read_text()) * 1_000_000
        except FileNotFoundError:
            return real_ns()

    time.time_ns = shifted_ns


if __name__ == "__main__":
    if not sys.stdin.readline():
        sys.exit(1)
    sys.argv[0] = "kraftpy"
    _shift(Path(os.environ[FOLDER]) / sys.argv[sys.argv.index("--id") + 1])

    from kraftpy.__main__ import main

    main()
