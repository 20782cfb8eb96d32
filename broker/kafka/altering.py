"""What AlterConfigs and IncrementalAlterConfigs share: resources to the controller, its results back, one by one."""

from collections.abc import Callable, Sequence

from broker.kafka.controller_calls import ask_controller
from broker.kafka.root_logger import of_the_broker
from broker.kafka.setting_words import ResourceKind
from broker.rpc.ports import ControllerLink
from kraftpy.error_codes import code_of
from kraftpy.errors import InvalidRequestError, KraftpyError
from kraftpy.pb import admin_pb2

Alteration = tuple[int, str]
"""Type and name of a resource."""
Altered = tuple[int, str | None]
"""Error and its text."""


async def alter(
    link: ControllerLink,
    resources: Sequence[Alteration],
    meaning: Callable[[int], admin_pb2.AlterConfigsResource],
    validate_only: bool,
) -> list[Altered]:
    """One result a resource, in order. `meaning(slot)` raises `KraftpyError` for what cannot be asked."""
    wanted = admin_pb2.AlterConfigsRequest(validate_only=validate_only)
    results: dict[int, Altered] = {}
    asked = []
    for slot, (kind, name) in enumerate(resources):
        try:
            changes = meaning(slot)
            _check_kind(kind, name)
            if kind == ResourceKind.BROKER_LOGGER:
                kind, changes = ResourceKind.BROKER, of_the_broker(changes)
            changes.resource.type, changes.resource.name = kind, name
            wanted.resources.append(changes)
            asked.append(slot)
        except KraftpyError as error:
            results[slot] = (code_of(error), error.message)
    try:
        answer = await ask_controller(link, "AlterConfigs", wanted, admin_pb2.AlterConfigsResponse)
        for slot, told in zip(asked, answer.resources, strict=True):
            results[slot] = (told.error, told.error_message or None)
    except KraftpyError as error:
        results |= {slot: (code_of(error), error.message) for slot in asked}
    return [results[slot] for slot in range(len(resources))]


def _check_kind(kind: int, name: str) -> None:
    if kind == ResourceKind.BROKER_LOGGER and not name:
        raise InvalidRequestError("loggers are those of one broker: name it")
    if kind == ResourceKind.CLIENT_METRICS:
        raise InvalidRequestError("clients are not asked for their metrics: there is nothing to subscribe to")
    if kind == ResourceKind.GROUP:
        raise InvalidRequestError("groups have no settings of their own: the brokers' files have group.consumer.*")
