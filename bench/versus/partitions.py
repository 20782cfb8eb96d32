"""Many partitions: a topic with a thousand of them on three nodes, and ten thousand on one."""

import time

from bench.versus import resting, starts
from bench.versus.rows import Figures
from bench.versus.stage import Stage

THOUSAND = 1_000
TOPICS = 10
"""Of a thousand each: Kafka makes at most 10,000 partitions by one request."""


def thousand(stage: Stage) -> Figures:
    """Seconds from the request until it is answered, all are in sync, and each has an acknowledged record."""
    stage.settle()
    count = stage.some(THOUSAND, least=50)
    found = stage.run(
        "made_partitions", bootstrap=stage.bootstrap, topic="many", partitions=count, replicas=stage.nodes
    )
    return {"created, s": found["created"], "in sync, s": found["in_sync"], "written, s": found["written"]}


def ten_thousand(stage: Stage) -> Figures:
    """A node that has them, stopped by SIGTERM: from its exec to the first record; memory and processor at rest."""
    count = stage.some(THOUSAND, least=50)
    topics = [stage.topic(count) for _ in range(TOPICS)]
    (node,) = stage.cluster.node_ids
    stage.cluster.stop(node)
    stage.settle()

    def launch() -> float:
        began = time.monotonic()
        stage.cluster.start(node)
        return began

    first_s = starts.until_first_record(stage.bootstrap, topics[0], launch)
    return {"start, s": first_s, **resting.at_rest(stage)}
