"""A clock that stands still until a test moves it."""


class SteppedClock:
    """Satisfies `kraftpy.runtime.ports.Clock`; both clocks show `now_ms`."""

    def __init__(self) -> None:
        self.now_ms = 0

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self.now_ms
