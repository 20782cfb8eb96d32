"""Disks that change what they hold, one replica of three at a time, with the scrub at work.

python -m simulation.run --scenario bit-rot --seed 1 --seeds 100
"""

from random import Random

import pytest

from simulation.device import SECTOR_BYTES, Device
from simulation.disk import SimulatedDisk
from simulation.scenario import run_scenario


@pytest.mark.parametrize("seed", [6])
def test_nothing_is_lost_and_everything_is_whole_in_the_end(seed: int) -> None:
    report = run_scenario("bit-rot", seed)
    assert report.ok, str(report)
    assert "damaged: nothing" not in report.summary


def test_a_bad_sector_cannot_be_read_until_it_is_written() -> None:
    device = Device(Random(1))
    disk = SimulatedDisk(device)
    file = disk.open("/f", create=True)
    file.write([bytes(4 * SECTOR_BYTES)], 0)
    assert device.spoil("/f", SECTOR_BYTES + 7) == SECTOR_BYTES
    assert len(file.read(SECTOR_BYTES, 0)) == SECTOR_BYTES
    with pytest.raises(OSError, match="Input/output"):
        file.read(2, SECTOR_BYTES - 1)
    with pytest.raises(OSError, match="Input/output"):
        disk.read_bytes("/f")
    file.write([bytes(SECTOR_BYTES)], SECTOR_BYTES)
    assert len(disk.read_bytes("/f")) == 4 * SECTOR_BYTES


def test_a_block_is_put_where_it_does_not_belong_and_survives_a_crash() -> None:
    device = Device(Random(1))
    disk = SimulatedDisk(device)
    file = disk.open("/f", create=True)
    file.write([bytes(1000)], 0)
    device.replace_block("/f", 900, b"x" * SECTOR_BYTES)
    assert file.read(2000, 0) == bytes(900) + b"x" * 100, "the length stays"
    assert bytes(device.file("/f").durable) == bytes(900) + b"x" * 100
