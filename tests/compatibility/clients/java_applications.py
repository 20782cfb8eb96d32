"""Kafka Streams' WordCountDemo, and Connect standalone from file to file: as their tutorials run them."""

from tests.compatibility.clients.commands import CommandCase, Commands
from tests.compatibility.clients.java_tools import KAFKA_VERSION, TOOLS, Java, produce, with_kafka_jars
from tests.compatibility.workshop import Workshop, expect_equal, lines

LINES = ("all streams lead to kafka", "hello kafka streams", "join kafka summit")
COUNTS = {"all": 1, "streams": 2, "lead": 1, "to": 1, "kafka": 3, "hello": 1, "join": 1, "summit": 1}
UPDATES = 11
"""One for every word: the demo has no cache."""


def word_count(shop: Workshop, java: Java) -> None:
    shop.cluster.create_topic("streams-plaintext-input", 3)  # the names are the demo's
    shop.cluster.create_topic("streams-wordcount-output", 3)
    settings = {
        "bootstrap.servers": shop.bootstrap,
        "processing.guarantee": "exactly_once_v2",
        "state.dir": str(shop.directory / "state"),
        "commit.interval.ms": "100",
    }
    properties = shop.file("streams.properties", "".join(f"{name}={value}\n" for name, value in settings.items()))
    with shop.background(*java.command("org.apache.kafka.streams.examples.wordcount.WordCountDemo", properties)):
        produce(shop, java, "streams-plaintext-input", "".join(f"{line}\n" for line in LINES))
        shown = java.run(
            shop,
            f"{TOOLS}.consumer.ConsoleConsumer",
            *("--topic", "streams-wordcount-output", "--from-beginning", "--isolation-level", "read_committed"),
            *("--max-messages", str(UPDATES), "--timeout-ms", "90000", "--property", "print.key=true"),
            *("--property", "value.deserializer=org.apache.kafka.common.serialization.LongDeserializer"),
        )
    counts: dict[str, int] = {}
    for line in lines(shown):
        word, tab, count = line.partition("\t")
        if tab:
            counts[word] = max(int(count), counts.get(word, 0))
    expect_equal(counts, COUNTS, "counts")


def connect(shop: Workshop, java: Java) -> None:
    topic, read, written = shop.topic(1), shop.directory / "input.txt", shop.directory / "output.txt"
    converter = "org.apache.kafka.connect.storage.StringConverter"
    worker = {
        "bootstrap.servers": shop.bootstrap,
        "key.converter": converter,
        "value.converter": converter,
        "offset.storage.file.filename": str(shop.directory / "offsets"),
        "offset.flush.interval.ms": "500",
        "listeners": "http://127.0.0.1:0",
        "plugin.discovery": "only_scan",
    }
    source = {"name": "source", "connector.class": "FileStreamSource", "file": str(read), "topic": topic}
    sink = {"name": "sink", "connector.class": "FileStreamSink", "file": str(written), "topics": topic}
    files = [
        shop.file(f"{name}.properties", "".join(f"{key}={value}\n" for key, value in settings.items()))
        for name, settings in (("worker", worker), ("source", source), ("sink", sink))
    ]
    standalone = java.command("org.apache.kafka.connect.cli.ConnectStandalone", *files)

    def same() -> bool:
        return written.exists() and written.read_text() == read.read_text()

    append(read, 0, 100)
    with shop.background(*standalone):
        shop.wait(same, "output is input")
        append(read, 100, 200)
        shop.wait(same, "output is input that has grown")
    append(read, 200, 300)
    with shop.background(*standalone):
        shop.wait(lambda: written.read_text().endswith("line 299\n"), "output goes on after a restart")
    text = written.read_text()
    expect_equal(text, read.read_text(), "output after a restart")


def append(path: object, begin: int, end: int) -> None:
    with open(str(path), "a") as file:
        file.writelines(f"line {number}\n" for number in range(begin, end))


JAVA_APPLICATIONS = Commands(
    f"Kafka's applications {KAFKA_VERSION}",
    with_kafka_jars,
    (
        CommandCase(
            "Streams: WordCountDemo",
            "three lines, processing.guarantee=exactly_once_v2",
            "8 words, counted",
            word_count,
        ),
        CommandCase(
            "Connect standalone", "file source, file sink; the file grows; a restart", "output equals input", connect
        ),
    ),
)
