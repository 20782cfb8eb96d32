"""A log directory: whose it is, how it starts and stops, how logs come and go."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from random import Random
from uuid import UUID

import pytest

from kraftpy.errors import KafkaStorageError
from log_store import file_names
from log_store.checkpoints import MetaProperties, encode_offsets
from log_store.config import LogConfig
from log_store.flush import Flush, run_together
from log_store.log import Log
from log_store.log_directory import LogDirectory
from simulation.device import CrashMode, Device, DiskFault
from simulation.disk import DiskConfig, SimulatedDisk
from simulation.loop import NodeCrashed
from tests.log_store.batches import WALL_MS, batch

PATH = "/var/kraftpy/data"
TOPIC_ID = UUID(int=77)
CONFIG = LogConfig(segment_bytes=1000, file_delete_delay_ms=20)
MAGIC_AT = 16
"""Where a batch says its format."""


def new_disk(device: Device) -> SimulatedDisk:
    return SimulatedDisk(device, DiskConfig(run_us_min=1, run_us_max=10))


async def opened(device: Device, config: LogConfig = CONFIG) -> LogDirectory:
    directory = LogDirectory(new_disk(device), PATH)
    await directory.open_logs(lambda name, topic_id: config, WALL_MS)
    return directory


def created(directory: LogDirectory, name: str = "t-0", topic_id: UUID | None = TOPIC_ID) -> Log:
    return directory.create_log(name, CONFIG, topic_id=topic_id, wall_ms=WALL_MS)


async def appended(directory: LogDirectory, log: Log, count: int = 1) -> None:
    for _ in range(count):
        log.append(batch(), 1, WALL_MS)
    await directory.flusher.flush(log)


def played(story: Callable[[Device], Awaitable[None]]) -> None:
    async def play() -> None:
        await story(Device(Random(1)))

    asyncio.run(play())


def test_only_one_process_has_it() -> None:
    async def story(device: Device) -> None:
        first = await opened(device)
        with pytest.raises(BlockingIOError):
            LogDirectory(new_disk(device), PATH)
        await first.close()
        await (await opened(device)).close()

    played(story)


def test_whose_it_is() -> None:
    async def story(device: Device) -> None:
        directory = await opened(device)
        assert directory.read_properties() is None
        properties = MetaProperties(directory_id=TOPIC_ID, cluster_id="cluster", node_id=3)
        directory.write_properties(properties)
        device.crash(CrashMode.LOST)
        assert (await opened(device)).read_properties() == properties

    played(story)


def test_logs_come_back_with_their_topic_ids() -> None:
    async def story(device: Device) -> None:
        directory = await opened(device)
        await appended(directory, created(directory), 30)
        await appended(directory, created(directory, "with-dash-12", None))
        await directory.close(broker_epoch=42)
        again = await opened(device)
        assert (again.was_clean, again.previous_broker_epoch) == (True, 42)
        assert list(again.logs) == ["t-0", "with-dash-12"]
        assert [log.topic_id for log in again.logs.values()] == [TOPIC_ID, None]
        assert [log.end_offset for log in again.logs.values()] == [30, 1]
        assert all(log.recovery.clean for log in again.logs.values())

    played(story)


def test_a_new_log_survives_a_power_failure_from_its_first_flush_on() -> None:
    async def story(device: Device) -> None:
        directory = await opened(device)
        log = created(directory)
        await directory.flusher.flush(log)
        assert not log.is_on_disk  # there is nothing to keep yet
        await appended(directory, log)
        device.crash(CrashMode.LOST)
        again = await opened(device)
        assert not again.was_clean
        assert again.logs["t-0"].topic_id == TOPIC_ID
        assert created(again) is again.logs["t-0"]

    played(story)


@pytest.mark.parametrize("mode", [None, *CrashMode])
def test_what_is_acknowledged_survives_wherever_the_first_start_was_interrupted(mode: CrashMode | None) -> None:
    """Every directory on the way down is one that cannot vanish. `None`: only the first process dies."""

    async def story(device: Device, operation: int) -> None:
        device.crash_at_operation = operation
        disk = new_disk(device)
        try:
            first = LogDirectory(disk, PATH)
            log = first.create_log("t-0", CONFIG, topic_id=TOPIC_ID, wall_ms=WALL_MS)
            log.append(batch(), 1, WALL_MS)
            log.sync()
            finished.append(operation)
        except NodeCrashed:
            pass
        disk.kill()
        device.process_ended() if mode is None else device.crash(mode)
        again = await opened(device)
        before = again.logs["t-0"].topic_id if "t-0" in again.logs else None
        if before is None and "t-0" in again.logs:
            again.delete_log("t-0")  # as a log that never said whose it is
        log = created(again)
        found = log.end_offset
        assert found in ((1,) if operation in finished else (0, 1))
        await appended(again, log, 3)
        device.crash(CrashMode.LOST)
        after = await opened(device)
        assert (after.logs["t-0"].end_offset, after.logs["t-0"].topic_id) == (found + 3, TOPIC_ID)

    finished: list[int] = []
    operation = 0
    while not finished:
        operation += 1
        played(partial(story, operation=operation))
    assert operation > 15


@pytest.mark.parametrize("mode", list(CrashMode))
def test_kafka_15586_a_clean_stop_is_told_once(mode: CrashMode) -> None:
    """Of a life that did not stop cleanly nobody believes the broker epoch that the one before it left behind."""

    async def story(device: Device) -> None:
        directory = await opened(device)
        await appended(directory, created(directory), 5)
        await directory.close(broker_epoch=7)
        again = await opened(device)
        assert (again.was_clean, again.previous_broker_epoch) == (True, 7)
        device.crash(mode)  # before it wrote anything
        after = await opened(device)
        assert (after.was_clean, after.previous_broker_epoch) == (False, -1)
        assert after.logs["t-0"].end_offset == 5

    played(story)


def test_kafka_10471_the_marker_is_gone_before_the_first_log_is_opened() -> None:
    """So a crash while logs are opened, at whichever change of the disk, is followed by a recovery."""

    async def story(device: Device) -> None:
        directory = await opened(device)
        await appended(directory, created(directory), 5)
        await directory.close()
        seen: list[bool] = []

        def config_of(name: str, topic_id: UUID | None) -> LogConfig:
            seen.append(device.node(f"{PATH}/{file_names.CLEAN_SHUTDOWN}") is None)
            raise NodeCrashed("while opening")

        starting = LogDirectory(new_disk(device), PATH)
        with pytest.raises(NodeCrashed):
            starting._prepare()
            starting._open_some(["t-0"], config_of, WALL_MS)
        assert seen == [True]
        for mode in CrashMode:
            device.crash(mode)
            again = await opened(device)
            assert not again.was_clean
            assert again.previous_broker_epoch == -1
            assert again.logs["t-0"].end_offset == 5

    played(story)


def test_an_unclean_stop_is_recovered() -> None:
    async def story(device: Device) -> None:
        directory = await opened(device)
        await appended(directory, created(directory), 5)
        directory.logs["t-0"].append(batch(), 1, WALL_MS)
        device.crash(CrashMode.LOST)
        again = await opened(device)
        assert again.logs["t-0"].end_offset == 5
        assert not again.logs["t-0"].recovery.clean

    played(story)


def test_a_stop_after_a_failure_is_not_clean() -> None:
    async def story(device: Device) -> None:
        directory = await opened(device)
        log = created(directory)
        await appended(directory, log)
        device.arm(DiskFault.WRITE_ERROR, "t-0")
        with pytest.raises(KafkaStorageError):
            log.append(batch(), 1, WALL_MS)
        with pytest.raises(KafkaStorageError):
            created(directory, "t-1")
        await directory.close()
        assert not (await opened(device)).was_clean

    played(story)


def test_a_failure_while_closing_is_not_clean_either() -> None:
    async def story(device: Device) -> None:
        told: list[KafkaStorageError] = []
        directory = LogDirectory(new_disk(device), PATH, on_failed=told.append)
        await directory.open_logs(lambda name, topic_id: CONFIG, WALL_MS)
        await appended(directory, created(directory))
        device.arm(DiskFault.SYNC_FAILURE, "t-0/")
        await directory.close()
        assert len(told) == 1
        assert not (await opened(device)).was_clean

    played(story)


@pytest.mark.parametrize("clean", [False, True])
def test_a_log_that_cannot_be_opened_keeps_no_other_from_it(clean: bool) -> None:
    """Of records without a time a start reads the headers again; one bit makes them another format's."""

    async def story(device: Device) -> None:
        directory = await opened(device)
        for name in ("bad-0", "well-0"):
            log = created(directory, name)
            for _ in range(40):
                log.append(batch(timestamp_ms=-1), 1, WALL_MS)
            await directory.flusher.flush(log)
            await directory.flusher.flush(log)
        await directory.close(clean=clean)
        inode = device.file(f"{PATH}/bad-0/00000000000000000000.log")
        assert inode.content[MAGIC_AT] == 2
        inode.write(MAGIC_AT, b"\0")
        inode.persist()
        again = await opened(device)
        assert (list(again.logs), list(again.failed_logs)) == (["well-0"], ["bad-0"])
        assert "is damaged" in str(again.failed_logs["bad-0"])
        await again.close()

    played(story)


def test_deleted_logs_are_gone_by_name_at_once_and_by_file_later() -> None:
    async def story(device: Device) -> None:
        directory = await opened(device)
        log = created(directory)
        await appended(directory, log, 3)
        (piece,) = log.read(0, 10**6, 3).slices
        directory.delete_log("t-0")
        directory.delete_log("t-0")
        assert device.node(f"{PATH}/t-0") is None
        second = created(directory, topic_id=UUID(int=78))
        assert second.end_offset == 0
        await appended(directory, second)
        assert len(piece.file.read(piece.length, piece.position)) == piece.length
        await asyncio.sleep(0.1)
        assert not [name for name in directory.disk.list(PATH) if name.endswith("-delete")]
        assert directory.logs["t-0"].end_offset == 1

    played(story)


def test_a_deletion_under_way_is_finished_by_the_next_start() -> None:
    async def story(device: Device) -> None:
        directory = await opened(device)
        for _ in range(2):  # the same topic's log twice: moved away, and back, and away
            await appended(directory, created(directory))
            directory.delete_log("t-0")
        assert len([name for name in directory.disk.list(PATH) if name.endswith("-delete")]) == 2
        await directory.close()
        again = await opened(device)
        assert not again.logs
        assert not [name for name in again.disk.list(PATH) if "t-0" in name]

    played(story)


def test_start_offsets_and_recovery_points_are_kept() -> None:
    async def story(device: Device) -> None:
        directory = await opened(device)
        log = created(directory)
        await appended(directory, log, 5)
        log.delete_records(3)
        await directory.write_checkpoints()
        assert directory.disk.read_bytes(f"{PATH}/{file_names.RECOVERY_POINTS}") == encode_offsets({"t-0": 5})
        assert directory.disk.read_bytes(f"{PATH}/{file_names.START_OFFSETS}") == encode_offsets({"t-0": 3})
        device.crash(CrashMode.LOST)
        assert (await opened(device)).logs["t-0"].start_offset == 3

    played(story)


def test_high_watermarks_are_kept() -> None:
    async def story(device: Device) -> None:
        directory = await opened(device)
        await asyncio.gather(*[directory.write_high_watermarks(partial(dict, {"t-0": n})) for n in range(5)])
        device.crash(CrashMode.LOST)
        assert (await opened(device)).high_watermarks == {"t-0": 4}

    played(story)


@pytest.mark.parametrize("clean", [False, True])
def test_what_was_committed_of_a_log_that_nobody_uses_is_known_to_every_start(clean: bool) -> None:
    """Else its damage is a torn tail to the start after the next, and it leads without what was acknowledged."""

    async def story(device: Device) -> None:
        directory = await opened(device)
        logs = [created(directory, name) for name in ("damaged-0", "short-0", "well-0")]
        for log in logs:
            await appended(directory, log, 9)
        await directory.write_high_watermarks(lambda: {log.name: 9 for log in logs})
        (damaged, short), end = (log.segments[0].files.log for log in logs[:2]), logs[0].segments[0].position_of(5)
        device.crash(CrashMode.KEPT)
        disk = new_disk(device)
        disk.open(damaged).write([b"\xff"], end + 40)
        disk.open(short).truncate(end)
        whole = disk.read_bytes(damaged)
        for start in range(3):
            again = await opened(device)
            assert again.was_clean == (clean and start > 0)
            assert [*again.failed_logs] == ["damaged-0"]
            assert again.disk.read_bytes(damaged) == whole
            assert (again.logs["short-0"].end_offset, again.logs["short-0"].recovery.short_of) == (5, 9)
            await again.write_high_watermarks(lambda: {"well-0": 9})
            if clean:
                await again.close()
            else:
                device.process_ended()

    played(story)


@pytest.mark.parametrize("clean", [False, True])
def test_a_damaged_log_that_an_operator_mends_begins_where_it_did(clean: bool) -> None:
    async def story(device: Device) -> None:
        directory = await opened(device)
        log = created(directory)
        await appended(directory, log, 9)
        log.delete_records(5)
        await directory.write_checkpoints()
        await directory.close()
        disk, path = new_disk(device), log.segments[0].files.log
        disk.open(log.segments[0].files.time_index).truncate(5)
        whole = disk.read_bytes(path)
        disk.write_atomically(path, b"\0" * 100 + whole[100:])
        disk.remove(f"{PATH}/t-0/{file_names.LEADER_EPOCHS}")
        directory = await opened(device)
        assert [*directory.failed_logs] == ["t-0"]
        await directory.write_checkpoints()
        if clean:
            await directory.close()
        else:
            device.process_ended()
        new_disk(device).write_atomically(path, whole)
        assert (await opened(device)).logs["t-0"].start_offset == 5

    played(story)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_log_made_anew_is_not_judged_by_what_was_written_of_a_former_one_of_its_name(restarted: bool) -> None:
    """An old start offset would empty it, and by an old high watermark it has lost what was committed."""

    async def story(device: Device) -> None:
        directory = await opened(device)
        former = created(directory)
        await appended(directory, former, 30)
        await appended(directory, created(directory, "u-0"), 3)
        former.delete_records(20)
        await directory.write_checkpoints()
        await directory.write_high_watermarks(lambda: {"t-0": 30, "u-0": 2})
        directory.delete_log("t-0")
        if restarted:
            await asyncio.sleep(0.1)  # its files are gone, and only the checkpoints still name it
            device.process_ended()
            directory = await opened(device)
            assert [*directory.logs] == ["u-0"]
        await appended(directory, created(directory, topic_id=UUID(int=78)), 5)
        device.crash(CrashMode.LOST)

        again = await opened(device)
        log = again.logs["t-0"]
        assert (log.topic_id, log.start_offset, log.end_offset) == (UUID(int=78), 0, 5)
        assert log.recovery.short_of == 0
        assert again.high_watermarks == {"u-0": 2}, "what is known of the others stays"

    played(story)


def test_a_flush_of_a_deleted_log_leaves_the_files_of_the_next_one_of_its_name_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It works on by path: here it still had to remove a snapshot that a newer one had replaced."""
    monkeypatch.setattr("log_store.durability.ProofBudget.bytes_max", 1)

    async def story(device: Device) -> None:
        directory = await opened(device)
        former = created(directory)
        for _ in range(2):
            former.append(batch(), 1, WALL_MS)
            former.complete_flush(flushed(former.begin_flush()))
        flush = former.begin_flush()
        snapshot = f"{PATH}/t-0/{file_names.of_offset(1, file_names.PRODUCER_SNAPSHOT)}"
        assert flush.work.removals == [snapshot]

        def replaced(flush: Flush) -> None:
            monkeypatch.undo()
            directory.delete_log("t-0")
            new = created(directory, topic_id=UUID(int=78))
            new.append(batch(), 1, WALL_MS)
            new.roll(WALL_MS)
            new.sync()
            assert directory.disk.exists(snapshot)

        monkeypatch.setattr(Flush, "sync_files", replaced)
        run_together([flush], PATH, lambda flush: former.is_closed)
        assert directory.disk.exists(snapshot)

    def flushed(flush: Flush) -> Flush:
        flush.run()
        return flush

    played(story)


def test_a_checkpoint_that_is_being_written_while_its_log_is_deleted_says_nothing_of_the_next_one() -> None:
    async def story(device: Device) -> None:
        directory = await opened(device)
        log = created(directory)
        await appended(directory, log, 30)
        log.delete_records(20)
        writing = asyncio.ensure_future(directory.write_checkpoints())
        await asyncio.sleep(0)
        directory.delete_log("t-0")
        await appended(directory, created(directory, topic_id=UUID(int=78)), 5)
        await writing
        device.crash(CrashMode.LOST)
        assert (await opened(device)).logs["t-0"].end_offset == 5

    played(story)


@pytest.mark.parametrize("flush_messages", [1, 1000])
@pytest.mark.parametrize("is_being_written", [False, True])
def test_a_log_that_was_cut_below_an_old_start_keeps_what_is_appended_then(
    is_being_written: bool, flush_messages: int
) -> None:
    """The file of start offsets is written once a minute: the next start would throw away what lies below."""

    async def story(device: Device) -> None:
        directory = await opened(device)
        log = created(directory)
        log.reconfigure(replace(CONFIG, flush_messages=flush_messages))
        await appended(directory, log, 30)
        log.delete_records(20)
        if is_being_written:
            writing = asyncio.ensure_future(directory.write_checkpoints())
            await asyncio.sleep(0)
        else:
            await directory.write_checkpoints()
        log.truncate(5)
        log.append(batch(), 1, WALL_MS)
        assert log.flushed_offset == 5 and log.flush_is_due
        await appended(directory, log, 5)
        assert log.flushed_offset == 11
        device.process_ended() if not is_being_written else await writing
        device.crash(CrashMode.LOST)

        log = (await opened(device)).logs["t-0"]
        assert (log.start_offset, log.end_offset) == (5, 11)

    played(story)


@pytest.mark.parametrize("is_being_written", [False, True])
def test_a_log_that_was_cut_below_an_old_watermark_lacks_nothing_once_anything_counts_again(
    is_being_written: bool,
) -> None:
    """The file of high watermarks is written every few seconds: its replica would count as lost at the next start."""

    async def story(device: Device) -> None:
        directory = await opened(device)
        log, other = created(directory), created(directory, "u-0")
        await appended(directory, log, 30)
        await appended(directory, other, 3)
        writing = asyncio.ensure_future(directory.write_high_watermarks(lambda: {"t-0": 30, "u-0": 2}))
        await (asyncio.sleep(0) if is_being_written else writing)
        log.truncate(5)
        await appended(directory, log, 6)
        await writing
        device.crash(CrashMode.LOST)

        directory = await opened(device)
        assert directory.high_watermarks == {"t-0": 5, "u-0": 2}
        assert directory.logs["t-0"].recovery.short_of == 0

    played(story)


def test_nothing_of_a_new_log_counts_before_its_first_flush_where_appended_counts_as_flushed() -> None:
    """Checkpoints may still speak of a former log of its name."""

    async def story(device: Device) -> None:
        directory = await opened(device)
        log = directory.create_log("t-0", replace(CONFIG, flush_messages=1000), topic_id=TOPIC_ID, wall_ms=WALL_MS)
        log.append(batch(), 1, WALL_MS)
        assert log.flushed_offset == 0 and log.flush_is_due
        flush = log.begin_flush()
        log.append(batch(), 1, WALL_MS)
        flush.run()
        log.complete_flush(flush)
        assert (log.flushed_offset, log.recovery_point) == (2, 1)
        log.append(batch(), 1, WALL_MS)
        assert log.flushed_offset == 3

    played(story)


def test_a_copy_that_a_crash_had_left_under_the_logs_name_is_not_judged_by_what_was_written_of_it() -> None:
    async def story(device: Device) -> None:
        directory = await opened(device)
        log = created(directory)
        await appended(directory, log, 30)
        log.delete_records(20)
        await directory.write_checkpoints()
        directory.make_future("t-0")  # another directory has more of it
        copy = await directory.open_future("t-0", CONFIG, topic_id=TOPIC_ID, start_offset=0, wall_ms=WALL_MS)
        copy.reset(0, wall_ms=WALL_MS)
        await appended(directory, copy, 5)
        await directory.arrive("t-0", copy, WALL_MS)
        device.crash(CrashMode.LOST)

        log = (await opened(device)).logs["t-0"]
        assert (log.start_offset, log.end_offset) == (0, 5)

    played(story)


@pytest.mark.parametrize("name", [file_names.HIGH_WATERMARKS, file_names.START_OFFSETS, file_names.CLEAN_SHUTDOWN])
@pytest.mark.parametrize("content", [b"", b"garbage", bytes(100)])
def test_a_damaged_checkpoint_says_nothing(name: str, content: bytes) -> None:
    async def story(device: Device) -> None:
        directory = await opened(device)
        await appended(directory, created(directory), 5)
        await directory.close()
        disk = new_disk(device)
        disk.write_atomically(f"{PATH}/{name}", content)
        again = await opened(device)
        assert again.logs["t-0"].end_offset == 5
        assert again.was_clean == (name != file_names.CLEAN_SHUTDOWN)

    played(story)


@pytest.mark.parametrize("mode", list(CrashMode))
def test_kafka_16541_a_power_failure_while_a_checkpoint_is_written_leaves_the_old_or_the_new(mode: CrashMode) -> None:
    async def story(device: Device) -> None:
        disk = new_disk(device)
        disk.make_directory(PATH)
        for directory in ("/", "/var", "/var/kraftpy"):
            disk.sync_directory(directory)
        path = f"{PATH}/{file_names.RECOVERY_POINTS}"
        disk.write_atomically(path, encode_offsets({"t-0": 1}))
        for operation in range(1, 12):
            device.crash_at_operation = device.operations + operation
            try:
                disk.write_atomically(path, encode_offsets({"t-0": 1, "t-1": operation}))
            except NodeCrashed:
                device.crash(mode)
            device.crash_at_operation = None
            disk = new_disk(device)
            found = disk.read_bytes(path)
            assert found in [encode_offsets({"t-0": 1, "t-1": n}) for n in range(1, 12)] + [encode_offsets({"t-0": 1})]
        assert found == encode_offsets({"t-0": 1, "t-1": 11})

    played(story)


def test_a_damaged_log_is_left_out_and_the_others_serve() -> None:
    async def story(device: Device) -> None:
        directory = await opened(device)
        damaged, good = created(directory), created(directory, "t-1")
        await appended(directory, damaged, 30)
        await appended(directory, good, 1)
        files = damaged.segments[0].files
        await directory.close()
        disk = new_disk(device)
        disk.remove(files.time_index)
        disk.open(files.log).write([b"\0\0\0\0"], 8)
        again = await opened(device)
        assert list(again.logs) == ["t-1"]
        assert "damaged" in str(again.failed_logs["t-0"])
        assert again.failure is None
        with pytest.raises(KafkaStorageError, match="damaged"):
            created(again)
        again.delete_log("t-0")
        assert created(again).end_offset == 0

    played(story)


def test_a_log_that_cannot_be_read_is_damaged_and_the_others_are_opened() -> None:
    """Its other replicas have what the sector held; that of a directory every log fails is told by each of them."""

    async def story(device: Device) -> None:
        directory = await opened(device)
        await appended(directory, created(directory), 3)
        await appended(directory, created(directory, "t-1"), 3)
        device.crash(CrashMode.KEPT)
        device.arm(DiskFault.READ_ERROR, "t-0/00000000000000000000.log")
        again = await opened(device)
        assert [*again.logs] == ["t-1"] and again.failure is None
        assert "t-0 cannot be read: " in str(again.failed_logs["t-0"])

    played(story)


@pytest.mark.parametrize("name", [file_names.HIGH_WATERMARKS, file_names.START_OFFSETS, file_names.CLEAN_SHUTDOWN])
def test_a_file_of_the_directory_itself_that_cannot_be_read_is_a_damaged_one(name: str) -> None:
    async def story(device: Device) -> None:
        directory = await opened(device)
        await appended(directory, created(directory), 5)
        await directory.close()
        if name != file_names.CLEAN_SHUTDOWN:
            new_disk(device).write_atomically(f"{PATH}/{name}", encode_offsets({"t-0": 3}))
        device.spoil(f"{PATH}/{name}", 0)
        again = await opened(device)
        assert again.logs["t-0"].end_offset == 5 and again.failure is None
        assert again.was_clean == (name != file_names.CLEAN_SHUTDOWN)
        await again.close()

    played(story)


def test_other_things_in_the_directory_are_left_alone() -> None:
    async def story(device: Device) -> None:
        disk = new_disk(device)
        disk.make_directory(f"{PATH}/lost+found")
        disk.make_directory(f"{PATH}/notes")
        directory = await opened(device)
        assert not directory.logs and not directory.failed_logs
        assert {"lost+found", "notes"} <= {*disk.list(PATH)}

    played(story)


def test_hundreds_of_logs_open_with_a_handful_of_descriptors() -> None:
    async def story(device: Device) -> None:
        directory = LogDirectory(new_disk(device), PATH, open_segments_max=8)
        await directory.open_logs(lambda name, topic_id: CONFIG, WALL_MS)
        for number in range(200):
            created(directory, f"t-{number}").append(batch(), 1, WALL_MS)
        await asyncio.gather(*[directory.flusher.flush(log) for log in directory.logs.values()])
        assert len(directory.open_segments) == 8
        assert all(log.flushed_offset == 1 for log in directory.logs.values())
        assert all(log.read(0, 100, 1).size_bytes for log in directory.logs.values())
        await directory.close()
        assert len(directory.open_segments) == 0

    played(story)
