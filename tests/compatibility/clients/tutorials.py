"""The programs that tutorials teach: in Java on a new and on an old kafka-clients, in Python on kafka-python."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.compatibility.cache import PROGRAMS, Cache, tool
from tests.compatibility.clients.commands import CommandCase, Commands
from tests.compatibility.clients.java_tools import KAFKA_VERSION
from tests.compatibility.clients.python import ROOT, versions
from tests.compatibility.workshop import Workshop, expect_equal, lines

COUNT = 100


@dataclass(frozen=True, slots=True)
class Programs:
    """Starts one by its name; the rest of its arguments follow."""

    command: Callable[[str], Sequence[str]]

    def run(self, shop: Workshop, name: str, topic: str, *more: str, bootstrap: str = "") -> list[list[str]]:
        """What it prints of each record: topic, partition, offset, and its value or number."""
        printed = shop.run(*self.command(name), bootstrap or shop.bootstrap, topic, str(COUNT), *more)
        records = [line.split(" ")[1:] for line in lines(printed) if line.startswith("record ")]
        if len(records) != COUNT:
            raise AssertionError(f"{len(records)} of {COUNT} records: {printed[-300:]}")
        return records


def java_programs(jars: str) -> Callable[[Cache], Programs]:
    def prepare(cache: Cache) -> Programs:
        classes = cache.classes(jars, sorted((PROGRAMS / "java" / "tutorial").glob("*.java")))
        level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
        java = [tool("java"), "-Xmx256m", "-XX:TieredStopAtLevel=1", level, "-cp", classes]
        return Programs(lambda name: [*java, name])

    return prepare


def python_programs(cache: Cache) -> Programs:
    python = ["env", f"PYTHONPATH={ROOT}", "PYTHONUNBUFFERED=1", str(cache.python()), "-m"]
    return Programs(lambda name: [*python, f"tests.compatibility.programs.python.{name}"])


def produced(name: str) -> Callable[[Workshop, Programs], None]:
    """Every record is acknowledged, at offsets without gaps."""

    def run(shop: Workshop, programs: Programs) -> None:
        records = programs.run(shop, name, shop.topic(3))
        for partition in ("0", "1", "2"):
            offsets = sorted(int(record[2]) for record in records if record[1] == partition)
            expect_equal(offsets, list(range(len(offsets))), f"offsets in partition {partition}")

    return run


def consumed(name: str, producer: str) -> Callable[[Workshop, Programs], None]:
    """Every record is seen once."""

    def run(shop: Workshop, programs: Programs) -> None:
        topic = shop.topic(3)
        programs.run(shop, producer, topic)
        records = programs.run(shop, name, topic, f"{shop.name}-group")
        expect_equal(sorted({record[3] for record in records}), sorted(f"message-{n}" for n in range(COUNT)), "values")

    return run


def with_a_dead_first_server(name: str) -> Callable[[Workshop, Programs], None]:
    """Of several bootstrap servers, the first takes no connections."""

    def run(shop: Workshop, programs: Programs) -> None:
        programs.run(shop, name, shop.topic(3), bootstrap=f"127.0.0.1:1,{shop.bootstrap}")

    return run


def java_cases() -> tuple[CommandCase[Programs], ...]:
    return (
        CommandCase(
            "synchronous producer",
            "100 × send().get(), acks=1, retries=5",
            "100 offsets, no gap",
            produced("SynchronousProducer"),
        ),
        CommandCase(
            "producer with callback",
            "100 records, snappy, acks=-1",
            "100 callbacks, no gap",
            produced("CallbackProducer"),
        ),
        CommandCase(
            "commit loop",
            "commitAsync in the loop, commitSync in finally",
            "every record once",
            consumed("CommitLoop", "CallbackProducer"),
        ),
        CommandCase(
            "a consumer each for four threads",
            "one group, three partitions",
            "every record once",
            consumed("ConsumerPerThread", "CallbackProducer"),
        ),
        CommandCase(
            "one poller, a pool of workers",
            "a bounded queue, commits of what is done",
            "every record once",
            consumed("WorkerPool", "CallbackProducer"),
        ),
        CommandCase(
            "a dead bootstrap server",
            "the first of four addresses takes no connections",
            "100 offsets",
            with_a_dead_first_server("SynchronousProducer"),
        ),
    )


TUTORIALS = (
    Commands(f"Java programs, kafka-clients {KAFKA_VERSION}", java_programs("kafka-4"), java_cases()),
    Commands("Java programs, kafka-clients 2.0.0", java_programs("clients-2"), java_cases()),
    Commands(
        f"Python programs, kafka-python {versions()['kafka-python']}",
        python_programs,
        (
            CommandCase(
                "producer",
                "three bootstrap servers, retries=5, client_id, acks=1, JSON",
                "100 offsets, no gap",
                produced("tutorial_producer"),
            ),
            CommandCase(
                "consumer",
                "group_id, client_id; prints five fields",
                "every record once",
                consumed("tutorial_consumer", "tutorial_producer"),
            ),
            CommandCase(
                "a dead bootstrap server",
                "the first of four addresses takes no connections",
                "100 offsets",
                with_a_dead_first_server("tutorial_producer"),
            ),
        ),
    ),
)
