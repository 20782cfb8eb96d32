"""The inventory: which logs were made, and where; durable before anything in them counts."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import starmap
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftpy.errors import KafkaStorageError
from log_store.checkpoints import decode_inventory, encode_inventory, inventory_line
from log_store.config import LogConfig
from log_store.fence import Fence
from log_store.file_names import INVENTORY, future_name, future_of
from log_store.inventory import Inventory
from log_store.log import Log
from log_store.log_directory import LogDirectory
from simulation.device import CrashMode, Device, DiskFault
from simulation.disk import DiskConfig, SimulatedDisk
from tests.log_store.batches import WALL_MS, batch

PATH = "/data"
KEY = (UUID(int=7), 0)
HOME = UUID(int=1)


def played(story: Callable[[Device], Awaitable[None]]) -> None:
    async def play() -> None:
        await story(Device(Random(1)))

    asyncio.run(play())


def disk_of(device: Device) -> SimulatedDisk:
    return SimulatedDisk(device, DiskConfig(run_us_min=1, run_us_max=10))


def made(device: Device) -> tuple[LogDirectory, Inventory]:
    home = LogDirectory(disk_of(device), PATH)
    inventory = Inventory.load(home.disk, PATH, home.fence)

    async def listed(logs: Sequence[Log]) -> None:
        for _ in logs:
            inventory.note(KEY, HOME)
        await inventory.settle()

    home.before_counting = listed
    return home, inventory


@given(st.dictionaries(st.tuples(st.uuids(), st.integers(0, 10_000)), st.uuids(), max_size=20))
def test_what_is_written_is_read(entries: dict[tuple[UUID, int], UUID]) -> None:
    assert decode_inventory(encode_inventory(starmap(inventory_line, entries.items()))) == entries


def test_nothing_of_a_new_log_counts_before_it_is_listed() -> None:
    async def story(device: Device) -> None:
        home, _ = made(device)
        log = home.create_log("t-0", LogConfig(), topic_id=KEY[0], wall_ms=WALL_MS)
        log.append(batch(), 1, WALL_MS)
        flushed = asyncio.ensure_future(home.flusher.flush(log))
        while not flushed.done():
            listed = device.node(f"{PATH}/{INVENTORY}") is not None
            assert listed or log.flushed_offset == 0
            assert log.is_on_disk or not listed
            await asyncio.sleep(0)
        device.crash(CrashMode.LOST)
        assert Inventory.load(disk_of(device), PATH, Fence(PATH)).where(KEY) == HOME

    played(story)


def test_an_inventory_that_cannot_be_written_lets_nothing_count_and_fences_its_directory() -> None:
    async def story(device: Device) -> None:
        home, _ = made(device)
        log = home.create_log("t-0", LogConfig(), topic_id=KEY[0], wall_ms=WALL_MS)
        log.append(batch(), 1, WALL_MS)
        device.arm(DiskFault.WRITE_ERROR, INVENTORY)
        with pytest.raises(KafkaStorageError, match="which logs are where"):
            await home.flusher.flush(log)
        assert log.flushed_offset == 0
        assert home.failure is not None

    played(story)


def test_many_who_wait_share_a_write_and_what_is_forgotten_is_gone() -> None:
    async def story(device: Device) -> None:
        _, inventory = made(device)
        keys = [(UUID(int=1), number) for number in range(100)]
        before = device.operations
        for key in keys:
            inventory.note(key, HOME)
        await asyncio.gather(*[inventory.settle() for _ in keys])
        assert device.operations - before < 20
        inventory.forget(keys[0])
        assert not inventory.is_settled
        await inventory.settle()
        assert Inventory.load(disk_of(device), PATH, Fence(PATH)).listed() == keys[1:]

    played(story)


def test_a_damaged_inventory_says_nothing() -> None:
    async def story(device: Device) -> None:
        disk = disk_of(device)
        disk.make_directory(PATH)
        disk.write_atomically(f"{PATH}/{INVENTORY}", b"0\n1\nnonsense\n")
        assert Inventory.load(disk, PATH, Fence(PATH)).listed() == []

    played(story)


def test_an_inventory_that_cannot_be_read_says_nothing() -> None:
    async def story(device: Device) -> None:
        disk = disk_of(device)
        disk.make_directory(PATH)
        disk.write_atomically(f"{PATH}/{INVENTORY}", encode_inventory([]))
        device.spoil(f"{PATH}/{INVENTORY}", 0)
        assert not Inventory.load(disk, PATH, Fence(PATH)).is_complete

    played(story)


def test_names_of_copies() -> None:
    name = future_name("with.dots-and-dashes-3", 2**128 + 5)
    assert future_of(name) == "with.dots-and-dashes-3"
    assert future_of("t-0") is future_of("t-0.5-future") is future_of(f"t-0.{5:032x}-delete") is None
