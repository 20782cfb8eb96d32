"""`kraftpy topic consume`: records become lines of standard output.

It follows the topic until Ctrl-C (or SIGTERM), until `-n` records are printed, or with `--until-end` until it has
printed what was there when it began. Whatever the end, what was read is printed whole, and JSON is valid; only where
`-n` or `--until-end` was interrupted, the exit code says so.
"""

import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from cli.exit_codes import INTERRUPTED
from cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Timeout, admin, client_settings, separator
from cli.output import Format, Output
from cli.record_lines import line_of

if TYPE_CHECKING:
    from types import FrameType

    from kraftpy import Consumer, ConsumerRecord, TopicPartition

OFFSET_MAX = 2**63 - 1
POLL_S = 1.0
POLL_RECORDS = 2_000


def consume(
    topic: Annotated[str, typer.Argument(help="What to read.", metavar="TOPIC")],
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start at the first record instead of the next one.")
    ] = False,
    partitions: Annotated[
        list[int] | None, typer.Option("--partition", help="Only this partition; repeatable.", min=0, metavar="N")
    ] = None,
    offset: Annotated[
        str,
        typer.Option(
            "--offset", help="Where to start: a number, -N (N before the end), earliest, latest.", metavar="OFFSET"
        ),
    ] = "",
    count_max: Annotated[int | None, typer.Option("-n", "--max", help="End after so many records.", min=1)] = None,
    until_end: Annotated[
        bool, typer.Option("-e", "--until-end", help="End at what is the end now, instead of waiting for more.")
    ] = False,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            help="Read as a member of this group: its share of the partitions, from its committed offsets, which are "
            "committed as they are printed.",
            metavar="GROUP",
        ),
    ] = None,
    key_separator: Annotated[
        str, typer.Option("--key-separator", help=r"Print keys too, with this between key and value; \t is a tab.")
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("-X", help="A setting of the consumer under Kafka's name; repeatable.", metavar="NAME=VALUE"),
    ] = None,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Print the records of a topic: values, a line each.

    -o jsonl prints everything about a record, in a form that `topic produce -i jsonl` reads.
    """
    from kraftpy import Consumer

    if from_beginning and offset:
        raise typer.BadParameter("--from-beginning and --offset are two ways to say where to start")
    if group is not None and (offset or partitions or until_end):
        raise typer.BadParameter("a --group says which partitions are read from where; leave out the rest")
    start = "earliest" if from_beginning else offset or "latest"
    position = _position(start)
    stop = _Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    more = client_settings(settings)
    for name in ("key.deserializer", "value.deserializer"):
        if more.get(name, "bytes").rpartition(".")[2] not in ("bytes", "ByteArrayDeserializer"):
            raise typer.BadParameter(f"{name}: records are printed as the bytes that they are", param_hint="-X")
    config = {
        "bootstrap.servers": bootstrap,
        "client.id": "kraftpy-cli",
        "auto.offset.reset": "earliest" if start == "earliest" else "latest",
        **more,
    }
    if group is not None:
        config |= {"group.id": group, "enable.auto.commit": "false"}
    with admin(bootstrap) as client:
        count = len(client.describe_topic(topic, timeout=timeout).partitions)
    places = _places(topic, partitions, count)
    whole = not partitions and not isinstance(position, int) and not until_end
    with Consumer.from_config(config, *([topic] if whole else [])) as consumer:  # partitions to come belong to a whole
        if not whole:
            consumer.assign(places)
        if isinstance(position, int):
            _seek(consumer, places, position, timeout)
        ends = consumer.end_offsets(places, timeout) if until_end else None
        printer = _Printer(output, separator(key_separator), sys.stdout.buffer, stop)
        is_cut_short = False
        try:
            _follow(consumer, printer.show, count_max, ends, timeout)
        except KeyboardInterrupt:  # how one ends it, unless it was to end by itself
            is_cut_short = until_end or (count_max is not None and printer.count < count_max)
        finally:
            printer.finish()
    if sys.stderr.isatty():
        typer.echo(f"{printer.count} records", err=True)
    if is_cut_short:
        raise typer.Exit(INTERRUPTED)


def _follow(
    consumer: "Consumer",
    show: "Callable[[list[ConsumerRecord], Callable[[list[ConsumerRecord]], None]], None]",
    count_max: int | None,
    ends: "dict[TopicPartition, int] | None",
    timeout: float,
) -> None:
    """Hand records to `show`, a batch at a time, with what is to be done once they are shown, until there is nothing
    more to do."""
    left = count_max
    shown = consumer.commit_async if consumer.in_group else _nothing
    while left is None or left > 0:
        if ends is not None:
            ends = {place: end for place, end in ends.items() if consumer.position(place, timeout) < end}
            if not ends:
                return
        records = consumer.poll(POLL_S, POLL_RECORDS if left is None else min(left, POLL_RECORDS))
        if records:
            show(records, shown)
        if left is not None:
            left -= len(records)


def _nothing(_records: "list[ConsumerRecord]") -> None:
    """Nobody's offsets are committed."""


def _places(topic: str, partitions: list[int] | None, count: int) -> "list[TopicPartition]":
    from kraftpy import TopicPartition
    from kraftpy.errors import UnknownTopicOrPartitionError

    for partition in partitions or ():
        if partition >= count:
            raise UnknownTopicOrPartitionError(f"topic {topic} has partitions 0 to {count - 1}, not {partition}")
    return [TopicPartition(topic, partition) for partition in dict.fromkeys(partitions or range(count))]


def _position(text: str) -> int | str:
    if text in ("earliest", "latest"):
        return text
    try:
        offset = int(text)
    except ValueError:
        raise typer.BadParameter(
            f"'{text[:60]}' is neither a number nor earliest nor latest", param_hint="--offset"
        ) from None
    if abs(offset) > OFFSET_MAX:
        raise typer.BadParameter(f"offsets lie below {OFFSET_MAX + 1}", param_hint="--offset")
    return offset


def _seek(consumer: "Consumer", places: "list[TopicPartition]", offset: int, timeout: float) -> None:
    """Start at `offset`, or at that many records before the end where it is negative."""
    if offset >= 0:
        for place in places:
            consumer.seek(place, offset)
        return
    first = consumer.beginning_offsets(places, timeout)
    for place, end in consumer.end_offsets(places, timeout).items():
        consumer.seek(place, max(end + offset, first[place]))


class _Stop:
    """Ctrl-C, which waits while a batch is being written, so that no record is cut in two; a second one does not."""

    def __init__(self) -> None:
        self._is_held = False
        self._is_told = False

    def __call__(self, _number: int, _frame: "FrameType | None") -> None:
        if self._is_held and not self._is_told:
            self._is_told = True
            return
        raise KeyboardInterrupt

    def __enter__(self) -> None:
        self._is_held = True

    def __exit__(self, *_: object) -> None:
        self._is_held = False
        if self._is_told:
            raise KeyboardInterrupt


class _Printer:
    """Writes records in one of the forms. What it has written is flushed, and told, before it reads on or ends."""

    def __init__(self, form: Format, between: bytes, out: BinaryIO, stop: _Stop) -> None:
        self.count = 0
        self._form = form
        self._between = between
        self._out = out
        self._stop = stop

    def show(self, records: "list[ConsumerRecord]", shown: "Callable[[list[ConsumerRecord]], None]") -> None:
        text = b"".join([self._text(number, record) for number, record in enumerate(records, self.count)])
        with self._stop:
            self._out.write(text)
            self._out.flush()
            self.count += len(records)
            shown(records)

    def finish(self) -> None:
        if self._form is Format.JSON:
            self._out.write(b"\n]\n" if self.count else b"[]\n")
            self._out.flush()

    def _text(self, number: int, record: "ConsumerRecord") -> bytes:
        if self._form is Format.JSONL:
            return line_of(record)
        if self._form is Format.JSON:
            return (b",\n" if number else b"[\n") + line_of(record)[:-1]
        key = b"" if not self._between else (b"null" if record.key is None else record.key) + self._between
        return key + (b"null" if record.value is None else record.value) + b"\n"
