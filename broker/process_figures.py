"""How the process of a node does, in numbers: its event loop, its memory."""

from broker.metrics import Metric
from kraftpy.runtime.loop_watch import LoopWatch
from kraftpy.runtime.memory import anonymous_bytes


class ProcessFigures:
    """Those of this process, whose loop `watch` watches."""

    def __init__(self, watch: LoopWatch) -> None:
        self._watch = watch

    def metrics(self) -> list[Metric]:
        found = [
            Metric("kraftpy_loop_longest_stall_ms", self._watch.longest_ms),
            Metric("kraftpy_loop_longest_own_stall_ms", self._watch.longest_own_ms),
            Metric("kraftpy_loop_longest_run_ms", self._watch.longest_run_ms),
        ]
        size_bytes = anonymous_bytes()
        if size_bytes is not None:
            found.append(Metric("kraftpy_process_anonymous_bytes", size_bytes))
        return found

    def problems(self) -> list[str]:
        """Stalls pass; the log tells of long ones."""
        return []
