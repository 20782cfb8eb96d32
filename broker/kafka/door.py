"""All handlers of a Kafka listener, put together: the only place that knows them all.

`apis` is the table of what is served; the router, ApiVersions, `docs/compatibility.md` and the tests follow from it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from broker.config import NodeConfig
from broker.kafka.api import Api
from broker.kafka.api_versions import ApiVersions
from broker.kafka.endpoints import EndpointOf
from broker.kafka.fetch import Fetch
from broker.kafka.init_producer_id import InitProducerId
from broker.kafka.list_offsets import ListOffsets
from broker.kafka.metadata import Metadata
from broker.kafka.offset_for_leader_epoch import OffsetForLeaderEpoch
from broker.kafka.ports import Creation, Replicas
from broker.kafka.produce import Produce
from broker.kafka.router import Router
from broker.node_view import NodeView
from broker.producer_ids import ProducerIds


@dataclass(frozen=True, slots=True)
class KafkaDoor:
    """What the handlers need of the node, and nothing more."""

    view: NodeView
    config: NodeConfig
    replicas: Replicas
    creation: Creation
    producer_ids: ProducerIds
    more: tuple[Api, ...] = ()
    """Of the coordinators: groups and transactions."""

    def router(self, listener: str) -> Router:
        """What the listener of that name serves. Addresses that clients are told are this listener's of each broker."""
        endpoint_of: EndpointOf = partial(self.view.endpoint, listener=listener)
        return Router(self.apis(endpoint_of), ApiVersions(self.view.features))

    def apis(self, endpoint_of: EndpointOf) -> list[Api]:
        """Everything but ApiVersions."""
        return [*self._records(endpoint_of), *self.more]

    def _records(self, endpoint_of: EndpointOf) -> Iterable[Api]:
        """Producing and consuming."""
        return (
            Produce(self.replicas, self.view, endpoint_of).api(),
            Fetch(self.replicas, self.view.cluster_id, endpoint_of).api(),
            ListOffsets(self.replicas).api(),
            Metadata(self.view, self.creation, endpoint_of).api(),
            InitProducerId(self.producer_ids.next).api(),
            OffsetForLeaderEpoch(self.replicas).api(),
        )
