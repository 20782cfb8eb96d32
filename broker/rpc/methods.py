"""From calls of bytes to handlers of messages: what every gRPC service of a node is put together by.

The transport knows bytes only, so that bulk payloads are decoded where they are wanted; a service knows messages only.
A request that cannot be read is the caller's fault and is told so (`BadRequest`); everything that can be read is
answered by a response, whose `error` says what is wrong.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from kraftpy.runtime.ports import BadRequest, Methods, UnaryHandler

PACKAGE = "kraftpy.pb"

M = TypeVar("M", bound=Message)

Handlers = Mapping[str, tuple[type[Message], Callable[[Any], Awaitable[Message]]]]
"""The methods of a service by their short names: the class of the request, and what answers it."""


def full_name(service: str, method: str) -> str:
    """`/kraftpy.pb.Client/Fetch`."""
    return f"/{PACKAGE}.{service}/{method}"


def unary(service: str, handlers: Handlers) -> dict[str, UnaryHandler]:
    """The byte handlers of `handlers`, by full names."""
    return {full_name(service, name): _served(answer, request) for name, (request, answer) in handlers.items()}


def merged(*services: Methods) -> Methods:
    """One listener's methods: those of all `services`, each of which is there once."""
    unary_handlers = {name: handler for service in services for name, handler in service.unary.items()}
    stream_handlers = {name: handler for service in services for name, handler in service.stream.items()}
    count = sum(len(service.unary) + len(service.stream) for service in services)
    assert len(unary_handlers) + len(stream_handlers) == count, "a method is served twice"
    between_nodes = frozenset[str]().union(*(service.between_nodes for service in services))
    return Methods(unary_handlers, stream_handlers, between_nodes)


def decode(message: type[M], data: bytes) -> M:
    """Raises `BadRequest` for bytes that are no such message."""
    try:
        return message.FromString(data)
    except DecodeError:
        raise BadRequest(f"{len(data)} bytes that are no {message.DESCRIPTOR.name}") from None


def _served(answer: Callable[[Any], Awaitable[Message]], request: type[Message]) -> UnaryHandler:
    async def serve(data: bytes) -> bytes:
        response = await answer(decode(request, data))
        return response.SerializeToString(deterministic=True)  # maps in order, so that a simulated run replays

    return serve
