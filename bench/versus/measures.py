"""The table of measures, as data: what is run, and what each row compares. The targets are medians of ratios.

Three nodes have replication factor 3, acks=all and min.insync.replicas=2; a node alone has replication factor 1. A row
of records taken is there three times: flushed (our default) beside Kafka's default, relaxed to Kafka's own promise
beside the same, and flushed beside Kafka that flushes too.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from bench.versus import connections, consuming, partitions, producing, resting, starts, waiting
from bench.versus.contenders import Contender
from bench.versus.rows import Better, Measure, Row, Target

PRODUCED_RECORDS = 1_000_000
SMALL_RECORDS = 5_000_000
JAVA_RECORDS = 200_000
TUTORIAL_RECORDS = 5_000
KB = 1_000
TUTORIAL_BYTES = 102_400
TUTORIAL_LIMIT = 5_000
MB = 1_000_000


def taken(
    label: str, unit: str, ratio: float, flushing_ratio: float | None, disk_bytes: int, *, flushing: bool = True
) -> Sequence[Row]:
    """The three rows of records taken; `disk_bytes` are what all replicas flush of one `unit`."""
    rows = [
        Row(f"{label}: flushed", unit, unit, Better.HIGHER, Target(ratio), disk_bytes=disk_bytes),
        Row(f"{label}: relaxed", unit, unit, Better.HIGHER, Target(ratio), ours=Contender.OURS_RELAXED),
    ]
    if flushing:
        target = None if flushing_ratio is None else Target(flushing_ratio)
        label = f"{label}: both flushed"
        theirs = Contender.THEIRS_FLUSHING
        rows.append(Row(label, unit, unit, Better.HIGHER, target, theirs=theirs, disk_bytes=disk_bytes))
    return rows


def waits(label: str, ratios: Sequence[float | None]) -> Iterator[Row]:
    for percentile, ratio in zip(("p50", "p99", "p99.9"), ratios, strict=True):
        target = None if ratio is None else Target(ratio)
        yield Row(f"{label}, {percentile}", percentile, "ms", Better.LOWER, target)


PRODUCED = (
    Measure(
        "produce-1k",
        3,
        partial(producing.rdkafka, records=PRODUCED_RECORDS, record_bytes=KB),
        taken("produce 1 KB, librdkafka", "MB/s", 1.5, 1.5, 3 * MB),
        f"{PRODUCED_RECORDS:,} records, 6 partitions, librdkafka's defaults (batches of up to 1 MB, linger 5 ms)",
    ),
    Measure(
        "produce-java-1",
        3,
        partial(producing.java, records=JAVA_RECORDS, record_bytes=KB, partitions=1),
        taken("produce 1 KB, Java, 1 partition", "records/s", 2.0, 3.0, 3 * KB),
        f"{JAVA_RECORDS:,} records, ProducerPerformance, its defaults (batches of 16 KB)",
    ),
    Measure(
        "produce-java-6",
        3,
        partial(producing.java, records=JAVA_RECORDS, record_bytes=KB, partitions=6),
        taken("produce 1 KB, Java, 6 partitions", "records/s", 2.0, 3.0, 3 * KB),
        f"{JAVA_RECORDS:,} records, ProducerPerformance, its defaults (batches of 16 KB)",
    ),
    Measure(
        "produce-100",
        3,
        partial(producing.rdkafka, records=SMALL_RECORDS, record_bytes=100),
        taken("produce 100 B, librdkafka", "records/s", 1.2, None, 3 * 100),
        f"{SMALL_RECORDS:,} records, 6 partitions, librdkafka's defaults",
    ),
)

READ = (
    Measure(
        "consume-1k",
        3,
        partial(consuming.java, records=PRODUCED_RECORDS, record_bytes=KB, partitions=6),
        (Row("consume 1 KB, Java", "MB/s", "MB/s", Better.HIGHER, Target(1.0)),),
        f"{PRODUCED_RECORDS:,} records, 6 partitions, ConsumerPerformance, its defaults, without its group's rebalance",
    ),
    Measure(
        "consume-rdkafka",
        3,
        partial(consuming.group, records=PRODUCED_RECORDS, record_bytes=KB, partitions=6, members=1),
        (
            Row("consume 1 KB, librdkafka", "MB/s", "MB/s", Better.HIGHER),
            Row("… CPU of all nodes", "CPU s/GB", "s/GB", Better.LOWER, Target(0.5)),
        ),
        f"{PRODUCED_RECORDS:,} records, 6 partitions, librdkafka with fetch.queue.backoff.ms="
        f"{consuming.QUEUE_BACKOFF_MS} (by default it mostly waits), from when it has joined its group",
    ),
)

ALONE = (
    Measure(
        "alone-java",
        1,
        partial(producing.java, records=2 * JAVA_RECORDS, record_bytes=KB, partitions=1),
        taken("one node: produce 1 KB, Java", "records/s", 2.0, None, KB, flushing=False),
        f"{2 * JAVA_RECORDS:,} records, ProducerPerformance, 1 partition",
    ),
    Measure(
        "alone-produce",
        1,
        partial(producing.rdkafka, records=PRODUCED_RECORDS, record_bytes=KB),
        taken("one node: produce 1 KB, librdkafka", "MB/s", 1.5, None, MB, flushing=False),
        f"{PRODUCED_RECORDS:,} records, 6 partitions",
    ),
    Measure(
        "alone-consume",
        1,
        partial(consuming.java, records=PRODUCED_RECORDS, record_bytes=KB, partitions=6),
        (Row("one node: consume 1 KB, Java", "MB/s", "MB/s", Better.HIGHER, Target(1.0)),),
        f"{PRODUCED_RECORDS:,} records, ConsumerPerformance",
    ),
)

TUTORIAL = (
    Measure(
        "tutorial-produce",
        3,
        partial(
            producing.java,
            records=TUTORIAL_RECORDS,
            record_bytes=TUTORIAL_BYTES,
            partitions=3,
            throughput=TUTORIAL_LIMIT,
        ),
        taken("tutorial: produce 102,400 B, Java", "MB/s", 2.0, None, 3 * MB),
        f"{TUTORIAL_RECORDS:,} records, 3 partitions, ProducerPerformance --throughput {TUTORIAL_LIMIT}",
    ),
    Measure(
        "tutorial-consume",
        3,
        partial(consuming.java, records=TUTORIAL_RECORDS, record_bytes=TUTORIAL_BYTES, partitions=3),
        (Row("tutorial: consume 102,400 B, Java", "MB/s", "MB/s", Better.HIGHER, Target(1.0)),),
        f"{TUTORIAL_RECORDS:,} records, 3 partitions, ConsumerPerformance",
    ),
    Measure(
        "tutorial-group",
        3,
        partial(consuming.group, records=TUTORIAL_RECORDS, record_bytes=TUTORIAL_BYTES, partitions=10, members=10),
        (Row("tutorial: consume 102,400 B, group of ten", "MB/s", "MB/s", Better.HIGHER, Target(1.0)),),
        f"{TUTORIAL_RECORDS:,} records, 10 partitions, ten processes on librdkafka, set alike, that begin together",
    ),
)

WAITED = (
    Measure(
        "end-to-end",
        3,
        partial(waiting.end_to_end, seconds=60.0, record_bytes=100),
        tuple(waits("end to end, 1,000 records/s", (1.2, 0.7, 0.7))),
        "60 s after 5 s, 100 B, 1 partition, librdkafka with linger.ms=0, from the moment when a record was due",
    ),
    Measure(
        "one-by-one",
        3,
        partial(waiting.one_by_one, records=10_000, record_bytes=100),
        tuple(waits("end to end, one by one, Java", (None, None, None))),
        "10,000 records, EndToEndLatency, in whole ms",
    ),
)

OWN_CLUSTERS = (
    *(
        Measure(
            f"start-{nodes}",
            nodes,
            starts.new_cluster,
            (
                Row(
                    f"exec to first acknowledged record, {'one node' if nodes == 1 else 'three nodes'}",
                    "s",
                    "s",
                    Better.LOWER,
                    Target(limit, absolute=True),
                ),
            ),
            "formatted and compiled before; from the exec of the last node; the client tries every 10 ms",
            own_start=True,
        )
        for nodes, limit in ((1, 0.5), (3, 1.2))
    ),
    Measure(
        "failover-kill",
        3,
        waiting.killed,
        (Row("kill -9 of the leader: longest wait", "longest, s", "s", Better.LOWER, Target(1.2, absolute=True)),),
        "200 records/s, 6 partitions, librdkafka's defaults; the node leads the quorum and partitions",
        own_cluster=True,
    ),
    Measure(
        "failover-stop",
        3,
        waiting.paused,
        (Row("SIGSTOP of the leader: longest wait", "longest, s", "s", Better.LOWER, Target(4.0, absolute=True)),),
        "the same, with socket.timeout.ms=1000: by default librdkafka waits 60 s for an answer that is on its way",
        own_cluster=True,
    ),
    Measure(
        "partitions-1000",
        3,
        partitions.thousand,
        (
            Row("1,000 partitions × 3: created", "created, s", "s", Better.LOWER),
            Row("… and all in sync", "in sync, s", "s", Better.LOWER, Target(0.2)),
            Row("… and a record in each", "written, s", "s", Better.LOWER, Target(0.2)),
        ),
        "librdkafka; in sync as the metadata of a node says; one record to each partition at once, acks=all",
        own_cluster=True,
    ),
    Measure(
        "rest",
        3,
        resting.rest,
        (
            Row("RssAnon of a node, idle", "RssAnon idle, MB", "MB", Better.LOWER, Target(50.0, absolute=True)),
            Row("… after a load", "RssAnon after, MB", "MB", Better.LOWER, Target(100.0, absolute=True)),
            Row("CPU at rest, a node", "CPU, %", "% of a core", Better.LOWER, Target(1.0, absolute=True)),
        ),
        f"the most of three nodes; idle for 60 s after 15 s; the load is {resting.RECORDS:,} of 1 KB, in and out",
        own_cluster=True,
    ),
    Measure(
        "partitions-10000",
        1,
        partitions.ten_thousand,
        (
            Row("10,000 partitions on one node: start to first record", "start, s", "s", Better.LOWER, Target(0.5)),
            Row("… RssAnon", "RssAnon idle, MB", "MB", Better.LOWER, Target(0.5)),
            Row("… CPU at rest", "CPU, %", "% of a core", Better.LOWER, Target(2.0, absolute=True)),
        ),
        "ten topics without records; stopped by SIGTERM, and started",
        own_cluster=True,
    ),
    Measure(
        "connections",
        3,
        connections.many,
        (
            *taken(
                "500 busy and 1,000 idle connections",
                "requests/s",
                1.0,
                None,
                3 * connections.REQUEST_BYTES,
                flushing=False,
            ),
            Row("… kept of the throughput of 8", "kept", "share", Better.HIGHER, Target(0.8, absolute=True)),
        ),
        "Produce requests of 16 KB, 6 partitions, acks=all, one at a time on each connection; 10 s after 5 s",
    ),
)

MEASURES: tuple[Measure, ...] = (*PRODUCED, *READ, *ALONE, *TUTORIAL, *WAITED, *OWN_CLUSTERS)
"""In the order of the table."""
