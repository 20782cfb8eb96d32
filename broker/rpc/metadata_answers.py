"""Brokers and topics of the metadata as the SDK is told them. Pure: an image in, protobuf out."""

from uuid import UUID

from broker.metadata.effective import is_cordoned
from broker.metadata.image import MetadataImage
from broker.metadata.internal_topics import INTERNAL_TOPICS
from broker.metadata.records import GRPC_LISTENER, NO_LEADER
from broker.metadata.serving import offline_replicas, serving_leader
from broker.metadata.state import BrokerImage, PartitionState, TopicImage
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import KraftpyError, LeaderNotAvailableError
from kraftpy.pb.client_pb2 import BrokerInfo, PartitionInfo, TopicInfo


def broker_infos(image: MetadataImage, listener: str, *, fenced_too: bool = False) -> list[BrokerInfo]:
    """The brokers that are in service, by id; with `fenced_too` also the others.

    `listener`: the framed listener whose address is told; empty: the first that a broker has.
    """
    return [
        _broker_info(image, image.brokers[broker_id], listener)
        for broker_id in sorted(image.brokers)
        if fenced_too or not image.brokers[broker_id].fenced
    ]


def topic_info(image: MetadataImage, topic: TopicImage) -> TopicInfo:
    """A topic with all its partitions."""
    return TopicInfo(
        name=topic.name,
        topic_id=topic.topic_id.bytes,
        internal=topic.name in INTERNAL_TOPICS,
        partitions=[
            _partition_info(image, topic.topic_id, index, state) for index, state in enumerate(topic.partitions)
        ],
    )


def missing_topic(name: str, error: KraftpyError | type[KraftpyError]) -> TopicInfo:
    """The answer for a topic that cannot be told of."""
    return TopicInfo(name=name, error=code_of(error))


def _broker_info(image: MetadataImage, broker: BrokerImage, listener: str) -> BrokerInfo:
    registration = broker.registration
    grpc, framed = registration.endpoint(GRPC_LISTENER), registration.framed_endpoint(listener)
    return BrokerInfo(
        cordoned=is_cordoned(image, registration.broker_id),
        id=registration.broker_id,
        host=grpc.host if grpc else "",
        port=grpc.port if grpc else 0,
        rack=registration.rack,
        fenced=broker.fenced,
        listener_host=framed.host if framed else "",
        listener_port=framed.port if framed else 0,
        host_label=registration.host_label,
    )


def _partition_info(image: MetadataImage, topic_id: UUID, index: int, state: PartitionState) -> PartitionInfo:
    leader = serving_leader(image, state)
    return PartitionInfo(
        error=NO_ERROR if leader != NO_LEADER else code_of(LeaderNotAvailableError),
        partition=index,
        leader=leader,
        leader_epoch=state.leader_epoch,
        replicas=state.replicas,
        isr=state.isr,
        offline_replicas=offline_replicas(image, topic_id, index, state),
        adding_replicas=state.adding_replicas,
        removing_replicas=state.removing_replicas,
        eligible_replicas=state.eligible_replicas,
        last_known_elr=state.last_known_elr,
    )
