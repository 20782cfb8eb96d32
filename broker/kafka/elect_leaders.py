"""ElectLeaders (key 43), versions 0–2: preferred leaders, or from version 1 on unclean ones (KIP-183, 460)."""

from collections.abc import Iterable

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.controller_calls import ask_controller
from broker.kafka.messages.elect_leaders import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    ElectLeadersRequest,
    ElectLeadersResponse,
    PartitionResult,
    ReplicaElectionResult,
)
from broker.rpc.ports import ControllerLink
from kraftpy.error_codes import code_of
from kraftpy.errors import InvalidRequestError, KraftpyError
from kraftpy.pb import admin_pb2

PREFERRED, UNCLEAN = 0, 1


class ElectLeaders:
    """The handler."""

    def __init__(self, link: ControllerLink) -> None:
        self._link = link

    def api(self) -> Api:
        return message_api(
            ApiKey.ELECT_LEADERS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            ElectLeadersRequest,
            ElectLeadersResponse,
            self._respond,
        )

    async def _respond(self, request: ElectLeadersRequest, header: Request) -> ElectLeadersResponse:
        named = [
            admin_pb2.TopicPartition(topic=each.topic, partition=partition)
            for each in request.topic_partitions or ()
            for partition in each.partitions
        ]
        if request.topic_partitions is not None and not named:
            return ElectLeadersResponse(topics=())  # to the controller it would mean: all
        try:
            if request.election_type not in (PREFERRED, UNCLEAN):
                raise InvalidRequestError(f"there is no election of type {request.election_type}")
            wanted = admin_pb2.ElectLeadersRequest(
                partitions=named, unclean=request.election_type == UNCLEAN, timeout_ms=request.timeout_ms
            )
            answer = await ask_controller(
                self._link, "ElectLeaders", wanted, admin_pb2.ElectLeadersResponse, request.timeout_ms
            )
        except KraftpyError as error:
            refused = [
                admin_pb2.ElectedLeader(
                    topic=each.topic, partition=each.partition, error=code_of(error), error_message=error.message
                )
                for each in named
            ]
            return ElectLeadersResponse(error=code_of(error), topics=_by_topic(refused))
        return ElectLeadersResponse(topics=_by_topic(answer.partitions))


def _by_topic(elected: Iterable[admin_pb2.ElectedLeader]) -> tuple[ReplicaElectionResult, ...]:
    topics: dict[str, list[PartitionResult]] = {}
    for each in elected:
        topics.setdefault(each.topic, []).append(
            PartitionResult(partition=each.partition, error=each.error, error_message=each.error_message or None)
        )
    return tuple(ReplicaElectionResult(topic=name, partitions=tuple(found)) for name, found in topics.items())
