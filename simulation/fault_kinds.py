"""Every kind of fault by its name: what it does, what it needs, and the test that proves that it happens.

`KINDS` is that table as data; plans, the command line and its help, documents and campaigns go by it. What a kind needs
says who carries it out: the world alone, or an operator who knows the cluster (`simulation.simulate.operator`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Fault(Enum):
    """Kinds of faults by name. Those that a node's program may answer by stopping are in `FATAL`."""

    STOP = "stop"
    KILL = "kill"
    POWER_FAILURE = "power-failure"
    POWER_FAILURE_OF_ALL = "power-failure-of-all"
    CRASH_AT_WRITE = "crash-at-write"
    PAUSE = "pause"
    PAUSE_OF_ALL = "pause-of-all"
    ISOLATION = "isolation"
    ONE_WAY = "one-way"
    CLOGGED = "clogged"
    SLOW_LINK = "slow-link"
    LOSSY = "lossy"
    SLOW_DISK = "slow-disk"
    CLOCK_JUMP = "clock-jump"
    CLOCK_DRIFT = "clock-drift"
    FAILING_SYNC = "failing-sync"
    FULL_DISK = "full-disk"
    FAILING_READ = "failing-read"
    KILL_OF_ALL = "kill-of-all"
    RESTART_STORM = "restart-storm"
    LOST_WRITES = "lost-writes"
    TORN_WRITE = "torn-write"
    TWO_WAY = "two-way"
    SPLIT = "split"
    LOSS = "loss"
    RESETS = "resets"
    DUPLICATION = "duplication"
    REORDERING = "reordering"
    SLOW_NODE = "slow-node"
    FLIPPED_BIT = "flipped-bit"
    STALE_BLOCK = "stale-block"
    MISDIRECTED_WRITE = "misdirected-write"
    WIPED_DISK = "wiped-disk"
    DISK_SWAP = "disk-swap"
    MEMBERSHIP = "membership"
    REASSIGNMENT = "reassignment"


class Needs(Enum):
    """Who can carry a fault out."""

    WORLD = "hosts, disks and a network are enough"
    CLUSTER = "an operator who talks to the cluster"


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One row. `proof` is the test that shows that it happens, as pytest names it."""

    fault: Fault
    about: str
    proof: str
    needs: Needs = Needs.WORLD
    is_rot: bool = False  # the disk gives back something else than was written: only other replicas can mend that

    @property
    def name(self) -> str:
        return self.fault.value


_HERE = "tests/simulation/test_faults.py::"
_ACTS = f"{_HERE}test_what_a_fault_does_to_a_node"
_LINKS = f"{_HERE}test_what_a_fault_does_to_a_link"
_DISKS = f"{_HERE}test_what_a_fault_does_to_a_disk"
_ROT = f"{_HERE}test_what_rots_is_read_back_otherwise"
_CLUSTER = f"{_HERE}test_what_an_operator_does_to_a_cluster"

KINDS: tuple[FaultKind, ...] = (
    FaultKind(Fault.STOP, "SIGTERM: a controlled shutdown, and another start as soon as it is over", _ACTS),
    FaultKind(Fault.KILL, "kill -9 of one node; what it wrote stays in the page cache", _ACTS),
    FaultKind(Fault.KILL_OF_ALL, "kill -9 of every node at once", _ACTS),
    FaultKind(Fault.RESTART_STORM, "one node is killed and started again, several times in a row", _ACTS),
    FaultKind(Fault.POWER_FAILURE, "one machine loses power: unsynced writes are lost, kept or torn", _ACTS),
    FaultKind(Fault.POWER_FAILURE_OF_ALL, "every machine loses power at once", _ACTS),
    FaultKind(Fault.CRASH_AT_WRITE, "power fails just before one of the next changes of the disk", _DISKS),
    FaultKind(Fault.LOST_WRITES, "one machine loses power, and every write that was not synced", _DISKS),
    FaultKind(Fault.TORN_WRITE, "one machine loses power in the midst of a write, of which some sectors stay", _DISKS),
    FaultKind(Fault.PAUSE, "SIGSTOP of one node", _ACTS),
    FaultKind(Fault.PAUSE_OF_ALL, "SIGSTOP of every node", _ACTS),
    FaultKind(Fault.SLOW_NODE, "one node gets a part of the processor's time only", _ACTS),
    FaultKind(Fault.ISOLATION, "one node is cut off from everybody, both ways", _LINKS),
    FaultKind(Fault.TWO_WAY, "two nodes are cut off from each other", _LINKS),
    FaultKind(Fault.ONE_WAY, "what one node sends to another is lost, not what it gets from it", _LINKS),
    FaultKind(Fault.SPLIT, "the nodes fall apart into two groups", _LINKS),
    FaultKind(Fault.CLOGGED, "what two nodes send each other waits until the link is free again", _LINKS),
    FaultKind(Fault.SLOW_LINK, "what one node sends to another is delayed", _LINKS),
    FaultKind(Fault.LOSS, "calls and their answers are lost, everywhere", _LINKS),
    FaultKind(Fault.RESETS, "connections break, before or after the other side has acted", _LINKS),
    FaultKind(Fault.DUPLICATION, "calls between nodes arrive twice", _LINKS),
    FaultKind(Fault.REORDERING, "calls overtake each other by far", _LINKS),
    FaultKind(Fault.LOSSY, "loss, resets and duplication at once", _LINKS),
    FaultKind(Fault.SLOW_DISK, "one disk is slower by a factor", _DISKS),
    FaultKind(Fault.FAILING_SYNC, "an fsync fails, and its pages are lost although they look clean", _DISKS),
    FaultKind(Fault.FULL_DISK, "there is no space left (ENOSPC)", _DISKS),
    FaultKind(Fault.FAILING_READ, "reads of a closed segment fail (EIO); without an operator, any read", _DISKS),
    FaultKind(Fault.FLIPPED_BIT, "one bit of a closed segment flips, on the medium and in memory", _ROT, is_rot=True),
    FaultKind(Fault.STALE_BLOCK, "a block of a closed segment, or of the next sync, is old", _ROT, is_rot=True),
    FaultKind(Fault.MISDIRECTED_WRITE, "a block lands in a closed segment, or on another one", _ROT, is_rot=True),
    FaultKind(Fault.CLOCK_JUMP, "the wall's clock of one node jumps, and back", _ACTS),
    FaultKind(Fault.CLOCK_DRIFT, "the clocks of one node run fast or slow", _ACTS),
    FaultKind(
        Fault.WIPED_DISK, "one node loses its disk, comes back with a new one, and votes anew", _CLUSTER, Needs.CLUSTER
    ),
    FaultKind(Fault.DISK_SWAP, "one node is stopped, gets a new disk, and votes anew with it", _CLUSTER, Needs.CLUSTER),
    FaultKind(Fault.MEMBERSHIP, "a voter is removed from the quorum and added again", _CLUSTER, Needs.CLUSTER),
    FaultKind(
        Fault.REASSIGNMENT, "a partition moves to other brokers, or the move is cancelled", _CLUSTER, Needs.CLUSTER
    ),
)

BY_FAULT = {kind.fault: kind for kind in KINDS}

FATAL = (Fault.FAILING_SYNC, Fault.FULL_DISK, Fault.FAILING_READ)
USUAL = (
    *(Fault.STOP, Fault.KILL, Fault.POWER_FAILURE, Fault.POWER_FAILURE_OF_ALL, Fault.CRASH_AT_WRITE),
    *(Fault.PAUSE, Fault.PAUSE_OF_ALL, Fault.ISOLATION, Fault.ONE_WAY, Fault.CLOGGED, Fault.SLOW_LINK, Fault.LOSSY),
    *(Fault.SLOW_DISK, Fault.CLOCK_JUMP, Fault.CLOCK_DRIFT),
)
"""What scenarios draw from unless they say otherwise; a kind more would change the plans of all their seeds."""
ALL = tuple(kind.fault for kind in KINDS)
"""What a cluster survives without a loss, where an operator carries it out. Without one a read that fails may be any,
also one of the quorum's log while a node starts, which nothing mends."""
ROT = tuple(kind.fault for kind in KINDS if kind.is_rot)
MENDED_BY_REPLICAS = (*ROT, Fault.FAILING_READ)
"""What hurts a piece of one replica, which has to be copied from the others. An operator chooses which it may be."""


class UnknownFault(ValueError):
    """No kind has that name; the message lists those that there are."""


def faults_named(names: Iterable[str]) -> tuple[Fault, ...]:
    """Kinds by their names, `all` for `ALL`, in the table's order. Raises `UnknownFault`."""
    wanted: dict[Fault, None] = {}
    for name in names:
        if name == "all":
            wanted.update(dict.fromkeys(ALL))
        elif name != "none":
            try:
                wanted[Fault(name)] = None
            except ValueError:
                known = ", ".join(kind.name for kind in KINDS)
                raise UnknownFault(f"there is no fault {name!r}; there are all, none, {known}") from None
    return tuple(kind.fault for kind in KINDS if kind.fault in wanted)
