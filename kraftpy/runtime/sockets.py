"""Plain TCP sockets that do not block: connecting and listening by name."""

import asyncio
import errno
import os
import socket

from kraftpy.runtime.ports import Address


def reason_of(error: OSError) -> str:
    """The system's words; asyncio puts its own into `strerror`."""
    if isinstance(error, socket.gaierror) or error.errno is None:
        return str(error.strerror or error)
    return os.strerror(error.errno)


async def _addresses(address: Address, flags: int = 0) -> list[tuple[int, tuple[str, int]]]:
    """Family and socket address for each address of the name, which is looked up off the loop unless it is a number."""
    host = address.host or None
    try:
        found = socket.getaddrinfo(
            host, address.port, type=socket.SOCK_STREAM, flags=flags | (socket.AI_NUMERICHOST if host else 0)
        )
    except socket.gaierror:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, name) for family, _, _, _, name in found]  # type: ignore[misc]


async def connect(address: Address) -> socket.socket:
    """Try the addresses of the name one after the other. Raises the last `OSError`."""
    last: OSError = OSError(errno.EADDRNOTAVAIL, "the name has no address")
    for family, name in await _addresses(address):
        connecting = socket.socket(family, socket.SOCK_STREAM)
        try:
            connecting.setblocking(False)
            connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connecting.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            await asyncio.get_running_loop().sock_connect(connecting, name)
        except OSError as error:
            connecting.close()
            last = error
        except BaseException:
            connecting.close()
            raise
        else:
            return connecting
    raise last


async def listen(address: Address, backlog: int) -> socket.socket:
    """A socket that listens on the first address of the name. Raises `OSError`."""
    family, name = (await _addresses(address, socket.AI_PASSIVE))[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # `::` also hears IPv4, as Kafka's listeners do.
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(name)
        listening.listen(backlog)
    except BaseException:
        listening.close()
        raise
    return listening
