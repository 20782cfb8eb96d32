"""What one node is told at its start: `NodeConfig`, one frozen value that the composition root hands out in parts.

`broker.configure` makes it from settings under Kafka's names; `broker.settings` is the table of those names. Nothing
here reads a file, the environment or the network.

Invariants: `voters` is sorted by id and has each id once. There is one listener for calls (`grpc`) and at least one
framed one. A listener beyond loopback stands only where `insecure_listeners` is true, because no listener has
authentication yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.controller.config import ControllerConfig
from broker.coordinator.config import StateTopicsConfig
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.transactions.config import TransactionConfig
from broker.maintenance.config import CompactionConfig, ScrubConfig
from broker.metadata.records import GRPC_LISTENER
from broker.replication.config import ReplicationConfig
from kraftpy.runtime.framed_config import FramedConfig
from kraftpy.runtime.ports import Address
from log_store.config import LogConfig
from raft.config import RaftConfig


@dataclass(frozen=True, slots=True, order=True)
class VoterAddress:
    """A voter of the quorum as the operator lists it: `1@127.0.0.1:9093`; the port is the one of the calls (gRPC)."""

    node_id: int
    address: Address

    def __str__(self) -> str:
        return f"{self.node_id}@{self.address}"


@dataclass(frozen=True, slots=True)
class Listener:
    """One address that the node listens on, and the one that others are told to use."""

    name: str  # GRPC for the calls; else Kafka's listener name, PLAINTEXT unless the operator names it otherwise
    bind: Address  # port 0: any free one
    advertised: Address | None  # None: as bound

    def advertised_as(self, bound: Address) -> Address:
        """What others are told, now that the port is known."""
        told = self.advertised
        if told is None:
            return bound
        return told if told.port else Address(told.host, bound.port)


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Everything about one node. The parts belong to their components; the rest is the node's own."""

    node_id: int = 1
    """Who this node is in its cluster; kept in meta.properties, never to be changed. 0 or more."""

    voters: tuple[VoterAddress, ...] = (VoterAddress(1, Address("127.0.0.1", 9093)),)
    """The quorum's voters. A node that is not among them observes. An odd number: 3 survive the loss of one, 5 of two;
    each one more makes every metadata change wait for more disks."""

    roles: tuple[str, ...] = ("broker", "controller")
    """What the node is (process.roles): `broker` has partitions and serves clients; `controller` may vote in the quorum
    and lead it, once controller.quorum.voters lists it at the first start or `kraftpy quorum add` adds it later."""

    grpc: Listener = Listener(GRPC_LISTENER, Address("127.0.0.1", 9093), None)
    """Where calls are served: the quorum's, other nodes', and the SDK's."""

    framed: tuple[Listener, ...] = (Listener("PLAINTEXT", Address("127.0.0.1", 9092), None),)
    """Where Kafka's protocol is served, to clients and to the followers that fetch here."""

    log_dirs: tuple[str, ...] = ("kraftpy-data/node-1",)
    """Directories of the data. A new partition goes to the one that holds the fewest. The quorum's log is in the first.
    More than one spread the load over several disks; the loss of one loses its replicas only."""

    recovery_threads: int = 2
    """Logs of one directory that are opened side by side at the start. More finish a recovery earlier on disks that can
    serve them, and keep the machine busier meanwhile."""

    open_segments_max: int = 250
    """Segments of one directory whose files stay open; it is not given but follows from how many files the process may
    open. Opening one again costs about 40 µs."""

    rack: str | None = None
    """Where the machine stands (broker.rack): replicas of a partition are spread over racks first."""

    host_label: str = ""
    """The physical machine, for placement; empty: detected. Set it where several nodes share a machine that they cannot
    recognize, as containers and virtual machines do."""

    auto_create_topics: bool = True
    """Whether a client that names an unknown topic gets it created, as Kafka does by default. Misspelt names then
    become topics."""

    controlled_shutdown: bool = True
    """Whether a node that is told to stop moves its leaderships away first. Off: clients notice every stop."""

    controlled_shutdown_timeout_ms: int = 30_000
    """How long a stop may wait for that; then the node stops anyway."""

    insecure_listeners: bool = False
    """Allows listeners beyond loopback without authentication: whoever reaches the port may read, write and administer
    everything."""

    log_format: str = "plain"
    """`plain` lines for people, `json` lines for machines."""

    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    log: LogConfig = field(default_factory=LogConfig)
    raft: RaftConfig = field(default_factory=RaftConfig)
    controller: ControllerConfig = field(default_factory=ControllerConfig)
    replication: ReplicationConfig = field(default_factory=ReplicationConfig)
    network: FramedConfig = field(default_factory=FramedConfig)
    compaction: CompactionConfig = field(default_factory=CompactionConfig)
    scrub: ScrubConfig = field(default_factory=ScrubConfig)
    state_topics: StateTopicsConfig = field(default_factory=StateTopicsConfig)
    groups: GroupConfig = field(default_factory=GroupConfig)
    transactions: TransactionConfig = field(default_factory=TransactionConfig)

    given: Mapping[str, str] = field(default_factory=dict)
    """The settings that were given, under Kafka's names, as text: what DescribeConfigs calls static."""

    @property
    def is_voter(self) -> bool:
        """Whether the operator lists it; who votes by now stands in the quorum's log."""
        return any(voter.node_id == self.node_id for voter in self.voters)

    @property
    def is_broker(self) -> bool:
        return "broker" in self.roles

    @property
    def is_controller(self) -> bool:
        return "controller" in self.roles
