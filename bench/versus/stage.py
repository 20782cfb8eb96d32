"""What a measure works with: a running cluster, and the client programs, each a process that ends with its measure."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from bench.versus.contenders import Contender, MeasuredCluster
from bench.versus.memory import PageCache
from tests.compatibility.cache import Cache, tool

ROOT = Path(__file__).parents[2]
PROGRAM_S = 900.0
"""How long one program may take; none comes near it."""

CALM_S = 1.0
QUICK_BYTES = 20_000_000
WORDS = 300
KAFKA_TOOL = ("-Xmx512M", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-Djava.awt.headless=true")
"""What kafka-producer-perf-test.sh and its kin give to their process."""


class ProgramFailedError(Exception):
    """A client program ended otherwise than it should; the message is the end of what it said."""


@dataclass(slots=True)
class Stage:
    """One measure's; `cluster` is None where the measure starts its own."""

    contender: Contender
    nodes: int
    cache: Cache
    quick: bool
    """Whether figures do not matter: everything is done, and as little of it as can be."""

    running: MeasuredCluster | None
    memory: PageCache | None = None
    """What fills free memory before each measure; None where figures do not matter."""

    filled: dict[tuple[int, int, int], str] = field(default_factory=dict)
    """Topics of this cluster by partitions, records, and bytes of a record: what one measure wrote, another reads."""

    _topics: int = 0

    @property
    def cluster(self) -> MeasuredCluster:
        assert self.running is not None, "this measure has no cluster"
        return self.running

    @property
    def bootstrap(self) -> str:
        return self.cluster.bootstrap

    def some(self, count: int, least: int = 1) -> int:
        """So many, or a hundredth of it, but at least `least`, in a quick run."""
        return max(count // 100, least) if self.quick else count

    def records(self, count: int, record_bytes: int) -> int:
        """`some` of them; 20 MB at the most where they are large."""
        return self.some(count, least=min(2_000, QUICK_BYTES // record_bytes))

    def seconds(self, long: float, short: float = 1.0) -> float:
        """So long, or as long as a quick run takes."""
        return short if self.quick else long

    def topic(self, partitions: int) -> str:
        """A new one, on all nodes and in sync."""
        self._topics += 1
        name = f"lines-{self._topics}"
        self.cluster.create_topic(name, partitions)
        return name

    def drop(self, topic: str) -> None:
        """Make room on the disk."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 3})  # held on to until the answer
        admin.delete_topics([topic])[topic].result(PROGRAM_S)

    def settle(self) -> None:
        """What earlier measures left to be written is written, and what memory they left is filled: it is not this
        one's."""
        os.sync()
        time.sleep(self.seconds(CALM_S, 0.0))
        if self.memory is not None:
            self.memory.fill()

    # --- programs -----------------------------------------------------------------------------------------------------

    def run(self, program: str, **asked: object) -> Mapping[str, Any]:
        """One of `bench.versus.programs`, to its end; what it found. Raises `ProgramFailedError`."""
        return found_in(finished(python_command(program, asked), PROGRAM_S))

    def java(self, main: str, *arguments: str) -> str:
        """One of Kafka's own tools, to its end; what it printed. Raises `ProgramFailedError`, `NotAvailableError`."""
        level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
        jars = f"{self.cache.jars('kafka-4')}{os.sep}*"
        with tempfile.TemporaryDirectory(prefix="versus-") as folder:
            options = [*KAFKA_TOOL, level, f"-Djava.io.tmpdir={folder}", "-cp", jars]
            return finished([tool("java"), *options, f"org.apache.kafka.tools.{main}", *arguments], PROGRAM_S)

    # --- nodes --------------------------------------------------------------------------------------------------------

    @property
    def pids(self) -> list[int]:
        return [self.cluster.pid(node_id) for node_id in self.cluster.node_ids]


def python_command(program: str, asked: Mapping[str, object]) -> list[str]:
    return [sys.executable, "-m", f"bench.versus.programs.{program}", json.dumps(asked)]


def finished(command: Sequence[str], timeout_s: float) -> str:
    """What a command printed. It ends with us, whatever ends us."""
    with started(command, stderr=subprocess.STDOUT) as process:
        try:
            printed, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise ProgramFailedError(f"not done within {timeout_s:.0f} s") from None
    if process.returncode != 0:
        raise ProgramFailedError(f"exit code {process.returncode}: {last_words(printed)}")
    return printed


@contextlib.contextmanager
def started(command: Sequence[str], stderr: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """A command that runs meanwhile; killed in the end where it still does."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=ROOT
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()


class Lines:
    """What a process prints, line by line, read on a thread of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._printed: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def starting(self, word: str) -> list[list[str]]:
        """The words of all lines that begin so, until now. Raises `ProgramFailedError` where it has ended by itself."""
        if self._process.poll() not in (None, 0):
            raise ProgramFailedError(last_words("\n".join(self._printed)))
        return [words for words in (line.split() for line in list(self._printed)) if words[:1] == [word]]

    def wait(self, word: str, timeout_s: float) -> list[str]:
        """The first line that begins so."""
        deadline = time.monotonic() + timeout_s
        while not (found := self.starting(word)):
            if time.monotonic() > deadline:
                raise ProgramFailedError(f"no {word!r} within {timeout_s:.0f} s")
            time.sleep(0.01)
        return found[0]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._printed.append(line)


def found_in(printed: str) -> Mapping[str, Any]:
    """The object on the last line."""
    try:
        found: Mapping[str, Any] = json.loads(printed.strip().splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        raise ProgramFailedError(f"it found nothing: {last_words(printed)}") from None
    return found


def last_words(printed: str) -> str:
    """What tells most: the first line that names an error, and the last one."""
    said = [line.strip() for line in printed.splitlines() if line.strip()]
    telling = [line for line in said if "rror" in line or "xception" in line]
    return " | ".join(dict.fromkeys([*telling[:1], *said[-1:]]))[:WORDS] or "it said nothing"
