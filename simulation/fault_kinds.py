"""Every kind of fault by its name: what it does, what it needs, and the test that proves that it happens.

`KINDS` is that table as data; plans, the command line and its help, documents and campaigns go by it. What a kind needs
says who carries it out: the world alone, or an operator who knows the cluster (`simulation.simulate.operator`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial


class Fault(Enum):
    """Kinds of faults by name."""

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
class Amount:
    """How much of a fault: what plans draw from, and how a story tells it."""

    values: Sequence[int]
    told: str = ""  # `{}` is where the amount stands, `{percent}` where one of per mille does

    def sentence(self, amount: int) -> str:
        return self.told.format(amount, percent=f"{amount / 10:g} %")


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One row. `proof` is the test that shows that it happens, as pytest names it."""

    fault: Fault
    about: str
    proof: str
    needs: Needs = Needs.WORLD
    amount: Amount = Amount((0,))  # 0: it has none
    is_lethal: bool = False  # lives may end by it: while it lasts, an operator takes nobody's disk
    needs_a_life: bool = False  # it does nothing to a node that is dead
    may_stop_programs: bool = False  # a node's program may answer it by stopping
    is_rot: bool = False  # the disk gives back something else than was written: only other replicas can mend that
    came_later: bool = False  # to plans of rounds: drawn after all others, which are thereby what they were

    @property
    def name(self) -> str:
        return self.fault.value


_HERE = "tests/simulation/test_faults.py::"
_ACTS = f"{_HERE}test_what_a_fault_does_to_a_node"
_LINKS = f"{_HERE}test_what_a_fault_does_to_a_link"
_DISKS = f"{_HERE}test_what_a_fault_does_to_a_disk"
_ROT = f"{_HERE}test_what_rots_is_read_back_otherwise"
_CLUSTER = f"{_HERE}test_what_an_operator_does_to_a_cluster"
_CHANCE = Amount(range(1 << 16))  # for the operator
_death = partial(FaultKind, is_lethal=True, needs_a_life=True)  # of one node

KINDS: tuple[FaultKind, ...] = (
    _death(Fault.STOP, "SIGTERM: a controlled shutdown, and another start as soon as it is over", _ACTS),
    _death(Fault.KILL, "kill -9 of one node; what it wrote stays in the page cache", _ACTS),
    FaultKind(Fault.KILL_OF_ALL, "kill -9 of every node at once", _ACTS, is_lethal=True),
    _death(
        Fault.RESTART_STORM,
        "one node is killed and started again, several times in a row",
        _ACTS,
        amount=Amount((3, 6, 12), "{} times"),
    ),
    _death(Fault.POWER_FAILURE, "one machine loses power: unsynced writes are lost, kept or torn", _ACTS),
    FaultKind(Fault.POWER_FAILURE_OF_ALL, "every machine loses power at once", _ACTS, is_lethal=True),
    _death(
        Fault.CRASH_AT_WRITE,
        "power fails just before one of the next changes of the disk",
        _DISKS,
        amount=Amount(range(1, 61), "at change {}"),
    ),
    _death(Fault.LOST_WRITES, "one machine loses power, and every write that was not synced", _DISKS),
    _death(Fault.TORN_WRITE, "one machine loses power in the midst of a write, of which some sectors stay", _DISKS),
    FaultKind(Fault.PAUSE, "SIGSTOP of one node", _ACTS, needs_a_life=True),
    FaultKind(Fault.PAUSE_OF_ALL, "SIGSTOP of every node", _ACTS),
    FaultKind(
        Fault.SLOW_NODE,
        "one node gets a part of the processor's time only",
        _ACTS,
        amount=Amount((500, 800, 950), "({percent})"),
        needs_a_life=True,
    ),
    FaultKind(Fault.ISOLATION, "one node is cut off from everybody, both ways", _LINKS),
    FaultKind(Fault.TWO_WAY, "two nodes are cut off from each other", _LINKS),
    FaultKind(Fault.ONE_WAY, "what one node sends to another is lost, not what it gets from it", _LINKS),
    FaultKind(
        Fault.SPLIT, "the nodes fall apart into two groups", _LINKS, amount=Amount((1, 2, 3), "{} of them on one side")
    ),
    FaultKind(Fault.CLOGGED, "what two nodes send each other waits until the link is free again", _LINKS),
    FaultKind(
        Fault.SLOW_LINK, "what one node sends to another is delayed", _LINKS, amount=Amount((20, 200, 1500), "by {} ms")
    ),
    FaultKind(
        Fault.LOSS, "calls and their answers are lost, everywhere", _LINKS, amount=Amount((5, 50, 300), "({percent})")
    ),
    FaultKind(
        Fault.RESETS,
        "connections break, before or after the other side has acted",
        _LINKS,
        amount=Amount((5, 50, 200), "({percent})"),
    ),
    FaultKind(Fault.DUPLICATION, "calls between nodes arrive twice", _LINKS, amount=Amount((50, 300), "({percent})")),
    FaultKind(Fault.REORDERING, "calls overtake each other by far", _LINKS, amount=Amount((50, 300), "({percent})")),
    FaultKind(Fault.LOSSY, "loss, resets and duplication at once", _LINKS, amount=Amount((5, 50, 200), "({percent})")),
    FaultKind(
        Fault.SLOW_DISK, "one disk is slower by a factor", _DISKS, amount=Amount((5, 50, 400), "by the factor {}")
    ),
    FaultKind(
        Fault.FAILING_SYNC,
        "an fsync fails, and its pages are lost although they look clean",
        _DISKS,
        is_lethal=True,
        may_stop_programs=True,
    ),
    FaultKind(Fault.FULL_DISK, "there is no space left (ENOSPC)", _DISKS, is_lethal=True, may_stop_programs=True),
    FaultKind(
        Fault.FAILING_READ,
        "reads of a closed segment fail (EIO); without an operator, any read",
        _DISKS,
        may_stop_programs=True,
        came_later=True,
    ),
    FaultKind(Fault.FLIPPED_BIT, "one bit of a closed segment flips, on the medium and in memory", _ROT, is_rot=True),
    FaultKind(Fault.STALE_BLOCK, "a block of a closed segment, or of the next sync, is old", _ROT, is_rot=True),
    FaultKind(Fault.MISDIRECTED_WRITE, "a block lands in a closed segment, or on another one", _ROT, is_rot=True),
    FaultKind(
        Fault.CLOCK_JUMP,
        "the wall's clock of one node jumps, and back",
        _ACTS,
        amount=Amount((-3_600_000, -5_000, 5_000, 86_400_000), "by {} ms"),
    ),
    FaultKind(
        Fault.CLOCK_DRIFT,
        "the clocks of one node run fast or slow",
        _ACTS,
        amount=Amount((-50_000, -500, 500, 50_000), "by {} ppm"),
    ),
    FaultKind(
        Fault.WIPED_DISK, "one node loses its disk, comes back with a new one, and votes anew", _CLUSTER, Needs.CLUSTER
    ),
    FaultKind(Fault.DISK_SWAP, "one node is stopped, gets a new disk, and votes anew with it", _CLUSTER, Needs.CLUSTER),
    FaultKind(
        Fault.MEMBERSHIP, "a voter is removed from the quorum and added again", _CLUSTER, Needs.CLUSTER, amount=_CHANCE
    ),
    FaultKind(
        Fault.REASSIGNMENT,
        "a partition moves to other brokers, or the move is cancelled",
        _CLUSTER,
        Needs.CLUSTER,
        amount=_CHANCE,
    ),
)

BY_FAULT = {kind.fault: kind for kind in KINDS}

FATAL = tuple(kind.fault for kind in KINDS if kind.may_stop_programs)
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
