"""The services that no record needs on its way, loaded and made with their first call.

Their messages are loaded at once: they cost little, tell which methods there are, and reflection wants them.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from broker.rpc.methods import full_name
from kraftpy.pb import admin_pb2, groups_pb2, transactions_pb2
from kraftpy.runtime.ports import Methods, UnaryHandler

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor

    from broker.rpc.admin_service import AdminService as AdminService
    from broker.rpc.groups_service import GroupsService as GroupsService
    from broker.rpc.transactions_service import TransactionsService as TransactionsService

_HOMES: Final = {
    "AdminService": "broker.rpc.admin_service",
    "GroupsService": "broker.rpc.groups_service",
    "TransactionsService": "broker.rpc.transactions_service",
}


def admin(make: Callable[[], Methods]) -> Methods:
    """`make()` gives those of an `AdminService`."""
    return _on_first_call(admin_pb2.DESCRIPTOR, make)


def groups(make: Callable[[], Methods]) -> Methods:
    """`make()` gives those of a `GroupsService`."""
    return _on_first_call(groups_pb2.DESCRIPTOR, make)


def transactions(make: Callable[[], Methods]) -> Methods:
    """`make()` gives those of a `TransactionsService`."""
    return _on_first_call(transactions_pb2.DESCRIPTOR, make)


def _on_first_call(file: "FileDescriptor", make: Callable[[], Methods]) -> Methods:
    """All methods of the service in `file`, none of which is a stream."""
    made: dict[str, UnaryHandler] = {}

    def later(name: str) -> UnaryHandler:
        async def serve(data: bytes) -> bytes:
            if not made:
                made.update(make().unary)
            return await made[name](data)

        return serve

    ((service, descriptor),) = file.services_by_name.items()
    names = [full_name(service, method.name) for method in descriptor.methods]
    return Methods({name: later(name) for name in names}, {})


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
