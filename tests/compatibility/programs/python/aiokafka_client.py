"""aiokafka, all capabilities; each attempt in an event loop of its own."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    TopicPartition,
)
from aiokafka.admin import (
    AIOKafkaAdminClient,
    NewPartitions,
    NewTopic,
    RecordsToDelete,
)
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import InvalidPartitionsError, UnknownTopicOrPartitionError, for_code
from aiokafka.structs import OffsetAndMetadata

from tests.compatibility.programs.python.sharing import return_as_static, share
from tests.compatibility.programs.python.telling import (
    PATIENCE_S,
    Attempt,
    check,
    check_all_once_in_order,
    check_equal,
    keyed_records,
    tell,
)

Keyed = Sequence[tuple[bytes | None, bytes]]


@asynccontextmanager
async def started(client: Any) -> AsyncIterator[Any]:
    """A client for as long as it is used."""
    await client.start()
    try:
        yield client
    finally:
        await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())


async def produce(bootstrap: str, topic: str, values: Keyed, **options: Any) -> None:
    async with started(AIOKafkaProducer(bootstrap_servers=bootstrap, **options)) as producer:
        sent = [await producer.send(topic, value, key=key) for key, value in values]
        await asyncio.wait_for(asyncio.gather(*sent), PATIENCE_S)


async def read(bootstrap: str, topic: str, count: int, partitions: int = 1, **options: Any) -> list[Any]:
    """So many records from the start, and none after them within half a second."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", **options)
    async with started(consumer):
        consumer.assign([TopicPartition(topic, partition) for partition in range(partitions)])
        await consumer.seek_to_beginning()
        records: list[Any] = []
        deadline = time.monotonic() + PATIENCE_S
        while len(records) < count:
            check(time.monotonic() < deadline, f"{len(records)} of {count} records read")
            records += await polled(consumer, 250)
        records += await polled(consumer, 500)
        check_equal(len(records), count, "records")
        return records


async def polled(consumer: Any, timeout_ms: int) -> list[Any]:
    found = await consumer.getmany(timeout_ms=timeout_ms)
    return [record for records in found.values() for record in records]


async def until(look: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not await look():
        check(time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {what}")
        await asyncio.sleep(0.1)


async def produce_consume(bootstrap: str, name: str) -> str:
    sent: Keyed = keyed_records(100)
    await produce(bootstrap, name, sent, acks="all")
    records = await read(bootstrap, name, 100, partitions=3)
    check_all_once_in_order([(record.partition, record.value) for record in records], [value for _, value in sent])
    return ""


async def headers(bootstrap: str, name: str) -> str:
    sent = [("trace", b"\x00\xff"), ("kind", b"first"), ("kind", "zweites ü".encode())]
    async with started(AIOKafkaProducer(bootstrap_servers=bootstrap)) as producer:
        await producer.send_and_wait(name, b"value", headers=sent)
    check_equal(list((await read(bootstrap, name, 1))[0].headers), sent, "headers")
    return ""


async def compression(bootstrap: str, name: str) -> str:
    codecs = ["gzip", "snappy", "lz4", "zstd"]
    sent: list[bytes] = []
    for codec in codecs:
        values = [f"{codec}-{number}-".encode() + b"x" * 200 for number in range(50)]
        await produce(bootstrap, name, [(None, value) for value in values], compression_type=codec, linger_ms=20)
        sent += values
    check_equal([record.value for record in await read(bootstrap, name, len(sent))], sent, "values")
    return ", ".join(codecs)


async def idempotence(bootstrap: str, name: str) -> str:
    values = [b"%05d" % number for number in range(300)]
    keyed: Keyed = [(None, value) for value in values]
    await produce(bootstrap, name, keyed, enable_idempotence=True, max_batch_size=200)
    check_equal([record.value for record in await read(bootstrap, name, 300)], values, "values")
    return ""


class GroupMember:
    """A subscribed consumer that a blocking caller polls; its loop runs only meanwhile."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bootstrap: str, name: str, **options: Any) -> None:
        self.assignments = 0
        self._loop = loop
        self._bootstrap, self._name, self._options = bootstrap, name, options
        self._consumer = loop.run_until_complete(self._start())

    async def _start(self) -> Any:
        member = self

        class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
            async def on_partitions_assigned(self, assigned: Any) -> None:
                member.assignments += 1

            async def on_partitions_revoked(self, revoked: Any) -> None: ...

        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=self._name,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            heartbeat_interval_ms=500,
            session_timeout_ms=20_000,
            partition_assignment_strategy=[RangePartitionAssignor],
            **self._options,
        )
        consumer.subscribe([self._name], listener=Listener())
        # `start` returns when the first assignment is there, and that takes the other member's hands
        self._starting = asyncio.ensure_future(consumer.start())
        return consumer

    def poll(self) -> list[bytes]:
        return [record.value for record in self._loop.run_until_complete(self._poll())]

    async def _poll(self) -> list[Any]:
        await asyncio.wait([self._starting], timeout=0.25)
        if not self._starting.done():
            return []
        self._starting.result()
        return await polled(self._consumer, 250)

    def partitions(self) -> set[int]:
        return {assigned.partition for assigned in self._consumer.assignment()}

    def commit(self) -> None:
        self._loop.run_until_complete(self._consumer.commit())

    def close(self) -> None:
        self._loop.run_until_complete(self._close())

    async def _close(self) -> None:
        await asyncio.wait([self._starting], timeout=PATIENCE_S)
        with suppress(asyncio.CancelledError):  # what `stop` raises where a fetch waits to be tried again
            await self._consumer.stop()


def group_eager(bootstrap: str, name: str) -> str:
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        return share(
            lambda: GroupMember(loop, bootstrap, name),
            lambda values: loop.run_until_complete(produce(bootstrap, name, [(None, value) for value in values])),
        )


def group_static(bootstrap: str, name: str) -> str:
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        return return_as_static(lambda instance: GroupMember(loop, bootstrap, name, group_instance_id=instance))


async def transactions(bootstrap: str, name: str) -> str:
    partition = TopicPartition(name, 0)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{name}-id")
    async with started(producer):
        for number in range(3):
            await producer.begin_transaction()
            sent = [await producer.send(name, b"transaction-%d" % number, partition=0) for _ in range(10)]
            await asyncio.gather(*sent)
            if number == 1:
                await producer.abort_transaction()
                continue
            if number == 2:
                await producer.send_offsets_to_transaction({partition: OffsetAndMetadata(7, "noted")}, name)
            await producer.commit_transaction()
    committed = await read(bootstrap, name, 20, isolation_level="read_committed")
    check_equal({record.value for record in committed}, {b"transaction-0", b"transaction-2"}, "committed values")
    await read(bootstrap, name, 30, isolation_level="read_uncommitted")
    async with started(AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=name)) as consumer:
        consumer.assign([partition])

        async def look() -> bool:
            return bool(await consumer.committed(partition) == 7)

        await until(look, "the group's offset is 7")
    return ""


def check_codes(rows: Sequence[Sequence[Any]]) -> None:
    """Rows of name, code, … as aiokafka's admin hands them on. Raises the client's own error."""
    for row in rows:
        if row[1]:
            raise for_code(row[1])(str(row))


async def admin_topics(bootstrap: str, name: str) -> str:
    wanted = NewTopic(name, 2, 3, topic_configs={"retention.ms": "123456"})
    async with started(AIOKafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        check_codes((await admin.create_topics([wanted])).topic_errors)

        async def listed() -> bool:
            return name in await admin.list_topics()

        await until(listed, "it is listed")

        async def replicated() -> bool:
            described = (await admin.describe_topics([name]))[0]
            return [len(partition["replicas"]) for partition in described["partitions"]] == [3, 3]

        await until(replicated, "two partitions of three replicas show on the node that is asked next")

        async def configured() -> bool:
            try:
                return (await setting_of(admin, name, "retention.ms"))[0] == "123456"
            except UnknownTopicOrPartitionError:
                return False

        await until(configured, "its retention.ms shows on the node that is asked after that")
        again = (await admin.create_topics([wanted])).topic_errors[0]
        check_equal(again[1], 36, "the code for a second one")
        check_codes((await admin.delete_topics([name])).topic_error_codes)

        async def gone() -> bool:
            return name not in await admin.list_topics()

        await until(gone, "it is gone")
    return ""


async def setting_of(admin: Any, topic: str, setting: str) -> tuple[str, int]:
    """Its value and the code of where that comes from."""
    described = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    code, message, _, _, entries = described[0].resources[0]
    if code:
        raise for_code(code)(message)
    return next((str(entry[1]), int(entry[3])) for entry in entries if entry[0] == setting)


async def admin_configs(bootstrap: str, name: str) -> str:
    async with started(AIOKafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        check_equal(await setting_of(admin, name, "retention.ms"), ("604800000", 5), "before")
        changed = {"retention.ms": "3600000"}
        answers = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=changed)])
        check_equal(answers[0].resources[0][0], 0, "the code")

        async def look() -> bool:
            return await setting_of(admin, name, "retention.ms") == ("3600000", 1)

        await until(look, "the new value shows")
    return "AlterConfigs, which replaces all of a topic's settings"


async def admin_partitions(bootstrap: str, name: str) -> str:
    async with started(AIOKafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        await admin.create_partitions({name: NewPartitions(4)})

        async def look() -> bool:
            return len((await admin.describe_topics([name]))[0]["partitions"]) == 4

        await until(look, "4 partitions")
        try:
            await admin.create_partitions({name: NewPartitions(2)})
            raise AssertionError("it could be made smaller")
        except InvalidPartitionsError:
            return ""


async def offsets_by_time(bootstrap: str, name: str) -> str:
    first_ms = int(time.time() * 1000) - 60_000
    async with started(AIOKafkaProducer(bootstrap_servers=bootstrap)) as producer:
        for number in range(10):
            await producer.send_and_wait(name, b"%d" % number, timestamp_ms=first_ms + 1000 * number)
    partition = TopicPartition(name, 0)
    async with started(AIOKafkaConsumer(bootstrap_servers=bootstrap)) as consumer:
        found = (await consumer.offsets_for_times({partition: first_ms + 4_500}))[partition]
        check_equal((found.offset, found.timestamp), (5, first_ms + 5_000), "offset and time")
        late = (await consumer.offsets_for_times({partition: first_ms + 20_000}))[partition]
        check(late is None, f"an offset after all: {late}")
    return ""


async def delete_records(bootstrap: str, name: str) -> str:
    await produce(bootstrap, name, [(None, b"%d" % number) for number in range(10)], acks="all")
    partition = TopicPartition(name, 0)
    async with started(AIOKafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        check_equal(await admin.delete_records({partition: RecordsToDelete(4)}), {partition: 4}, "the answer")
    async with started(AIOKafkaConsumer(bootstrap_servers=bootstrap)) as consumer:
        check_equal((await consumer.beginning_offsets([partition]))[partition], 4, "the earliest offset")
    check_equal([record.offset for record in await read(bootstrap, name, 6)], [4, 5, 6, 7, 8, 9], "offsets")
    return ""


def in_a_loop(attempt: Callable[[str, str], Any]) -> Attempt:
    def run(bootstrap: str, name: str) -> str:
        note: str = asyncio.run(attempt(bootstrap, name))
        return note

    return run


ATTEMPTS: dict[str, Attempt] = {
    "produce-consume": in_a_loop(produce_consume),
    "headers": in_a_loop(headers),
    "compression": in_a_loop(compression),
    "idempotence": in_a_loop(idempotence),
    "group-eager": group_eager,
    "group-static": group_static,
    "transactions": in_a_loop(transactions),
    "admin-topics": in_a_loop(admin_topics),
    "admin-configs": in_a_loop(admin_configs),
    "admin-partitions": in_a_loop(admin_partitions),
    "offsets-by-time": in_a_loop(offsets_by_time),
    "delete-records": in_a_loop(delete_records),
}

if __name__ == "__main__":
    tell(ATTEMPTS)
