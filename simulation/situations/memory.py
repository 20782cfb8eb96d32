"""What a recognizer has to remember of a trace: nodes, the quorum's leader, and partitions, as they were told last."""

from dataclasses import dataclass, field

NEVER_US = -(1 << 60)


@dataclass(slots=True)
class Node:
    """One host that runs a broker."""

    is_alive: bool = True
    is_paused: bool = False
    is_stopping: bool = False
    is_registered: bool = False  # in this life
    is_fenced: bool = True  # its last registration
    is_on_new_disk: bool = False  # and has not registered with it
    led_the_quorum: bool = False  # when it was paused
    led_partitions: tuple[str, ...] = ()  # when it was paused
    died_us: int = NEVER_US
    cut_us: int = NEVER_US  # when it last cut a log
    fetched_snapshot_us: int = NEVER_US
    fetched_snapshot_from: str = ""


@dataclass(slots=True)
class Partition:
    """Broker ids as they are told."""

    leader: str = ""  # "none": nobody
    isr: tuple[str, ...] = ()
    elr: tuple[str, ...] = ()
    replicas: tuple[str, ...] = ()
    adding: tuple[str, ...] = ()
    original: tuple[str, ...] = ()  # replicas before the move that is under way
    led_before: dict[str, None] = field(default_factory=dict)
    moved_us: int = NEVER_US  # to the present leader
    shrank_us: int = NEVER_US
    grew_us: int = NEVER_US
    cut_us: int = NEVER_US
    cut_by: dict[str, int] = field(default_factory=dict)  # host -> when

    @property
    def is_moving(self) -> bool:
        return bool(self.original)


@dataclass(slots=True)
class Memory:
    """Everything, by name. `leader` is the host that leads the quorum."""

    nodes: dict[str, Node] = field(default_factory=dict)
    partitions: dict[str, Partition] = field(default_factory=dict)
    gone_topics: dict[str, None] = field(default_factory=dict)
    blocks: dict[tuple[str, str], str] = field(default_factory=dict)
    leader: str = ""
    elected_us: int = NEVER_US
    voters_changed_us: int = NEVER_US
    topic_asked_us: int = NEVER_US
    isr_changed_us: int = NEVER_US

    def dead(self) -> list[str]:
        return [name for name, node in self.nodes.items() if not node.is_alive]

    def led_by(self, host: str) -> list[str]:
        """The partitions that a host leads, as far as the metadata knows."""
        return [name for name, partition in self.partitions.items() if f"n{partition.leader}" == host]

    def is_cut(self, one: str, other: str) -> bool:
        return (one, other) in self.blocks or (other, one) in self.blocks

    def reaches_a_majority(self, host: str) -> bool:
        near = sum(other == host or not self.is_cut(host, other) for other in self.nodes)
        return 2 * near > len(self.nodes)
