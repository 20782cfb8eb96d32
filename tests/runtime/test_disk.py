"""The real disk: what the port promises, on the file system below."""

import asyncio
import ctypes
import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kraftpy.runtime import disk as disk_module
from kraftpy.runtime import kernel_syncs
from kraftpy.runtime.disk import CACHE_PROBE_BYTES, LocalDisk, LocalFile
from kraftpy.runtime.kernel_syncs import SYNCS_MAX


@pytest.fixture
def disk() -> Iterator[LocalDisk]:
    disk = LocalDisk(threads=2)
    yield disk
    disk.close()


def test_writes_several_buffers_one_after_the_other(disk: LocalDisk, tmp_path: Path) -> None:
    file = disk.open(str(tmp_path / "f"), create=True)
    file.write([b"abc", bytearray(b"de"), memoryview(b"fgh")], 2)
    assert file.read(100, 0) == b"\0\0abcdefgh"
    assert file.read(3, 2) == b"abc"
    assert file.read(3, 100) == b""
    assert file.size() == 10


def test_writes_more_buffers_than_one_call_takes(disk: LocalDisk, tmp_path: Path) -> None:
    file = disk.open(str(tmp_path / "f"), create=True)
    file.write([b"%04d" % number for number in range(3000)], 0)
    assert file.read(12000, 0) == b"".join(b"%04d" % number for number in range(3000))


def test_a_short_write_is_continued(disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = disk.open(str(tmp_path / "f"), create=True)
    monkeypatch.setattr(os, "pwritev", lambda fd, buffers, at: os.pwrite(fd, bytes(buffers[0])[:2], at))
    file.write([b"abcdef", b"ghi"], 0)
    assert file.read(100, 0) == b"abcdefghi"


def test_a_write_that_cannot_go_on_is_an_error(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = disk.open(str(tmp_path / "f"), create=True)
    monkeypatch.setattr(os, "pwritev", lambda fd, buffers, at: 0)
    monkeypatch.setattr(os, "pwrite", lambda fd, buffer, at: 0)
    with pytest.raises(OSError, match="wrote nothing"):
        file.write([b"abc"], 0)


def test_a_reservation_is_zeros_and_never_shrinks(disk: LocalDisk, tmp_path: Path) -> None:
    file = disk.open(str(tmp_path / "f"), create=True)
    file.write([b"abc"], 0)
    file.allocate(8192)
    assert file.size() == 8192
    file.allocate(10)
    assert file.read(8192, 0) == b"abc" + bytes(8189)
    assert os.stat(file.path).st_blocks * 512 >= 8192


def test_a_reservation_that_fails_leaves_the_length(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ext4 grows the file first and then says that the disk is full."""
    file = disk.open(str(tmp_path / "f"), create=True)
    file.write([b"abc"], 0)

    def full(descriptor: int, position: int, length: int) -> None:
        os.ftruncate(descriptor, position + length)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        file.allocate(1 << 20)
    assert file.size() == 3


def test_where_blocks_cannot_be_reserved_zeros_are_written(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(descriptor: int, position: int, length: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    file = disk.open(str(tmp_path / "f"), create=True)
    file.write([b"abc"], 0)
    file.allocate(disk_module.ZEROS_BYTES * 2 + 5)
    assert file.size() == disk_module.ZEROS_BYTES * 2 + 5
    assert os.stat(file.path).st_blocks * 512 >= disk_module.ZEROS_BYTES * 2


def test_what_was_just_written_is_cached(disk: LocalDisk, tmp_path: Path) -> None:
    file = disk.open(str(tmp_path / "f"), create=True)
    file.write([bytes(300_000)], 0)
    assert file.is_cached(300_000, 0)
    assert file.is_cached(0, 0)


def test_cold_is_told_by_any_stretch(disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = disk.open(str(tmp_path / "f"), create=True)
    probed = []

    def preadv(descriptor: int, buffers: list[bytearray], position: int, flags: int) -> int:
        probed.append(position)
        if position >= CACHE_PROBE_BYTES:
            raise BlockingIOError(errno.EAGAIN, "not in memory")
        return 1

    monkeypatch.setattr(disk_module, "_NOWAIT", 8)
    monkeypatch.setattr(os, "preadv", preadv)
    file._tells_cached = True
    assert file.is_cached(CACHE_PROBE_BYTES, 0)
    assert not file.is_cached(CACHE_PROBE_BYTES + 1, 0)
    assert probed[-1] == CACHE_PROBE_BYTES


def test_where_the_system_cannot_tell_everything_is_cached(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def preadv(descriptor: int, buffers: list[bytearray], position: int, flags: int) -> int:
        raise OSError(errno.EOPNOTSUPP, "not on this file system")

    monkeypatch.setattr(os, "preadv", preadv)
    file = disk.open(str(tmp_path / "f"), create=True)
    file._tells_cached = True
    assert file.is_cached(1 << 20, 0)


def test_a_mapping_outlives_its_file_object_and_writes_through(disk: LocalDisk, tmp_path: Path) -> None:
    path = str(tmp_path / "f")
    file = disk.open(path, create=True)
    file.allocate(4096)
    mapped = file.map(4096, writable=True)
    file.close()
    mapped.view[10:13] = b"abc"
    mapped.sync()
    mapped.close()
    assert disk.read_bytes(path)[8:14] == b"\0\0abc\0"


def test_dropping_the_last_reference_closes_the_descriptor(disk: LocalDisk, tmp_path: Path) -> None:
    file = disk.open(str(tmp_path / "f"), create=True)
    descriptor = file.fileno()
    del file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_the_last_descriptor_of_a_removed_file_is_closed_by_the_next_work(disk: LocalDisk, tmp_path: Path) -> None:
    """That frees its blocks, which may take the device long."""
    path = str(tmp_path / "f")
    file = disk.open(path, create=True)
    descriptor = file.fileno()
    disk.remove(path)
    del file
    os.fstat(descriptor)

    async def work() -> None:
        await disk.run(lambda: None)

    asyncio.run(work())
    disk.close()  # waits for its threads
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_missing_file_is_an_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LocalFile(str(tmp_path / "missing"))


def test_write_atomically_replaces_and_leaves_no_temporary_file(disk: LocalDisk, tmp_path: Path) -> None:
    """KAFKA-16541: temporary file, fsync, rename, fsync of the directory."""
    path = str(tmp_path / "checkpoint")
    disk.write_atomically(path, b"old")
    disk.write_atomically(path, b"new")
    assert disk.read_bytes(path) == b"new"
    assert disk.list(str(tmp_path)) == ["checkpoint"]


def test_write_atomically_syncs_before_it_renames_and_the_directory_after(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        steps.append("sync")
        fsync(descriptor)

    def noted_replace(old: str, new: str) -> None:
        steps.append("rename")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    disk.write_atomically(str(tmp_path / "checkpoint"), b"x")
    assert steps == ["sync", "rename", "sync"]


def test_a_failure_before_the_rename_keeps_the_old_content(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "checkpoint")
    disk.write_atomically(path, b"old")

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        disk.write_atomically(path, b"new")
    assert disk.read_bytes(path) == b"old"


def test_a_lock_excludes_another_holder_until_released(disk: LocalDisk, tmp_path: Path) -> None:
    path = str(tmp_path / ".lock")
    lock = disk.lock(path)
    with pytest.raises(BlockingIOError, match="another process"):
        disk.lock(path)
    lock.release()
    lock.release()
    disk.lock(path).release()


@pytest.mark.parametrize("spelt", ["{}", "{}/", "{}//.", "{}/below/.."])
def test_a_file_system_is_synced_by_its_lock_however_the_directory_is_spelt(
    disk: LocalDisk, tmp_path: Path, spelt: str
) -> None:
    if not disk.lock(f"{tmp_path}/.lock").sync_file_system():
        pytest.skip("this system does not sync whole file systems")
    path = spelt.format(tmp_path / "home")
    (tmp_path / "home" / "below").mkdir(parents=True)
    lock = disk.lock(f"{path}/.lock")
    assert disk.sync_file_system(path)
    lock.release()
    assert not disk.sync_file_system(path)


def test_a_lock_excludes_another_process(disk: LocalDisk, tmp_path: Path) -> None:
    path = str(tmp_path / ".lock")
    lock = disk.lock(path)
    program = (
        f"from kraftpy.runtime.disk import LocalLock\ntry: LocalLock({path!r})\nexcept BlockingIOError: print('held')"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "held\n"
    lock.release()


def test_directories(disk: LocalDisk, tmp_path: Path) -> None:
    parent = str(tmp_path / "a")
    disk.make_directory(parent + "/b")
    disk.make_directory(parent + "/b")
    disk.open(parent + "/b/file", create=True)
    disk.sync_directory(parent)
    disk.rename(parent + "/b", parent + "/c")
    assert disk.list(parent) == ["c"]
    assert disk.exists(parent + "/c/file") and disk.size(parent + "/c/file") == 0
    disk.remove(parent + "/c/file")
    disk.remove_tree(parent)
    assert not disk.exists(parent)


def test_run_happens_off_the_loop(disk: LocalDisk) -> None:
    async def names() -> tuple[str, str]:
        return threading.current_thread().name, await disk.run(lambda: threading.current_thread().name)

    here, there = asyncio.run(names())
    assert there.startswith("kraftpy-disk") and here != there


@pytest.fixture(params=["by the kernel", "on threads"])
def syncing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether no thread is needed to sync."""
    if request.param == "on threads":
        monkeypatch.setattr(kernel_syncs, "CALLS_OF", {})
    elif not offers_kernel_syncs():
        pytest.skip("this system does not sync by itself")
    return bool(request.param == "by the kernel")


def offers_kernel_syncs() -> bool:
    async def looked() -> bool:
        try:
            kernel_syncs.KernelSyncs(asyncio.get_running_loop()).close()
        except OSError:
            return False
        return True

    return asyncio.run(looked())


def disk_threads() -> int:
    return sum(thread.name.startswith("kraftpy-disk") for thread in threading.enumerate())


@pytest.mark.parametrize("count", [0, 1, 3, SYNCS_MAX + 20])
def test_files_are_synced_off_the_loop(disk: LocalDisk, tmp_path: Path, syncing: bool, count: int) -> None:
    files = [disk.open(str(tmp_path / f"{number}"), create=True) for number in range(count)]
    before = disk_threads()
    for _ in range(2):  # and again from another loop
        for file in files:
            file.write([b"x"], 0)
        asyncio.run(disk.sync(files))
    needed = count > SYNCS_MAX or (count > 0 and not syncing)
    assert (disk_threads() > before) == needed


def test_a_file_that_cannot_be_synced_is_an_error(disk: LocalDisk, tmp_path: Path, syncing: bool) -> None:
    class Stale(LocalFile):
        """Its descriptor is no longer one."""

        def close(self) -> None:
            self._descriptor = 1_000_000

    files = [disk.open(str(tmp_path / "a"), create=True), Stale(str(tmp_path / "b"), create=True)]
    os.close(files[1].fileno())
    files[1].close()
    for _ in range(2):
        with pytest.raises(OSError, match="Bad file descriptor"):
            asyncio.run(disk.sync(files))
    asyncio.run(disk.sync(files[:1]))


def test_a_pipe_is_no_file_to_sync(disk: LocalDisk) -> None:
    """What the kernel refuses for good is told by the thread that tries instead."""

    class Pipe(LocalFile):
        def __init__(self) -> None:
            reading, self._descriptor = os.pipe()
            os.close(reading)
            self._removed = None
            self.path = "pipe"

    with pytest.raises(OSError, match="Invalid argument"):
        asyncio.run(disk.sync([Pipe()]))


def test_who_stops_waiting_for_a_sync_disturbs_nobody(disk: LocalDisk, tmp_path: Path, syncing: bool) -> None:
    file = disk.open(str(tmp_path / "f"), create=True)

    async def story() -> None:
        for _ in range(20):
            file.write([b"x" * 4096], 0)
            waiting = [asyncio.create_task(disk.sync([file])) for _ in range(3)]
            await asyncio.sleep(0)
            stopped = asyncio.CancelledError if waiting[0].cancel() else type(None)  # a quick thread is done by now
            assert [type(each) for each in await asyncio.gather(*waiting, return_exceptions=True)] == [
                stopped,
                type(None),
                type(None),
            ]
        for _ in range(3):
            abandoned.append(asyncio.create_task(disk.sync([file])))
        await asyncio.sleep(0)
        disk.close()  # waits for what is under way

    abandoned: list[asyncio.Task[None]] = []
    asyncio.run(story())
    assert all(task.done() for task in abandoned)


def test_more_syncs_than_are_taken_at_a_time_end_while_the_loop_is_busy(tmp_path: Path) -> None:
    """The kernel's ring holds more than was asked for, and rings once for all that ends meanwhile."""
    if not offers_kernel_syncs():
        pytest.skip("this system does not sync by itself")
    descriptors = [os.open(tmp_path / f"{number}", os.O_CREAT | os.O_RDWR) for number in range(30)]

    async def story() -> None:
        syncs = kernel_syncs.KernelSyncs(asyncio.get_running_loop())
        begun = [syncs.begin(descriptors) for _ in range(10)]
        assert sum(taken for taken, _ in begun) > SYNCS_MAX, "else nothing is shown"
        time.sleep(0.5)  # noqa: ASYNC251 - the loop is held
        async with asyncio.timeout(1):
            assert not any(await asyncio.gather(*[ended for taken, ended in begun if taken]))
        syncs.close()

    try:
        asyncio.run(story())
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def test_what_failed_in_the_kernel_is_told(disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first error of several files, once all of them have ended."""
    if not offers_kernel_syncs():
        pytest.skip("this system does not sync by itself")
    results = iter([0, -errno.EIO, -errno.ENOSPC, 0])

    class Event:
        size = kernel_syncs._EVENT.size

        def unpack_from(self, events: "ctypes.Array[ctypes.c_char]", at: int) -> tuple[int, int, int, int]:
            number, block, result, more = event.unpack_from(events, at)
            assert result == 0
            return number, block, next(results), more

    event = kernel_syncs._EVENT
    monkeypatch.setattr(kernel_syncs, "_EVENT", Event())
    files = [disk.open(str(tmp_path / name), create=True) for name in ("a", "b", "c")]
    with pytest.raises(OSError, match="Input/output error") as raised:
        asyncio.run(disk.sync(files))
    assert raised.value.errno == errno.EIO
    asyncio.run(disk.sync(files[:1]))
    assert next(results, None) is None
