"""ListPartitionReassignments: what is moving comes from the metadata here, how far it is from the leaders.

A leader that does not answer leaves its partitions without progress; they are listed nevertheless. A question that was
passed on once is never passed on again.
"""

import asyncio

from google.protobuf.message import DecodeError

from broker.metadata.state import PartitionState
from broker.rpc.limits import check_count
from broker.rpc.methods import full_name
from broker.rpc.ports import ImageSource, Replicas
from kraftpy.error_codes import code_of
from kraftpy.errors import KraftpyError, UnknownTopicOrPartitionError
from kraftpy.pb.admin_pb2 import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    OngoingReassignment,
    ReplicaProgress,
    TopicPartition,
)
from kraftpy.runtime.ports import Transport, TransportError

METHOD = full_name("Admin", "ListPartitionReassignments")
TIMEOUT_MS = 3_000
"""For another leader's answer."""

Place = tuple[str, int]


class ListingReassignments:
    """The handler."""

    def __init__(self, node_id: int, view: ImageSource, replicas: Replicas, transport: Transport) -> None:
        self._node_id = node_id
        self._view = view
        self._replicas = replicas
        self._transport = transport

    async def reassignments(self, request: ListPartitionReassignmentsRequest) -> ListPartitionReassignmentsResponse:
        """What is under way, by topic and partition; of those that are named, if any are."""
        check_count(len(request.partitions), "partitions")
        try:
            moving = self._moving([(each.topic, each.partition) for each in request.partitions])
        except KraftpyError as error:
            return ListPartitionReassignmentsResponse(error=code_of(error), error_message=error.message)
        listed = {place: _ongoing(place, state) for place, state in moving.items()}
        for place, state in moving.items():
            if state.leader == self._node_id:
                listed[place].progress.extend(self._progress(place))
        if not request.passed_on:
            await self._add_others(moving, listed)
        return ListPartitionReassignmentsResponse(partitions=list(listed.values()))

    def _moving(self, named: list[Place]) -> dict[Place, PartitionState]:
        image = self._view.image
        for topic, partition in named:
            if image.partition(topic, partition) is None:
                raise UnknownTopicOrPartitionError(f"there is no partition {partition} of a topic {topic}")
        places = dict.fromkeys(named) or {
            (topic.name, number): None for topic in image.topics.values() for number in range(len(topic.partitions))
        }
        states = [(place, image.partition(*place)) for place in sorted(places)]
        return {place: state for place, state in states if state is not None and state.is_reassigning}

    def _progress(self, place: Place) -> list[ReplicaProgress]:
        try:
            return [
                ReplicaProgress(
                    broker_id=each.broker_id,
                    end_offset=each.end_offset,
                    offset_lag=each.offset_lag,
                    bytes_lag=each.bytes_lag,
                    in_sync=each.in_sync,
                )
                for each in self._replicas.progress(*place)
            ]
        except KraftpyError:
            return []  # it has just lost the leadership

    async def _add_others(self, moving: dict[Place, PartitionState], listed: dict[Place, OngoingReassignment]) -> None:
        led: dict[int, list[Place]] = {}
        for place, state in moving.items():
            if state.has_leader and state.leader != self._node_id:
                led.setdefault(state.leader, []).append(place)
        answers = await asyncio.gather(*[self._ask(leader_id, places) for leader_id, places in led.items()])
        for answer in answers:
            for each in answer.partitions:
                mine = listed.get((each.topic, each.partition))
                if mine is not None:
                    mine.progress.extend(each.progress)

    async def _ask(self, leader_id: int, places: list[Place]) -> ListPartitionReassignmentsResponse:
        address = self._view.image.grpc_address(leader_id)
        if address is None:
            return ListPartitionReassignmentsResponse()
        named = [TopicPartition(topic=topic, partition=partition) for topic, partition in places]
        request = ListPartitionReassignmentsRequest(partitions=named, passed_on=True).SerializeToString()
        try:
            data = await self._transport.call(address, METHOD, request, TIMEOUT_MS)
            return ListPartitionReassignmentsResponse.FromString(data)
        except (TransportError, DecodeError):
            return ListPartitionReassignmentsResponse()


def _ongoing(place: Place, state: PartitionState) -> OngoingReassignment:
    return OngoingReassignment(
        topic=place[0],
        partition=place[1],
        leader=state.leader,
        replicas=state.replicas,
        adding_replicas=state.adding_replicas,
        removing_replicas=state.removing_replicas,
        original_replicas=state.original_replicas,
        isr=state.isr,
    )
