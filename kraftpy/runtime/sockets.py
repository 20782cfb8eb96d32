"""Plain TCP sockets that do not block: connecting and listening by name."""

import asyncio
import contextlib
import errno
import os
import socket
import sys

from kraftpy.runtime.ports import Address

TCP_RTO_MAX_MS = 44
"""linux/tcp.h, since Linux 6.15; the `socket` module has no name for it."""
RETRANSMIT_MS_MAX = 1_000
"""The least that Linux takes; left alone it is two minutes."""


def prepare(connected: socket.socket) -> None:
    """What both ends of a connection have in common. Raises `OSError` where it is gone already.

    What is not acknowledged is sent again at least every `RETRANSMIT_MS_MAX`, where the system can do that. TCP by
    itself doubles the pause each time, so that a connection over a wire that was cut for twelve seconds may say nothing
    for as long again once it is mended: a follower that hears its leader again would stay out of the in-sync set for
    all that time. It also gives a dead peer up after some fifteen seconds in place of as many minutes.
    """
    connected.setblocking(False)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # an older kernel, or what stands in for one, says so in several ways
            connected.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, RETRANSMIT_MS_MAX)


def reason_of(error: OSError) -> str:
    """The system's words; asyncio puts its own into `strerror`."""
    if isinstance(error, socket.gaierror) or error.errno is None:
        return str(error.strerror or error)
    return os.strerror(error.errno)


async def _addresses(address: Address, flags: int = 0) -> list[tuple[int, tuple[str, int]]]:
    """Family and socket address for each address of the name, which is looked up off the loop unless it is a number.

    Raises `OSError`, also for what cannot be a name.
    """
    host = address.host or None
    try:
        found = socket.getaddrinfo(
            host, address.port, type=socket.SOCK_STREAM, flags=flags | (socket.AI_NUMERICHOST if host else 0)
        )
    except socket.gaierror:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=flags)
    except ValueError as error:  # UnicodeError: a label is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, f"{host!r} is no name of a machine: {error}") from None
    return [(family, name) for family, _, _, _, name in found]  # type: ignore[misc]


async def connect(address: Address, timeout_ms: int | None = None) -> socket.socket:
    """Try the addresses of the name one after the other. Raises `OSError`: `TimeoutError` where any is silent, and
    `ConnectionRefusedError` only where each refuses.

    Each gets its share of the time that is left, so that a silent one leaves some to the others.
    """
    loop = asyncio.get_running_loop()
    deadline_s = None if timeout_ms is None else loop.time() + timeout_ms / 1_000
    async with asyncio.timeout_at(deadline_s):
        found = await _addresses(address)
    failure: OSError | None = None
    for number, (family, name) in enumerate(found):
        now_s = loop.time()
        until_s = None if deadline_s is None else now_s + (deadline_s - now_s) / (len(found) - number)
        connecting = socket.socket(family, socket.SOCK_STREAM)
        try:
            prepare(connecting)
            async with asyncio.timeout_at(until_s):
                await loop.sock_connect(connecting, name)
        except OSError as error:
            connecting.close()
            if failure is None or isinstance(failure, ConnectionRefusedError) or isinstance(error, TimeoutError):
                failure = error
        except BaseException:
            connecting.close()
            raise
        else:
            return connecting
    raise failure or OSError(errno.EADDRNOTAVAIL, "the name has no address")


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
