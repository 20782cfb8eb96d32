"""Does Kafka read our closed files? `python -m tests.log_store.dump_log_segments --jars DIRECTORY`

Writes logs of every kind of batch, closes them, has Kafka's own DumpLogSegments show every file, and compares what it
shows with what we wrote: each batch and each record of the segments (Kafka checks their CRCs and decompresses them),
each entry of both indexes (Kafka checks them against the segments, and as it does when a broker starts), each entry of
the indexes of aborted transactions and of the producers' snapshots.

Needs a Java runtime (17 or newer) and Kafka's jars: those in the directory given by `--jars` or `KAFKA_JARS`, which may
be the `libs` of a Kafka distribution; an empty or missing one is filled by Maven.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from kraftpy.record import (
    BatchHeader,
    Compression,
    Header,
    Record,
    TimestampType,
    decode_batch,
    encode_batch,
    encode_marker,
    iterate_headers,
)
from kraftpy.runtime.disk import LocalDisk
from log_store import file_names
from log_store.config import LOG_APPEND_TIME, LogConfig
from log_store.log import Log
from log_store.offset_index import ENTRY as INDEX_ENTRY
from log_store.producer_snapshot import decode_snapshot
from log_store.time_index import ENTRY as TIME_ENTRY
from log_store.transaction_index import ENTRY as TRANSACTION_ENTRY

KAFKA_VERSION = "4.1.0"
TOOL_CLASSES = ("kafka.tools.DumpLogSegments", "org.apache.kafka.tools.DumpLogSegments")
"""Where it is, and where Kafka is moving its tools."""

WALL_MS = 1_700_000_000_000
CONFIG = LogConfig(segment_bytes=60_000, index_interval_bytes=1000, retention_ms=-1)
TROUBLE = re.compile(r"mismatch|corrupt|exception|invalid|out of order|should be", re.IGNORECASE)

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>jars</groupId><artifactId>jars</artifactId><version>1</version><dependencies><dependency>
<groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version>
</dependency></dependencies></project>"""

Shown = dict[str, str]
"""One line of the tool: `offset: 27 position: 1037` by names."""

# --- writing ----------------------------------------------------------------------------------------------------------


def write_logs(directory: Path) -> list[Path]:
    """Closed logs: the producers' times, the leader's times, and one that was recovered before it was closed."""
    disk = LocalDisk(threads=1)
    written = []
    for name, config in (
        ("created-0", CONFIG),
        ("stamped-0", replace(CONFIG, timestamp_type=LOG_APPEND_TIME)),
        ("recovered-0", CONFIG),
    ):
        path = directory / name
        log = Log.create(disk, str(path), config, wall_ms=WALL_MS)
        fill(log)
        if name == "recovered-0":
            log.close(clean=False)
            log = Log.open(disk, str(path), config, clean=False, wall_ms=WALL_MS)
        log.close()
        written.append(path)
    disk.close()
    return written


def fill(log: Log) -> None:
    """Several segments and epochs, all compressions, idempotent and transactional producers, markers, a truncation."""
    for number in range(400):
        now_ms, epoch = WALL_MS + number, 1 + number // 90
        log.append(_batch(log, number, now_ms), epoch, now_ms, verified=True)
        if number % 60 == 59:
            marker = encode_marker(
                commit=number % 120 == 59, coordinator_epoch=2, timestamp_ms=now_ms, producer_id=1001, producer_epoch=0
            )
            log.append(marker, epoch, now_ms, markers=True)
        if number == 200:
            log.truncate(log.end_offset - 20)
        if number % 50 == 0:
            log.sync()


def _batch(log: Log, number: int, now_ms: int) -> bytearray:
    records = [
        Record(at, now_ms - at, b"key %d" % at if at % 3 else None, _value(number, at), (Header("name", b"value"),))
        for at in range(1 + number % 7)
    ]
    producer_id = (-1, 1000, 1001)[number % 3]
    return encode_batch(
        records,
        list(Compression)[number % len(Compression)],
        producer_id=producer_id,
        producer_epoch=0 if producer_id >= 0 else -1,
        base_sequence=_next_sequence(log, producer_id),
        transactional=producer_id == 1001,
    )


def _value(number: int, at: int) -> bytes | None:
    return None if (number + at) % 11 == 0 else b"value %d " % at * (number % 60)


def _next_sequence(log: Log, producer_id: int) -> int:
    if producer_id < 0:
        return -1
    last = [entry.last_sequence for entry in log.producers.entries() if entry.producer_id == producer_id]
    return last[-1] + 1 if last else 0


# --- what we say the files hold ---------------------------------------------------------------------------------------


def lines_of_segment(path: Path) -> Iterator[Shown]:
    data = memoryview(path.read_bytes())
    for position, header in iterate_headers(data):
        time_name = "LogAppendTime" if header.timestamp_type is TimestampType.LOG_APPEND_TIME else "CreateTime"
        yield _line_of_batch(position, header, time_name)
        for number, record in enumerate(decode_batch(data, position)):
            yield {
                "offset": str(record.offset),
                time_name: str(record.timestamp_ms),
                "keySize": _size(record.key),
                "valueSize": _size(record.value),
                "sequence": str(header.base_sequence + number if header.base_sequence >= 0 else -1),
            }


def _line_of_batch(position: int, header: BatchHeader, time_name: str) -> Shown:
    return {
        "baseOffset": str(header.base_offset),
        "lastOffset": str(header.last_offset),
        "count": str(header.record_count),
        "baseSequence": str(header.base_sequence),
        "lastSequence": str(header.last_sequence if header.base_sequence >= 0 else -1),
        "producerId": str(header.producer_id),
        "producerEpoch": str(header.producer_epoch),
        "partitionLeaderEpoch": str(header.leader_epoch),
        "isTransactional": str(header.is_transactional).lower(),
        "isControl": str(header.is_control).lower(),
        "position": str(position),
        time_name: str(header.max_timestamp),
        "size": str(header.size_bytes),
        "magic": "2",
        "compresscodec": header.compression.name.lower(),
        "crc": str(header.crc),
        "isvalid": "true",
    }


def _size(value: bytes | None) -> str:
    return str(-1 if value is None else len(value))


def lines_of_index(path: Path) -> Iterator[Shown]:
    for relative, position in INDEX_ENTRY.iter_unpack(path.read_bytes()):
        yield {"offset": str(int(path.stem) + relative), "position": str(position)}


def lines_of_time_index(path: Path) -> Iterator[Shown]:
    for timestamp_ms, relative in TIME_ENTRY.iter_unpack(path.read_bytes()):
        yield {"timestamp": str(timestamp_ms), "offset": str(int(path.stem) + relative)}


def lines_of_snapshot(path: Path) -> Iterator[Shown]:
    for entry in decode_snapshot(path.read_bytes()):
        start = entry.transaction_start
        yield {
            "producerId": str(entry.producer_id),
            "producerEpoch": str(entry.epoch),
            "coordinatorEpoch": str(entry.coordinator_epoch),
            "currentTxnFirstOffset": "OptionalLong.empty" if start < 0 else f"OptionalLong[{start}]",
            "lastSequence": str(entry.last_sequence),
            "lastOffset": str(entry.last_offset),
            "offsetDelta": str(entry.offset_delta),
            "timestamp": str(entry.timestamp_ms),
        }


def lines_of_transaction_index(path: Path) -> Iterator[Shown]:
    for _, producer_id, first_offset, marker_offset, stable_offset in TRANSACTION_ENTRY.iter_unpack(path.read_bytes()):
        yield {
            "producerId": str(producer_id),
            "firstOffset": str(first_offset),
            "lastOffset": str(marker_offset),
            "lastStableOffset": str(stable_offset),
        }


READERS: dict[str, Callable[[Path], Iterator[Shown]]] = {
    file_names.SEGMENT: lines_of_segment,
    file_names.OFFSET_INDEX: lines_of_index,
    file_names.TIME_INDEX: lines_of_time_index,
    file_names.TRANSACTION_INDEX: lines_of_transaction_index,
    file_names.PRODUCER_SNAPSHOT: lines_of_snapshot,
}

# --- what Kafka says --------------------------------------------------------------------------------------------------


class Tool:
    """Kafka's DumpLogSegments, from a directory of jars."""

    def __init__(self, jars: Path) -> None:
        self._class_path = f"{jars}/*"
        for name in TOOL_CLASSES:
            self._name = name
            if "ClassNotFoundException" not in self._run("--version").stderr:
                break
        else:
            raise SystemExit(f"no DumpLogSegments among the jars in {jars}")
        self.version = self._run("--version").stdout.split()[0]

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = ["java", "-cp", self._class_path, self._name, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def dump(self, files: Sequence[Path], *options: str) -> dict[Path, list[str]]:
        """The lines that it shows of each file. Ends the program where the tool itself fails."""
        answer = self._run(*options, "--files", ",".join(map(str, files)))
        if answer.returncode:
            raise SystemExit(f"DumpLogSegments failed:\n{answer.stdout[-3000:]}\n{answer.stderr[-3000:]}")
        shown: dict[Path, list[str]] = {}
        lines: list[str] = []
        for line in answer.stdout.splitlines():
            if line.startswith("Dumping "):
                lines = shown.setdefault(Path(line.removeprefix("Dumping ")), [])
            else:
                lines.append(line)
        return shown


def parse(line: str) -> Shown:
    """`| offset: 0 keySize: 4 …` by names; the records' contents are not shown, so no value holds a blank."""
    return dict(re.findall(r"(\w+): (\S+)", line))


# --- comparing --------------------------------------------------------------------------------------------------------


def compare(tool: Tool, files: Sequence[Path], suffix: str) -> tuple[int, list[str]]:
    """How many lines of the files of one kind were compared, and what did not agree."""
    chosen = [file for file in files if file.suffix == suffix]
    options = ("--deep-iteration",) if suffix == file_names.SEGMENT else ()
    shown = tool.dump(chosen, *options)
    count, faults = 0, []
    for file in chosen:
        lines = [line for line in shown.get(file, []) if not line.startswith("Log starting offset")]
        faults += [f"{file.name}: {line}" for line in lines if TROUBLE.search(line)]
        for expected, line in zip_longest(READERS[suffix](file), lines):
            count += 1
            found = parse(line or "")
            if expected is None or any(found.get(name) != value for name, value in expected.items()):
                faults.append(f"{file.name}: wrote {expected}, Kafka shows {line!r}")
    return count, faults


def check_indexes(tool: Tool, files: Sequence[Path]) -> list[str]:
    """As a broker does when it starts, and against their segments."""
    indexes = [file for file in files if file.suffix in (file_names.OFFSET_INDEX, file_names.TIME_INDEX)]
    sane = tool.dump(indexes, "--index-sanity-check")
    faults = [f"{file.name}: {sane.get(file)}" for file in indexes if "passed" not in "".join(sane.get(file, []))]
    for file, lines in tool.dump(indexes, "--verify-index-only").items():
        faults += [f"{file.name}: {line}" for line in lines if TROUBLE.search(line)]
    return faults


def fetch_jars(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as project:
        Path(project, "pom.xml").write_text(POM)
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"]
        subprocess.run([*command, f"-DoutputDirectory={directory.resolve()}"], cwd=project, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.log_store.dump_log_segments", description="See the module.")
    parser.add_argument("--jars", type=Path, default=os.environ.get("KAFKA_JARS"), help="directory of Kafka's jars")
    jars: Path | None = parser.parse_args().jars
    if jars is None or shutil.which("java") is None:
        print("needs java, and --jars or KAFKA_JARS: nothing was checked", file=sys.stderr)
        return 2
    if not list(jars.glob("*.jar")):
        fetch_jars(jars)
    tool = Tool(jars)
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        files = [file for path in write_logs(Path(temporary)) for file in sorted(path.iterdir())]
        for suffix in READERS:
            count, found = compare(tool, files, suffix)
            faults += found
            print(f"{sum(file.suffix == suffix for file in files)} {suffix} files, {count} lines: {len(found)} faults")
        found = check_indexes(tool, files)
        faults += found
        print(f"sanity of the indexes: {len(found)} faults")
    for fault in faults[:20]:
        print(f"fault: {fault}")
    print(f"Kafka {tool.version} {'reads our files' if not faults else 'does not read our files'}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
