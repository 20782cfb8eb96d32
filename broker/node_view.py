"""What this node knows of its cluster at the moment, for its doors."""

from collections.abc import Callable, Mapping

from broker.kafka.api_versions import Features
from broker.kafka.endpoints import AdvertisedEndpoint
from broker.metadata.delta import MetadataDelta
from broker.metadata.features import SUPPORTED_FEATURES
from broker.metadata.image import MetadataImage
from broker.metadata.state import BrokerImage, PartitionKey, PartitionState
from broker.quorum.loader import MetadataLoader
from kraftpy.runtime.ports import Clock

MISSED_MS = 3_000
"""How long clients are still told the address of a broker that fell out of service. Where one answer names a new leader
and leaves out the old one, librdkafka (2.16) ends the old one's thread while partitions are handed over from it, and
those may be left with nobody until it looks for such, which it does once a second."""


class NodeView:
    """`broker.rpc.ports.ImageSource`, and what the framed listeners ask. `cluster_id` is empty before the founding."""

    def __init__(self, node_id: int, loader: MetadataLoader, broker_epoch: Callable[[], int], clock: Clock) -> None:
        """`broker_epoch()` is -1 before the controller has registered this life."""
        self.cluster_id = ""
        self._clock = clock
        self._missed_until_ms: dict[int, int] = {}  # by broker
        self._node_id = node_id
        self._loader = loader
        self._broker_epoch = broker_epoch
        self._has_joined = False
        self._successors: Mapping[PartitionKey, PartitionState] = {}
        self._told = (MetadataImage.EMPTY, MetadataImage.EMPTY)  # an image of the loader's, and what is told for it

    def joined(self) -> None:
        """This node, which is no broker, has applied what was committed before it came."""
        self._has_joined = True

    def publish(self, delta: MetadataDelta) -> None:
        """The image has moved by `delta`."""
        for broker in delta.brokers:
            if _fell_out(broker.old, broker.new):
                self._missed_until_ms[broker.broker_id] = self._clock.monotonic_ms() + MISSED_MS

    @property
    def missed(self) -> tuple[int, ...]:
        """Brokers that fell out of service a moment ago without taking leave, in ascending order."""
        if self._missed_until_ms:
            now_ms = self._clock.monotonic_ms()
            self._missed_until_ms = {each: until for each, until in self._missed_until_ms.items() if until > now_ms}
        return tuple(sorted(self._missed_until_ms))

    @property
    def image(self) -> MetadataImage:
        """What metadata says, but for successors that it does not know yet."""
        newest = self._loader.image
        if not self._successors:
            return newest
        if self._told[0] is not newest:
            self._told = (newest, newest.with_later(self._successors))
        return self._told[1]

    def tell_successors(self, states: Mapping[PartitionKey, PartitionState]) -> None:
        """What was led here, as other brokers know it: `states` count as far as they are later than metadata here."""
        self._successors = states
        self._told = (MetadataImage.EMPTY, MetadataImage.EMPTY)

    @property
    def has_joined(self) -> bool:
        """Whether the image holds this life's registration: before that it may be of long ago."""
        own = self.image.brokers.get(self._node_id)
        return self._has_joined or (own is not None and own.epoch == self._broker_epoch())

    @property
    def controller_id(self) -> int | None:
        return self._loader.leader_id

    def features(self) -> Features:
        """As ApiVersions tells them (KIP-584)."""
        supported = tuple((each.name, each.min_level, each.max_level) for each in SUPPORTED_FEATURES)
        levels = sorted(self.image.features.items())
        finalized = tuple((name, level, level) for name, level in levels)
        return Features(supported, finalized, self.image.end_offset if finalized else -1)

    def endpoint(self, broker_id: int, listener: str) -> AdvertisedEndpoint | None:
        """Where `listener` of a broker can be reached; None while nobody knows."""
        broker = self.image.brokers.get(broker_id)
        if broker is None:
            return None
        found = broker.registration.endpoint(listener)
        return (
            None if found is None else AdvertisedEndpoint(broker_id, found.host, found.port, broker.registration.rack)
        )


def _fell_out(before: BrokerImage | None, now: BrokerImage | None) -> bool:
    return before is not None and now is not None and before.is_active and now.fenced
