"""`kraftpy verify`: whether all replicas of a topic hold the same."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.exit_codes import FAILED
from cli.options import DEFAULT_BOOTSTRAP, TIMEOUT_MAX_S, Bootstrap, admin
from cli.output import Format, Output, show, show_table

if TYPE_CHECKING:
    from kraftpy.client.replica_comparison import ReplicaDifference, VerifiedPartition
    from kraftpy.client.verifying import VerifyProgress

SHOWN_EVERY_PERCENT = 5


def verify(
    topic: Annotated[str, typer.Argument(help="The topic.", metavar="TOPIC")],
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    partition: Annotated[
        list[int] | None, typer.Option("--partition", "-p", help="This partition only; repeatable.", min=0, metavar="N")
    ] = None,
    output: Output = Format.TABLE,
    timeout: Annotated[
        float,
        typer.Option("--timeout", help="Seconds until the comparison is given up.", min=0.001, max=TIMEOUT_MAX_S),
    ] = 86_400.0,
) -> None:
    """Compare all replicas by checksums of what is committed, and say where they differ.

    Each broker reads its own replica at the lowest priority. Exit code 1 where replicas differ, or one could not be
    compared. What has been compacted is compared record by record, as far as two replicas both keep it.
    """
    with admin(bootstrap) as client:
        progress = _Shown() if sys.stderr.isatty() else None
        verified = client.verify_topic(topic, partition or None, progress=progress, timeout=timeout)
    if output is not Format.TABLE:
        show([_row(each) for each in verified], output, ())
    else:
        show_table(
            [_row(each) for each in verified],
            ("topic", "partition", "replicas", "start_offset", "end_offset", "differing", "compacted_differently"),
        )
        for each in verified:
            for difference in each.differences:
                typer.echo(str(difference), err=True)
            for broker, why in sorted(each.unreachable.items()):
                typer.echo(f"{topic}-{each.partition}: broker {broker} was not compared: {why}", err=True)
    if not all(each.is_equal for each in verified):
        raise typer.Exit(FAILED)


class _Shown:
    """Progress for whoever watches: a line every few percent of a partition."""

    def __init__(self) -> None:
        self._last = (-1, -1)

    def __call__(self, progress: "VerifyProgress") -> None:
        percent = 100 if not progress.end_offset else 100 * progress.offset // progress.end_offset
        step = (progress.partition, percent // SHOWN_EVERY_PERCENT)
        if step != self._last:
            self._last = step
            print(f"{progress.topic}-{progress.partition}: {percent} %", file=sys.stderr)


def _row(verified: "VerifiedPartition") -> dict[str, Any]:
    return {
        "topic": verified.topic,
        "partition": verified.partition,
        "replicas": list(verified.replicas),
        "start_offset": verified.start_offset,
        "end_offset": verified.end_offset,
        "is_equal": verified.is_equal,
        "differing": sum(each.end_offset - each.start_offset for each in verified.differences),
        "compacted_differently": verified.compacted_differently,
        "differences": [_difference(each) for each in verified.differences],
        "unreachable": {str(broker): why for broker, why in sorted(verified.unreachable.items())},
    }


def _difference(difference: "ReplicaDifference") -> dict[str, Any]:
    return {
        "start_offset": difference.start_offset,
        "end_offset": difference.end_offset,
        "groups": [list(group) for group in difference.groups],
        "missing": list(difference.missing),
        "damaged": {str(broker): why for broker, why in sorted(difference.damaged.items())},
    }
