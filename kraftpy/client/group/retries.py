"""When something that failed may be tried again. Pure."""


class Retries:
    """Pauses that double from failure to failure, up to a bound."""

    def __init__(self, first_ms: int, longest_ms: int) -> None:
        self.due_ms = 0
        self._first_ms = first_ms
        self._longest_ms = longest_ms
        self._failures = 0
        self._was_refused = False

    def is_due(self, now_ms: int) -> bool:
        return now_ms >= self.due_ms

    def failed(self, now_ms: int) -> None:
        self.due_ms = now_ms + min(self._longest_ms, self._first_ms << min(self._failures, 20))
        self._failures += 1

    def refused(self, now_ms: int) -> None:
        """It failed for a reason that does not pass by itself: who begins anew pauses all the same."""
        self.failed(now_ms)
        self._was_refused = True

    def begun_anew(self) -> None:
        if not self._was_refused:
            self.succeeded()

    def succeeded(self) -> None:
        self.due_ms = 0
        self._failures = 0
        self._was_refused = False
