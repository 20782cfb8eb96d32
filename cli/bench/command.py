"""`kraftpy bench produce`, `consume`, `latency` and `failover`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli.bench.names import Acks, Compression, DoorName
from cli.bench.options import (
    RATE_MIN,
    AcksOption,
    BatchSize,
    ClientSettings,
    Compressible,
    CompressionOption,
    DoorOption,
    LingerMs,
    NoLingerMs,
    OpenRate,
    Partitions,
    Rate,
    Records,
    RecordSize,
    ReplicationFactor,
    Seconds,
    Seed,
    TopicConfig,
    TopicOption,
    Verbose,
)
from cli.exit_codes import UNCLEAN
from cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Timeout, pairs
from cli.output import Format, Output, show_one, show_table

if TYPE_CHECKING:
    from cli.bench.door import Door
    from cli.bench.live import Live
    from cli.bench.report import Outcome
    from cli.bench.sending import Load
    from cli.bench.stop import Stop

SECONDS = 10.0
STAMP_BYTES = 16

app = typer.Typer(
    help="Measure a cluster: throughput, latency, failover. docs/bench.md says what the figures mean.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def produce(
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    door: DoorOption = None,
    topic: TopicOption = None,
    partitions: Partitions = None,
    replication_factor: ReplicationFactor = None,
    config: TopicConfig = None,
    records: Records = None,
    seconds: Seconds = None,
    rate: Rate = 0.0,
    record_size: RecordSize = 1_024,
    acks: AcksOption = Acks.ALL,
    compression: CompressionOption = Compression.NONE,
    batch_size: BatchSize = None,
    linger_ms: LingerMs = None,
    seed: Seed = 0,
    compressible: Compressible = 0.5,
    warm_up: Annotated[
        bool,
        typer.Option("--warm-up/--no-warm-up", help="First write one record to each partition, which is not counted."),
    ] = True,
    settings: ClientSettings = None,
    verbose: Verbose = False,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Write records, and measure throughput and how long each waits for its acknowledgement."""
    from cli.bench.door import SenderSettings
    from cli.bench.payload import values_of
    from cli.bench.producing import measure_producing
    from cli.bench.topics import Shape

    shape = Shape(partitions, replication_factor, pairs(config, "--config"))
    sender = SenderSettings(
        acks=acks, compression=compression, batch_size=batch_size, linger_ms=linger_ms, others=pairs(settings, "-X")
    )
    load = _load(records, seconds, rate)
    with _measuring(bootstrap, door, timeout, verbose) as (way, live, stop):
        values = values_of(seed, record_size, compressible)
        outcome = measure_producing(way, topic, shape, sender, load, values, warm_up, live, stop)
    _tell(outcome, output)


@app.command()
def consume(
    topic: Annotated[str, typer.Option("--topic", "-t", help="What to read.", metavar="TOPIC")],
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    door: DoorOption = None,
    records: Records = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="End after so many seconds.", min=0.1)] = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            help="Read as a member of this group, from its committed offsets; what was read is committed at the end. "
            "Needs --records or --seconds.",
            metavar="GROUP",
        ),
    ] = None,
    silence: Annotated[
        float, typer.Option("--silence", help="End when no record has come for so many seconds.", min=0.1)
    ] = 10.0,
    settings: ClientSettings = None,
    verbose: Verbose = False,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Read a topic from its beginning, and measure throughput.

    Without --records and --seconds it ends at what is the end when it begins.
    """
    from cli.bench.consuming import Until, measure_consuming
    from cli.bench.door import ReaderSettings

    if group is not None and records is None and seconds is None:
        raise typer.BadParameter("a member of a group does not know where the others are; add --records or --seconds")
    reader = ReaderSettings(group=group, others=pairs(settings, "-X"))
    until = Until(records, seconds, silence)
    with _measuring(bootstrap, door, timeout, verbose) as (way, live, stop):
        outcome = measure_consuming(way, topic, reader, until, live, stop)
    _tell(outcome, output)


@app.command()
def latency(
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    door: DoorOption = None,
    topic: TopicOption = None,
    partitions: Partitions = None,
    replication_factor: ReplicationFactor = None,
    config: TopicConfig = None,
    records: Records = None,
    seconds: Seconds = None,
    rate: OpenRate = 1_000.0,
    record_size: RecordSize = 1_024,
    acks: AcksOption = Acks.ALL,
    compression: CompressionOption = Compression.NONE,
    batch_size: BatchSize = None,
    linger_ms: NoLingerMs = 0,
    seed: Seed = 0,
    compressible: Compressible = 0.5,
    settings: ClientSettings = None,
    verbose: Verbose = False,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Write at a rate and read along, and measure how long a record is on its way from producer to consumer.

    It counts from when the record was due by the rate. Exit code 4 where an acknowledged record did not arrive.
    """
    from cli.bench.door import SenderSettings
    from cli.bench.end_to_end import measure_end_to_end
    from cli.bench.payload import values_of
    from cli.bench.topics import Shape

    if record_size < STAMP_BYTES:
        raise typer.BadParameter(f"a record carries {STAMP_BYTES} bytes that tell it apart", param_hint="--record-size")
    shape = Shape(partitions, replication_factor, pairs(config, "--config"))
    sender = SenderSettings(
        acks=acks, compression=compression, batch_size=batch_size, linger_ms=linger_ms, others=pairs(settings, "-X")
    )
    load = _load(records, seconds, rate)
    with _measuring(bootstrap, door, timeout, verbose) as (way, live, stop):
        values = values_of(seed, record_size, compressible)
        outcome = measure_end_to_end(way, topic, shape, sender, load, values, live, stop)
    _tell(outcome, output)


@app.command()
def failover(
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    door: DoorOption = None,
    topic: TopicOption = None,
    partitions: Partitions = None,
    replication_factor: ReplicationFactor = None,
    config: TopicConfig = None,
    records: Records = None,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", help="End after so many seconds. Default: 60, without --records.", min=0.1),
    ] = None,
    rate: OpenRate = 200.0,
    record_size: RecordSize = 1_024,
    acks: AcksOption = Acks.ALL,
    compression: CompressionOption = Compression.NONE,
    batch_size: BatchSize = None,
    linger_ms: NoLingerMs = 0,
    seed: Seed = 0,
    compressible: Compressible = 0.5,
    settings: ClientSettings = None,
    verbose: Verbose = False,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Write at a rate while you kill nodes; then tell who waited, and count what was lost by reading it back.

    Exit code 4 where anything acknowledged was lost, or came back twice, changed or out of order. Nobody else should
    write to the topic meanwhile.
    """
    from cli.bench.door import SenderSettings
    from cli.bench.failing_over import measure_failing_over
    from cli.bench.payload import values_of
    from cli.bench.topics import Shape

    shape = Shape(partitions, replication_factor, pairs(config, "--config"))
    sender = SenderSettings(
        acks=acks, compression=compression, batch_size=batch_size, linger_ms=linger_ms, others=pairs(settings, "-X")
    )
    load = _load(records, seconds, rate, default_s=60.0)
    with _measuring(bootstrap, door, timeout, verbose) as (way, live, stop):
        values = values_of(seed, record_size, compressible)
        outcome = measure_failing_over(way, topic, shape, sender, load, values, live, stop)
    _tell(outcome, output)


@contextmanager
def _measuring(
    bootstrap: str, door: DoorName | None, timeout: float, verbose: bool
) -> "Iterator[tuple[Door, Live, Stop]]":
    from cli.bench.choosing import open_door
    from cli.bench.live import Live
    from cli.bench.stop import Stop

    live = Live(sys.stderr, verbose)
    with Stop().listening() as stop, open_door(bootstrap, door, timeout) as way:
        try:
            yield way, live, stop
        finally:
            live.clear()


def _load(records: int | None, seconds: float | None, rate: float, default_s: float = SECONDS) -> "Load":
    from cli.bench.sending import Load

    if 0 < rate < RATE_MIN:
        raise typer.BadParameter(f"{rate} records a second are too few; 0 is as fast as possible", param_hint="--rate")
    return Load(records, default_s if records is None and seconds is None else seconds, rate)


def _tell(outcome: "Outcome", output: Format) -> None:
    """Print it, then say by the exit code what it was."""
    from cli.bench.report import table_of

    if output is Format.TABLE:
        typer.echo(table_of(outcome.fields))
        if outcome.stretches:
            typer.echo("\nrecords that waited longer than 100 ms")
            show_table(outcome.stretches, tuple(outcome.stretches[0]))
    else:
        failover_only = {"waits": list(outcome.stretches)} if outcome.fields["command"] == "failover" else {}
        show_one({**outcome.fields, **failover_only}, output)
    for example in outcome.examples:
        typer.echo(example, err=True)
    if not outcome.clean:
        raise typer.Exit(UNCLEAN)
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.error is not None:
        typer.echo(f"{outcome.trouble}; the first error:", err=True)
        raise outcome.error
