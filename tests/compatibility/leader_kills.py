"""kill -9 to leaders while the clients work: of the metadata quorum, and of the topic of the case at hand."""

import contextlib
import threading
from collections.abc import Iterator
from itertools import cycle
from types import TracebackType
from typing import Self

from tests.compatibility.clusters import ClusterUnderTest

CALM_S = 3.0
"""Between a cluster that is whole again and the next kill: clients get something done in it."""

DOWN_S = 3.0
"""How long a killed node stays away."""

ROUND = ("quorum", "topic", "topic")


class SharedCluster:
    """The cluster as the cases see it while its leaders are killed: it answers when it is whole.

    A cluster is one thread's; cases and kills take turns by `lock`.
    """

    def __init__(self, cluster: ClusterUnderTest) -> None:
        self._cluster = cluster
        self.lock = threading.Lock()
        self.kind = cluster.kind
        self.version = cluster.version
        self.topic: str | None = None
        """The newest topic, whose leaders are worth killing."""

    @property
    def bootstrap(self) -> str:
        return self._cluster.bootstrap

    def create_topic(self, name: str, partitions: int) -> None:
        with self.lock:
            self._cluster.create_topic(name, partitions)
            self.topic = name

    def partition_leader(self, topic: str, partition: int) -> int:
        with self.lock:
            return self._cluster.partition_leader(topic, partition)

    def quorum_leader(self) -> int:
        with self.lock:
            return self._cluster.quorum_leader()

    def kill(self, node_id: int) -> None:
        with self.lock:
            self._cluster.kill(node_id)

    def stop(self, node_id: int) -> None:
        with self.lock:
            self._cluster.stop(node_id)

    def start(self, node_id: int) -> None:
        with self.lock:
            self._cluster.start(node_id)

    def wait_in_sync(self) -> None:
        with self.lock:
            self._cluster.wait_in_sync()

    @contextlib.contextmanager
    def unhurt(self) -> Iterator[bool]:
        with self.lock:
            self._cluster.wait_in_sync()
            yield True

    def log_tails(self) -> str:
        return self._cluster.log_tails()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The cluster is somebody else's to end."""


class LeaderKills:
    """`with LeaderKills(cluster) as kills:` one after the other; the cluster is whole before the next, and at the end.

    What kept the cluster from coming back is raised by the next `check`, or at the end. Cases use `kills.cluster`.
    """

    def __init__(self, cluster: ClusterUnderTest) -> None:
        self._hurt = cluster
        self.cluster = SharedCluster(cluster)
        self.counts = dict.fromkeys(ROUND, 0)
        """How many leaders were killed, by what they led."""
        self._failed: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leader-kills")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.check()

    def check(self) -> None:
        """Raise what has ended the kills: what is tried from then on is tried without."""
        if self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        try:
            for leads in cycle(ROUND):
                if self._stop.wait(CALM_S):
                    return
                with self.cluster.lock:
                    self._kill_one(leads)
        except BaseException as error:  # raised by `check`
            self._failed = error

    def _kill_one(self, leads: str) -> None:
        topic = self.cluster.topic
        if leads == "topic" and topic is not None:
            victim = self._hurt.partition_leader(topic, 0)
        else:
            victim = self._hurt.quorum_leader()
        self.counts[leads] += 1
        self._hurt.kill(victim)
        self._stop.wait(DOWN_S)
        self._hurt.start(victim)
        self._hurt.wait_in_sync()
