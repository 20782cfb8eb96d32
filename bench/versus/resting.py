"""What a node costs that has nothing to do, and what it keeps of a load that is over: the most of all nodes."""

import time

from bench.versus import consuming, producing
from bench.versus.processes import processor_s, rss_anon_mb
from bench.versus.rows import Figures
from bench.versus.stage import Stage

SETTLE_S = 15.0
REST_S = 60.0
RECORDS = 1_000_000
RECORD_BYTES = 1_000
PARTITIONS = 6


def rest(stage: Stage) -> Figures:
    """Of a new cluster with one topic; then records are written and read, and the nodes come to rest."""
    stage.topic(PARTITIONS)
    found = at_rest(stage)
    producing.rdkafka(stage, RECORDS, RECORD_BYTES)
    consuming.group(stage, RECORDS, RECORD_BYTES, PARTITIONS, members=1)
    time.sleep(stage.seconds(SETTLE_S))
    return {**found, "RssAnon after, MB": max(map(rss_anon_mb, stage.pids))}


def at_rest(stage: Stage) -> dict[str, float]:
    """Memory, and processor time in % of a core."""
    time.sleep(stage.seconds(SETTLE_S))
    before = [processor_s([pid]) for pid in stage.pids]
    began = time.monotonic()
    time.sleep(stage.seconds(REST_S))
    took = time.monotonic() - began
    used = [processor_s([pid]) - start for pid, start in zip(stage.pids, before, strict=True)]
    return {"RssAnon idle, MB": max(map(rss_anon_mb, stage.pids)), "CPU, %": 100 * max(used) / took}
