"""aiokafka against three real nodes: producing, consuming by assignment, administration."""

import asyncio
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from kraftpy.testing import Cluster

MakeTopic = Callable[..., str]


@pytest.mark.parametrize("is_idempotent", [True, False])
def test_records_come_back(cluster: Cluster, topic: MakeTopic, is_idempotent: bool) -> None:
    name = topic(2)

    async def scenario() -> None:
        async with AIOKafkaProducer(
            bootstrap_servers=cluster.kafka_bootstrap, acks="all", enable_idempotence=is_idempotent
        ) as producer:
            delivered = [await producer.send(name, str(n).encode(), partition=n % 2) for n in range(50)]
            assert [(await each).offset for each in delivered] == [n // 2 for n in range(50)]
        partitions = [TopicPartition(name, 0), TopicPartition(name, 1)]
        async with AIOKafkaConsumer(
            bootstrap_servers=cluster.kafka_bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
        ) as consumer:
            consumer.assign(partitions)
            values = sorted([int((await consumer.getone()).value) for _ in range(50)])
            assert values == list(range(50))
            consumer.seek(partitions[1], 20)
            async with asyncio.timeout(20):
                while (record := await consumer.getone()).partition != 1:
                    pass
            assert record.offset == 20
            assert await consumer.end_offsets(partitions) == dict.fromkeys(partitions, 25)

    asyncio.run(scenario())


def test_administration(cluster: Cluster) -> None:
    async def scenario() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=cluster.kafka_bootstrap)
        await admin.start()
        try:
            created = await admin.create_topics([NewTopic("by-aiokafka", 2, 3)])
            assert [each[1] for each in created.topic_errors] == [0]
            again = await admin.create_topics([NewTopic("by-aiokafka", 2, 3)])
            assert for_code(again.topic_errors[0][1]) is TopicAlreadyExistsError
            async with asyncio.timeout(20):  # another node may hear of it a moment later
                while len((await admin.describe_topics(["by-aiokafka"]))[0]["partitions"]) != 2:
                    pass
            topic, names = ConfigResource(ConfigResourceType.TOPIC, "by-aiokafka"), []
            async with asyncio.timeout(20):  # likewise
                while "retention.ms" not in names:
                    (configs,) = await admin.describe_configs([topic])
                    names = [entry[0] for entry in configs.resources[0][4]]
            await admin.delete_topics(["by-aiokafka"])
            async with asyncio.timeout(20):
                while "by-aiokafka" in await admin.list_topics():
                    pass
            assert len((await admin.describe_cluster())["brokers"]) == 3
        finally:
            await admin.close()

    asyncio.run(scenario())
