"""kcat (librdkafka) from the command line."""

import os
import shutil
from dataclasses import dataclass

from tests.compatibility.cache import Cache
from tests.compatibility.clients.commands import CommandCase, Commands
from tests.compatibility.workshop import Workshop, expect, expect_equal, lines

PACKAGES = ("kcat", "librdkafka1", "libyajl2")


@dataclass(frozen=True, slots=True)
class Kcat:
    """What starts it."""

    command: tuple[str, ...]

    def run(self, shop: Workshop, *arguments: str, input: str = "") -> str:
        return shop.run(*self.command, "-b", shop.bootstrap, *arguments, input=input)


def prepare(cache: Cache) -> Kcat:
    """The one on this machine, or Debian's, unpacked."""
    if (found := shutil.which("kcat") or shutil.which("kafkacat")) is not None:
        return Kcat((found,))
    home = cache.debian(PACKAGES)
    libraries = os.pathsep.join(str(path) for path in sorted(home.glob("usr/lib/*-linux-gnu*")))
    return Kcat(("env", f"LD_LIBRARY_PATH={libraries}", str(home / "usr" / "bin" / "kcat")))


def metadata(shop: Workshop, kcat: Kcat) -> None:
    topic = shop.topic(3)
    expect(kcat.run(shop, "-L", "-t", topic), "3 brokers:", f'topic "{topic}" with 3 partitions:', "isrs: ")


def produce_and_consume(shop: Workshop, kcat: Kcat) -> None:
    topic = shop.topic(1)
    kcat.run(shop, "-P", "-t", topic, "-K", ":", "-H", "trace=abc", input="a:one\nb:two\nc:three\n")
    shown = kcat.run(shop, "-C", "-q", "-t", topic, "-o", "beginning", "-e", "-f", "%o %k %s %h\n")
    expect_equal(lines(shown), ["0 a one trace=abc", "1 b two trace=abc", "2 c three trace=abc"], "records")
    expect_equal(lines(kcat.run(shop, "-C", "-q", "-t", topic, "-p", "0", "-o", "-1", "-e")), ["three"], "the last one")


def compressions(shop: Workshop, kcat: Kcat) -> None:
    topic = shop.topic(1)
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        kcat.run(shop, "-P", "-t", topic, "-z", codec, input="".join(f"{codec} {'x' * 200}\n" for _ in range(20)))
    shown = lines(kcat.run(shop, "-C", "-q", "-t", topic, "-o", "beginning", "-e"))
    expect_equal([line.split()[0] for line in shown[::20]], ["gzip", "snappy", "lz4", "zstd"], "records")


def idempotence(shop: Workshop, kcat: Kcat) -> None:
    topic, sent = shop.topic(1), [f"{number}" for number in range(300)]
    options = ("-X", "enable.idempotence=true", "-X", "batch.num.messages=10")
    kcat.run(shop, "-P", "-t", topic, *options, input="".join(f"{value}\n" for value in sent))
    expect_equal(lines(kcat.run(shop, "-C", "-q", "-t", topic, "-o", "beginning", "-e")), sent, "records")


def offsets_by_time(shop: Workshop, kcat: Kcat) -> None:
    topic = shop.topic(1)
    kcat.run(shop, "-P", "-t", topic, input="one\ntwo\n")
    expect(kcat.run(shop, "-Q", "-t", f"{topic}:0:0"), "offset 0")
    expect(kcat.run(shop, "-Q", "-t", f"{topic}:0:-1"), "offset 2")


def group(shop: Workshop, kcat: Kcat) -> None:
    topic, name = shop.topic(3), f"{shop.name}-group"
    kcat.run(shop, "-P", "-t", topic, input="".join(f"{number}\n" for number in range(30)))
    read = ("-G", name, "-q", "-X", "auto.offset.reset=earliest")
    first = lines(kcat.run(shop, *read, "-c", "30", topic))
    expect_equal(sorted(map(int, first)), list(range(30)), "records")
    kcat.run(shop, "-P", "-t", topic, input="later\n")
    expect_equal(lines(kcat.run(shop, *read, "-c", "1", topic)), ["later"], "what the group had not read")


KCAT = Commands(
    "kcat",
    prepare,
    (
        CommandCase("metadata", "-L", "brokers, partitions, replicas", metadata),
        CommandCase(
            "produce, consume",
            "-P with keys and a header; -C from the start, and the last",
            "as written",
            produce_and_consume,
        ),
        CommandCase("compressions", "-z gzip, snappy, lz4, zstd", "the same records", compressions),
        CommandCase("idempotence", "300 records, enable.idempotence", "every record once, in order", idempotence),
        CommandCase("offsets by time", "-Q for time 0 and for the end", "offsets 0 and 2", offsets_by_time),
        CommandCase("group", "-G, twice: the second goes on where the first committed", "30 records, then 1", group),
    ),
)
