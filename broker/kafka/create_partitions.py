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
from kraftpy.errors import KraftpyError
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
            topics=map(_new_partitions, request.topics),
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
        return CreatePartitionsResponse(
            results=tuple(
                CreatePartitionsTopicResult(
                    name=result.name, error=result.error, error_message=result.error_message or None
                )
                for result in answer.topics
            )
        )


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
