"""A node's view of a cluster of three brokers, made of records, for handlers."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from broker.kafka.endpoints import AdvertisedEndpoint
from broker.metadata.image import MetadataImage
from broker.metadata.records import Endpoint, MetadataRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord
from kraftpy.errors import KraftpyError

TOPIC_ID = UUID(int=1)
RECORDS: list[MetadataRecord] = [
    *[
        RegisterBrokerRecord(
            broker_id,
            UUID(int=10 + broker_id),
            UUID(int=20 + broker_id),
            (Endpoint("GRPC", f"n{broker_id}", 9093), Endpoint("PLAINTEXT", f"n{broker_id}", 9092)),
            rack=f"rack-{broker_id}",
            fenced=broker_id == 3,
        )
        for broker_id in (1, 2, 3)
    ],
    TopicRecord("a", TOPIC_ID),
    PartitionRecord(TOPIC_ID, 0, (1, 2, 3), (1, 2), 1, 5, 7),
    PartitionRecord(TOPIC_ID, 1, (3, 1), (3,), 3, 2, 2),
]


class View:
    """`broker.kafka.ports.ClusterView`, and the addresses of its brokers."""

    def __init__(self) -> None:
        self.image, _ = MetadataImage.EMPTY.apply(RECORDS, len(RECORDS), 1)
        self.cluster_id = "the-cluster"
        self.has_joined = True
        self.controller_id: int | None = 2
        self.missed: tuple[int, ...] = ()
        self.without_listener: list[int] = []

    def apply(self, *records: MetadataRecord) -> None:
        self.image, _ = self.image.apply(records, self.image.end_offset + len(records), 1)

    def endpoint_of(self, broker_id: int) -> AdvertisedEndpoint | None:
        broker = self.image.brokers.get(broker_id)
        if broker is None or broker_id in self.without_listener:
            return None
        return AdvertisedEndpoint(broker_id, f"n{broker_id}", 9092, broker.registration.rack)


class Creation:
    """Creates nothing, and says why."""

    def __init__(self, errors: Mapping[str, KraftpyError] | None = None) -> None:
        self.errors = errors or {}
        self.asked: list[str] = []

    async def try_briefly(self, names: Sequence[str]) -> Mapping[str, KraftpyError]:
        self.asked += names
        return self.errors
