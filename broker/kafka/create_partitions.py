"""CreatePartitions (key 37), versions 0–3: topics grow (KIP-195)."""

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.controller_calls import ask_controller
from broker.kafka.messages.create_partitions import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
    CreatePartitionsTopicResult,
)
from broker.rpc.ports import ControllerLink
from kraftpy.error_codes import code_of
from kraftpy.errors import InvalidReplicaAssignmentError, KraftpyError
from kraftpy.pb import admin_pb2


class CreatePartitions:
    """The handler."""

    def __init__(self, link: ControllerLink) -> None:
        self._link = link

    def api(self) -> Api:
        return message_api(
            ApiKey.CREATE_PARTITIONS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            CreatePartitionsRequest,
            CreatePartitionsResponse,
            self._respond,
        )

    async def _respond(self, request: CreatePartitionsRequest, header: Request) -> CreatePartitionsResponse:
        wanted = admin_pb2.CreatePartitionsRequest(
            topics=[_new_partitions(topic) for topic in request.topics if topic.assignments != ()],
            validate_only=request.validate_only,
            timeout_ms=request.timeout_ms,
        )
        try:
            answer = await ask_controller(
                self._link, "CreatePartitions", wanted, admin_pb2.TopicResults, request.timeout_ms
            )
        except KraftpyError as error:
            return CreatePartitionsResponse(
                results=tuple(
                    CreatePartitionsTopicResult(name=topic.name, error=code_of(error), error_message=error.message)
                    for topic in request.topics
                )
            )
        told = iter(answer.topics)
        return CreatePartitionsResponse(
            results=tuple(
                _without_replicas(topic) if topic.assignments == () else _result(next(told)) for topic in request.topics
            )
        )


def _result(told: admin_pb2.TopicResult) -> CreatePartitionsTopicResult:
    return CreatePartitionsTopicResult(name=told.name, error=told.error, error_message=told.error_message or None)


def _without_replicas(topic: CreatePartitionsTopic) -> CreatePartitionsTopicResult:
    """To the controller an empty list would mean what null means here: that it may choose."""
    error = InvalidReplicaAssignmentError(f"an empty list gives {topic.name} no replicas; null has them chosen")
    return CreatePartitionsTopicResult(name=topic.name, error=code_of(error), error_message=error.message)


def _new_partitions(topic: CreatePartitionsTopic) -> admin_pb2.NewPartitions:
    """The replicas that are given are those of the new partitions, in order."""
    assignments = topic.assignments or ()
    first = max(topic.count - len(assignments), 0)  # below that the controller refuses the number itself
    return admin_pb2.NewPartitions(
        name=topic.name,
        total=topic.count,
        assignment=[
            admin_pb2.ReplicaAssignment(partition=first + index, replicas=each.broker_ids)
            for index, each in enumerate(assignments)
        ],
    )
