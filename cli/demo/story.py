"""What happens in the demo, in its order. The one place that knows cluster, publisher and readers at once."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from cli.demo.access_log import Line
from cli.demo.fault import assignment, heal, hurt, make_leader
from cli.demo.fault_kind import FaultKind
from cli.demo.ledger import Ledger, Reading
from cli.demo.progress import Progress
from cli.demo.publisher import Publisher
from cli.demo.reader import Follower, end_offsets, read_everything
from cli.demo.report import Outcome
from kraftpy.testing import Cluster

TOPIC = "access-log"
PARTITIONS = 6
REPLICATION_FACTOR = 3
LOOK_S = 0.05
FREE_BYTES_MIN = 1 << 30  # with less space on disk nothing more is published


class Story:
    """`run` tells it once."""

    def __init__(
        self, path: Path, lines: Sequence[Line], seconds: float, nodes: int, fault: FaultKind, progress: Progress
    ) -> None:
        self._path = path
        self._lines = lines
        self._seconds = seconds
        self._nodes = nodes
        self._fault = fault
        self._progress = progress
        self._ledger = Ledger(lines)

    def run(self) -> Outcome:
        """Raises `ClusterError` where the cluster, and whatever else where the publishing or reading breaks."""
        say = self._progress.say
        say(f"starting {self._nodes} nodes, everything at its defaults")
        with Cluster(self._nodes) as cluster:
            say(f"up: {cluster.bootstrap}")
            victim = self._prepare(cluster)
            publisher = Publisher(cluster.bootstrap, TOPIC, self._ledger)
            follower = Follower(cluster.bootstrap, TOPIC, PARTITIONS, Reading(self._ledger))
            follower.start()
            publisher.start()
            self._publish(cluster, publisher, victim)
            say("nothing more is sent; waiting for the last acknowledgements")
            publisher.stop()
            if publisher.error is not None:
                say(f"{publisher.failed} records were not acknowledged; the first error: {publisher.error}")
            follower.finish(end_offsets(cluster.bootstrap, TOPIC, PARTITIONS))
            reading = self._read_back(cluster)
            say(f"{'starting' if self._fault is FaultKind.KILL else 'waking'} node {victim} again")
            in_sync_s = heal(cluster, victim, self._fault)
            say(f"node {victim} is in every ISR again")
        return Outcome(
            sent=self._ledger.sent,
            acknowledged=self._ledger.acknowledged,
            acknowledged_bytes=self._ledger.acknowledged_bytes,
            seconds=publisher.seconds,
            longest_wait_s=publisher.longest_wait_s,
            in_sync_s=in_sync_s,
            read_back=reading.judge(),
            followed=follower.reading.judge(),
        )

    def _prepare(self, cluster: Cluster) -> int:
        """The topic; and one node that leads the quorum and most partitions: the one to be hurt."""
        victim = cluster.quorum_leader()
        cluster.admin.create_topic(
            TOPIC,
            assignment=assignment(victim, cluster.node_ids, PARTITIONS, REPLICATION_FACTOR),
            config={"min.insync.replicas": "2"},
        )
        cluster.wait_in_sync()
        self._progress.say(
            f"topic {TOPIC}: {PARTITIONS} partitions, replication factor {REPLICATION_FACTOR}, min.insync.replicas=2"
        )
        self._progress.say(
            f"publishing {self._path.name} ({len(self._lines):,} lines) again and again for {self._seconds:g} s: key = "
            "first word, an id in every record; a consumer reads along"
        )
        return victim

    def _publish(self, cluster: Cluster, publisher: Publisher, victim: int) -> None:
        """Watch it publish; in the middle, hurt the node."""
        started = time.monotonic()
        is_hurt = False
        while (passed := time.monotonic() - started) < self._seconds and publisher.alive:
            time.sleep(LOOK_S)
            if not is_hurt and passed >= self._seconds / 2:
                is_hurt = True
                self._hurt(cluster, publisher, victim)
            ledger = self._ledger
            rate = ledger.acknowledged_bytes / 1e6 / (time.monotonic() - started)
            self._progress.show(passed / self._seconds, f"{ledger.acknowledged:,} acknowledged, {rate:.1f} MB/s")
            if shutil.disk_usage(cluster.directory).free < FREE_BYTES_MIN:
                self._progress.say("the disk is nearly full: publishing ends early")
                break
        if not is_hurt:
            self._hurt(cluster, publisher, victim)

    def _hurt(self, cluster: Cluster, publisher: Publisher, victim: int) -> None:
        led = make_leader(cluster, victim, TOPIC)
        self._progress.say(
            f"node {victim} leads the quorum and {led} of {PARTITIONS} partitions: {self._fault.description}"
        )
        publisher.watch_waits()
        hurt(cluster, victim, self._fault)

    def _read_back(self, cluster: Cluster) -> Reading:
        reading = Reading(self._ledger)
        total = max(self._ledger.acknowledged, 1)
        self._progress.say("reading everything back")
        read_everything(
            cluster.bootstrap,
            TOPIC,
            reading,
            lambda read: self._progress.show(read / total, f"{read:,} read back"),
        )
        return reading
