"""How fast what was written is read again: by Java's consumer in Kafka's perf tool, and by a group on librdkafka."""

import contextlib
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence

from bench.versus import perf_tools, producing
from bench.versus.processes import processor_s
from bench.versus.rows import Figures
from bench.versus.stage import Lines, ProgramFailedError, Stage, python_command, started

JOINED_S = 60.0
QUIET_S = 1.0
"""So long nobody's assignment has changed: the group is whole."""

WARM_RECORDS = 400_000
WARM_BYTES = 1_000
WARM_PARTITIONS = 6
LOOK_S = 0.02
READ_S = 180.0
QUEUE_BACKOFF_MS = 10
"""librdkafka's `fetch.queue.backoff.ms`. By default it fetches nothing of a partition for a second once its queue is
full, so whoever fills it sooner waits longer: 100 MB/s for a consumer of either system, and nodes that are mostly at
rest."""


def java(stage: Stage, records: int, record_bytes: int, partitions: int) -> Figures:
    """ConsumerPerformance with its defaults."""
    topic, count = filled(stage, records, record_bytes, partitions)
    stage.settle()
    arguments = perf_tools.consuming(stage.bootstrap, topic, count, f"{topic}-java")
    per_s = perf_tools.fetched_per_s(stage.java("ConsumerPerformance", *arguments), count)
    return {"MB/s": per_s * record_bytes / 1e6}


def group(stage: Stage, records: int, record_bytes: int, partitions: int, members: int) -> Figures:
    """A group whose members, a process each, begin when all have joined; from then until the last record is read.

    Processor time of all nodes for 10⁹ bytes is of the same time: what they use before, waiting, is not in it.
    """
    topic, count = filled(stage, records, record_bytes, partitions)
    stage.settle()
    settings = {
        "bootstrap.servers": stage.bootstrap,
        "group.id": f"{topic}-group-{members}",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "fetch.queue.backoff.ms": QUEUE_BACKOFF_MS,
    }
    with group_of(members, topic, settings) as joined:
        wait_whole(joined, partitions)
        before_s, began_s = processor_s(stage.pids), time.monotonic()
        for member in joined:
            member.release()
        size, ended_s = wait_read(joined, count)
        used_s = processor_s(stage.pids) - before_s
    return {"MB/s": size / (ended_s - began_s) / 1e6, "CPU s/GB": used_s / (size / 1e9)}


def warm(stage: Stage) -> None:
    """Some records in and out of a new cluster, so that what is measured on it is not the compiling of a JVM."""
    producing.rdkafka(stage, WARM_RECORDS, WARM_BYTES, WARM_PARTITIONS)
    group(stage, WARM_RECORDS, WARM_BYTES, WARM_PARTITIONS, members=1)


def filled(stage: Stage, records: int, record_bytes: int, partitions: int) -> tuple[str, int]:
    """A topic with so many records, and how many: another measure's, or a new one."""
    count = stage.records(records, record_bytes)
    place = (partitions, count, record_bytes)
    if place not in stage.filled:
        producing.rdkafka(stage, records, record_bytes, partitions)
    return stage.filled[place], count


class Member:
    """A process of `programs.rdkafka_member`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines = Lines(process)

    def assigned(self) -> list[int]:
        """How many partitions it had, each time that it changed."""
        return [int(count) for _, count in self._lines.starting("assigned")]

    def release(self) -> None:
        """It begins to read."""
        self._write("go\n")

    def read(self) -> tuple[int, int, float]:
        """Records and bytes so far, and when the last came."""
        told = self._lines.starting("read")
        return (int(told[-1][1]), int(told[-1][2]), float(told[-1][3])) if told else (0, 0, 0.0)

    def leave(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(JOINED_S)

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()


@contextlib.contextmanager
def group_of(members: int, topic: str, settings: Mapping[str, object]) -> Iterator[Sequence[Member]]:
    """They leave in the end."""
    command = python_command("rdkafka_member", {"topic": topic, "settings": settings})
    with contextlib.ExitStack() as stack:
        joined = [Member(stack.enter_context(started(command))) for _ in range(members)]
        yield joined
        for member in joined:
            member.leave()


def wait_whole(joined: Sequence[Member], partitions: int) -> None:
    """Until every partition is somebody's, every member has heard, and nothing has changed for a while."""
    deadline = time.monotonic() + JOINED_S
    seen: list[list[int]] = []
    since = time.monotonic()
    while True:
        now = [member.assigned() for member in joined]
        if now != seen:
            seen, since = now, time.monotonic()
        whole = all(now) and sum(counts[-1] for counts in now if counts) == partitions
        if whole and time.monotonic() - since > QUIET_S:
            return
        if time.monotonic() > deadline:
            raise ProgramFailedError(f"the group is not whole within {JOINED_S:.0f} s: {now}")
        time.sleep(LOOK_S)


def wait_read(joined: Sequence[Member], records: int) -> tuple[int, float]:
    """Bytes that were read when so many records had been, and when the last of them came."""
    deadline = time.monotonic() + READ_S
    while True:
        told = [member.read() for member in joined]
        if sum(count for count, _, _ in told) >= records:
            return sum(size for _, size, _ in told), max(read_s for _, _, read_s in told)
        if time.monotonic() > deadline:
            raise ProgramFailedError(f"{told} instead of {records} records within {READ_S:.0f} s")
        time.sleep(LOOK_S)
