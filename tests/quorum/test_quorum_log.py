"""The quorum's log on a disk: against a dumb twin, with crashes at any operation of the disk."""

import asyncio
from dataclasses import replace
from functools import partial
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.quorum import committed
from broker.quorum.log import CONFIG, QuorumLog
from kraftpy.errors import KafkaStorageError
from raft.events import Entry, Epoch, Offset, SnapshotId
from simulation.device import Device
from simulation.loop import NodeCrashed
from tests.quorum.disks import VOTERS, disk_of, open_log, played, settings_entry


def everything(log: QuorumLog) -> list[Entry]:
    entries: list[Entry] = []
    offset = log.start_offset
    while offset < log.end_offset:
        entries += log.read(offset, log.end_offset, 300)
        offset = entries[-1].end_offset
    return entries


def same(entry: Entry) -> tuple[int, int, int]:
    return entry.offset, entry.count, entry.epoch


def test_it_begins_empty_and_stays_so() -> None:
    async def story(device: Device) -> None:
        log = await open_log(device)
        assert log.is_empty
        assert log.founding_voters is None
        log.close()
        assert (await open_log(device)).is_empty

    played(story)


def test_entry_0_names_the_voters_after_a_restart() -> None:
    async def story(device: Device) -> None:
        log = await open_log(device)
        log.append([Entry(Offset(0), 1, Epoch(0), VOTERS)])
        assert await log.flush() == 1
        device.crash()
        log = await open_log(device)
        assert not log.is_empty
        assert log.founding_voters == VOTERS

    played(story)


def test_what_a_snapshot_covers_goes_and_its_voters_stay() -> None:
    async def story(device: Device) -> None:
        log = await open_log(device)
        log.append([Entry(Offset(0), 1, Epoch(0), VOTERS), settings_entry(1, 1), settings_entry(2, 2)])
        await log.flush()
        snapshot = SnapshotId(Epoch(1), Offset(2))
        await log.begin_snapshot(snapshot, VOTERS).finish()
        log.drop_before(Offset(2))
        assert (log.start_offset, log.end_offset) == (2, 3)
        assert [same(entry) for entry in everything(log)] == [(2, 1, 2)]
        await log.flush()
        log.close()
        log = await open_log(device)
        assert log.latest_snapshot() == snapshot
        assert log.founding_voters == VOTERS
        assert log.start_offset in (0, 2)
        assert [same(entry) for entry in everything(log)][-1] == (2, 1, 2)

    played(story)


def test_a_reset_begins_at_the_snapshots_end() -> None:
    async def story(device: Device) -> None:
        log = await open_log(device)
        log.append([Entry(Offset(0), 1, Epoch(0), VOTERS), settings_entry(1, 1)])
        await log.flush()
        log.reset_to(SnapshotId(Epoch(7), Offset(100)))
        assert (log.start_offset, log.end_offset, list(log.epochs())) == (100, 100, [])
        log.append([settings_entry(100, 8, 3)])
        await log.flush()
        device.crash()
        log = await open_log(device)
        assert (log.start_offset, log.end_offset) == (100, 103)
        assert list(log.epochs()) == [(8, 100)]

    played(story)


Operation = tuple[str, int, int]
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4), st.integers(1, 400)),
        st.tuples(st.just("epoch"), st.just(0), st.just(0)),
        st.tuples(st.just("flush"), st.just(0), st.just(0)),
        st.tuples(st.just("truncate"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS, st.integers(0, 2**32), st.one_of(st.none(), st.integers(1, 120)))
def test_it_is_a_list_of_entries_that_keeps_what_was_flushed(
    operations: list[Operation], seed: int, crash_at: int | None
) -> None:
    asyncio.run(compared(operations, Device(Random(seed)), crash_at))


async def compared(operations: list[Operation], device: Device, crash_at: int | None) -> None:
    twin: list[Entry] = []
    cut: list[list[Entry]] = []  # what a crash may bring back: the twin before cuts that nothing followed yet
    flushed = 0  # entries that must survive
    epoch = 1
    log = await open_log(device)
    if crash_at is not None:
        device.crash_at_operation = device.operations + crash_at
    try:
        for kind, number, size in operations:
            end = twin[-1].end_offset if twin else 0
            match kind:
                case "append":
                    entry = settings_entry(end, epoch, number, size)
                    twin.append(entry)
                    log.append([entry])
                    cut = []
                case "epoch":
                    epoch += 1
                case "flush":
                    count = len(twin)
                    assert await log.flush() == end
                    flushed, cut = count, []
                case "truncate":
                    keep = max(0, len(twin) - number)
                    flushed = min(flushed, keep)
                    cut.append(list(twin))
                    del twin[keep:]
                    epoch += 1
                    log.truncate(Offset(twin[-1].end_offset if twin else 0))
                case "reopen":
                    await log.flush()
                    flushed, cut = len(twin), []
                    log.close()
                    log = await open_log(device)
            assert [same(entry) for entry in everything(log)] == [same(entry) for entry in twin]
    except NodeCrashed:
        pass
    device.crash_at_operation = None
    device.crash()
    found = [same(entry) for entry in everything(await open_log(device))]
    histories = [[same(entry) for entry in history] for history in (twin, *cut)]
    assert len(found) >= flushed
    assert any(found == history[: len(found)] for history in histories), (found, histories)


def test_rot_of_what_was_committed_is_no_torn_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the only voter would forget topics for one flipped bit, and one of many could elect who never had them."""
    monkeypatch.setattr(committed, "DELAY_S", 0.001)

    async def story(device: Device, *, waits: bool) -> None:
        log = await open_log(device)
        log.append([Entry(Offset(0), 1, Epoch(0), VOTERS), *[settings_entry(n, 1) for n in range(1, 10)]])
        await log.flush()
        log.note_committed(Offset(8))
        log.append([settings_entry(10, 1)])
        log.note_committed(Offset(11))  # which others had sooner
        if waits:
            await asyncio.sleep(0.05)
        log.close()
        path = f"{log.directory}/{0:020d}.log"
        device.flip_bit(path, 400)
        if not waits:
            assert (await open_log(device)).end_offset < 8  # nobody has noted it yet
            return
        with pytest.raises(KafkaStorageError, match=r"everything below 10 was durable\. Where other"):
            await open_log(device)
        device.file(path).write(0, bytes(device.file(path).size))  # and nothing behind it tells either
        with pytest.raises(KafkaStorageError, match=r"was (committed|durable)"):
            await open_log(device)

    played(partial(story, waits=True))
    played(partial(story, waits=False))


@pytest.mark.parametrize("count", [3, 40], ids=["one segment", "several"])
def test_a_crash_while_a_snapshot_takes_the_logs_place_is_no_rot(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(committed, "DELAY_S", 0)
    monkeypatch.setattr("broker.quorum.log.CONFIG", replace(CONFIG, segment_bytes=1_000))

    async def story(device: Device, crash_at: int) -> bool:
        log = await open_log(device)
        log.append([Entry(Offset(0), 1, Epoch(0), VOTERS)])
        for n in range(1, count):
            log.append([settings_entry(n, 1)])
            await log.flush()
        log.note_committed(Offset(count))
        for _ in range(10):
            await asyncio.sleep(0)
        assert committed.load(disk_of(device), log.directory) == count
        snapshot = SnapshotId(Epoch(1), Offset(100))
        await log.begin_snapshot(snapshot, VOTERS).finish()
        device.crash_at_operation = device.operations + crash_at
        try:
            log.reset_to(snapshot)
        except NodeCrashed:
            pass
        is_over = device.crash_at_operation is not None
        device.crash_at_operation = None
        device.crash()
        again = await open_log(device)
        assert again.latest_snapshot() == snapshot
        assert again.end_offset in (100, *range(count + 1))
        return is_over

    for seed in range(5):
        crash_at = 1
        while not asyncio.run(story(Device(Random(seed)), crash_at)):
            crash_at += 1
        assert crash_at > 5


@pytest.mark.parametrize("damage", ["a flipped bit", "a bad sector"])
def test_a_damaged_mark_of_what_was_committed_says_nothing(monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    monkeypatch.setattr(committed, "DELAY_S", 0.001)

    async def story(device: Device) -> None:
        log = await open_log(device)
        log.append([Entry(Offset(0), 1, Epoch(0), VOTERS)])
        await log.flush()
        log.note_committed(Offset(1))
        await asyncio.sleep(0.05)
        log.close()
        path = f"{log.directory}/{committed.NAME}"
        if damage == "a bad sector":
            device.spoil(path, 0)
        else:
            device.flip_bit(path, 3)
        assert (await open_log(device)).end_offset == 1

    played(story)


@pytest.mark.parametrize("older", [None, 3])
def test_a_start_does_without_a_damaged_snapshot_where_everything_is_there_still(older: int | None) -> None:
    """In the one before it and the log, or in the log alone."""

    async def story(device: Device) -> None:
        log = await open_log(device)
        log.append([Entry(Offset(0), 1, Epoch(0), VOTERS), *[settings_entry(n, 1 + n // 3) for n in range(1, 9)]])
        await log.flush()
        newest = SnapshotId(Epoch(2), Offset(6))
        kept = None if older is None else SnapshotId(Epoch(1), Offset(older))
        for snapshot in (newest,) if kept is None else (kept, newest):
            await log.begin_snapshot(snapshot, VOTERS).finish()
        log.close()
        path = log._snapshots.path(newest)
        device.flip_bit(path, device.file(path).size - 1)
        log = await open_log(device)
        assert (log.latest_snapshot(), log.voters, log.end_offset) == (kept, VOTERS, 9)
        log.close()
        device.crash()
        assert (await open_log(device)).latest_snapshot() == kept
        assert device.file(f"{path}.damaged").size > 0

    played(story)


def test_of_the_damaged_snapshots_that_were_done_without_the_last_one_is_kept() -> None:
    async def story(device: Device) -> None:
        log = await open_log(device)
        log.append([Entry(Offset(0), 1, Epoch(0), VOTERS), *[settings_entry(n, 1) for n in range(1, 9)]])
        await log.flush()
        for end_offset in (3, 6):
            snapshot = SnapshotId(Epoch(1), Offset(end_offset))
            await log.begin_snapshot(snapshot, VOTERS).finish()
            log.close()
            device.flip_bit(log._snapshots.path(snapshot), 150)
            log = await open_log(device)
            assert log.latest_snapshot() is None
        log.close()
        device.crash()
        names = disk_of(device).list(log.directory)
        path = log._snapshots.path(SnapshotId(Epoch(1), Offset(6)))
        assert [name for name in names if ".damaged" in name] == [f"{path.rpartition('/')[2]}.damaged"]

    played(story)


@pytest.mark.parametrize("lacking", ["its end", "its beginning"])
def test_a_damaged_snapshot_that_alone_has_something_stays(lacking: str) -> None:
    """What it stands for would be forgotten silently; as it is, the node does not start."""

    async def story(device: Device) -> None:
        log = await open_log(device)
        log.append([Entry(Offset(0), 1, Epoch(0), VOTERS), *[settings_entry(n, 1) for n in range(1, 5)]])
        await log.flush()
        await log.begin_snapshot(SnapshotId(Epoch(1), Offset(3)), VOTERS).finish()
        newest = SnapshotId(Epoch(1), Offset(9))
        await log.begin_snapshot(newest, VOTERS).finish()
        if lacking == "its beginning":
            log.reset_to(newest)
        log.close()
        device.flip_bit(log._snapshots.path(newest), 150)
        assert (await open_log(device)).latest_snapshot() == newest

    played(story)


def test_a_damaged_snapshot_is_told_from_a_whole_one() -> None:
    async def story(device: Device) -> None:
        log = await open_log(device)
        log.append([Entry(Offset(0), 1, Epoch(0), VOTERS)])
        await log.flush()
        snapshot = SnapshotId(Epoch(0), Offset(1))
        await log.begin_snapshot(snapshot, VOTERS).finish()
        assert await log.damage_of(snapshot) is None
        path = log._snapshots.path(snapshot)
        for position in (20, 150, device.file(path).size - 1):
            device.flip_bit(path, position)
            assert await log.damage_of(snapshot)
            await log.begin_snapshot(snapshot, VOTERS).finish()  # taken anew, also under the same name
            assert await log.damage_of(snapshot) is None
        device.spoil(path, 0)
        assert "Input/output error" in (await log.damage_of(snapshot) or "")

    played(story)
