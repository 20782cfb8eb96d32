"""What is remembered of disks is what reading all of it anew would give, whatever becomes of files and names."""

from random import Random

import pytest

from kraftpy.record import BatchHeader, Record, encode_batch
from simulation.device import Device
from simulation.disk import SimulatedDisk
from simulation.durable_logs import DurableLogs

HOMES = ("/data/one", "/data/two")
LOG = "t-0"


@pytest.mark.parametrize("seed", range(40))
def test_what_is_remembered_is_what_lies_there(seed: int) -> None:
    random = Random(seed)
    device = Device(random)
    disk = SimulatedDisk(device, random=random)
    for home in HOMES:
        disk.make_directory(home)
    for path in ("/", "/data", *HOMES):
        disk.sync_directory(path)
    remembering, met = DurableLogs(HOMES), 0
    for step in range(150):
        _change(disk, random, step)
        found, anew = remembering.log(device, LOG), DurableLogs(HOMES).log(device, LOG)
        headers = [segment.headers for segment in found.segments]
        assert headers == [segment.headers for segment in anew.segments]
        met += bool(headers)
        before = found.changes
        assert remembering.log(device, LOG).changes == before, "nothing has changed since"
    assert met


def test_a_change_is_told_and_nothing_else() -> None:
    device = Device(Random(1))
    disk = SimulatedDisk(device, random=Random(1))
    logs = DurableLogs(HOMES[:1])
    disk.make_directory(f"{HOMES[0]}/{LOG}")
    file = disk.open(f"{HOMES[0]}/{LOG}/{0:020}.log", create=True)
    file.write([_batch(0)], 0)
    file.sync()
    assert not logs.log(device, LOG).segments, "its name is not durable yet"
    for path in ("/", "/data", HOMES[0], f"{HOMES[0]}/{LOG}"):
        disk.sync_directory(path)
    log = logs.log(device, LOG)
    changes = log.changes
    assert [_ends(segment.headers) for segment in log.segments] == [[1]]
    file.write([_batch(1)], file.size())
    assert logs.log(device, LOG).changes == changes, "not durable yet"
    file.sync()
    assert logs.log(device, LOG) is log and log.changes > changes and _ends(log.segments[0].headers) == [1, 2]


def _change(disk: SimulatedDisk, random: Random, step: int) -> None:
    """Do anything to the logs of one name in two directories."""
    device = disk.device
    directory = f"{random.choice(HOMES)}/{LOG}"
    paths = [path for path, inode in device.files() if path.startswith(directory + "/") and inode.size]
    what = random.choice(["write"] * 6 + ["sync"] * 4 + ["names"] * 3 + ["crash", "cut", "remove", "move", "rot"])
    if what == "write":
        disk.make_directory(directory)
        file = disk.open(f"{directory}/{random.randrange(3):020}.log", create=True)
        file.write([_batch(step)], file.size())
    elif what == "names":
        for path in ("/", "/data", *HOMES, directory):
            if disk.exists(path):
                disk.sync_directory(path)
    elif what == "crash":
        device.crash()
    elif what == "move" and disk.exists(directory) and not disk.exists(directory + ".away"):
        disk.rename(directory, directory + ".away")
    elif what == "move" and disk.exists(directory + ".away") and not disk.exists(directory):
        disk.rename(directory + ".away", directory)
    elif paths:
        path = random.choice(paths)
        match what:
            case "sync":
                disk.open(path).sync()
            case "cut":
                disk.open(path).truncate(random.randrange(disk.size(path)))
            case "remove":
                disk.remove(path)
            case "rot":
                device.flip_bit(path)


def _batch(offset: int) -> bytes:
    return bytes(encode_batch([Record(offset, 0, None, b"value", ())], base_offset=offset, leader_epoch=0))


def _ends(headers: list[BatchHeader]) -> list[int]:
    return [header.end_offset for header in headers]
