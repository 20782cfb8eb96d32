"""What the log says of clients that ask for what is not served."""

from broker.kafka.api import Api
from broker.kafka.told_lately import ToldLately, client_named
from kraftpy.runtime.ports import Address, Clock


class Unserved:
    """By host, API and version."""

    def __init__(self, clock: Clock) -> None:
        self._told: ToldLately[tuple[str, int, int]] = ToldLately(clock)

    def reason(self, peer: Address, api_key: int, version: int, api: Api | None, frame: memoryview, header: int) -> str:
        """Why the connection is closed; empty where that was said a moment ago.

        `api`: None where no version of it is served; `header`: where the client id stands in `frame`.
        """
        kind = (peer.host, api_key, version)
        return self._told.line(kind, lambda: _advice(api_key, version, api, client_named(frame, header) or ""))


def _advice(api_key: int, version: int, api: Api | None, client: str) -> str:
    if api is None:
        return f"API {api_key} is not served{client}"
    served = f"{api.key.name} version {version} is not served, {api.version_min} to {api.version_max} are{client}"
    if version < api.version_min:
        return f"{served}: clients of Kafka 0.11 and later are served; bring this one up to date"
    return f"{served}: the client asks for more than ApiVersions has told it"
