"""Reading `bootstrap`: one address or several, as people write them.

    "a:9093"    "a:9093, b:9193 ,c:9293"    ["a:9093", " b:9193"]    "[::1]:9093"

Blanks and empty entries are allowed, order is kept, repeated addresses count once.
"""

from collections.abc import Iterable

from kraftpy.client.values import names_of
from kraftpy.errors import ConfigurationError
from kraftpy.runtime.ports import Address


def parse_bootstrap(text: str | Iterable[str]) -> tuple[Address, ...]:
    """All addresses in `text`. Raises `ConfigurationError` where there is none, or one is not HOST:PORT."""
    pieces = names_of(text)
    if not all(isinstance(piece, str) for piece in pieces):
        raise ConfigurationError("bootstrap takes HOST:PORT, several separated by commas, or a list of them")
    entries = [entry.strip() for piece in pieces for entry in piece.split(",")]
    addresses = tuple(dict.fromkeys(_parse(entry) for entry in entries if entry))
    if not addresses:
        raise ConfigurationError("bootstrap names no address; give HOST:PORT of any node, or several")
    return addresses


def _parse(entry: str) -> Address:
    host, colon, port = entry.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ConfigurationError(f"bootstrap address {entry!r} is not HOST:PORT, for instance localhost:9092")
    return Address(host, int(port))
