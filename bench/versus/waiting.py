"""How long somebody waits: for a record end to end, and for an acknowledgement when the leader is gone."""

import time
from collections.abc import Mapping

from bench.versus import perf_tools
from bench.versus.rows import Figures
from bench.versus.stage import Stage
from tests.compatibility.load import Load

RATE = 1_000
"""Records a second."""

FAILOVER_RATE = 200
FAILOVER_PARTITIONS = 6
BEFORE_S = 5.0
FLOWING_S = 60.0
QUIET: Mapping[str, str | int] = {"log_level": 0}
"""It would tell of each connection that is refused."""

IMPATIENT: Mapping[str, str | int] = {**QUIET, "socket.timeout.ms": 1_000}
"""By default librdkafka waits 60 s for an answer that is on its way, whatever the cluster does."""

AFTER_S = 30.0
"""Twice what a failover of Kafka's takes: session time-out 9 s, and what librdkafka needs to find the new leader."""


def end_to_end(stage: Stage, seconds: float, record_bytes: int) -> Figures:
    """At a steady rate on librdkafka, one partition: percentiles in ms from when a record was due until it is read."""
    topic = stage.topic(1)
    stage.settle()
    timing = {"rate": RATE, "seconds": stage.seconds(seconds), "warm_s": stage.seconds(5.0)}
    return stage.run("end_to_end", topic=topic, bootstrap=stage.bootstrap, record_bytes=record_bytes, **timing)


def one_by_one(stage: Stage, records: int, record_bytes: int) -> Figures:
    """Kafka's EndToEndLatency: the next record is sent when the last one has been read; percentiles in whole ms."""
    topic = stage.topic(1)
    stage.settle()
    count = stage.some(records, least=100)
    asked = ("--num-records", str(count), "--producer-acks", "all", "--record-size", str(record_bytes))
    printed = stage.java("EndToEndLatency", "--bootstrap-server", stage.bootstrap, "--topic", topic, *asked)
    return perf_tools.percentiles_ms(printed)


def killed(stage: Stage) -> Figures:
    """The longest that a record waited while the node that leads the quorum and partitions got a kill -9."""
    return {"longest, s": _longest_s(stage, QUIET, kill=True)}


def paused(stage: Stage) -> Figures:
    """The same with SIGSTOP: nobody is told, and nothing is refused. The client gives up what is on its way sooner."""
    return {"longest, s": _longest_s(stage, IMPATIENT, kill=False)}


def _longest_s(stage: Stage, settings: Mapping[str, str | int], *, kill: bool) -> float:
    cluster, topic = stage.cluster, stage.topic(FAILOVER_PARTITIONS)
    with Load(stage.bootstrap, topic, FAILOVER_PARTITIONS, FAILOVER_RATE, settings) as load:
        wait_flowing(load, int(FAILOVER_RATE * stage.seconds(BEFORE_S)))
        victim = cluster.quorum_leader()
        leaders = [cluster.partition_leader(topic, number) for number in range(FAILOVER_PARTITIONS)]
        assert victim in leaders, f"node {victim} leads the quorum and none of {leaders}"
        before = len(load.waits_ms)
        (cluster.kill if kill else cluster.pause)(victim)
        time.sleep(AFTER_S)
        load.stop()
        if not kill:
            cluster.resume(victim)
    assert not load.errors, load.errors[:1]
    return max(load.waits_ms[before:]) / 1_000


def wait_flowing(load: Load, records: int) -> None:
    """Until so many have been answered: what the first ones waited for is not the failover's."""
    deadline = time.monotonic() + FLOWING_S
    while len(load.waits_ms) < records:
        assert time.monotonic() < deadline, f"{len(load.waits_ms)} of {records} answers within {FLOWING_S:.0f} s"
        time.sleep(0.1)
