"""What Admin's requests mean as commands of the controller, and what its answers look like. Pure.

What a request says wrongly about one item is that item's answer: `Items` keeps such refusals and the order, so that the
others can go to the controller alone.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar
from uuid import UUID

from broker.controller.commands import (
    AlteredConfig,
    AlteredReassignment,
    ConfigAlteration,
    ConfigChange,
    LeadersElected,
    NewPartitions,
    NewTopic,
    Operation,
    Reassignment,
    TopicResult,
)
from broker.metadata.records import ConfigResource, ResourceType
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import InvalidReplicaAssignmentError, InvalidRequestError, KraftpyError
from kraftpy.pb import admin_pb2

Item = TypeVar("Item")
Wanted = TypeVar("Wanted")
Result = TypeVar("Result")
Refusal = TypeVar("Refusal")


class Items(Generic[Wanted]):
    """The items of a request: those that mean something, and why the others do not."""

    def __init__(self, items: Iterable[Item], meaning: Callable[[Item], Wanted]) -> None:
        """`meaning` raises `KraftpyError` for an item that has none."""
        self.wanted: list[Wanted] = []
        self._refused: list[KraftpyError | None] = []  # one an item; None: it is among `wanted`
        for item in items:
            try:
                self.wanted.append(meaning(item))
                self._refused.append(None)
            except KraftpyError as error:
                self._refused.append(error)

    def merged(
        self, results: Sequence[Result], refused: Callable[[int, KraftpyError], Refusal]
    ) -> list[Result | Refusal]:
        """One result an item, in the request's order: those of `wanted`, and `refused(index, error)` for the rest."""
        assert len(results) == len(self.wanted)
        answers = iter(results)
        return [next(answers) if error is None else refused(index, error) for index, error in enumerate(self._refused)]


# --- requests --------------------------------------------------------------------------------------------------------


def new_topic(topic: admin_pb2.NewTopic) -> NewTopic:
    """Raises `InvalidReplicaAssignmentError` where the assignment is not that of partitions 0, 1, …"""
    assignment = _numbered(topic.assignment, 0)
    # Who gives an assignment need not give the two numbers, and what is not given is 0 on the wire.
    default = -1 if assignment else 0
    return NewTopic(
        topic.name,
        topic.partitions or default,
        topic.replication_factor or default,
        {name: topic.config[name] for name in sorted(topic.config)},
        assignment,
    )


def new_partitions(item: admin_pb2.NewPartitions) -> NewPartitions:
    """Raises `InvalidReplicaAssignmentError` where the assignment is not that of the last partitions."""
    return NewPartitions(item.name, item.total, _numbered(item.assignment, item.total - len(item.assignment)))


def reassignment(item: admin_pb2.PartitionReassignment) -> Reassignment:
    return Reassignment(item.topic, item.partition, None if item.cancel else tuple(item.replicas))


def named_topics(request: admin_pb2.DeleteTopicsRequest) -> tuple[str | UUID, ...]:
    """Names, then ids. Raises `InvalidRequestError` for an id that is none."""
    if any(len(raw) != 16 for raw in request.topic_ids):
        raise InvalidRequestError("a topic id has 16 bytes")
    return (*request.names, *[UUID(bytes=raw) for raw in request.topic_ids])


def config_alteration(item: admin_pb2.AlterConfigsResource) -> ConfigAlteration:
    """Raises `InvalidRequestError` for a resource that is neither a topic nor a broker."""
    changes = [ConfigChange(name, Operation.SET, item.set[name]) for name in sorted(item.set)]
    changes += [ConfigChange(name, Operation.DELETE) for name in item.unset]
    changes += [ConfigChange(name, Operation.APPEND, item.append[name]) for name in sorted(item.append)]
    changes += [ConfigChange(name, Operation.SUBTRACT, item.subtract[name]) for name in sorted(item.subtract)]
    return ConfigAlteration(config_resource(item.resource), tuple(changes), item.replace)


def config_resource(resource: admin_pb2.ConfigResource) -> ConfigResource:
    """Raises `InvalidRequestError` for a resource that is neither a topic nor a broker."""
    if resource.type not in (ResourceType.TOPIC, ResourceType.BROKER):
        raise InvalidRequestError(f"there are settings of topics (2) and brokers (4), not of type {resource.type}")
    return ConfigResource(ResourceType(resource.type), resource.name)


def _numbered(assignment: Iterable[admin_pb2.ReplicaAssignment], first: int) -> tuple[tuple[int, ...], ...]:
    """The replicas of partitions `first`, `first` + 1, …, which may be listed in any order."""
    ordered = sorted(assignment, key=lambda each: each.partition)
    numbers = [each.partition for each in ordered]
    if numbers != list(range(first, first + len(numbers))):
        raise InvalidReplicaAssignmentError(
            f"replicas are given for partitions {_shown(numbers)}; each new partition needs them once, beginning with "
            f"{max(first, 0)}"
        )
    return tuple(tuple(each.replicas) for each in ordered)


def _shown(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return shown if len(numbers) <= 10 else f"{shown}, …"


# --- answers ---------------------------------------------------------------------------------------------------------


def topic_results(results: Iterable[TopicResult]) -> admin_pb2.TopicResults:
    return admin_pb2.TopicResults(
        topics=[
            admin_pb2.TopicResult(
                name=result.name,
                error=code(result.error),
                error_message=message(result.error),
                topic_id=result.topic_id.bytes if result.topic_id else b"",
                partitions=result.partitions,
                replication_factor=result.replication_factor,
                warnings=result.warnings,
            )
            for result in results
        ]
    )


def altered_configs(
    resources: Iterable[admin_pb2.ConfigResource], results: Iterable[AlteredConfig | KraftpyError]
) -> admin_pb2.AlterConfigsResponse:
    """`results`: one a resource; a bare error where the controller was not asked."""
    response = admin_pb2.AlterConfigsResponse()
    for resource, result in zip(resources, results, strict=True):
        error = result.error if isinstance(result, AlteredConfig) else result
        response.resources.add(
            resource=resource,
            error=code(error),
            error_message=message(error),
            warnings=result.warnings if isinstance(result, AlteredConfig) else (),
        )
    return response


def elected_leaders(elected: LeadersElected) -> admin_pb2.ElectLeadersResponse:
    return admin_pb2.ElectLeadersResponse(
        partitions=[
            admin_pb2.ElectedLeader(
                topic=each.topic,
                partition=each.partition,
                error=code(each.error),
                error_message=message(each.error),
            )
            for each in elected.partitions
        ]
    )


def altered_reassignments(
    results: Iterable[AlteredReassignment],
) -> admin_pb2.AlterPartitionReassignmentsResponse:
    return admin_pb2.AlterPartitionReassignmentsResponse(
        partitions=[
            admin_pb2.AlteredReassignment(
                topic=each.topic,
                partition=each.partition,
                error=code(each.error),
                error_message=message(each.error),
            )
            for each in results
        ]
    )


def code(error: KraftpyError | None) -> int:
    return NO_ERROR if error is None else code_of(error)


def message(error: KraftpyError | None) -> str:
    return "" if error is None else error.message
