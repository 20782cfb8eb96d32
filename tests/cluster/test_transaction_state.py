"""A cluster whose transaction log may not be written: a clear word, and it goes on once the others are back."""

from kraftpy.testing import Cluster
from tests.kafka.clients.waiting import wait_until


def test_min_isr_above_the_living_brokers() -> None:
    from confluent_kafka import KafkaError, KafkaException, Producer

    with Cluster(nodes=3, config={"transaction.state.log.min.isr": 3, "broker.session.timeout.ms": 2_000}) as cluster:
        cluster.admin.create_topic("a", partitions=1, replication_factor=3)

        def initialised(name: str, timeout_s: float) -> Producer:
            producer = Producer({"bootstrap.servers": cluster.kafka_bootstrap, "transactional.id": name})
            producer.init_transactions(timeout_s)
            return producer

        producer = initialised("before", 20)
        cluster.kill(3)
        wait_until(lambda: cluster.admin.cluster_health().fenced_brokers == (3,))
        refused = None
        try:
            initialised("meanwhile", 3)
        except KafkaException as error:
            refused = error.args[0]
        assert isinstance(refused, KafkaError) and refused.retriable()
        cluster.start(3)
        initialised("afterwards", 30)
        producer.begin_transaction()
        producer.produce("a", b"1")
        producer.commit_transaction(20)
