"""Snapshots on disk: complete or not there, and verified when they came from elsewhere."""

import pytest

from broker.metadata.image import MetadataImage
from broker.quorum.loader import MetadataLoader
from broker.quorum.snapshots import SnapshotFiles
from kraftpy.errors import KafkaStorageError
from raft.events import Epoch, Offset, SnapshotId
from raft.ports import SnapshotCorrupted
from simulation.device import Device
from simulation.disk import SimulatedDisk
from tests.quorum.disks import PATH, VOTERS, disk_of, played, settings_entry


def files(device: Device) -> tuple[SimulatedDisk, SnapshotFiles]:
    disk = disk_of(device)
    disk.make_directory(PATH)
    return disk, SnapshotFiles(disk, PATH)


def snapshot_of(end_offset: int) -> SnapshotId:
    return SnapshotId(Epoch(1), Offset(end_offset))


async def write(snapshots: SnapshotFiles, snapshot: SnapshotId, machine: MetadataLoader) -> None:
    writer = snapshots.begin(snapshot, VOTERS)
    for chunk in machine.snapshot():
        writer.write(chunk)
    assert await writer.finish() == VOTERS


def machine_with(*entries: object) -> MetadataLoader:
    machine = MetadataLoader(lambda image, delta: None)
    machine.apply([settings_entry(0, 1, 700), settings_entry(700, 1, 3)])
    return machine


def whole(snapshots: SnapshotFiles, snapshot: SnapshotId) -> bytes:
    return snapshots.read(snapshot, 0, snapshots.size(snapshot) or 0)


def test_another_replica_takes_over_the_bytes_and_has_the_same_image() -> None:
    async def story(device: Device) -> None:
        _, snapshots = files(device)
        machine, snapshot = machine_with(), snapshot_of(703)
        await write(snapshots, snapshot, machine)
        data = whole(snapshots, snapshot)

        _, others = files(Device(device.random))
        writer = others.begin(snapshot, None)
        for start in range(0, len(data), 100):
            writer.write(data[start : start + 100])
        assert await writer.finish() == VOTERS
        other = MetadataLoader(lambda image, delta: None)
        chunks = (data[start : start + 77] for start in range(0, len(data), 77))
        await other.load_snapshot(snapshot, chunks)
        assert other.image.configs == machine.image.configs
        assert other.image.end_offset == 703

    played(story)


@pytest.mark.parametrize("damage", ["cut", "flip", "headless", "empty"])
def test_damaged_bytes_of_another_replica_are_refused(damage: str) -> None:
    async def story(device: Device) -> None:
        _, snapshots = files(device)
        await write(snapshots, snapshot_of(703), machine_with())
        data = bytearray(whole(snapshots, snapshot_of(703)))
        match damage:
            case "cut":
                del data[-1:]
            case "flip":
                data[len(data) // 2] ^= 4
            case "headless":
                del data[:1]
            case "empty":
                data.clear()
        disk, others = files(Device(device.random))
        writer = others.begin(snapshot_of(703), None)
        writer.write(bytes(data))
        with pytest.raises(SnapshotCorrupted):
            await writer.finish()
        writer.abort()
        assert others.latest is None
        assert disk.list(PATH) == []

    played(story)


def test_settings_of_any_length_that_an_older_release_let_pass_are_written_and_read() -> None:
    """500 records in one batch were 72 MiB here, which no reader took: each node ended at its next snapshot."""

    async def story(device: Device) -> None:
        _, snapshots = files(device)
        machine, snapshot = MetadataLoader(lambda image, delta: None), snapshot_of(9)
        machine.apply([settings_entry(offset, 1, size=8 << 20) for offset in range(9)])
        await write(snapshots, snapshot, machine)
        assert snapshots.damage_of(snapshot) is None
        size = snapshots.size(snapshot) or 0
        again = MetadataLoader(lambda image, delta: None)
        chunks = (snapshots.read(snapshot, position, 1 << 20) for position in range(0, size, 1 << 20))
        await again.load_snapshot(snapshot, chunks)
        assert again.image.configs == machine.image.configs

    played(story)


def test_without_its_footer_it_is_not_whole() -> None:
    async def story(device: Device) -> None:
        _, snapshots = files(device)
        await write(snapshots, snapshot_of(703), machine_with())
        data = whole(snapshots, snapshot_of(703))
        footer = len(data) - 1
        while not data.startswith(b"\\0" * 4, footer) and footer > len(data) - 75:
            footer -= 1
        writer = snapshots.begin(snapshot_of(800), None)
        writer.write(data[: len(data) - 75] if footer <= len(data) - 75 else data[:footer])
        with pytest.raises(SnapshotCorrupted):
            await writer.finish()

    played(story)


def test_a_crash_in_the_middle_leaves_nothing() -> None:
    async def story(device: Device) -> None:
        disk, snapshots = files(device)
        snapshots.begin(snapshot_of(5), VOTERS)
        assert any(name.endswith(".part") for name in disk.list(PATH))
        assert SnapshotFiles(disk, PATH).latest is None
        assert disk.list(PATH) == []

    played(story)


def test_a_download_that_is_begun_anew_leaves_the_one_being_finished_alone() -> None:
    async def story(device: Device) -> None:
        _, snapshots = files(device)
        await write(snapshots, snapshot_of(703), machine_with())
        data = whole(snapshots, snapshot_of(703))
        disk, others = files(Device(device.random))
        first = others.begin(snapshot_of(703), None)
        first.write(data)
        second = others.begin(snapshot_of(703), None)
        second.write(data[:100])
        assert await first.finish() == VOTERS
        assert whole(others, snapshot_of(703)) == data
        second.abort()
        assert whole(others, snapshot_of(703)) == data and len(disk.list(PATH)) == 1

    played(story)


def test_the_newest_two_stay() -> None:
    async def story(device: Device) -> None:
        disk, snapshots = files(device)
        for end_offset in (703, 704, 705):
            await write(snapshots, snapshot_of(end_offset), machine_with())
        assert snapshots.latest == snapshot_of(705)
        assert len(disk.list(PATH)) == 2
        assert snapshots.size(snapshot_of(703)) is None
        assert SnapshotFiles(disk, PATH).latest == snapshot_of(705)

    played(story)


def test_a_file_that_rotted_is_named() -> None:
    async def story(device: Device) -> None:
        _, snapshots = files(device)
        await write(snapshots, snapshot_of(703), machine_with())
        device.flip_bit(snapshots.path(snapshot_of(703)), 20)
        snapshots.close()
        with pytest.raises(KafkaStorageError, match="checkpoint is damaged"):
            snapshots.voters(snapshot_of(703))

    played(story)


def test_the_empty_image_makes_an_empty_snapshot() -> None:
    assert list(MetadataLoader(lambda image, delta: None).snapshot()) == []
    assert MetadataImage.EMPTY.end_offset == 0
