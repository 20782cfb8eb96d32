"""Asking other brokers who leads what is led here no longer."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast
from uuid import UUID

import pytest

from broker import successors
from broker.metadata.image import MetadataImage
from broker.metadata.records import (
    Endpoint,
    MetadataRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RegisterBrokerRecord,
    TopicRecord,
)
from broker.metadata.state import PartitionKey
from broker.node_view import NodeView
from broker.rpc.metadata_answers import topic_info
from broker.successors import ASK_INTERVAL_MS, States, Successors
from kraftpy.pb.client_pb2 import MetadataRequest, MetadataResponse
from kraftpy.runtime.ports import Address, Unreachable

TOPIC_ID, OTHER_ID = UUID(int=7), UUID(int=8)
FIRST, SECOND = PartitionKey(TOPIC_ID, 0), PartitionKey(TOPIC_ID, 1)


def after(image: MetadataImage, *records: MetadataRecord) -> MetadataImage:
    return image.apply(records, image.end_offset + len(records), 1)[0]


def elected(image: MetadataImage, partition: int, leader: int) -> MetadataImage:
    return after(image, PartitionChangeRecord(TOPIC_ID, partition, isr=(2, 3), leader=leader))


def founded(topic_id: UUID = TOPIC_ID) -> MetadataImage:
    """Three brokers, and two partitions that the first leads."""
    return after(
        MetadataImage.EMPTY,
        *(
            RegisterBrokerRecord(each, UUID(int=each), UUID(int=each), (Endpoint("GRPC", f"n{each}", 1),), fenced=False)
            for each in (1, 2, 3)
        ),
        TopicRecord("lines", topic_id),
        *(PartitionRecord(topic_id, index, (1, 2, 3), (1, 2, 3), 1, 0, 0) for index in (0, 1)),
    )


class Bed:
    """Broker 1, and what the others know; one that knows nothing does not answer."""

    def __init__(self) -> None:
        self.image = founded()
        self.others: dict[str, MetadataImage] = {}
        self.now_ms = 0
        self.asked: list[str] = []
        self.while_asked: Callable[[], None] = lambda: None
        self.told: list[States] = []
        ports = cast(Any, self)
        self.view = NodeView(1, ports, lambda: -1, ports)
        self.successors = Successors(1, lambda: self.image, ports, ports, self.tell)

    def monotonic_ms(self) -> int:
        return self.now_ms

    def tell(self, states: States) -> None:
        self.told.append(states)
        self.view.tell_successors(states)

    async def call(self, address: Address, method: str, request: bytes, timeout_ms: int) -> bytes:
        self.asked.append(address.host)
        self.while_asked()
        image = self.others.get(address.host)
        if image is None:
            raise Unreachable("cut off")
        names = MetadataRequest.FromString(request).topics
        infos = [topic_info(image, topic) for name in names if (topic := image.topic(name))]
        return MetadataResponse(topics=infos).SerializeToString()

    def leaders(self) -> list[int]:
        """Whom clients are told, partition by partition."""
        return [state.leader for state in self.view.image.topics[TOPIC_ID].partitions]


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def test_clients_are_told_what_any_other_broker_knows_later() -> None:
    async def story() -> None:
        bed = Bed()
        bed.others = {"n2": elected(bed.image, 0, 2), "n3": elected(elected(bed.image, 0, 2), 0, 3)}
        await bed.successors.look_for([FIRST, SECOND])
        assert bed.asked == ["n2", "n3"]
        assert bed.leaders() == [3, 1]
        assert bed.view.image is bed.view.image, "answers are kept as long as it is the same"

    run(story())


def test_of_what_is_not_deserted_nothing_is_told() -> None:
    async def story() -> None:
        bed = Bed()
        bed.others = {"n2": elected(elected(bed.image, 0, 2), 1, 2)}
        await bed.successors.look_for([SECOND])
        assert bed.leaders() == [1, 2]
        bed.now_ms += 1
        await bed.successors.look_for([])
        assert (bed.leaders(), bed.told[-1]) == ([1, 1], {})

    run(story())


def test_who_is_late_or_tells_of_another_topic_changes_nothing() -> None:
    async def story() -> None:
        bed = Bed()
        bed.image = elected(bed.image, 0, 1)
        bed.others = {"n2": founded(), "n3": founded(OTHER_ID)}
        await bed.successors.look_for([FIRST])
        assert bed.told == []

    run(story())


def test_they_are_asked_again_after_a_while_and_at_once_where_more_is_deserted() -> None:
    async def story() -> None:
        bed = Bed()
        bed.others = {"n2": bed.image}
        counts = []
        for later_ms, deserted in (
            (0, [FIRST]),
            (ASK_INTERVAL_MS - 1, [FIRST]),
            (1, [FIRST]),
            (1, [FIRST, SECOND]),
            (1, [SECOND]),
        ):
            bed.now_ms += later_ms
            await bed.successors.look_for(deserted)
            counts.append(bed.asked.count("n2"))
        assert counts == [1, 1, 2, 3, 3]
        bed.others["n2"] = elected(bed.image, 1, 3)
        bed.now_ms += ASK_INTERVAL_MS
        await bed.successors.look_for([SECOND])
        assert bed.leaders() == [1, 3]

    run(story())


def test_what_was_told_stays_while_nobody_answers() -> None:
    async def story() -> None:
        bed = Bed()
        bed.others = {"n2": elected(bed.image, 0, 2)}
        await bed.successors.look_for([FIRST])
        bed.others.clear()
        bed.now_ms += ASK_INTERVAL_MS
        await bed.successors.look_for([FIRST])
        assert bed.leaders() == [2, 1]

    run(story())


def test_metadata_that_has_caught_up_counts() -> None:
    async def story() -> None:
        bed = Bed()
        bed.others = {"n2": elected(bed.image, 0, 2)}
        await bed.successors.look_for([FIRST])
        bed.image = elected(elected(bed.image, 0, 2), 0, 1)
        assert bed.leaders() == [1, 1]

    run(story())


@pytest.mark.parametrize("comes", ["with the answer", "after it"])
def test_nothing_is_told_once_metadata_has_caught_up(comes: str) -> None:
    """Who has coordinated by what it leads would end, though it leads again."""

    async def story() -> None:
        bed = Bed()
        again = elected(elected(bed.image, 0, 2), 0, 1)
        bed.others = {"n2": elected(bed.image, 0, 2)}
        if comes == "with the answer":
            bed.while_asked = lambda: setattr(bed, "image", again)
            await bed.successors.look_for([FIRST])
            assert bed.told == []
        else:
            await bed.successors.look_for([FIRST])
            bed.image = again
            bed.others["n2"] = elected(again, 1, 2)
            await bed.successors.look_for([FIRST, SECOND])
            assert [set(each) for each in bed.told] == [{FIRST}, {SECOND}]

    run(story())


def test_many_topics_are_asked_for_in_several_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        monkeypatch.setattr(successors, "TOPICS_PER_CALL", 1)
        bed = Bed()
        bed.image = after(
            bed.image,
            TopicRecord("others", OTHER_ID),
            PartitionRecord(OTHER_ID, 0, (1, 2), (1, 2), 1, 0, 0),
        )
        bed.others = {"n2": elected(bed.image, 0, 2)}
        await bed.successors.look_for([PartitionKey(OTHER_ID, 0), FIRST])
        assert bed.asked == ["n2", "n2", "n3"], "who does not answer is asked once"
        assert bed.leaders() == [2, 1]

    run(story())
