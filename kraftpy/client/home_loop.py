"""The event loop that an asyncio client is first used on, and belongs to from then on.

On another one its tasks do not run, and whoever waits for them would wait for ever.
"""

import asyncio
from types import TracebackType

from kraftpy.errors import ConcurrentUseError


class HomeLoop:
    """Of one client. As a context manager it stands where threads need a lock: on one loop nobody has to wait."""

    __slots__ = ("_loop",)

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def settle(self) -> None:
        """This is the one."""
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def check(self) -> None:
        """Raises `ConcurrentUseError` on another loop."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:  # a call that does not wait, from outside
            return
        if self._loop is not None and running is not self._loop:
            raise ConcurrentUseError(
                "this client belongs to the event loop on which it was first used, and this is another one: "
                "make a client in each asyncio.run()"
            )
