"""What the log says of connections that are refused: each kind is a line, and how often since, but not each time.

An old client that is disconnected, or one at the wrong port, comes back at once, some seventy times a second.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from broker.kafka.wire import ProtocolError, RequestReader
from kraftpy.runtime.ports import Clock

SILENCE_MS = 60_000
"""After a line about the same kind."""
KINDS_MAX = 1_000
"""Of these, remembered for that."""
_CLIENT_ID_MAX = 100

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class _Told:
    at_ms: int
    untold: int = 0  # since then


class ToldLately(Generic[K]):
    """By what is the same to whoever reads the log."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: OrderedDict[K, _Told] = OrderedDict()  # the earliest is first

    def line(self, kind: K, say: Callable[[], str]) -> str:
        """What `say` gives; empty where it was said of this `kind` a moment ago."""
        now_ms = self._clock.monotonic_ms()
        told = self._told.get(kind)
        if told is not None and now_ms - told.at_ms < SILENCE_MS:
            told.untold += 1
            return ""
        self._told[kind] = _Told(now_ms)
        self._told.move_to_end(kind)
        if len(self._told) > KINDS_MAX:
            self._told.popitem(last=False)
        again = f" ({told.untold} more since the last line about it)" if told is not None and told.untold else ""
        return say() + again


def client_named(frame: memoryview, position: int) -> str | None:
    """The client of a request of any version, each of which has its id at `position`: in brackets, for such a line.

    Empty where the request names none; None where what stands there is no name.
    """
    try:
        client_id = RequestReader(frame, flexible=False, position=position).nullable_string()
    except ProtocolError:
        return None
    return f" (client id {client_id[:_CLIENT_ID_MAX]!r})" if client_id else ""
