"""The Client service: what the SDK asks of every node, and of the leaders of partitions.

| method | answered by |
|---|---|
| GetMetadata | any node, from the metadata that it has applied |
| Produce | the leader: `produce_stream` |
| Fetch | the leader: `fetching` |
| ListOffsets | the leader: `listing_offsets` |
| InitProducerId | any node, out of its block |

Nothing is trusted: sizes and times are clamped, numbers that mean nothing are refused in the answer, and a request that
cannot be read is the caller's fault (`BadRequest`).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping

from broker.controller.topic_names import is_topic_name
from broker.producer_ids import ProducerIds
from broker.rpc.fetching import Fetching
from broker.rpc.limits import Occupied, check_count
from broker.rpc.listing_offsets import ListingOffsets
from broker.rpc.metadata_answers import broker_infos, missing_topic, topic_info
from broker.rpc.methods import full_name, unary
from broker.rpc.ports import ImageSource, Replicas
from broker.rpc.produce_stream import ALL_PENDING_BYTES_MAX, ProduceStream, Send
from broker.topic_creation import TopicCreation
from kraftpy.error_codes import code_of
from kraftpy.errors import (
    InvalidTopicError,
    KraftpyError,
    UnknownTopicOrPartitionError,
)
from kraftpy.pb.client_pb2 import (
    FetchRequest,
    InitProducerIdRequest,
    InitProducerIdResponse,
    ListOffsetsRequest,
    MetadataRequest,
    MetadataResponse,
    TopicInfo,
)
from kraftpy.runtime.ports import Disk, Methods

SERVICE = "Client"
TURN_PARTITIONS = 500
"""Partitions put into an answer before others are let in, about 5 ms."""


class ClientService:
    """See the module's docstring."""

    def __init__(
        self,
        view: ImageSource,
        replicas: Replicas,
        producer_ids: ProducerIds,
        topic_creation: TopicCreation,
        disk: Disk,
        listener: str = "",
    ) -> None:
        """`disk` reads cold records off the loop. `listener`: the framed listener whose addresses are told besides the
        calls' own; empty: the first of each broker."""
        self._view = view
        self._replicas = replicas
        self._producer_ids = producer_ids
        self._topic_creation = topic_creation
        self._listener = listener
        self._fetching = Fetching(replicas, disk)
        self._listing_offsets = ListingOffsets(replicas)
        self._pending_produces = Occupied(ALL_PENDING_BYTES_MAX)

    def methods(self) -> Methods:
        return Methods(
            unary(
                SERVICE,
                {
                    "GetMetadata": (MetadataRequest, self._get_metadata),
                    "Fetch": (FetchRequest, self._fetching.fetch),
                    "ListOffsets": (ListOffsetsRequest, self._listing_offsets.list_offsets),
                    "InitProducerId": (InitProducerIdRequest, self._init_producer_id),
                },
            ),
            {full_name(SERVICE, "Produce"): self._produce},
        )

    async def _produce(self, requests: AsyncIterator[bytes], send: Send) -> None:
        await ProduceStream(self._replicas, requests, send, self._pending_produces).serve()

    async def _init_producer_id(self, request: InitProducerIdRequest) -> InitProducerIdResponse:
        try:
            return InitProducerIdResponse(producer_id=await self._producer_ids.next(), producer_epoch=0)
        except KraftpyError as error:
            return InitProducerIdResponse(
                error=code_of(error), error_message=error.message, producer_id=-1, producer_epoch=-1
            )

    # --- metadata

    async def _get_metadata(self, request: MetadataRequest) -> MetadataResponse:
        check_count(len(request.topics), "topics")
        if not self._view.has_joined:
            return MetadataResponse(controller_id=-1)  # no brokers: ask another node, or this one later
        names = [] if request.all_topics else list(dict.fromkeys(request.topics))
        errors = await self._topic_creation.try_briefly(names) if request.allow_auto_topic_creation else {}
        view, image = self._view, self._view.image
        if request.all_topics:
            names = sorted(image.topic_ids)
        response = MetadataResponse(
            cluster_id=view.cluster_id,
            controller_id=-1 if view.controller_id is None else view.controller_id,
            brokers=broker_infos(image, self._listener),
        )
        turn = 0
        for name in names:
            topic = image.topic(name)
            if topic is None:
                response.topics.append(_missing(name, errors))
                continue
            response.topics.append(topic_info(image, topic))
            turn += len(topic.partitions)
            if turn >= TURN_PARTITIONS:
                turn = 0
                await asyncio.sleep(0)
        return response


def _missing(name: str, errors: Mapping[str, KraftpyError]) -> TopicInfo:
    if not is_topic_name(name):
        return missing_topic(name, InvalidTopicError)
    return missing_topic(name, errors.get(name) or UnknownTopicOrPartitionError)
