"""What can be done to nodes: each fault begins, ends, and proves that it happened.

A fault that came to nothing (no packet was lost, nothing was forgotten, no flush failed) fails its round: a campaign
must not count what did not take place.
"""

import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.chaos.cluster import ChaosCluster
from tests.chaos.network import CLIENTS, Link, between


class Fault(Protocol):
    """Something that is done to a cluster and ends. `str` says what, and to whom."""

    @property
    def survivors_go_on(self) -> bool:
        """Whether records must be acknowledged while it lasts, once it has been found out."""

    def inject(self, cluster: ChaosCluster) -> None: ...

    def heal(self, cluster: ChaosCluster) -> None:
        """End it, and start what it has ended. Raises `AssertionError` where it had no effect."""


# --- the network -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class BadLinks:
    """These directions lose a share of their packets (1.0: all of them), or hold them up."""

    what: str
    links: Sequence[Link]
    survivors_go_on: bool
    loss: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    _hurt_before: int = field(default=0, init=False)

    def __str__(self) -> str:
        return self.what

    def inject(self, cluster: ChaosCluster) -> None:
        self._hurt_before = self._hurt(cluster)
        cluster.network.set(self.links, loss=self.loss, delay_ms=self.delay_ms, jitter_ms=self.jitter_ms)

    def heal(self, cluster: ChaosCluster) -> None:
        hurt = self._hurt(cluster) - self._hurt_before
        cluster.network.set(self.links)
        assert hurt > 0, f"{self}: no packet was hurt"

    def _hurt(self, cluster: ChaosCluster) -> int:
        counts = cluster.network.counts()
        return sum(counts[link][1] + counts[link][2] for link in self.links)


@dataclass(slots=True)
class LeaderCutOff:
    """The node that leads the quorum when it begins reaches nobody, nor anybody it; the clients among them."""

    survivors_go_on: bool = True
    _cut: BadLinks | None = field(default=None, init=False)

    def __str__(self) -> str:
        return str(self._cut or "the quorum's leader is cut off")

    def inject(self, cluster: ChaosCluster) -> None:
        leader = cluster.quorum_leader()
        links = between(leader, cluster.network.places)
        self._cut = BadLinks(f"the quorum's leader, node {leader}, is cut off", links, True, loss=1.0)
        self._cut.inject(cluster)

    def heal(self, cluster: ChaosCluster) -> None:
        assert self._cut is not None
        self._cut.heal(cluster)


def cut_off(node_id: int, cluster_places: Sequence[int], *, with_clients: bool) -> BadLinks:
    """A node without any of the others."""
    places = [place for place in cluster_places if with_clients or place != CLIENTS]
    from_whom = "everybody" if with_clients else "the other nodes"
    return BadLinks(f"node {node_id} is cut off from {from_whom}", between(node_id, places), with_clients, loss=1.0)


# --- processes -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Paused:
    """SIGSTOP, then SIGCONT."""

    node_id: int
    survivors_go_on: bool = True

    def __str__(self) -> str:
        return f"SIGSTOP of node {self.node_id}"

    def inject(self, cluster: ChaosCluster) -> None:
        cluster.pause(self.node_id)

    def heal(self, cluster: ChaosCluster) -> None:
        assert state_of(cluster.pid(self.node_id)) == "T", f"{self}: it is not stopped"
        cluster.resume(self.node_id)


@dataclass(slots=True)
class Killed:
    """kill -9 of one node, or of several at once, and a new start."""

    node_ids: Sequence[int]

    @property
    def survivors_go_on(self) -> bool:
        return len(self.node_ids) == 1

    def __str__(self) -> str:
        return f"kill -9 of node {', '.join(map(str, self.node_ids))}"

    def inject(self, cluster: ChaosCluster) -> None:
        for node_id in self.node_ids:
            cluster.signal(node_id, signal.SIGKILL)
        for node_id in self.node_ids:
            cluster.kill(node_id)

    def heal(self, cluster: ChaosCluster) -> None:
        assert not set(self.node_ids) & set(cluster.running), f"{self}: alive"
        for node_id in self.node_ids:
            cluster.start(node_id, wait=False)


def state_of(pid: int) -> str:
    """The kernel's letter for what a process does: T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


# --- two at once -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Together:
    """Two faults that overlap: the second begins while the first lasts, and ends before it."""

    first: Fault
    second: Fault
    survivors_go_on: bool = False

    def __str__(self) -> str:
        return f"{self.first}, and meanwhile {self.second}"

    def inject(self, cluster: ChaosCluster) -> None:
        self.first.inject(cluster)
        self.second.inject(cluster)

    def heal(self, cluster: ChaosCluster) -> None:
        self.second.heal(cluster)
        self.first.heal(cluster)
