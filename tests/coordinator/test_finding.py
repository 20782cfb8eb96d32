"""Finding coordinators, and making their topics where they are first needed."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest

from broker.coordinator.config import StateTopicsConfig
from broker.coordinator.finding import CoordinatorFinder, CoordinatorKind
from broker.metadata.image import MetadataImage
from broker.metadata.internal_topics import CONSUMER_OFFSETS, TRANSACTION_STATE
from broker.metadata.records import (
    Endpoint,
    MetadataRecord,
    PartitionRecord,
    RegisterBrokerRecord,
    TopicRecord,
)
from kraftpy.errors import (
    CoordinatorNotAvailableError,
    InvalidGroupIdError,
    InvalidRequestError,
    KraftpyError,
    NotControllerError,
)


class Town:
    """Brokers 1 to `brokers`, and a controller that makes topics as it is told."""

    def __init__(self, brokers: int, alone: bool = False) -> None:
        self.image = MetadataImage.EMPTY
        for broker_id in range(1, brokers + 1):
            self.join(broker_id)
        self.made: list[str] = []
        self.refusal: KraftpyError | None = None
        self.finder = CoordinatorFinder(StateTopicsConfig(), lambda: self.image, self._ensure, lambda: alone)

    def join(self, broker_id: int) -> None:
        endpoint = Endpoint("PLAINTEXT", "h", 9092)
        own_id = UUID(int=broker_id)
        self._apply(RegisterBrokerRecord(broker_id, own_id, own_id, (endpoint,), fenced=False))

    async def _ensure(self, names: Sequence[str]) -> Mapping[str, KraftpyError]:
        if self.refusal is not None:
            return dict.fromkeys(names, self.refusal)
        for name in names:
            self.made.append(name)
            template = self.finder.template(name)
            assert template is not None
            topic_id = UUID(int=100 + len(self.made))
            brokers = sorted(self.image.brokers)[: template.replication_factor]
            self._apply(
                TopicRecord(name, topic_id),
                *[
                    PartitionRecord(
                        topic_id, index, tuple(brokers), tuple(brokers), brokers[index % len(brokers)], 0, 0
                    )
                    for index in range(template.partitions)
                ],
            )
        return {}

    def _apply(self, *records: MetadataRecord) -> None:
        end_offset = self.image.end_offset + len(records)
        self.image, _ = self.image.apply(records, end_offset, 1)

    def find(self, kind: CoordinatorKind, key: str) -> Any:
        return asyncio.run(self.finder.find(kind, key))


def test_the_topic_is_made_when_it_is_first_needed() -> None:
    town = Town(brokers=3)
    leader = town.find(CoordinatorKind.GROUP, "my-group")
    assert leader in (1, 2, 3)
    assert town.find(CoordinatorKind.GROUP, "my-group") == leader
    assert town.made == [CONSUMER_OFFSETS]
    town.find(CoordinatorKind.TRANSACTION, "my-group")
    assert town.made == [CONSUMER_OFFSETS, TRANSACTION_STATE]


@pytest.mark.parametrize(
    "kind, refusal",
    [(CoordinatorKind.GROUP, InvalidGroupIdError), (CoordinatorKind.TRANSACTION, InvalidRequestError)],
)
@pytest.mark.parametrize("key", ["x" * 32_704, "é" * 16_352, "x" * 8_000_000], ids=["bytes", "letters", "8 MB"])
def test_what_no_record_has_room_for_has_no_coordinator(
    kind: CoordinatorKind, refusal: type[KraftpyError], key: str
) -> None:
    """Nor is it walked through, letter by letter, to see whose it would be."""
    with pytest.raises(refusal):
        Town(brokers=3).find(kind, key)


def test_a_small_cluster_is_told_what_to_do_and_works_once_it_has_grown() -> None:
    town = Town(brokers=2)
    with pytest.raises(CoordinatorNotAvailableError, match=r"start 1 more, or set offsets.topic.replication.factor=2"):
        town.find(CoordinatorKind.GROUP, "g")
    assert town.made == []
    town.join(3)
    town.find(CoordinatorKind.GROUP, "g")
    assert town.made == [CONSUMER_OFFSETS]


def test_a_cluster_of_one_has_one_replica_of_everything() -> None:
    town = Town(brokers=1, alone=True)
    assert town.find(CoordinatorKind.TRANSACTION, "t") == 1
    template = town.finder.template(TRANSACTION_STATE)
    assert template is not None
    assert (template.replication_factor, template.settings["min.insync.replicas"]) == (1, "1")


def test_what_the_controller_refuses_is_told() -> None:
    town = Town(brokers=3)
    town.refusal = NotControllerError("nobody is elected")
    with pytest.raises(CoordinatorNotAvailableError, match="nobody is elected"):
        town.find(CoordinatorKind.GROUP, "g")


def test_other_topics_have_no_template() -> None:
    assert Town(brokers=3).finder.template("orders") is None
