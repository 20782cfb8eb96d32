"""The kinds of faults by name, how one of each is drawn, and what each needs of a machine and of a cluster."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from tests.chaos.cluster import DiskKind
from tests.chaos.disk_faults import FailingFlushes, FullDisk, PowerFailure
from tests.chaos.disks import Journal
from tests.chaos.faults import BadLinks, Fault, Killed, LeaderCutOff, Paused, Together, cut_off
from tests.chaos.network import CLIENTS, between

NODES = (1, 2, 3)
PLACES = (CLIENTS, *NODES)
LOSSES = (0.02, 0.1, 0.3)
DELAYS_MS = (20, 100, 400)
HOLDS_S = (0.5, 2.0, 5.0, 12.0)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault. `draw` gives one, for a cluster of `NODES` with so many disks a node."""

    what: str
    draw: Callable[[Random, int], Fault]
    disk_kinds: tuple[DiskKind, ...] = tuple(DiskKind)
    needs: tuple[str, ...] = ()  # programs
    ends_by_itself: bool = False  # its `heal` waits for its effect, so that it is held for no time of its own

    def reason_unavailable(self) -> str | None:
        """Why this machine has it not; None where it seems to have it."""
        missing = [tool for tool in self.needs if shutil.which(tool) is None]
        return f"there is no {missing[0]}" if missing else None


def _isolate(random: Random, _: int) -> Fault:
    return cut_off(random.choice(NODES), PLACES, with_clients=True)


def _isolate_nodes(random: Random, _: int) -> Fault:
    return cut_off(random.choice(NODES), PLACES, with_clients=False)


def _cut_pair(random: Random, _: int) -> Fault:
    one, other = random.sample(NODES, 2)
    return BadLinks(f"nodes {one} and {other} do not reach each other", between(one, [other]), True, loss=1.0)


def _one_way(random: Random, _: int) -> Fault:
    one, other = random.sample(NODES, 2)
    return BadLinks(f"nothing gets from node {one} to node {other}", [(one, other)], True, loss=1.0)


def _deaf(random: Random, _: int) -> Fault:
    node = random.choice(NODES)
    return BadLinks(f"node {node} hears nobody", [(p, node) for p in PLACES if p != node], True, loss=1.0)


def _mute(random: Random, _: int) -> Fault:
    node = random.choice(NODES)
    return BadLinks(f"nobody hears node {node}", [(node, p) for p in PLACES if p != node], True, loss=1.0)


def _cut_clients(random: Random, _: int) -> Fault:
    node = random.choice(NODES)
    return BadLinks(f"clients do not reach node {node}", between(node, [CLIENTS]), False, loss=1.0)


def _cut_all(random: Random, _: int) -> Fault:
    links = [(one, other) for one in NODES for other in NODES if one != other]
    return BadLinks("no node reaches another", links, False, loss=1.0)


def _loss(random: Random, _: int) -> Fault:
    node, loss = random.choice(NODES), random.choice(LOSSES)
    return BadLinks(f"{loss:.0%} of node {node}'s packets are lost", between(node, PLACES), False, loss=loss)


def _delay(random: Random, _: int) -> Fault:
    node, delay_ms = random.choice(NODES), random.choice(DELAYS_MS)
    links = between(node, PLACES)
    return BadLinks(
        f"node {node} is {delay_ms} ms further away", links, False, delay_ms=delay_ms, jitter_ms=delay_ms / 4
    )


def _power(random: Random, _: int) -> Fault:
    return PowerFailure([random.choice(NODES)], random.choice(list(Journal)))


def _power_all(random: Random, _: int) -> Fault:
    return PowerFailure(NODES, random.choice(list(Journal)))


def _full(random: Random, disks: int) -> Fault:
    return FullDisk(random.choice(NODES), random.randrange(disks))


def _power_while_cut(random: Random, disks: int) -> Fault:
    """One node is cut off, another one loses power: what was acknowledged meanwhile is on two of three disks."""
    one, other = random.sample(NODES, 2)
    return Together(
        cut_off(one, PLACES, with_clients=random.random() < 0.5),
        PowerFailure([other], random.choice(list(Journal))),
    )


def _kill_while_lossy(random: Random, disks: int) -> Fault:
    return Together(_loss(random, disks), Killed([random.choice(NODES)]))


EXT4 = (DiskKind.EXT4,)
KINDS: Mapping[str, Kind] = {
    "isolate": Kind("a node cut off from everybody", _isolate),
    "isolate_leader": Kind("the quorum's leader cut off from everybody", lambda _random, _disks: LeaderCutOff()),
    "isolate_nodes": Kind("a node cut off from the other nodes only", _isolate_nodes),
    "cut_pair": Kind("two nodes cut off from each other", _cut_pair),
    "one_way": Kind("one direction between two nodes cut", _one_way),
    "deaf": Kind("a node that hears nobody", _deaf),
    "mute": Kind("a node that nobody hears", _mute),
    "cut_clients": Kind("clients cut off from a node", _cut_clients),
    "cut_all": Kind("all nodes cut off from each other", _cut_all),
    "loss": Kind("a share of a node's packets lost", _loss),
    "delay": Kind("a node's packets held up", _delay),
    "pause": Kind("SIGSTOP of a node", lambda random, _: Paused(random.choice(NODES))),
    "kill": Kind("kill -9 of a node", lambda random, _: Killed([random.choice(NODES)])),
    "kill_all": Kind("kill -9 of all nodes", lambda _random, _disks: Killed(NODES)),
    "kill_lossy": Kind("kill -9 of a node while packets get lost", _kill_while_lossy),
    "full": Kind("a disk full, then freed", _full, ends_by_itself=True),
    "fsync": Kind(
        "every flush of a node fails",
        lambda random, _: FailingFlushes(random.choice(NODES)),
        needs=("strace",),
        ends_by_itself=True,
    ),
    "power": Kind("power failure of a node", _power, EXT4, ("mkfs.ext4",)),
    "power_all": Kind("power failure of all nodes at once", _power_all, EXT4, ("mkfs.ext4",)),
    "power_cut": Kind("power failure of a node while another is cut off", _power_while_cut, EXT4, ("mkfs.ext4",)),
}


def disk_kinds_of(names: Sequence[str]) -> list[DiskKind]:
    """What a cluster's disks may be so that at least one of these kinds can happen to it."""
    return [kind for kind in DiskKind if any(kind in KINDS[name].disk_kinds for name in names)]
