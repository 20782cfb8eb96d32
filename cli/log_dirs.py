"""`kraftpy log-dirs`: the log directories of the brokers, and where each replica lies."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.exit_codes import UNCLEAN
from cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Timeout, admin
from cli.output import Format, Output, show, show_one, show_table

if TYPE_CHECKING:
    from kraftpy.client.admin_values import LogDirDescription

app = typer.Typer(help="The log directories of the brokers.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def describe(
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    broker: Annotated[
        list[int] | None,
        typer.Option("--broker", help="Of this broker; repeatable. Default: all in service.", metavar="ID"),
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option("--topic", help="Replicas of this topic only; repeatable.", metavar="TOPIC")
    ] = None,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Each directory's state, room and replicas. Exit code 4 where one failed."""
    with admin(bootstrap) as client:
        found = client.describe_log_dirs(broker or None, topics=topic or (), timeout=timeout)
    rows = [_row(directory) for directory in found]
    if output is not Format.TABLE:
        show(rows, output, ())
    else:
        show_table(rows, ("broker", "path", "state", "partitions", "size_bytes", "usable_bytes", "total_bytes"))
        replicas = [
            {**replica, "broker": row["broker"], "path": row["path"]} for row in rows for replica in row["replicas"]
        ]
        if replicas:
            typer.echo()
            show_table(replicas, ("topic", "partition", "broker", "path", "size_bytes", "offset_lag", "is_future"))
        for row in rows:
            if row["error"]:
                typer.echo(f"broker {row['broker']}, {row['path']}: {row['error']}", err=True)
    if any(row["error"] for row in rows):
        raise typer.Exit(UNCLEAN)


@app.command()
def move(
    topic: Annotated[str, typer.Option("--topic", help="The topic.", metavar="TOPIC")],
    partition: Annotated[int, typer.Option("--partition", "-p", help="The partition.", min=0)],
    broker: Annotated[int, typer.Option("--broker", help="Whose replica.", min=0)],
    directory: Annotated[
        str, typer.Option("--dir", help="One of that broker's log.dirs. Where it is now: cancel.", metavar="DIR")
    ],
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Begin to move a replica to another directory of its broker; `describe` shows how far it is."""
    with admin(bootstrap) as client:
        before = client.describe_log_dirs([broker], topics=[topic], timeout=timeout)
        client.alter_replica_log_dirs({(topic, partition, broker): directory}, timeout=timeout)
    places = {
        replica.is_future: found.path
        for found in before
        for replica in found.replicas
        if (replica.topic, replica.partition) == (topic, partition)
    }
    row = {"topic": topic, "partition": partition, "broker": broker, "path": directory, "asked": True}
    if output is Format.TABLE:
        typer.echo(f"{topic}-{partition} of broker {broker} {_what_comes_of_it(places, directory)}")
    else:
        show_one(row, output)


def _what_comes_of_it(places: dict[bool, str], directory: str) -> str:
    """`places`: where the replica lies, and, under True, where it was on its way to."""
    if places.get(False) != directory:
        return f"moves to {directory}"
    if True in places:
        return f"stays in {directory}: its move to {places[True]} is cancelled"
    return f"lies in {directory} already"


def _row(directory: "LogDirDescription") -> dict[str, Any]:
    return {
        "broker": directory.broker_id,
        "path": directory.path,
        "directory_id": directory.directory_id or None,
        "state": "failed" if directory.error else "online",
        "error": directory.error or None,
        "total_bytes": directory.total_bytes,
        "usable_bytes": directory.usable_bytes,
        "size_bytes": directory.size_bytes,
        "partitions": len(directory.replicas),
        "replicas": [
            {
                "topic": replica.topic,
                "partition": replica.partition,
                "size_bytes": replica.size_bytes,
                "offset_lag": replica.offset_lag,
                "is_future": replica.is_future,
            }
            for replica in directory.replicas
        ],
    }
