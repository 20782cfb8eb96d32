"""What a simulated cluster is made of: nodes with their disks, and the network between them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from raft.core import RaftCore
from raft.events import Epoch, Event, NodeId, Offset, ReplicaKey, RequestId, Send, SnapshotId, VoterSet
from raft.log_shape import BEGINNING
from tests.raft.memory_log import MemoryLog


@dataclass(slots=True)
class Network:
    """`loss` and `duplication` of 1000 messages; latencies in ms, so a wide range reorders."""

    loss: int = 0
    duplication: int = 0
    latency_min_ms: int = 1
    latency_max_ms: int = 5
    blocked: dict[tuple[NodeId, NodeId], None] = field(default_factory=dict)

    def latency_ms(self, random: Random) -> int:
        return random.randrange(self.latency_min_ms, self.latency_max_ms + 1)

    def passes(self, source: NodeId, target: NodeId) -> bool:
        return (source, target) not in self.blocked

    def loses(self, random: Random) -> bool:
        return self.loss > 0 and random.randrange(1000) < self.loss

    def copies(self, random: Random) -> int:
        twice = self.duplication > 0 and random.randrange(1000) < self.duplication
        return 2 if twice else 1


@dataclass(slots=True)
class Node:
    """A process and its disk. `core` is None while it is down."""

    key: ReplicaKey
    disk: MemoryLog
    core: RaftCore | None = None
    life: int = 0
    clock_began_ms: int = 0
    clock_rate: int = 1_000  # its milliseconds in 1000 true ones
    paused: bool = False
    inbox: list[Callable[[int], Event]] = field(default_factory=list)
    alarm: int = 0  # number of the deadline in force
    flush_ms_max: int = 8
    flushing: bool = False
    flush_cut: Offset | None = None
    applied_offset: Offset = BEGINNING
    digest: int = 0
    sent: dict[RequestId, Send] = field(default_factory=dict)
    asked: dict[RequestId, tuple[NodeId, int, Send]] = field(default_factory=dict)  # asker, its life, what it sent
    proposals: dict[RequestId, tuple[bytes | VoterSet, Offset | None]] = field(
        default_factory=dict
    )  # body, end offset if told
    reads: dict[RequestId, Offset] = field(default_factory=dict)  # what was committed when the read was asked
    download: tuple[SnapshotId, bytes] | None = None
    chunk_id: RequestId | None = None
    leads: Epoch | None = None  # before the step that is being done
    steps_until_crash: int | None = None

    @property
    def node_id(self) -> NodeId:
        return self.key.node_id

    def clock_ms(self, true_ms: int) -> int:
        """What its monotonic clock says: from any beginning on, and a little too fast or too slow."""
        return self.clock_began_ms + true_ms * self.clock_rate // 1_000

    def true_ms(self, duration_ms: int) -> int:
        """How long its clock takes for `duration_ms`, at most 1 ms too long."""
        return -(-duration_ms * 1_000 // self.clock_rate) + (self.clock_rate != 1_000)
