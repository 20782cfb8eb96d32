"""The log directories of a node: locked, identified, and refused by name where they are somebody else's."""

import os
from random import Random

import pytest

from broker.directories import BOOT_ID, Directories
from kraftpy.errors import ConfigurationError, InconsistentClusterIdError
from log_store.config import LogConfig
from log_store.file_names import META_PROPERTIES, QUORUM_LOG
from simulation.device import Device, DiskFault
from tests.quorum.disks import disk_of, played

PATHS = ("/a", "/b")


async def opened(device: Device, node_id: int = 1, paths: tuple[str, ...] = PATHS) -> Directories:
    return await Directories.open(disk_of(device), paths, node_id, Random(5))


def test_ids_and_cluster_survive_a_crash() -> None:
    async def story(device: Device) -> None:
        directories = await opened(device)
        ids = directories.ids
        assert len({*ids}) == 2
        assert directories.cluster_id is None
        device.crash()
        directories = await opened(device)
        assert directories.ids == ids
        await directories.remember("c1")
        device.crash()
        directories = await opened(device)
        assert (directories.ids, directories.cluster_id) == (ids, "c1")

    played(story)


async def started(device: Device, boot_id: bytes) -> Directories:
    device.locks.clear()  # the process is gone
    disk = disk_of(device)
    disk.make_directory(os.path.dirname(BOOT_ID))
    disk.write_atomically(BOOT_ID, boot_id)
    directories = await opened(device)
    for home in directories.all:
        await home.open_logs(lambda name, topic_id: LogConfig(), 0)
    return directories


def test_kip_966_the_page_cache_outlives_the_process_and_not_the_machine() -> None:
    async def story(device: Device) -> None:
        directories = await started(device, b"first\n")
        assert await directories.previous_broker_epoch() == -1, "it never lived"
        await directories.note_life(7)
        directories = await started(device, b"first\n")
        assert await directories.previous_broker_epoch() == 7, "only the process died"
        directories = await started(device, b"second\n")
        assert await directories.previous_broker_epoch() == -1, "the machine went down"
        await directories.note_life(9)
        await directories.close(clean=True, broker_epoch=9)
        directories = await started(device, b"third\n")
        assert await directories.previous_broker_epoch() == 9, "a clean stop loses nothing"
        directories = await started(device, b"third\n")
        assert await directories.previous_broker_epoch() == -1, "the clean stop was of the life before"

    played(story)


def test_kip_966_a_start_that_is_given_up_forgets_no_clean_stop() -> None:
    async def story(device: Device) -> None:
        directories = await started(device, b"first\n")
        await directories.note_life(9)
        await directories.close(clean=True, broker_epoch=9)
        for _ in range(2):
            directories = await started(device, b"second\n")
            await directories.close(clean=True, broker_epoch=-1)  # it never had one
        directories = await started(device, b"second\n")
        assert await directories.previous_broker_epoch() == 9
        await directories.close(clean=False, broker_epoch=-1)
        directories = await started(device, b"second\n")
        assert await directories.previous_broker_epoch() == -1, "nobody saw that one to its end"
        await directories.close(clean=True, broker_epoch=-1)
        assert await (await started(device, b"second\n")).previous_broker_epoch() == -1

    played(story)


def test_another_nodes_directory_is_refused_by_name() -> None:
    async def story(device: Device) -> None:
        await (await opened(device)).close(clean=False, broker_epoch=-1)
        with pytest.raises(ConfigurationError, match=r"/a belongs to node 1, and this is node 2.*--data-dir"):
            await opened(device, node_id=2)
        await (await opened(device)).close(clean=False, broker_epoch=-1)  # nothing stayed locked

    played(story)


def test_directories_of_two_clusters_are_refused() -> None:
    async def story(device: Device) -> None:
        for path, cluster_id in (("/a", "c1"), ("/b", "c2")):
            directories = await opened(device, paths=(path,))
            await directories.remember(cluster_id)
            await directories.close(clean=False, broker_epoch=-1)
        with pytest.raises(InconsistentClusterIdError, match="c1, c2"):
            await opened(device)

    played(story)


def test_a_second_process_is_refused() -> None:
    async def story(device: Device) -> None:
        await opened(device)
        with pytest.raises(ConfigurationError, match="in use by another process"):
            await opened(device)

    played(story)


def test_a_quorum_log_of_nobody_is_not_taken_over() -> None:
    async def story(device: Device) -> None:
        disk = disk_of(device)
        disk.make_directory(f"/a/{QUORUM_LOG}")
        with pytest.raises(ConfigurationError, match=META_PROPERTIES):
            await opened(device)

    played(story)


def test_a_damaged_properties_file_is_named() -> None:
    async def story(device: Device) -> None:
        disk = disk_of(device)
        disk.make_directory("/a")
        disk.write_atomically(f"/a/{META_PROPERTIES}", b"version=7\n")
        with pytest.raises(ConfigurationError, match=f"/a/{META_PROPERTIES} cannot be read"):
            await opened(device)

    played(story)


def test_kip_112_a_directory_that_cannot_be_used_is_left_out_unless_it_is_the_first() -> None:
    async def story(device: Device) -> None:
        await (await opened(device)).close(clean=False, broker_epoch=-1)
        disk = disk_of(device)
        disk.remove_tree("/b")
        disk.open("/b", create=True).close()  # a file, where the directory should be
        directories = await opened(device)
        assert [home.path for home in directories.all] == ["/a"]
        assert directories.unusable == {"/b": "Not a directory"}
        await directories.close(clean=False, broker_epoch=-1)
        with pytest.raises(ConfigurationError, match=r"/b cannot be used: Not a directory"):
            await opened(device, paths=("/b", "/a"))
        await (await opened(device, paths=("/a",))).close(clean=False, broker_epoch=-1)  # nothing stayed locked

    played(story)


def test_a_directory_that_fails_while_it_is_made_known_is_left_out() -> None:
    async def story(device: Device) -> None:
        device.arm(DiskFault.WRITE_ERROR, f"/b/{META_PROPERTIES}")
        directories = await opened(device)
        assert list(directories.unusable) == ["/b"]
        await directories.remember("c1")
        await directories.close(clean=False, broker_epoch=-1)
        again = await opened(device)
        assert len(again.ids) == 2 and again.cluster_id == "c1"
        device.arm(DiskFault.WRITE_ERROR, f"/b/{META_PROPERTIES}")
        await again.remember("c1")
        assert again.all[1].failure is not None and again.first.failure is None

    played(story)


def test_the_quorums_log_must_be_in_the_first() -> None:
    async def story(device: Device) -> None:
        await (await opened(device)).close(clean=False, broker_epoch=-1)
        disk_of(device).make_directory(f"/a/{QUORUM_LOG}")
        with pytest.raises(ConfigurationError, match=r"lies in /a: name that directory first in log\.dirs, before /b"):
            await opened(device, paths=("/b", "/a"))

    played(story)
