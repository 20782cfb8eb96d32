"""The producer rows of the two tutorials (P01-P20), each by its id."""

import asyncio
import struct
from typing import Any

import pytest

from kraftpy.aio import Producer
from kraftpy.client.addresses import parse_bootstrap
from kraftpy.client.config import ProducerConfig
from kraftpy.client.values import ProducerRecord, RecordMetadata
from kraftpy.errors import ClosedError, ConfigurationError, KraftpyError, SerializationError
from kraftpy.runtime.ports import Address
from tests.client.fake_broker import FakeCluster
from tests.client.support import producer, run


def one_topic(partitions: int = 3) -> FakeCluster:
    cluster = FakeCluster(3)
    cluster.create("lines", partitions)
    return cluster


def test_p01_close_drains_and_may_be_repeated() -> None:
    async def story() -> None:
        cluster = one_topic()
        sender = producer(cluster, linger_ms=60_000)
        delivery = await sender.send("lines", b"last", partition=0)
        await sender.close()
        await sender.close()
        assert delivery.result().offset == 0
        with pytest.raises(ClosedError):
            await sender.send("lines", b"too late")

    run(story)


def test_p01_close_fails_what_it_cannot_deliver_in_time() -> None:
    async def story() -> None:
        cluster = one_topic()
        sender = producer(cluster)
        await (await sender.send("lines", b"first", partition=0))
        cluster.silent |= {1, 2, 3}
        delivery = await sender.send("lines", b"stuck", partition=0)
        started = asyncio.get_running_loop().time()
        await sender.close(timeout=2)
        assert asyncio.get_running_loop().time() - started == pytest.approx(2, abs=0.1)
        assert isinstance(delivery.exception(), ClosedError)

    run(story)


def test_p01_a_with_that_fails_still_delivers_and_hides_nothing() -> None:
    async def story() -> None:
        cluster = one_topic()
        with pytest.raises(LookupError, match="the user's"):
            async with producer(cluster, linger_ms=60_000) as sender:
                await sender.send("lines", b"sent before", partition=0)
                raise LookupError("the user's")
        assert cluster.values("lines") == [b"sent before"]

    run(story)


def test_p01_a_with_that_ends_well_tells_of_failures() -> None:
    async def story() -> None:
        cluster = one_topic()
        cluster.max_message_bytes = 10
        with pytest.raises(KraftpyError, match="larger"):
            async with producer(cluster) as sender:
                await sender.send("lines", b"too large for this topic", partition=0)

    run(story)


def test_p02_interceptors_then_serializers_then_partitioner_then_accumulator() -> None:
    steps: list[str] = []

    class Interceptor:
        def on_send(self, record: ProducerRecord) -> ProducerRecord:
            steps.append("interceptor")
            return record._replace(value=record.value + 1)

        def on_acknowledgement(self, metadata: RecordMetadata | None, error: KraftpyError | None) -> None:
            steps.append("acknowledged")

        def close(self) -> None:
            steps.append("closed")

    def serialize_key(value: str) -> bytes:
        steps.append("key")
        return value.encode()

    def serialize_value(value: int) -> bytes:
        steps.append("value")
        return str(value).encode()

    def choose(topic: str, key: bytes | None, value: bytes | None, partitions: int) -> int:
        steps.append("partitioner")
        assert (topic, key, value, partitions) == ("lines", b"k", b"42", 3)
        return 2

    async def story() -> None:
        cluster = one_topic()
        async with producer(
            cluster,
            interceptors=[Interceptor()],
            key_serializer=serialize_key,
            value_serializer=serialize_value,
            partitioner=choose,
        ) as sender:
            await (await sender.send("lines", 41, key="k", on_delivery=lambda *_: steps.append("callback")))
        assert cluster.values("lines", 2) == [b"42"]

    run(story)
    assert steps == ["interceptor", "key", "value", "partitioner", "acknowledged", "callback", "closed"]


def test_p02_an_interceptor_that_fails_does_not_stop_the_record(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def on_send(self, record: ProducerRecord) -> ProducerRecord:
            raise RuntimeError("mine")

        def on_acknowledgement(self, metadata: RecordMetadata | None, error: KraftpyError | None) -> None:
            raise RuntimeError("mine too")

    async def story() -> None:
        cluster = one_topic()
        async with producer(cluster, interceptors=[Broken()]) as sender:
            await (await sender.send("lines", b"x", partition=0))

    run(story)
    assert "on_send of" in caplog.text
    assert "on_acknowledgement of" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "a:9093,b:9193",
        " a:9093 , b:9193 ,",
        ["a:9093", " b:9193"],
        ["a:9093,b:9193", ""],
        ("a:9093", "b:9193", "a:9093"),
    ],
)
def test_p03_bootstrap_takes_lists_with_blanks(text: Any) -> None:
    assert parse_bootstrap(text) == (Address("a", 9093), Address("b", 9193))


@pytest.mark.parametrize("text", ["", " , ", "a", "a:", ":9093", "a:port", "a:0", "a:65536", "a:９０９３", [1], []])
def test_p03_bootstrap_refuses_what_is_no_address(text: Any) -> None:
    with pytest.raises(ConfigurationError):
        Producer(text)


def test_p03_a_bracketed_address_is_version_six() -> None:
    assert parse_bootstrap("[::1]:9093") == (Address("::1", 9093),)


def test_p03_dead_first_entries_are_skipped() -> None:
    async def story() -> None:
        cluster = one_topic()
        for seed in range(4):
            async with producer(cluster, bootstrap=f"10.9.9.9:1, 10.9.9.8:1,{cluster.nodes[3]}") as sender:
                assert (await (await sender.send("lines", b"x", partition=0))).offset == seed

    run(story)


def test_p04_dotted_names() -> None:
    config = {
        "bootstrap.servers": "a:9093, b:9193",
        "client.id": "web",
        "key.serializer": "org.apache.kafka.common.serialization.StringSerializer",
        "value.serializer": "json",
        "batch.size": "1000",
        "max.in.flight.requests.per.connection": 3,
        "enable.idempotence": "true",
        "compression.type": "ZSTD",
    }
    known = ProducerConfig.from_dotted(config)
    assert (known.batch_size, known.max_in_flight, known.enable_idempotence) == (1_000, 3, True)
    assert (known.client_id, known.compression_type, len(known.addresses)) == ("web", "zstd", 2)
    Producer.from_config(config)


def test_librdkafkas_name_of_the_nodes_is_answered_with_kafkas() -> None:
    for name in ("metadata.broker.list", "metadata_broker_list"):
        with pytest.raises(ConfigurationError, match=r"did you mean 'bootstrap\.servers'"):
            ProducerConfig.from_dotted({name: "a:9092"})


def test_a_setting_of_security_that_asks_for_none_is_accepted() -> None:
    assert ProducerConfig.from_dotted({"security.protocol": "PLAINTEXT"}) == ProducerConfig()
    assert ProducerConfig.from_keywords({"security_protocol": "plaintext"}) == ProducerConfig()
    for other in ("SSL", "SASL_PLAINTEXT", ""):
        with pytest.raises(ConfigurationError, match="later release"):
            ProducerConfig.from_dotted({"security.protocol": other})


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"linger.m": 1}, "did you mean 'linger.ms'"),
        ({"acks": "most"}, "must be all"),
        ({"batch.size": "big"}, "whole number"),
        ({"batch.size": 0}, "between 1 and 62914560"),
        ({"batch.size": 100_000_000}, "between 1 and 62914560"),
        ({"linger.ms": -1}, "at least 0"),
        ({"linger.ms": 120_000}, "linger_ms=120000 must be below delivery_timeout_ms=120000"),
        ({"linger.ms": 3_000, "delivery.timeout.ms": 1_000}, "must be below delivery_timeout_ms=1000"),
        ({"request.timeout.ms": 2**31}, "between 1 and 2147483647"),
        ({"transaction.timeout.ms": 2**31}, "between 1 and 2147483647"),
        ({"transactional.id": 5}, "must be text, not int"),
        ({"client.id": "\ud800"}, "no message can carry this"),
        ({"compression.type": "rar"}, "one of none, gzip"),
        ({"transactional.id": ""}, "transactional_id is empty"),
        ({"transactional.id": "t", "acks": "1"}, "transactional_id is set, so acks must be all"),
        ({"transactional.id": "t", "enable.idempotence": "false"}, "must not be off"),
        ({"max.in.flight": 1, "max.in.flight.requests.per.connection": 2}, "twice"),
        ({"enable.idempotence": "perhaps"}, "true or false"),
        ({"value.serializer": "yaml"}, "serializer 'yaml'"),
        ({"partitioner.class": "nearest"}, "partitioner 'nearest'"),
    ],
)
def test_p04_settings_that_cannot_be_are_refused(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        Producer.from_config({"bootstrap.servers": "a:9093", **config})


def test_p04_keywords_are_refused_with_the_nearest_too() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'linger_ms'"):
        Producer("a:9093", lingerms=1)  # type: ignore[call-arg]


def test_p05_client_id_travels() -> None:
    async def story() -> None:
        cluster = one_topic()
        async with producer(cluster, client_id="producer.client.id.demo") as sender:
            await (await sender.send("lines", b"x"))
        assert {request.client_id for request in cluster.produced} == {"producer.client.id.demo"}

    run(story)


@pytest.mark.parametrize(
    ("name", "value", "data"),
    [
        ("int", 258, b"\x00\x00\x01\x02"),
        ("int", -1, b"\xff\xff\xff\xff"),
        ("long", 1, b"\x00\x00\x00\x00\x00\x00\x00\x01"),
        ("double", 1.5, struct.pack(">d", 1.5)),
        ("str", "žluť", "žluť".encode()),
        ("json", {"id": 1, "ž": [None, True]}, '{"id":1,"ž":[null,true]}'.encode()),
        ("bytes", b"\x00\x01", b"\x00\x01"),
        ("bytes", "text", b"text"),
        ("bytes", bytearray(b"ab"), b"ab"),
        (lambda value: f"<{value}/>".encode(), "xml", b"<xml/>"),
        ("org.apache.kafka.common.serialization.IntegerSerializer", 1, b"\x00\x00\x00\x01"),
        ("int", None, None),
    ],
)
def test_p06_p07_serializers(name: Any, value: Any, data: bytes | None) -> None:
    async def story() -> None:
        cluster = one_topic()
        async with producer(cluster, value_serializer=name) as sender:
            await sender.send("lines", value, partition=0)
        assert [record.value for record in cluster.partition("lines").records()] == [data]

    run(story)


def test_p07_a_serializer_may_be_an_object_that_sees_the_topic() -> None:
    class Avro:
        def serialize(self, topic: str, value: Any) -> bytes:
            return f"{topic}:{value}".encode()

    async def story() -> None:
        cluster = one_topic()
        async with producer(cluster, key_serializer=Avro()) as sender:
            await sender.send("lines", b"v", key=1, partition=0)
        assert cluster.partition("lines").records()[0].key == b"lines:1"

    run(story)


@pytest.mark.parametrize(("name", "value"), [("int", "1"), ("int", 2**31), ("str", b"x"), ("json", {1}), (None, 1)])
def test_p06_a_value_that_does_not_fit_names_its_topic(name: Any, value: Any) -> None:
    async def story() -> None:
        async with producer(one_topic(), value_serializer=name) as sender:
            with pytest.raises(SerializationError, match="lines: the value cannot be serialized"):
                await sender.send("lines", value)

    run(story)


@pytest.mark.parametrize("headers", [[("a",)], [(1, b"x")], [("a", 1)], ["ab c"], [("", None)] * 500_001])
def test_p08_headers_that_are_none_are_refused(headers: Any) -> None:
    async def story() -> None:
        async with producer(one_topic()) as sender:
            with pytest.raises(SerializationError):
                await sender.send("lines", b"x", headers=headers)

    run(story)


def test_p08_explicit_partition_wins() -> None:
    async def story() -> None:
        cluster = one_topic()
        async with producer(cluster) as sender:
            for partition in range(3):
                metadata = await (
                    await sender.send("lines", b"x", key=b"same", partition=partition, timestamp=1_600_000_000_000)
                )
                assert (metadata.partition, metadata.timestamp) == (partition, 1_600_000_000_000)
            with pytest.raises(KraftpyError, match="partitions 0 to 2, not 3"):
                await sender.send("lines", b"x", partition=3)
            with pytest.raises(KraftpyError, match="not -1"):
                await sender.send("lines", b"x", partition=-1)

    run(story)


def test_p09_p10_p11_three_ways_to_send() -> None:
    async def story() -> None:
        cluster = one_topic()
        told: list[tuple[RecordMetadata | None, KraftpyError | None]] = []
        async with producer(cluster) as sender:
            await sender.send("lines", b"fire and forget", partition=0)
            metadata = await (await sender.send("lines", b"synchronous", partition=0))
            assert metadata[:3] == ("lines", 0, 1)
            await sender.send("lines", b"with a callback", partition=0, on_delivery=lambda *args: told.append(args))
            await sender.flush()
        (only,) = told
        assert only[0] is not None
        assert (only[0].offset, only[1]) == (2, None)

    run(story)


def test_p11_callbacks_come_once_in_partition_order_whatever_happens() -> None:
    async def story() -> None:
        cluster = one_topic(1)
        told: list[tuple[int, bool]] = []

        def callback(number: int) -> Any:
            return lambda metadata, error: told.append((number, error is None))

        async with producer(cluster, batch_size=200, linger_ms=0) as sender:
            for number in range(50):
                await sender.send("lines", b"%03d" % number, on_delivery=callback(number))
                if number % 10 == 5:
                    cluster.break_streams()
                if number % 10 == 8:
                    cluster.move_leader("lines", 0, number % 3 + 1)
        assert told == [(number, True) for number in range(50)]
        assert cluster.values("lines") == [b"%03d" % number for number in range(50)]

    run(story)


def test_p11_callbacks_come_also_on_time_out_and_on_close() -> None:
    async def story() -> None:
        cluster = one_topic(1)
        told: list[str] = []

        def callback(metadata: RecordMetadata | None, error: KraftpyError | None) -> None:
            assert (metadata is None) != (error is None)
            told.append("delivered" if error is None else error.name)

        sender = producer(cluster, delivery_timeout_ms=3_000)
        await (await sender.send("lines", b"1", on_delivery=callback))
        cluster.down |= {1, 2, 3}
        await sender.send("lines", b"2", on_delivery=callback)
        await asyncio.sleep(4)
        await sender.send("lines", b"3", on_delivery=callback)
        await sender.close(timeout=1)
        assert told == ["delivered", "DELIVERY_TIMEOUT", "CLOSED"]

    run(story)


def test_p11_a_callback_that_fails_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def broken(metadata: RecordMetadata | None, error: KraftpyError | None) -> None:
        raise RuntimeError("the user's own")

    async def story() -> None:
        async with producer(one_topic(1)) as sender:
            await sender.send("lines", b"1", on_delivery=broken)
            assert (await (await sender.send("lines", b"2"))).offset == 1

    run(story)
    assert "the user's own" in caplog.text


def test_p13_acks_0_waits_for_nobody() -> None:
    async def story() -> None:
        cluster = one_topic(1)
        async with producer(cluster, acks=0) as sender:
            metadata = await (await sender.send("lines", b"x"))
        assert metadata.offset == -1
        assert cluster.values("lines") == [b"x"]
        assert cluster.produced[0].acks == 0

    run(story)


def test_p13_what_nobody_confirms_has_arrived_when_its_producer_is_closed() -> None:
    async def story() -> None:
        cluster = one_topic(1)
        cluster.stream_holds_s = 0.5
        async with producer(cluster, acks=0) as sender:
            for number in range(3):
                await sender.send("lines", b"%d" % number)
                await sender.flush()
        assert cluster.values("lines") == [b"0", b"1", b"2"]

    run(story)


@pytest.mark.parametrize(("timeout_s", "takes_s"), [(2, 2), (None, 30), (0, 0)])
def test_p13_a_silent_broker_holds_up_the_closing_for_no_longer_than_it_may_take(
    timeout_s: float | None, takes_s: float
) -> None:
    async def story() -> None:
        cluster = one_topic(1)
        sender = producer(cluster, acks=0)
        await sender.send("lines", b"x")
        await sender.flush()
        cluster.silent.add(1)
        loop = asyncio.get_running_loop()
        started = loop.time()
        await sender.close(timeout_s)
        assert loop.time() - started == pytest.approx(takes_s, abs=0.1)

    run(story)


@pytest.mark.parametrize(("given", "sent"), [(0, 0), ("0", 0), (1, 1), ("1", 1), (-1, -1), ("-1", -1), ("all", -1)])
def test_p13_p14_p15_acks(given: Any, sent: int) -> None:
    for config in (
        ProducerConfig.from_keywords({"bootstrap": "a:1", "acks": given}),
        ProducerConfig.from_dotted({"bootstrap.servers": "a:1", "request.required.acks": given}),
    ):
        assert config.acks_code == sent
        assert config.idempotent == (sent == -1)


@pytest.mark.parametrize("settings", [{"acks": 1}, {"retries": 0}, {"max_in_flight": 6}])
def test_p14_idempotence_yields_unless_it_was_asked_for(settings: dict[str, Any]) -> None:
    assert not ProducerConfig(bootstrap="a:1", **settings).idempotent
    with pytest.raises(ConfigurationError, match="enable_idempotence is on"):
        ProducerConfig(bootstrap="a:1", enable_idempotence=True, **settings)


def test_p17_compression_makes_batches_smaller() -> None:
    async def story(kind: str) -> int:
        cluster = one_topic(1)
        async with producer(cluster, compression_type=kind) as sender:
            for _ in range(100):
                await sender.send("lines", b"the same line again and again")
        assert cluster.values("lines") == [b"the same line again and again"] * 100
        return sum(map(len, cluster.partition("lines").batches))

    sizes = {kind: run(lambda kind=kind: story(kind)) for kind in ("none", "gzip", "snappy", "lz4", "zstd")}  # type: ignore[misc]
    assert all(size < sizes["none"] / 3 for kind, size in sizes.items() if kind != "none")


def test_p18_batch_size_bounds_batches() -> None:
    async def story() -> None:
        cluster = one_topic(1)
        async with producer(cluster, batch_size=1_000, linger_ms=100) as sender:
            for _ in range(50):
                await sender.send("lines", b"x" * 100)
            await sender.send("lines", b"y" * 5_000)  # larger than a batch: alone in one
        sizes = [len(batch) for batch in cluster.partition("lines").batches]
        assert max(sizes[:-1]) <= 1_000
        assert sizes[-1] > 5_000
        assert len(sizes) == 50 // 7 + 2

    run(story)


def test_p19_equal_keys_go_to_one_partition() -> None:
    async def story() -> None:
        cluster = one_topic(3)
        async with producer(cluster) as sender:
            for number in range(60):
                await sender.send("lines", b"%d" % number, key=b"key-%d" % (number % 7))
        homes: dict[bytes, set[int]] = {}
        for partition in range(3):
            for record in cluster.partition("lines", partition).records():
                homes.setdefault(record.key or b"", set()).add(partition)
        assert len(homes) == 7
        assert all(len(partitions) == 1 for partitions in homes.values())

    run(story)


def test_p19_a_partitioner_of_ones_own() -> None:
    class LastByte:
        def partition(self, topic: str, key: bytes | None, value: bytes | None, partition_count: int) -> int:
            return (value or b"\0")[-1] % partition_count

    async def story() -> None:
        cluster = one_topic(3)
        async with producer(cluster, partitioner=LastByte()) as sender:
            await sender.send("lines", b"\x05", key=b"ignored")
        assert cluster.values("lines", 2) == [b"\x05"]
        async with producer(cluster, partitioner=lambda *_: 3) as sender:
            with pytest.raises(KraftpyError, match="not 3"):
                await sender.send("lines", b"x")

    run(story)


@pytest.mark.parametrize("partitioner", ["sticky", "round_robin"])
def test_p20_records_without_a_key_are_spread_evenly(partitioner: str) -> None:
    async def story() -> None:
        cluster = one_topic(6)
        async with producer(cluster, partitioner=partitioner, batch_size=2_000, linger_ms=5) as sender:
            for _ in range(6_000):
                await sender.send("lines", b"x" * 50)
        counts = [len(cluster.values("lines", partition)) for partition in range(6)]
        assert sum(counts) == 6_000
        assert max(counts) - min(counts) <= (60 if partitioner == "sticky" else 0)

    run(story)


def test_p20_sticky_makes_fewer_and_larger_batches() -> None:
    async def story(partitioner: str) -> int:
        cluster = one_topic(6)
        async with producer(cluster, partitioner=partitioner, batch_size=5_000) as sender:
            for _ in range(600):
                await sender.send("lines", b"x" * 50)
                await asyncio.sleep(0.000_1)
        return sum(len(cluster.partition("lines", partition).batches) for partition in range(6))

    assert run(lambda: story("sticky")) * 3 < run(lambda: story("round_robin"))


def test_p20_sticky_spreads_a_trickle_too() -> None:
    async def story() -> None:
        cluster = one_topic(3)
        async with producer(cluster) as sender:
            for _ in range(300):
                await sender.send("lines", b"x")
                await asyncio.sleep(0.1)
        counts = [len(cluster.values("lines", partition)) for partition in range(3)]
        assert max(counts) - min(counts) <= 3

    run(story)
