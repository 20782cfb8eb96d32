"""What a command that moves partitions leaves behind when something goes wrong."""

from collections.abc import Callable
from typing import Any

import pytest

from cli.moving import begin, carry_out
from kraftpy.client.balancing import PlannedMove
from kraftpy.errors import CallTimeoutError


class Client:
    """Throttles some, and then there is no answer."""

    def __init__(self) -> None:
        self.throttled = False

    def describe_topics(self, *, timeout: float) -> list[Any]:
        return []

    def throttle_replication(self, moves: Any, bytes_per_second: int, *, timeout: float) -> None:
        self.throttled = True
        raise CallTimeoutError("nobody answered")

    def unthrottle_replication(self, *, timeout: float) -> None:
        self.throttled = False


@pytest.mark.parametrize(
    "command",
    [
        lambda client: begin(client, {("t", 0): (1, 2)}, 1_000, 5.0),
        lambda client: carry_out(client, [PlannedMove("t", 0, (1,), (2,))], 1_000, 5.0),
    ],
    ids=["reassign", "rebalance"],
)
def test_a_throttle_that_came_to_half_goes_with_its_command(command: Callable[[Any], None]) -> None:
    client = Client()
    with pytest.raises(CallTimeoutError):
        command(client)
    assert not client.throttled
