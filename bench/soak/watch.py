"""What somebody sees who looks at a cluster now and then."""

import contextlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.versus.processes import family, rss_anon_mb
from kraftpy.testing import Cluster

Epochs = dict[str, int]
"""Leader epochs, of the quorum and of each partition, by name."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look; lists have an entry a node, `waits` is what the reader told last, in ms."""

    at_s: float
    memory_mb: list[float]
    files: list[int]
    disk_mb: list[float]
    epochs: Epochs
    waits: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def look(cluster: Cluster, at_s: float, waits: dict[str, float]) -> Sample:
    """Raises `KraftpyError` where nobody answers."""
    pids = [cluster.pid(node_id) for node_id in cluster.node_ids]
    taken = dict.fromkeys(cluster.node_ids, 0)
    for directory in cluster.admin.describe_log_dirs():
        taken[directory.broker_id] += directory.size_bytes
    return Sample(
        at_s,
        [rss_anon_mb(pid) for pid in pids],
        [sum(map(open_files, family(pid))) for pid in pids],
        [size / 1e6 for size in taken.values()],
        epochs(cluster),
        waits,
    )


def epochs(cluster: Cluster) -> Epochs:
    found = {"the quorum": cluster.admin.describe_quorum().leader_epoch}
    for topic in cluster.admin.describe_topics():
        found |= {f"{topic.name}-{each.partition}": each.leader_epoch for each in topic.partitions}
    return found


def open_files(pid: int) -> int:
    with contextlib.suppress(OSError):  # it has ended meanwhile
        return len(os.listdir(Path(f"/proc/{pid}/fd")))
    return 0
