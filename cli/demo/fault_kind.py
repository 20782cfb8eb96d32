"""What can be done to a node. Apart from `fault`, because the command line must not load what that needs."""

from enum import StrEnum


class FaultKind(StrEnum):
    KILL = "kill"
    PAUSE = "pause"

    @property
    def description(self) -> str:
        return {"kill": "kill -9", "pause": "SIGSTOP"}[self.value]
