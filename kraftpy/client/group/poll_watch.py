"""Whether the program still polls: max_poll_interval_ms (KIP-62). Pure."""

from kraftpy.client.group.member import NEVER_MS


class PollWatch:
    """Invariant: `deadline_ms` is the last poll plus the interval."""

    def __init__(self, interval_ms: int, now_ms: int) -> None:
        self._interval_ms = interval_ms
        self._polled_ms = now_ms

    @property
    def deadline_ms(self) -> int:
        return min(self._polled_ms + self._interval_ms, NEVER_MS)

    def polled(self, now_ms: int) -> None:
        self._polled_ms = now_ms

    def is_over(self, now_ms: int) -> bool:
        return now_ms >= self.deadline_ms

    def warning(self, group_id: str, now_ms: int) -> str:
        return (
            f"group {group_id}: this consumer leaves, because poll() was last called {now_ms - self._polled_ms} ms "
            f"ago, more than max_poll_interval_ms ({self._interval_ms}); its partitions go to others, and the next "
            "poll() joins again. Process less between two polls (lower max_poll_records), or raise max_poll_interval_ms"
        )
