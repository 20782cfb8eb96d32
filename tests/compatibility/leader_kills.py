"""kill -9 to leaders while the clients work: of the quorum, of a partition of a case's topic, of an internal topic."""

import threading
from itertools import cycle
from typing import Self

from tests.compatibility.clusters import ClusterUnderTest

CALM_S = 12.0
"""Between a cluster that is whole again and the next kill: clients get something done in it."""

DOWN_S = 4.0
"""How long a killed node stays away."""


class LeaderKills:
    """`with LeaderKills(cluster) as kills:` one after the other, and the cluster whole before the next and at the end.

    The thread has the cluster's admin for itself while it runs: `lock` is held by whoever uses the cluster.
    """

    def __init__(self, cluster: ClusterUnderTest) -> None:
        self._cluster = cluster
        self.lock = threading.Lock()
        self.topic: str | None = None
        """The topic of which leaders are killed, once there is one."""
        self.quorum_leaders = 0
        self.partition_leaders = 0
        self._failed: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leader-kills")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failed is not None:
            raise self._failed

    @property
    def failed(self) -> bool:
        """Whether the cluster did not come back."""
        return self._failed is not None

    def _run(self) -> None:
        try:
            for round_number in cycle(range(4)):
                if self._stop.wait(CALM_S):
                    return
                with self.lock:
                    self._kill_one(round_number)
        except BaseException as error:  # told by `failed`, raised at the end
            self._failed = error

    def _kill_one(self, round_number: int) -> None:
        if round_number == 0 or self.topic is None:
            victim = self._cluster.quorum_leader()
            self.quorum_leaders += 1
        else:
            victim = self._cluster.partition_leader(self.topic, 0)
            self.partition_leaders += 1
        self._cluster.kill(victim)
        self._stop.wait(DOWN_S)
        self._cluster.start(victim)
        self._cluster.wait_in_sync()
