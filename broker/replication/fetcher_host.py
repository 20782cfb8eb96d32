"""What fetchers need of the broker that they are on: where leaders listen, how much they may copy, and whom to tell."""

import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from broker.metadata.image import MetadataImage
from broker.replication.alterations import Control
from broker.replication.config import ReplicationConfig
from broker.replication.fetcher import FetchCodec, Fetcher
from broker.replication.lost_leaders import LostLeaders
from broker.replication.partition import Partition
from broker.replication.throttle import Throttle
from kraftpy.errors import KraftpyError
from kraftpy.runtime.ports import Address, Ports, TransportError

logger = logging.getLogger(__name__)


class FetcherHost:
    """One for all fetchers of a broker; see `fetcher.FollowerHost`."""

    def __init__(
        self,
        node_id: int,
        broker_epoch: Callable[[], int],
        ports: Ports,
        config: ReplicationConfig,
        codec: FetchCodec,
        control: Control,
        throttle: Throttle,
        image: Callable[[], MetadataImage],
        lost_leaders: LostLeaders,
        flush: Callable[[Partition], None],
        spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], None],
    ) -> None:
        """`throttle`: of what is copied here; `flush(partition)`: as soon as it can be."""
        self.node_id = node_id
        self.broker_epoch = broker_epoch
        self.log_moved = flush
        self.in_touch = lost_leaders.settled
        self.fetched: Callable[[Partition], None] = lambda partition: None
        """Told of partitions whose leader has answered."""
        self._ports = ports
        self._clock = ports.clock
        self._config = config
        self._codec = codec
        self._control = control
        self._throttle = throttle
        self._image = image
        self._lost_leaders = lost_leaders
        self._spawn = spawn
        self._unreachable: dict[int, None] = {}  # brokers that are being reported

    def make_fetcher(self, leader_id: int) -> Fetcher | None:
        """One that copies from there, not started yet; None while metadata does not say where that is."""
        broker = self._image().brokers.get(leader_id)
        if broker is None:
            return None
        wanted = self._config.listener_name
        endpoint = broker.registration.framed_endpoint(wanted)
        if endpoint is None:
            logger.error("broker %d has no listener %s to fetch from", leader_id, wanted or "besides GRPC")
            return None
        address = Address(endpoint.host, endpoint.port)
        framed, clock = self._ports.framed, self._clock
        return Fetcher(leader_id, broker.epoch, address, framed, clock, self._config, self._codec, self)

    def copied(self, partition: Partition, size_bytes: int) -> None:
        if size_bytes and self._is_throttled(partition):
            self._throttle.take(size_bytes, self._clock.monotonic_ms())

    def held_back_ms(self, partition: Partition) -> int:
        return self._throttle.wait_ms(self._clock.monotonic_ms()) if self._is_throttled(partition) else 0

    def _is_throttled(self, partition: Partition) -> bool:
        concerned = self._throttle.concerns(partition.topic, partition.key.partition, self.node_id)
        return concerned and self.node_id not in partition.state.isr

    def unreachable(self, broker_id: int, broker_epoch: int) -> None:
        self._lost_leaders.lost(broker_id)
        if broker_id not in self._unreachable:
            self._unreachable[broker_id] = None
            self._spawn(partial(self._report_unreachable, broker_id, broker_epoch))

    async def _report_unreachable(self, broker_id: int, broker_epoch: int) -> None:
        try:
            await self._control.report_unreachable(broker_id, broker_epoch)
        except (KraftpyError, TransportError):
            pass  # the fetcher's next attempt reports it again
        finally:
            self._unreachable.pop(broker_id, None)
