"""AlterPartitionReassignments (key 45), versions 0–1: partitions move between brokers, or back (KIP-455, 860)."""

from collections.abc import Iterable

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.controller_calls import ask_controller
from broker.kafka.messages.alter_partition_reassignments import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartitionResponse,
    ReassignableTopicResponse,
)
from broker.rpc.ports import ControllerLink
from kraftpy.error_codes import NO_ERROR, code_of, error_for
from kraftpy.errors import KraftpyError
from kraftpy.pb import admin_pb2


class AlterPartitionReassignments:
    """The handler."""

    def __init__(self, link: ControllerLink) -> None:
        self._link = link

    def api(self) -> Api:
        return message_api(
            ApiKey.ALTER_PARTITION_REASSIGNMENTS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            AlterPartitionReassignmentsRequest,
            AlterPartitionReassignmentsResponse,
            self._respond,
        )

    async def _respond(
        self, request: AlterPartitionReassignmentsRequest, header: Request
    ) -> AlterPartitionReassignmentsResponse:
        wanted = admin_pb2.AlterPartitionReassignmentsRequest(
            partitions=[
                admin_pb2.PartitionReassignment(
                    topic=topic.name,
                    partition=each.partition,
                    cancel=each.replicas is None,
                    replicas=each.replicas or (),
                )
                for topic in request.topics
                for each in topic.partitions
            ],
            keep_replication_factor=not request.allow_replication_factor_change,
            timeout_ms=request.timeout_ms,
        )
        try:
            answer = await ask_controller(
                self._link,
                "AlterPartitionReassignments",
                wanted,
                admin_pb2.AlterPartitionReassignmentsResponse,
                request.timeout_ms,
            )
            if answer.error != NO_ERROR:
                raise error_for(answer.error, answer.error_message)
        except KraftpyError as error:
            return AlterPartitionReassignmentsResponse(
                allow_replication_factor_change=request.allow_replication_factor_change,
                error=code_of(error),
                error_message=error.message,
                responses=(),
            )
        return AlterPartitionReassignmentsResponse(
            allow_replication_factor_change=request.allow_replication_factor_change,
            responses=tuple(_by_topic(answer.partitions)),
        )


def _by_topic(altered: Iterable[admin_pb2.AlteredReassignment]) -> Iterable[ReassignableTopicResponse]:
    topics: dict[str, list[ReassignablePartitionResponse]] = {}
    for each in altered:
        topics.setdefault(each.topic, []).append(
            ReassignablePartitionResponse(
                partition=each.partition, error=each.error, error_message=each.error_message or None
            )
        )
    for name, partitions in topics.items():
        yield ReassignableTopicResponse(name=name, partitions=tuple(partitions))
