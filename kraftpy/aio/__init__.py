"""The asyncio client: `Producer`, `Consumer` and `Admin`, with the names of the blocking ones in `kraftpy`.

async with Producer("localhost:9092") as producer:
    delivery = await producer.send("lines", b"hello")   # waits for room
    metadata = await delivery                            # waits for the acknowledgement
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kraftpy.client.async_admin import Admin
    from kraftpy.client.async_consumer import Consumer
    from kraftpy.client.async_producer import Producer

__all__ = ["Admin", "Consumer", "Producer"]

_HOMES = {
    "Admin": "kraftpy.client.async_admin",
    "Consumer": "kraftpy.client.async_consumer",
    "Producer": "kraftpy.client.async_producer",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
