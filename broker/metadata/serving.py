"""What clients are told of who serves a partition, at both doors. Pure.

A leader that is out of service is no leader to clients: another will be elected.
"""

from uuid import UUID

from broker.metadata.image import MetadataImage
from broker.metadata.records import NO_LEADER
from broker.metadata.state import PartitionState


def is_in_service(image: MetadataImage, broker_id: int) -> bool:
    broker = image.brokers.get(broker_id)
    return broker is not None and not broker.fenced


def serving_leader(image: MetadataImage, state: PartitionState) -> int:
    """`NO_LEADER` where nobody leads at the moment."""
    return state.leader if state.has_leader and is_in_service(image, state.leader) else NO_LEADER


def offline_replicas(image: MetadataImage, topic_id: UUID, partition: int, state: PartitionState) -> tuple[int, ...]:
    """Replicas that cannot be served: their broker is out of service, or their log directory failed."""
    return tuple(
        replica
        for replica in state.replicas
        if not (is_in_service(image, replica) and image.brokers[replica].serves(topic_id, partition))
    )
