"""Who is compared with whom: both systems at their defaults, and each with the other's promise about durability.

| contender | what it promises with acks=all |
|---|---|
| ours | flushed on all in-sync replicas before it is acknowledged: our default |
| ours, relaxed | in the page cache of all in-sync replicas, as Kafka: `log.flush.interval.messages` has no limit |
| theirs | in the page cache of all in-sync replicas: Kafka's default |
| theirs, flushing | flushed: `log.flush.interval.messages=1` |

Settings that both are told, because their defaults differ or because a cluster of one or three needs them, are in
`settings_of`; everything else is at its default. Kafka's nodes run with the options of its own start script.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from types import TracebackType
from typing import Protocol, Self

from tests.compatibility.cache import Cache
from tests.compatibility.clusters import KraftpyCluster

JAVA_OPTIONS = (
    "-Xms1G",
    "-Xmx1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
)
"""What kafka-server-start.sh and kafka-run-class.sh give to a node (Apache Kafka 4.3)."""

NO_LIMIT = str(2**63 - 1)


class Contender(Enum):
    """The value is the name in results and on the command line."""

    OURS = "ours"
    OURS_RELAXED = "ours-relaxed"
    THEIRS = "theirs"
    THEIRS_FLUSHING = "theirs-flushing"

    @property
    def is_kafka(self) -> bool:
        return self in (Contender.THEIRS, Contender.THEIRS_FLUSHING)


FLUSH: Mapping[Contender, Mapping[str, str]] = {
    Contender.OURS: {},
    Contender.OURS_RELAXED: {"log.flush.interval.messages": NO_LIMIT},
    Contender.THEIRS: {},
    Contender.THEIRS_FLUSHING: {"log.flush.interval.messages": "1"},
}


class MeasuredCluster(Protocol):
    """What a measure needs of a cluster, for one thread; ends with the `with`."""

    version: str

    @property
    def bootstrap(self) -> str: ...

    @property
    def node_ids(self) -> Sequence[int]: ...

    def pid(self, node_id: int) -> int:
        """The process of its present life."""

    def create_topic(self, name: str, partitions: int) -> None:
        """On all nodes; returns when all replicas are in sync."""

    def partition_leader(self, topic: str, partition: int) -> int: ...

    def quorum_leader(self) -> int: ...

    def kill(self, node_id: int) -> None:
        """kill -9."""

    def pause(self, node_id: int) -> None:
        """SIGSTOP."""

    def resume(self, node_id: int) -> None:
        """SIGCONT."""

    def stop(self, node_id: int) -> None:
        """SIGTERM, and wait for its end."""

    def start(self, node_id: int) -> None:
        """Start a node that is down, on its data; does not wait."""

    def log_tails(self) -> str: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def settings_of(contender: Contender, nodes: int) -> dict[str, str]:
    """The same for both but for the flush."""
    in_sync = str(min(2, nodes))
    return {
        "default.replication.factor": str(nodes),
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": str(nodes),
        "transaction.state.log.replication.factor": str(nodes),
        "transaction.state.log.min.isr": in_sync,
        "group.initial.rebalance.delay.ms": "3000",  # Kafka's default, and ours; our test clusters wait for nobody
        **FLUSH[contender],
    }


def cluster_of(contender: Contender, nodes: int, cache: Cache) -> MeasuredCluster:
    """Not started yet. Raises `NotAvailableError` where Kafka cannot be had."""
    settings = settings_of(contender, nodes)
    if not contender.is_kafka:
        return KraftpyCluster(settings, nodes=nodes)
    from tests.compatibility.kafka_cluster import KafkaCluster  # kafka-python, which a run of ours alone spares

    return KafkaCluster(cache, settings, nodes=nodes, java_options=JAVA_OPTIONS)
