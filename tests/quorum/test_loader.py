"""From entries to images: every offset is in exactly one of them."""

import asyncio

from broker.metadata.delta import MetadataDelta
from broker.metadata.image import MetadataImage
from broker.metadata.records import topic_resource
from broker.quorum.loader import MetadataLoader
from raft.events import Entry, Epoch, LeaderChange, NodeId, Offset
from tests.quorum.disks import VOTERS, settings_entry


def test_control_entries_move_the_image_too() -> None:
    published: list[tuple[int, int]] = []
    epochs: list[int] = []

    def note(image: MetadataImage, delta: MetadataDelta) -> None:
        published.append((image.end_offset, len(delta.configs)))
        epochs.append(image.epoch)

    machine = MetadataLoader(note)
    change = LeaderChange(NodeId(1), (NodeId(1),))
    machine.apply([Entry(Offset(0), 1, Epoch(0), VOTERS), Entry(Offset(1), 1, Epoch(1), change)])
    assert machine.image.end_offset == 2
    machine.apply([settings_entry(2, 1, 2), settings_entry(4, 1), Entry(Offset(5), 1, Epoch(2), change)])
    assert machine.image.end_offset == 6
    assert epochs == [0, 1, 1, 2], "an image has the epoch of its own last entry, not of the control entry after it"
    assert set(machine.image.configs) == {topic_resource(f"t{offset}") for offset in (2, 3, 4)}
    assert [offset for offset, _ in published] == [1, 2, 5, 6]
    assert sum(count for _, count in published) == 3


def test_whoever_waits_for_an_offset_is_told_when_it_is_applied() -> None:
    async def play() -> None:
        machine = MetadataLoader(lambda image, delta: None)
        waiting = asyncio.ensure_future(machine.wait_applied(3))
        await asyncio.sleep(0)
        machine.apply([settings_entry(0, 1, 2)])
        await asyncio.sleep(0)
        assert not waiting.done()
        machine.apply([settings_entry(2, 1)])
        await waiting
        await machine.wait_applied(1)

    asyncio.run(play())
