"""The port that a node takes calls at: whoever speaks HTTP/2 is carried to gRPC, and why others are wrong is logged.

gRPC accepts its connections itself, tells nobody of one that speaks something else, and takes none that was looked at
before. So it listens where only this machine reaches it, behind a framed listener that looks at the first bytes. What
the way through costs is in docs/decisions.md; followers, whose fetches are framed, do not come by here.
"""

import asyncio

from kraftpy.runtime.framed_config import KIB, MIB, FramedConfig
from kraftpy.runtime.framed_server import FramedServer
from kraftpy.runtime.framed_transport import TcpFramedTransport
from kraftpy.runtime.ports import Address, FrameHandler, FrameParts, OpenHandler

CONNECTIONS_MAX = 2_048
"""Of one node; more are closed at once."""
CONNECTIONS_PER_ADDRESS_MAX = CONNECTIONS_MAX * 3 // 4
"""So that one machine, whatever is wrong with it, leaves room for the other nodes."""
CROWDED_PER_ADDRESS_MAX = 8
"""While three quarters are taken, so that several machines leave room as well. A node needs one to each other node, and
a few more while it moves; clients on its machine count with it."""
DESCRIPTORS_PER_CONNECTION = 3
"""Here, and both ends of the way to gRPC; the logs need descriptors, too."""

_LIMITS = FramedConfig(
    frame_bytes_max=64 * KIB,  # a stranger's first frame is read, and no more of it
    receive_bytes_max=MIB,
    in_flight_max=1,
    connections_max=CONNECTIONS_MAX,
    connections_per_address_max=CONNECTIONS_PER_ADDRESS_MAX,
    crowded_per_address_max=CROWDED_PER_ADDRESS_MAX,
    passed_on_max=CONNECTIONS_MAX,
    idle_ms=660_000,  # a minute after gRPC, which says goodbye first
    hello_ms=10_000,
    stall_ms=10_000,
    backlog=1_024,
)


async def open_door(address: Address, calls: Address, strangers: OpenHandler | None) -> FramedServer:
    """Listen on `address`. `calls`: where gRPC listens. `strangers`: see `ports.Transport`.

    Raises `OSError`, which names the address, where it cannot be bound.
    """
    framed = TcpFramedTransport(asyncio.to_thread, _LIMITS)
    return await framed.serve(address, strangers or _turned_away, calls)


def _turned_away(peer: Address) -> FrameHandler:
    async def refuse(frame: memoryview) -> FrameParts:
        raise ConnectionError("it does not speak gRPC, as everybody does here")

    return refuse
