"""Each fault really takes place, and whatever is done to a test, nothing of it is left behind."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from tests.chaos import enclosure
from tests.chaos.cluster import DiskKind
from tests.chaos.faults import BadLinks
from tests.chaos.kinds import KINDS, disk_kinds_of
from tests.chaos.network import Network
from tests.chaos.rounds import lives
from tests.chaos.switch import Direction


def run_inside(target: str) -> None:
    """Run one of the proofs; skips where this machine does not allow it, with the reason."""
    reason = enclosure.reason_unavailable()
    if reason is not None:
        pytest.skip(reason)
    code, said = enclosure.run(target, capture=True)
    if code == enclosure.UNAVAILABLE:
        pytest.skip(said.strip().splitlines()[-1])
    assert code == 0, said


@pytest.mark.parametrize("proof", ["wire", "power", "full", "flushes", "signals"])
def test_a_fault_takes_place(proof: str) -> None:
    run_inside(f"tests.chaos.proofs:{proof}")


def test_nothing_is_left_behind_by_a_test_that_is_killed() -> None:
    reason = enclosure.reason_unavailable()
    if reason is not None:
        pytest.skip(reason)
    disk = f"disk-of-{os.getpid()}"
    program = f"from tests.chaos import enclosure; enclosure.run('tests.chaos.proofs:linger', '{disk}')"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        said = victim.stdout.readline().strip()
        if said != "ready":
            victim.wait()
            pytest.skip(said)
        room = _room_of(victim.pid)
        assert len(_inside(room)) >= 3  # those who wait, carry packets, and answer them
        assert _has_loop_device(disk)
        victim.kill()
    deadline_s = time.monotonic() + 20
    while _inside(room) or _has_loop_device(disk):
        assert time.monotonic() < deadline_s, f"{_inside(room)} or the disk is left"
        time.sleep(0.02)


def _room_of(pid: int) -> str:
    """The process namespace that the child of a process has opened."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return os.readlink(f"/proc/{child}/ns/pid_for_children")


def _inside(room: str) -> list[str]:
    """The processes of a process namespace."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(path / "ns" / "pid") == room:
                found.append(path.name)
    return found


def _has_loop_device(disk: str) -> bool:
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # it is going away
            if disk in path.read_text():
                return True
    return False


# --- without an enclosure --------------------------------------------------------------------------------------------


def test_packets_that_are_held_up_keep_their_order() -> None:
    direction, random = Direction(delay_s=0.1, jitter_s=0.5), Random(1)
    packets = [b"%d" % number for number in range(20)]
    assert not any(direction.take(packet, number / 100, random) for number, packet in enumerate(packets))
    assert direction.due(0.09) == []
    direction.delay_s = direction.jitter_s = 0.0
    assert not direction.take(b"behind them", 0.3, random), "it would overtake"
    assert direction.due(10.0) == [*packets, b"behind them"]
    assert direction.take(b"free", 10.0, random)
    assert (direction.carried, direction.held) == (22, 21)


def test_a_fault_that_hurt_nobody_fails_its_round() -> None:
    class Idle(Network):
        def counts(self) -> dict[tuple[int, int], tuple[int, int, int]]:
            return {(1, 2): (10, 3, 4)}

        def set(self, *_: object, **__: object) -> None:
            pass

    class Cluster:
        network = Idle(nodes=2)

    fault = BadLinks("a cut", [(1, 2)], survivors_go_on=True, loss=1.0)
    fault.inject(Cluster())  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="no packet was hurt"):
        fault.heal(Cluster())  # type: ignore[arg-type]


def test_rounds_follow_from_the_seed_and_every_kind_has_its_turn() -> None:
    names = list(KINDS)
    drawn = list(lives(5, rounds=60, rounds_per_cluster=7, names=names))
    assert [str(step) for life in drawn for step in life.rounds] == [
        str(step) for life in lives(5, 60, 7, names) for step in life.rounds
    ]
    kinds = [step.kind for life in drawn for step in life.rounds]
    assert len(kinds) == 60 and set(kinds) == set(names)
    assert max(map(kinds.count, names)) <= 5
    assert all(life.disk_kind in KINDS[step.kind].disk_kinds for life in drawn for step in life.rounds)
    assert disk_kinds_of(["power"]) == [DiskKind.EXT4]
