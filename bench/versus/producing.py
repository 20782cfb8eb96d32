"""How many records a cluster takes: librdkafka (through confluent-kafka), and Java's producer in Kafka's perf tool."""

from bench.versus import perf_tools
from bench.versus.rows import Figures
from bench.versus.stage import Stage

PARTITIONS = 6


def rdkafka(stage: Stage, records: int, record_bytes: int, partitions: int = PARTITIONS) -> Figures:
    """With librdkafka's defaults (batches of up to 1 MB, linger of 5 ms) and acks=all."""
    count = stage.records(records, record_bytes)
    topic = stage.topic(partitions)
    stage.settle()
    settings = {"bootstrap.servers": stage.bootstrap, "acks": "all"}
    asked = {"topic": topic, "settings": settings, "record_bytes": record_bytes, "records": count, "sync": False}
    found = stage.run("rdkafka_produce", **asked)
    stage.filled[(partitions, count, record_bytes)] = topic
    per_s = found["records"] / found["seconds"]
    return {"records/s": per_s, "MB/s": per_s * record_bytes / 1e6}


def java(stage: Stage, records: int, record_bytes: int, partitions: int, throughput: int = -1) -> Figures:
    """ProducerPerformance with its defaults (batches of 16 KB) and acks=all."""
    count = stage.records(records, record_bytes)
    topic = stage.topic(partitions)
    stage.settle()
    arguments = perf_tools.producing(stage.bootstrap, topic, count, record_bytes, throughput)
    per_s = perf_tools.records_per_s(stage.java("ProducerPerformance", *arguments), count)
    stage.filled[(partitions, count, record_bytes)] = topic
    return {"records/s": per_s, "MB/s": per_s * record_bytes / 1e6}
