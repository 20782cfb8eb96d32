"""What a node's doors are told of brokers that fall out of service."""

from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from broker.metadata.image import MetadataImage
from broker.metadata.records import BrokerChangeRecord, Endpoint, MetadataRecord, RegisterBrokerRecord
from broker.node_view import MISSED_MS, NodeView


class Bed:
    """A view whose image moves by records, and a clock."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.image = MetadataImage.EMPTY
        self.view = NodeView(1, cast(Any, SimpleNamespace(image=None)), lambda: -1, cast(Any, self))
        for broker_id in (1, 2):
            endpoints = (Endpoint("PLAINTEXT", "n", 1),)
            self.apply(RegisterBrokerRecord(broker_id, UUID(int=1), UUID(int=2), endpoints, fenced=False))

    def monotonic_ms(self) -> int:
        return self.now_ms

    def apply(self, *records: MetadataRecord) -> None:
        self.image, delta = self.image.apply(records, self.image.end_offset + len(records), 1)
        self.view.publish(delta)

    def change(self, broker_id: int, **changes: bool) -> None:
        self.apply(BrokerChangeRecord(broker_id, self.image.brokers[broker_id].epoch, **changes))


def test_a_broker_that_is_fenced_is_missed_for_a_while() -> None:
    bed = Bed()
    told = [bed.view.missed]
    bed.change(2, fenced=True)
    for later_ms in (MISSED_MS - 1, 1):
        bed.now_ms += later_ms
        told.append(bed.view.missed)
    assert told == [(), (2,), ()]


def test_one_that_takes_its_leave_is_not() -> None:
    bed = Bed()
    bed.change(2, in_controlled_shutdown=True)
    bed.change(2, fenced=True)
    assert bed.view.missed == ()
