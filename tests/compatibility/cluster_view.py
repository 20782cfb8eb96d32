"""What kafka-python's admin sees of a cluster: the harness's own eye on any cluster that speaks Kafka's protocol."""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from kafka import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError, UnknownBrokerIdError

T = TypeVar("T")

LOOK_S = 0.2
WAIT_S = 90.0


class NotSeenError(Exception):
    """What should have come to pass did not."""


class ClusterView:
    """One admin client, made when first needed, for one thread."""

    def __init__(self, bootstrap: str, check: Callable[[], None] = lambda: None) -> None:
        """`check` raises where waiting has no use, because a node has ended by itself."""
        self._bootstrap = bootstrap
        self._check = check
        self._client: Any = None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def create_topic(self, name: str, partitions: int, replication_factor: int) -> None:
        """Returns when every partition has a leader and all replicas are in sync."""
        wanted = {"num_partitions": partitions, "replication_factor": replication_factor}

        def create() -> bool:
            with contextlib.suppress(TopicAlreadyExistsError):  # by a request whose answer was lost
                self._admin().create_topics({name: wanted})
            return True

        self.wait(create, f"topic {name} is made")
        self.wait(lambda: len(self._partitions(name)) == partitions, f"topic {name} is known")
        self.wait(lambda: _in_sync(self._partitions(name), replication_factor), f"{name} is in sync")

    def partition_leader(self, topic: str, partition: int, among: Mapping[int, object]) -> int:
        """The leader, once it is one of the nodes in `among`."""

        def look() -> int | None:
            found = self._partitions(topic).get(partition)
            return found["leader_id"] if found is not None and found["leader_id"] in among else None

        return self.wait(look, f"{topic}-{partition} has a leader")

    def quorum_leader(self, among: Mapping[int, object]) -> int:
        """The quorum's leader, once it is one of the nodes in `among`."""

        def look() -> int | None:
            quorum = self._admin().describe_metadata_quorum()
            leader: int = quorum["topics"][0]["partitions"][0]["leader_id"]
            return leader if leader in among else None

        return self.wait(look, "the quorum has a leader")

    def wait_in_sync(self, nodes: int) -> None:
        """Wait until so many nodes are known, and all replicas of all partitions in sync."""

        def look() -> bool:
            admin = self._admin()
            return len(admin.describe_cluster()["brokers"]) == nodes and all(
                _in_sync({partition["partition_index"]: partition for partition in topic["partitions"]})
                for topic in admin.describe_topics()
            )

        self.wait(look, "every replica is in sync")

    def wait(self, look: Callable[[], T | None], what: str) -> T:
        """Look until something is there; Kafka's errors are what may pass."""
        deadline = time.monotonic() + WAIT_S
        last: Exception | None = None
        while True:
            self._check()
            try:
                if found := look():
                    return found
            except KafkaError as error:
                if not (error.retriable or isinstance(error, UnknownBrokerIdError)):  # of a node that is down
                    raise
                last = error
            if time.monotonic() > deadline:
                raise NotSeenError(f"waited {WAIT_S:g} s until {what} (last error: {last!r})")
            time.sleep(LOOK_S)

    def _admin(self) -> Any:
        if self._client is None:
            self._client = KafkaAdminClient(bootstrap_servers=self._bootstrap.split(","), request_timeout_ms=5_000)
        return self._client

    def _partitions(self, topic: str) -> dict[int, dict[str, Any]]:
        described = self._admin().describe_topics([topic])
        return {partition["partition_index"]: partition for partition in described[0]["partitions"]}


def _in_sync(partitions: Mapping[int, Mapping[str, Any]], replicas: int | None = None) -> bool:
    return all(
        partition["leader_id"] >= 0 and len(partition["isr_nodes"]) == (replicas or len(partition["replica_nodes"]))
        for partition in partitions.values()
    )
