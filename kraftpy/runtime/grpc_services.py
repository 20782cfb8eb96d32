"""gRPC's standard services, health and reflection, so that its usual tools work on every node.

Both are loaded when somebody first asks (25 ms, 2 MB), not at start. A node is SERVING from the moment it listens;
whether its cluster is well is another question, which `kraftpy cluster health` answers.
"""

from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

import grpc
import grpc.aio

from kraftpy.runtime.ports import Methods

_HEALTH = "grpc.health.v1.Health"
_REFLECTION = "grpc.reflection.v1alpha.ServerReflection"


class StandardServices:
    """The handlers of both services, for the services in `methods`."""

    def __init__(self, methods: Methods) -> None:
        names = [name.split("/")[1] for name in (*methods.unary, *methods.stream)]
        self._names = list(dict.fromkeys(names))  # each once, in their order
        self._health: Any = None
        self._handlers: dict[str, list[grpc.GenericRpcHandler]] = {}

    def handler(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        service = details.method.split("/")[1] if details.method.count("/") == 2 else ""
        if service not in (_HEALTH, _REFLECTION):
            return None
        if service not in self._handlers:
            self._handlers[service] = self._load_health() if service == _HEALTH else self._load_reflection()
        return next((found for generic in self._handlers[service] if (found := generic.service(details))), None)

    async def stop(self) -> None:
        """Tell whoever watches that nothing is served any more."""
        if self._health is not None:
            await self._health.enter_graceful_shutdown()

    def _load_health(self) -> list[grpc.GenericRpcHandler]:
        from grpc_health.v1 import health, health_pb2, health_pb2_grpc

        self._health = health.aio.HealthServicer()
        for name in ("", _HEALTH, *self._names):
            _run_at_once(self._health.set(name, health_pb2.HealthCheckResponse.SERVING))
        return _collected(health_pb2_grpc.add_HealthServicer_to_server, self._health)

    def _load_reflection(self) -> list[grpc.GenericRpcHandler]:
        from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

        servicer = reflection.aio.ReflectionServicer(sorted((_HEALTH, _REFLECTION, *self._names)))
        return _collected(reflection_pb2_grpc.add_ServerReflectionServicer_to_server, servicer)


class _Collector:
    """Stands in for the server where generated code wants to register a servicer."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self.handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """The same methods once more, for servers that look them up by name."""


def _collected(register: Any, servicer: Any) -> list[grpc.GenericRpcHandler]:
    collector = _Collector()
    register(servicer, collector)
    return collector.handlers


def _run_at_once(setter: Coroutine[Any, Any, None]) -> None:
    """The servicer's setter is a coroutine for its watchers' sake; while there are none it never waits."""
    try:
        setter.send(None)
    except StopIteration:
        return
    raise AssertionError("a servicer without watchers waited")
