"""compression.type as a topic or all brokers set it while they run: the leader acts by it, and followers copy."""

from functools import partial

from broker.metadata.records import DEFAULT_BROKER, topic_resource
from kraftpy.record import Compression, iterate_headers
from tests.replication.cluster import TOPIC, Cluster, play


def kept_as(cluster: Cluster, node_id: int) -> list[Compression]:
    log = cluster.replica(node_id).log
    data = log.read_bytes(0, 10**6, log.end_offset)
    return [header.compression for _, header in iterate_headers(data)]


def is_told(cluster: Cluster, compression_type: str) -> bool:
    return cluster.replica(1).log.config.compression_type == compression_type


def test_it_is_followed_while_brokers_run() -> None:
    async def story(cluster: Cluster) -> None:
        for broker in cluster.brokers.values():
            del broker.replicas._hosting._config_of  # the one that gives every log the test's own settings
        await cluster.produce(1)
        for resource, name, value, expected in (
            (topic_resource(TOPIC), "compression.type", "zstd", "zstd"),
            (DEFAULT_BROKER, "compression.type", "gzip", "zstd"),
            (topic_resource(TOPIC), "compression.type", None, "gzip"),
            (DEFAULT_BROKER, "compression.type", None, "producer"),
        ):
            cluster.controller.configure(resource, name, value)
            await cluster.until(partial(is_told, cluster, expected))
            await cluster.produce(1)
        codecs = [Compression.NONE, Compression.ZSTD, Compression.ZSTD, Compression.GZIP, Compression.NONE]
        await cluster.until(lambda: cluster.replica(3).log.end_offset == cluster.replica(1).log.end_offset)
        for node_id in (1, 2, 3):
            assert kept_as(cluster, node_id) == codecs

    play(story)
