"""`kraftpy topic produce`: lines of standard input become records.

Lines are read one by one and sent as they come, so it serves a terminal, a file and a pipe that never ends. What was
read before a line that is wrong, or before Ctrl-C or SIGTERM, is delivered.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, BinaryIO, NamedTuple

import typer

from cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Timeout, admin, client_settings, separator
from cli.output import Format, Output, show_line, show_one
from cli.record_lines import ParsedRecord, RecordLineError, parse

if TYPE_CHECKING:
    from types import FrameType

    from kraftpy import KraftpyError, Producer, RecordMetadata


LINE_BYTES_MAX = 64 << 20  # above every max_request_size


class InputFormat(StrEnum):
    LINES = "lines"
    JSONL = "jsonl"


def produce(
    topic: Annotated[str, typer.Argument(help="Where the records go.", metavar="TOPIC")],
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    input_format: Annotated[
        InputFormat,
        typer.Option("-i", "--input", help="lines: a line is a value. jsonl: as `topic consume -o jsonl` prints."),
    ] = InputFormat.LINES,
    key_separator: Annotated[
        str, typer.Option("--key-separator", help=r"What stands between key and value in a line; \t is a tab.")
    ] = "",
    partition: Annotated[
        int | None, typer.Option("--partition", help="Send everything to this partition.", min=0)
    ] = None,
    repartition: Annotated[
        bool, typer.Option("--repartition", help="jsonl: choose partitions anew, by key, instead of the lines' own.")
    ] = False,
    acks: Annotated[str, typer.Option("--acks", help="Who must hold a record before it counts: all, 1, 0.")] = "all",
    compression: Annotated[
        str, typer.Option("--compression", help="none, gzip, snappy, lz4 or zstd.", metavar="TYPE")
    ] = "none",
    settings: Annotated[
        list[str] | None,
        typer.Option("-X", help="A setting of the producer under Kafka's name; repeatable.", metavar="NAME=VALUE"),
    ] = None,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Publish the lines of standard input.

    -o jsonl prints where each record went, -o json a summary at the end.
    """
    from kraftpy import KraftpyError, Producer

    if input_format is InputFormat.JSONL and key_separator:
        raise typer.BadParameter("a jsonl line names its key itself", param_hint="--key-separator")
    read = _reader(input_format, separator(key_separator))
    config = {
        "bootstrap.servers": bootstrap,
        "client.id": "kraftpy-cli",
        "acks": acks,
        "compression.type": compression,
        **client_settings(settings),
    }
    with admin(bootstrap) as client:  # says at once that nobody is there, before a line is asked for
        client.describe_cluster(timeout=timeout)
    signal.signal(signal.SIGTERM, _interrupt)
    fate = _Fate(output)
    with Producer.from_config(config) as producer:
        producer.partitions_for(topic)
        _invite(topic)
        try:
            for number, record in _records(sys.stdin.buffer, read):
                if fate.error is not None:
                    break
                chosen = partition if partition is not None else None if repartition else record.partition
                try:
                    producer.send(
                        topic,
                        record.value,
                        record.key,
                        headers=record.headers,
                        partition=chosen,
                        timestamp=record.timestamp,
                        on_delivery=fate.told,
                    )
                except KraftpyError as error:
                    fate.refused(number, error)
        except typer.BadParameter as error:
            fate.error = fate.error or error
        fate.settle(producer)
    fate.conclude(topic)


def _interrupt(_number: int, _frame: "FrameType | None") -> None:
    """As Ctrl-C: the producer closes, and delivers before it does."""
    raise KeyboardInterrupt


class _Tally(NamedTuple):
    acknowledged: int
    failed: int


class _Fate:
    """What became of the records. `told` runs on the SDK's thread, where nobody would hear what it raises."""

    def __init__(self, form: Format) -> None:
        self.error: KraftpyError | OSError | typer.BadParameter | None = None  # the first
        self._refused_line: int | None = None
        self._form = form
        self._has_reader = True
        self._lock = threading.Lock()
        self._tally = _Tally(0, 0)

    def told(self, metadata: "RecordMetadata | None", error: "KraftpyError | None") -> None:
        with self._lock:
            acknowledged, failed = self._tally
            if metadata is None:
                self._tally = _Tally(acknowledged, failed + 1)
                self.error = self.error or error
                return
            self._tally = _Tally(acknowledged + 1, failed)
        if self._form is Format.JSONL and self._has_reader:
            known = {name: None if value == -1 else value for name, value in metadata._asdict().items()}
            try:
                show_line(known)
            except OSError as error:  # whoever read it has gone
                self._has_reader = False
                self.error = self.error or error

    def refused(self, line: int, error: "KraftpyError") -> None:
        """The client itself does not take the record of this line."""
        with self._lock:
            acknowledged, failed = self._tally
            self._tally = _Tally(acknowledged, failed + 1)
            if self.error is None:
                self.error, self._refused_line = error, line

    def settle(self, producer: "Producer") -> None:
        """Wait for what is under way; failures are kept for `conclude`."""
        from kraftpy.errors import KraftpyError

        try:
            producer.flush()
        except KraftpyError as error:
            self.error = self.error or error

    def conclude(self, topic: str) -> None:
        acknowledged, failed = self._tally
        if self._form is Format.JSON:
            show_one({"topic": topic, "acknowledged": acknowledged, "failed": failed}, self._form)
        if self.error is not None:
            if acknowledged + failed > 1:
                typer.echo(f"{acknowledged} records were acknowledged, {failed} were not", err=True)
            if self._refused_line is not None:
                typer.echo(f"line {self._refused_line} of standard input was refused:", err=True)
            raise self.error
        if sys.stderr.isatty():
            typer.echo(f"{acknowledged} records", err=True)


def _reader(form: InputFormat, between: bytes) -> Callable[[bytes], ParsedRecord]:
    if form is InputFormat.JSONL:
        return parse

    def line(text: bytes) -> ParsedRecord:
        text = text.removesuffix(b"\n").removesuffix(b"\r")
        if not between:
            return ParsedRecord(None, text, (), None, None)
        key, found, value = text.partition(between)
        if not found:
            shown = between.decode().replace("\t", "\\t")
            raise RecordLineError(f"there is no key separator '{shown}' in it")
        return ParsedRecord(key, value, (), None, None)

    return line


def _records(source: BinaryIO, read: Callable[[bytes], ParsedRecord]) -> Iterator[tuple[int, ParsedRecord]]:
    """The records of a stream of lines, each with its line's number; a wrong line is named by its number."""
    lines = iter(lambda: source.readline(LINE_BYTES_MAX), b"")
    for number, line in enumerate(lines, start=1):
        if read is parse and not line.strip():
            continue
        try:
            if len(line) == LINE_BYTES_MAX:
                raise RecordLineError(f"it is longer than {LINE_BYTES_MAX} bytes")
            yield number, read(line)
        except RecordLineError as error:
            raise typer.BadParameter(f"line {number}: {error}", param_hint="standard input") from None


def _invite(topic: str) -> None:
    if sys.stdin.isatty() and sys.stderr.isatty():
        typer.echo(f"Each line becomes a record of {topic}; Ctrl-D ends.", err=True)
