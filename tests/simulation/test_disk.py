"""The simulated disk: what a file system promises, what a crash takes, and every fault it can be told to have."""

import asyncio
import errno
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftpy.runtime.ports import Disk
from simulation.device import BLOCK_BYTES, SECTOR_BYTES, CrashMode, Device, DiskFault, MappedFileShrunk
from simulation.disk import DiskConfig, SimulatedDisk
from simulation.loop import Loop, NodeCrashed


def new_disk(seed: int = 0, capacity_bytes: int | None = None) -> SimulatedDisk:
    return SimulatedDisk(Device(Random(seed), capacity_bytes=capacity_bytes))


def after_crash(disk: SimulatedDisk, mode: CrashMode | None = None) -> SimulatedDisk:
    disk.kill()
    disk.device.crash(mode)
    return SimulatedDisk(disk.device)


def durable_file(disk: SimulatedDisk, path: str, data: bytes) -> None:
    file = disk.open(path, create=True)
    file.write([data], 0)
    file.sync()
    disk.sync_directory(path.rpartition("/")[0] or "/")
    file.close()


def test_it_is_the_port() -> None:
    disk: Disk = new_disk()
    disk.make_directory("/a/b")
    disk.make_directory("/a/b")
    file = disk.open("/a/b/f", create=True)
    file.write([b"abc", memoryview(b"def")], 2)
    assert (file.size(), file.read(100, 0), file.read(2, 3), file.read(5, 100)) == (8, b"\0\0abcdef", b"bc", b"")
    file.truncate(4)
    file.allocate(6)
    file.allocate(3)
    assert disk.read_bytes("/a/b/f") == b"\0\0ab\0\0"
    assert disk.list("/a/b") == ["f"] and disk.size("/a/b/f") == 6
    disk.rename("/a/b/f", "/a/g")
    assert file.read(2, 2) == b"ab" and disk.exists("/a/g") and not disk.exists("/a/b/f")
    disk.remove("/a/g")
    assert file.read(2, 2) == b"ab"  # the name is gone, the file is not
    file.close()
    disk.remove_tree("/a")
    assert disk.list("/") == []


@pytest.mark.parametrize(
    ("work", "number"),
    [
        (lambda disk: disk.open("/no"), errno.ENOENT),
        (lambda disk: disk.open("/no/file", create=True), errno.ENOENT),
        (lambda disk: disk.open("/d"), errno.EISDIR),
        (lambda disk: disk.remove("/d"), errno.EISDIR),
        (lambda disk: disk.remove("/no"), errno.ENOENT),
        (lambda disk: disk.list("/f"), errno.ENOTDIR),
        (lambda disk: disk.list("/no"), errno.ENOENT),
        (lambda disk: disk.make_directory("/f/x"), errno.EEXIST),
        (lambda disk: disk.rename("/no", "/x"), errno.ENOENT),
        (lambda disk: disk.rename("/f", "/d"), errno.ENOTEMPTY),
        (lambda disk: disk.rename("/d", "/f"), errno.ENOTDIR),
        (lambda disk: disk.size("/no"), errno.ENOENT),
        (lambda disk: disk.open("/f").fileno(), errno.EBADF),
    ],
)
def test_its_errors_are_those_of_a_file_system(work: Callable[[Disk], object], number: int) -> None:
    disk = new_disk()
    disk.make_directory("/d")
    disk.open("/f", create=True)
    with pytest.raises(OSError) as caught:
        work(disk)
    assert caught.value.errno == number


def test_a_closed_file_is_closed() -> None:
    disk = new_disk()
    file = disk.open("/f", create=True)
    file.close()
    with pytest.raises(OSError):
        file.write([b"x"], 0)


def test_a_mapping_shows_writes_and_its_writes_show() -> None:
    disk = new_disk()
    file = disk.open("/f", create=True)
    file.allocate(100)
    writable, readable = file.map(100, writable=True), file.map(50)
    writable.view[3:6] = b"abc"
    assert file.read(3, 3) == b"abc" and bytes(readable.view[3:6]) == b"abc"
    file.write([b"z" * 5000], 4)  # grows past the mapped buffer
    assert bytes(writable.view[3:6]) == b"azz" and bytes(readable.view[3:6]) == b"azz"
    writable.view[0] = 65
    assert file.read(2, 0) == b"A\0" and readable.view[0] == 65
    writable.sync()
    writable.view[1] = 66
    disk = after_crash(disk, CrashMode.LOST)
    assert disk.device.node("/f") is None  # its directory was never synced


def test_writes_through_a_mapping_are_unsynced_until_it_is_synced() -> None:
    disk = new_disk()
    durable_file(disk, "/f", bytes(2000))
    mapping = disk.open("/f").map(2000, writable=True)
    mapping.view[0] = 1
    mapping.sync()
    mapping.view[1] = 1
    assert after_crash(disk, CrashMode.LOST).read_bytes("/f")[:2] == b"\1\0"


def test_an_exported_view_keeps_a_mapping_open() -> None:
    file = new_disk().open("/f", create=True)
    file.allocate(100)
    mapping = file.map(100)
    part = mapping.view[10:20]
    with pytest.raises(BufferError):
        mapping.close()
    part.release()
    mapping.close()
    with pytest.raises(ValueError):
        file.map(101)
    with pytest.raises(TypeError):
        file.map(100).view[0] = 1


def test_a_mapped_file_must_not_shrink() -> None:
    file = new_disk().open("/f", create=True)
    file.allocate(3 * BLOCK_BYTES)
    mapping = file.map(2 * BLOCK_BYTES)
    file.truncate(2 * BLOCK_BYTES)
    with pytest.raises(MappedFileShrunk):
        file.truncate(BLOCK_BYTES)
    mapping.close()
    file.truncate(BLOCK_BYTES)


def test_what_was_synced_survives_and_what_was_not_is_at_the_mercy_of_the_mode() -> None:
    disk = new_disk()
    durable_file(disk, "/f", b"durable.")
    disk.open("/f").write([b"unsynced"], 8)
    assert disk.read_bytes("/f") == b"durable.unsynced"
    assert after_crash(disk, CrashMode.LOST).read_bytes("/f") == b"durable."
    disk = SimulatedDisk(disk.device)
    disk.open("/f").write([b"unsynced"], 8)
    assert after_crash(disk, CrashMode.KEPT).read_bytes("/f") == b"durable.unsynced"


def outcomes(mode: CrashMode, prepare: Callable[[SimulatedDisk], None], seeds: int = 60) -> list[bytes]:
    """The different contents that a crash can leave of `/f`."""
    seen: dict[bytes, None] = {}
    for seed in range(seeds):
        disk = new_disk(seed)
        durable_file(disk, "/f", b"")
        prepare(disk)
        seen[after_crash(disk, mode).read_bytes("/f")] = None
    return list(seen)


def test_a_prefix_of_the_writes_survives_and_the_next_one_is_torn() -> None:
    def three_writes(disk: SimulatedDisk) -> None:
        file = disk.open("/f")
        for number in range(3):
            file.write([bytes([65 + number]) * SECTOR_BYTES * 2], number * SECTOR_BYTES * 2)

    seen = outcomes(CrashMode.PREFIX, three_writes)
    assert b"" in seen
    assert b"A" * 1024 in seen
    assert b"A" * 1024 + b"B" * 512 in seen  # torn
    assert b"A" * 1024 + bytes(512) + b"B" * 512 in seen  # torn the other way
    assert not any(b"C" in content and b"B" not in content for content in seen)


def test_blocks_survive_each_for_itself() -> None:
    def two_writes(disk: SimulatedDisk) -> None:
        file = disk.open("/f")
        file.write([b"A" * BLOCK_BYTES], 0)
        file.write([b"B" * BLOCK_BYTES], BLOCK_BYTES)

    seen = outcomes(CrashMode.SCATTERED, two_writes)
    assert bytes(BLOCK_BYTES) + b"B" * BLOCK_BYTES in seen  # the later one alone
    assert b"A" * BLOCK_BYTES in seen
    assert any(b"A" in content and content.count(b"A") < BLOCK_BYTES for content in seen)  # torn


def test_an_unsynced_truncation_may_come_back() -> None:
    disk = new_disk()
    durable_file(disk, "/f", b"old bytes")
    disk.open("/f").truncate(3)
    assert after_crash(disk, CrashMode.LOST).read_bytes("/f") == b"old bytes"


def test_names_are_durable_only_when_their_directory_is_synced() -> None:
    disk = new_disk()
    disk.make_directory("/d")
    disk.sync_directory("/")
    durable_file(disk, "/d/old", b"1")
    file = disk.open("/d/new", create=True)
    file.write([b"2"], 0)
    file.sync()
    disk.rename("/d/old", "/d/renamed")
    disk = after_crash(disk, CrashMode.LOST)
    assert disk.list("/d") == ["old"]
    disk.rename("/d/old", "/d/renamed")
    disk.sync_directory("/d")
    disk.remove("/d/renamed")
    assert after_crash(disk, CrashMode.LOST).list("/d") == ["renamed"]


def test_a_file_is_replaced_atomically_whenever_the_power_fails() -> None:
    """KAFKA-16541: at every operation of the replacement, the old content or the new; the new once it returned."""
    for seed in range(20):
        for boundary in range(1, 20):
            disk = new_disk(seed)
            durable_file(disk, "/f", b"old")
            disk.device.crash_at_operation = disk.device.operations + boundary
            expected = [b"old", b"new"]
            try:
                disk.write_atomically("/f", b"new")
                expected = [b"new"]
            except NodeCrashed:
                pass
            assert after_crash(disk).read_bytes("/f") in expected


def test_the_page_cache_outlives_a_process_but_not_the_power() -> None:
    disk = new_disk()
    durable_file(disk, "/f", b"a")
    lock = disk.lock("/lock")
    with pytest.raises(BlockingIOError):
        disk.lock("/lock")
    lock.release()
    disk.lock("/lock")
    disk.open("/f").write([b"b"], 1)
    disk.kill()
    disk.device.process_ended()
    disk = SimulatedDisk(disk.device)
    disk.lock("/lock")
    assert disk.read_bytes("/f") == b"ab"
    assert after_crash(disk, CrashMode.LOST).read_bytes("/f") == b"a"


def test_a_dead_disk_answers_nothing() -> None:
    disk = new_disk()
    file = disk.open("/f", create=True)
    disk.kill()
    for work in (lambda: file.write([b"x"], 0), lambda: file.read(1, 0), lambda: disk.open("/f"), file.size, file.sync):
        with pytest.raises(NodeCrashed):
            work()


def test_every_change_is_a_place_to_crash() -> None:
    def changes(disk: SimulatedDisk) -> None:
        disk.make_directory("/d")
        file = disk.open("/d/f", create=True)
        file.allocate(10)
        file.write([b"x"], 0)
        file.truncate(5)
        file.sync()
        disk.rename("/d/f", "/d/g")
        disk.sync_directory("/d")
        disk.remove("/d/g")

    disk = new_disk()
    changes(disk)
    assert disk.device.operations == 9
    for number in range(1, 10):
        disk = new_disk()
        disk.device.crash_at_operation = number
        with pytest.raises(NodeCrashed):
            changes(disk)
        assert disk.device.operations == number


def test_a_full_disk_is_an_error_and_reserved_space_is_not_taken_back() -> None:
    disk = new_disk(capacity_bytes=1000)
    file = disk.open("/f", create=True)
    file.allocate(800)
    other = disk.open("/g", create=True)
    with pytest.raises(OSError) as caught:
        other.write([bytes(300)], 0)
    assert caught.value.errno == errno.ENOSPC and other.size() == 0
    file.write([bytes(800)], 0)
    file.truncate(100)
    other.write([bytes(300)], 0)
    disk.remove("/g")
    assert disk.device.used_bytes == 100


def test_after_a_failed_fsync_the_next_one_lies() -> None:
    disk = new_disk()
    durable_file(disk, "/f", b"a")
    file = disk.open("/f")
    file.write([b"b"], 1)
    disk.device.arm(DiskFault.SYNC_FAILURE)
    with pytest.raises(OSError):
        file.sync()
    file.sync()
    assert file.read(2, 0) == b"ab"
    assert after_crash(disk, CrashMode.KEPT).read_bytes("/f") == b"a"


def test_reads_writes_and_space_fail_where_told() -> None:
    disk = new_disk()
    file, other = disk.open("/log/../f".replace("/log/..", ""), create=True), disk.open("/other", create=True)
    file.write([b"abc"], 0)
    for fault, work in (
        (DiskFault.READ_ERROR, lambda: file.read(1, 0)),
        (DiskFault.READ_ERROR, lambda: disk.read_bytes("/f")),
        (DiskFault.WRITE_ERROR, lambda: file.write([b"x"], 0)),
        (DiskFault.FULL, lambda: file.write([b"x"], 100)),
        (DiskFault.SYNC_FAILURE, lambda: disk.sync_directory("/")),
    ):
        disk.device.arm(fault, "/" if fault is DiskFault.SYNC_FAILURE else "/f")
        other.write([b"x"], 0)
        with pytest.raises(OSError):
            work()
        work()
    assert disk.device.injected[DiskFault.READ_ERROR] == 2


def test_bits_flip_blocks_go_stale_and_writes_go_astray() -> None:
    disk = new_disk()
    durable_file(disk, "/f", bytes(3 * BLOCK_BYTES))
    position = disk.device.flip_bit("/f")
    content = disk.read_bytes("/f")
    assert content[position].bit_count() == 1 and content.count(0) == 3 * BLOCK_BYTES - 1
    assert after_crash(disk, CrashMode.LOST).read_bytes("/f") == content

    disk = new_disk()
    durable_file(disk, "/f", b"1" * 3 * BLOCK_BYTES)
    disk.device.arm(DiskFault.STALE_BLOCK)
    disk.open("/f").write([b"2" * BLOCK_BYTES], BLOCK_BYTES)
    disk.open("/f").sync()
    assert disk.read_bytes("/f") == b"1" * 3 * BLOCK_BYTES

    misplaced = []
    for seed in range(5):
        disk = new_disk(seed)
        durable_file(disk, "/f", b"1" * 3 * BLOCK_BYTES)
        disk.device.arm(DiskFault.MISDIRECTED_WRITE)
        disk.open("/f").write([b"2" * BLOCK_BYTES], BLOCK_BYTES)
        disk.open("/f").sync()
        misplaced.append(disk.read_bytes("/f")[BLOCK_BYTES : 2 * BLOCK_BYTES] == b"1" * BLOCK_BYTES)
        assert disk.device.injected == {DiskFault.MISDIRECTED_WRITE: 1}
    assert any(misplaced)


def test_a_wiped_disk_is_empty() -> None:
    disk = new_disk()
    durable_file(disk, "/f", b"a")
    disk.device.wipe()
    assert SimulatedDisk(disk.device).list("/") == []


def test_work_takes_virtual_time_and_is_done_even_if_nobody_waits() -> None:
    done: list[int] = []

    async def main(loop: Loop, disk: SimulatedDisk) -> None:
        assert await disk.run(lambda: 42) == 42
        assert loop.now_us > 0
        with pytest.raises(OSError):
            await disk.run(lambda: disk.open("/missing"))
        task = loop.create_task(disk.run(lambda: done.append(1)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(1)
        assert done == [1]

    loop = Loop(1)
    loop.run_until_complete(main(loop, SimulatedDisk(Device(Random(1)), DiskConfig(run_us_min=1000))))
    loop.shutdown()


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 9000), st.binary(min_size=1, max_size=3000)),
        st.tuples(st.just("truncate"), st.integers(0, 9000), st.just(b"")),
        st.tuples(st.just("allocate"), st.integers(0, 9000), st.just(b"")),
        st.tuples(st.just("mapped"), st.integers(0, 9000), st.binary(min_size=1, max_size=50)),
        st.tuples(st.just("sync"), st.just(0), st.just(b"")),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(CHANGES, st.integers(0, 1000), st.sampled_from(CrashMode))
def test_a_file_is_a_byte_array_until_the_power_fails(
    changes: list[tuple[str, int, bytes]], seed: int, mode: CrashMode
) -> None:
    disk = new_disk(seed)
    durable_file(disk, "/f", b"")
    file = disk.open("/f")
    twin, synced = bytearray(), b""
    history = [b""]  # contents since the last sync, before each change
    for kind, position, data in changes:
        match kind:
            case "write":
                file.write([data], position)
                twin.extend(bytes(max(0, position - len(twin))))
                twin[position : position + len(data)] = data
            case "truncate":
                file.truncate(position)
                twin = twin[:position].ljust(position, b"\0")
            case "allocate":
                file.allocate(position)
                twin.extend(bytes(max(0, position - len(twin))))
            case "mapped" if position + len(data) <= len(twin):
                mapping = file.map(len(twin), writable=True)
                mapping.view[position : position + len(data)] = data
                mapping.close()
                twin[position : position + len(data)] = data
            case "sync":
                file.sync()
                synced, history = bytes(twin), []
        history.append(bytes(twin))
        assert file.read(20_000, 0) == twin
    left = after_crash(disk, mode).read_bytes("/f")
    if mode is CrashMode.LOST:
        assert left == synced
    elif mode is CrashMode.KEPT:
        assert left == twin
    elif len(history) <= 1:
        assert left == synced
    for index, byte in enumerate(left):  # every byte was there once since the sync, or nothing was
        assert any(byte == (content[index] if index < len(content) else 0) for content in (synced, b"", *history))
