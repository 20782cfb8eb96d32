"""Producer ids are given away in blocks, so that brokers need the controller once in a thousand producers (KIP-730)."""

from typing import Final

from broker.controller.cluster import Cluster
from broker.controller.commands import AllocateProducerIds, ProducerIdBlock
from broker.controller.result import Result
from broker.metadata.records import ProducerIdsRecord

BLOCK_SIZE: Final = 1_000
"""Ids in one block. An unused rest is lost with its broker; there are 2⁶³."""


def allocate(cluster: Cluster, command: AllocateProducerIds) -> Result[ProducerIdBlock]:
    """Raises `StaleBrokerEpochError`, `BrokerIdNotRegisteredError`."""
    cluster.broker(command.broker_id, command.broker_epoch)
    first = cluster.image.next_producer_id
    return Result(ProducerIdBlock(first, BLOCK_SIZE), [ProducerIdsRecord(first + BLOCK_SIZE)])
