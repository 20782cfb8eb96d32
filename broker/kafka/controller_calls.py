"""Asking the active controller on behalf of a Kafka client: the same methods and messages as at the gRPC door.

A request goes as `Admin`'s protobuf request through the node's link, so there is one way to the controller, and one
meaning of every request, whichever door it came in by.
"""

from typing import TypeVar

from google.protobuf.message import Message

from broker.rpc.admin_service import TIMEOUT_MAX_MS, TIMEOUT_MS
from broker.rpc.ports import ControllerLink

M = TypeVar("M", bound=Message)


async def ask_controller(
    link: ControllerLink, method: str, request: Message, answer: type[M], timeout_ms: int = TIMEOUT_MS
) -> M:
    """The answer, once what it says is committed and applied here.

    Raises `KraftpyError`: `NotControllerError` where none is known, `RequestTimedOutError`, and refusals of the whole.
    """
    timeout_ms = min(timeout_ms, TIMEOUT_MAX_MS) if timeout_ms > 0 else TIMEOUT_MS
    return answer.FromString(await link.run(method, request.SerializeToString(), timeout_ms))
