"""What the log says of clients that ask for what is not served: each a line, and how often, but not each time.

An old client that is disconnected comes back at once, some seventy times a second.
"""

from collections import OrderedDict
from dataclasses import dataclass

from broker.kafka.api import Api
from broker.kafka.wire import ProtocolError, RequestReader
from kraftpy.runtime.ports import Address, Clock

SILENCE_MS = 60_000
"""After a line about the same host, API and version."""
KINDS_MAX = 1_000
"""Of these, remembered for that."""


@dataclass(slots=True)
class _Told:
    at_ms: int
    untold: int = 0  # since then


class Unserved:
    """What was told lately."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: OrderedDict[tuple[str, int, int], _Told] = OrderedDict()  # the earliest is first

    def reason(self, peer: Address, api_key: int, version: int, api: Api | None, frame: memoryview, header: int) -> str:
        """Why the connection is closed; empty where that was said a moment ago.

        `api`: None where no version of it is served; `header`: where the client id stands in `frame`.
        """
        now_ms = self._clock.monotonic_ms()
        kind = (peer.host, api_key, version)
        told = self._told.get(kind)
        if told is not None and now_ms - told.at_ms < SILENCE_MS:
            told.untold += 1
            return ""
        self._told[kind] = _Told(now_ms)
        self._told.move_to_end(kind)
        if len(self._told) > KINDS_MAX:
            self._told.popitem(last=False)
        again = f" ({told.untold} more since the last line about it)" if told is not None and told.untold else ""
        return advice(api_key, version, api, client_id(frame, header)) + again


def advice(api_key: int, version: int, api: Api | None, client: str) -> str:
    named = f" (client id {client[:100]!r})" if client else ""
    if api is None:
        return f"API {api_key} is not served{named}"
    served = f"{api.key.name} version {version} is not served, {api.version_min} to {api.version_max} are{named}"
    if version < api.version_min:
        return f"{served}: clients of Kafka 0.11 and later are served; bring this one up to date"
    return f"{served}: the client asks for more than ApiVersions has told it"


def client_id(frame: memoryview, position: int) -> str:
    """Of a request whose version nobody knows: every one has it there. Empty where there is none."""
    try:
        return RequestReader(frame, flexible=False, position=position).nullable_string() or ""
    except ProtocolError:
        return ""
