"""`kraftpy txn`: transactions, and what to do about those that nobody ends."""

import time
from typing import Annotated

import typer

from cli.asking import ask
from cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Timeout, admin
from cli.output import Format, Output, show, show_one, show_table

RUNNING_MAX_S = 10**12  # 31,000 years: as ms, well within the 64 bits that a request has for them

app = typer.Typer(help="Transactions.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_transactions(
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="Ongoing, PrepareCommit, CompleteCommit, Empty …; repeatable.", metavar="STATE"),
    ] = None,
    running: Annotated[
        float,
        typer.Option(
            "--running", help="Open for so many seconds at least.", min=0, max=RUNNING_MAX_S, metavar="SECONDS"
        ),
    ] = 0.0,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """All transactional ids."""
    with admin(bootstrap) as client:
        found = client.list_transactions(states=state or (), running_ms_min=round(running * 1_000), timeout=timeout)
    rows = [
        {"transactional_id": each.transactional_id, "producer_id": each.producer_id, "state": each.state}
        for each in found
    ]
    show(rows, output, ("transactional_id", "producer_id", "state"))


@app.command()
def describe(
    transactional_id: Annotated[str, typer.Argument(help="The transactional id.", metavar="ID")],
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """One transactional id: where it stands, since when, and in which partitions."""
    with admin(bootstrap) as client:
        found = client.describe_transaction(transactional_id, timeout=timeout)
    row = {
        "transactional_id": found.transactional_id,
        "state": found.state,
        "coordinator": found.coordinator,
        "producer_id": found.producer_id,
        "producer_epoch": found.producer_epoch,
        "timeout_ms": found.timeout_ms,
        "started_ms": found.started_ms,
        "running_ms": None if found.started_ms is None else max(round(time.time() * 1_000) - found.started_ms, 0),
        "partitions": [{"topic": each.topic, "partition": each.partition} for each in found.partitions],
    }
    if output is not Format.TABLE:
        show_one(row, output)
        return
    show_one({name: value for name, value in row.items() if name != "partitions"}, output)
    if row["partitions"]:
        typer.echo()
        show_table([{"topic": each.topic, "partition": each.partition} for each in found.partitions], PLACE)


@app.command()
def abort(
    transactional_id: Annotated[str | None, typer.Argument(help="The transactional id.", metavar="[ID]")] = None,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    topic: Annotated[str | None, typer.Option("--topic", help="Of one that hangs in a partition.")] = None,
    partition: Annotated[int | None, typer.Option("--partition", help="Its partition.", min=0, max=2**31 - 1)] = None,
    start_offset: Annotated[int | None, typer.Option("--start-offset", help="Where it begins there.", min=0)] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Abort what a transactional id has open, and fence its producer; or one that hangs, in a partition.

    A transaction hangs where its coordinator does not know of it, and readers of committed records wait for its end.
    """
    hanging = None if topic is None or partition is None or start_offset is None else (topic, partition, start_offset)
    if (transactional_id is None) == (hanging is None):
        raise typer.BadParameter("give a transactional id, or --topic, --partition and --start-offset, all three")
    what = (
        f"the transaction of {transactional_id}"
        if hanging is None
        else f"the transaction in {topic}-{partition} from offset {start_offset}"
    )
    if not yes:
        ask(f"Abort {what}?")
    with admin(bootstrap) as client:
        if transactional_id is not None:
            client.describe_transaction(transactional_id, timeout=timeout)  # fencing would make an id that nobody has
            client.fence_producer(transactional_id, timeout=timeout)
        elif hanging is not None:
            client.abort_transaction(hanging[:2], hanging[2], timeout=timeout)
    if output is Format.TABLE:
        typer.echo(f"aborted {what}")
        return
    row = {
        "transactional_id": transactional_id,
        "topic": topic,
        "partition": partition,
        "start_offset": start_offset,
        "aborted": True,
    }
    show_one(row, output)


PLACE = ("topic", "partition")
