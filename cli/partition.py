"""`kraftpy partition`: where partitions are, moving them to other nodes, and electing their leaders."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.exit_codes import FAILED
from cli.moving import begin, wait_for_moves
from cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Timeout, admin
from cli.output import Format, Output, show, show_one

if TYPE_CHECKING:
    from kraftpy import PartitionDescription
    from kraftpy.client.admin_values import PartitionReassignment

app = typer.Typer(help="Partitions: replicas, moves, leaders.", no_args_is_help=True, rich_markup_mode=None)

Topic = Annotated[str | None, typer.Option("--topic", "-t", help="The topic.")]
Partition = Annotated[int | None, typer.Option("--partition", "-p", help="The partition's number.", min=0)]
JsonFile = Annotated[
    Path | None,
    typer.Option("--json", help='A file in Kafka\'s reassignment format: {"partitions": […]}.', metavar="FILE"),
]
Place = tuple[str, int]
EXAMPLE = '{"partitions": [{"topic": "t", "partition": 0, "replicas": [1, 2]}]}'


@app.command("list")
def list_partitions(
    topics: Annotated[list[str] | None, typer.Argument(help="Topics; all without one.", metavar="[TOPIC]…")] = None,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    moving: Annotated[bool, typer.Option("--moving", help="Only those that are being reassigned.")] = False,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Leaders, replicas and in-sync replicas; of partitions that move, how far they are."""
    with admin(bootstrap) as client:
        described = client.describe_topics(topics or None, timeout=timeout)
        under_way = {
            (each.topic, each.partition): each for each in client.list_partition_reassignments(timeout=timeout)
        }
    rows = [
        _row(topic.name, partition, under_way.get((topic.name, partition.partition)))
        for topic in described
        for partition in topic.partitions
        if not moving or (topic.name, partition.partition) in under_way
    ]
    columns: tuple[str, ...] = ("topic", "partition", "leader", "replicas", "isr", "eligible")
    if any(row["adding"] or row["removing"] for row in rows):
        columns += ("adding", "removing", "offset_lag", "bytes_lag")
    show(rows, output, columns)


@app.command()
def reassign(
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    topic: Topic = None,
    partition: Partition = None,
    replicas: Annotated[
        str | None, typer.Option("--replicas", help="The nodes, the preferred leader first: 1,2,3.", metavar="ID,…")
    ] = None,
    file: JsonFile = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Back to where it was: of these partitions, or of all that move.")
    ] = False,
    throttle: Annotated[
        int | None,
        typer.Option("--throttle", help="Bytes a second for what is copied; with --wait.", min=1, metavar="BYTES"),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until every move is complete.")] = False,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Move partitions to other nodes, raise or lower their replication factor, or cancel that."""
    wanted = _wanted(topic, partition, replicas, file, cancel)
    if throttle is not None and (cancel or not wait):
        raise typer.BadParameter("a throttle is removed when the moves are complete: give --wait, too")
    with admin(bootstrap) as client:
        if cancel and not wanted:
            moving = client.list_partition_reassignments(timeout=timeout)
            wanted = {(each.topic, each.partition): None for each in moving}
        begin(client, wanted, throttle, timeout)
        if wait:
            wait_for_moves(client, list(wanted), throttle, timeout)
    rows: list[dict[str, Any]] = [
        {
            "topic": place[0],
            "partition": place[1],
            "replicas": None if to is None else list(to),
            "cancelled": to is None,
        }
        for place, to in wanted.items()
    ]
    if output is not Format.TABLE:
        show(rows, output, ())
        return
    for row in rows:
        told = "cancelled" if row["cancelled"] else f"{'moved' if wait else 'moving'} to {_listed(row['replicas'])}"
        typer.echo(f"{row['topic']}-{row['partition']}: {told}")
    if not rows:
        typer.echo("nothing moves")
    elif not wait and not cancel:
        typer.echo("`kraftpy partition list --moving` tells how far they are.")


@app.command()
def unthrottle(
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP, output: Output = Format.TABLE, timeout: Timeout = 10.0
) -> None:
    """Remove every throttle of replication, for instance of a `reassign` that was killed."""
    with admin(bootstrap) as client:
        client.unthrottle_replication(timeout=timeout)
    if output is Format.TABLE:
        typer.echo("replication is not throttled")
    else:
        show_one({"throttled": False}, output)


@app.command()
def elect(
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    topic: Topic = None,
    partition: Partition = None,
    everywhere: Annotated[bool, typer.Option("--all", help="Every partition that needs it.")] = False,
    unclean: Annotated[
        bool,
        typer.Option("--unclean", help="Any replica that is there, for partitions without a leader. May lose records."),
    ] = False,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Give partitions back to their preferred leaders; or, with --unclean, a leader at any price."""
    if everywhere == (topic is not None) or (partition is not None and topic is None):
        raise typer.BadParameter("give --topic, perhaps with --partition, or --all")
    with admin(bootstrap) as client:
        places: list[Place] | None = None
        if topic is not None:
            found = client.describe_topic(topic, timeout=timeout)
            numbers = range(len(found.partitions)) if partition is None else [partition]
            places = [(topic, number) for number in numbers]
        results = client.elect_leaders(places, unclean=unclean, timeout=timeout)
    needless = "ELECTION_NOT_NEEDED"
    rows = [
        {
            "topic": result.topic,
            "partition": result.partition,
            "elected": not result.error,
            "error": result.error or None,
            "message": result.message or None,
        }
        for result in results
        if result.error != needless or partition is not None
    ]
    if output is Format.TABLE and not rows:
        typer.echo("no election was needed")
    else:
        show(rows, output, ("topic", "partition", "elected", "error", "message"))
    if any(row["error"] not in (None, needless) for row in rows):
        raise typer.Exit(FAILED)


def _wanted(
    topic: str | None, partition: int | None, replicas: str | None, file: Path | None, cancel: bool
) -> dict[Place, Sequence[int] | None]:
    """What is to be where; None: where it was before. Raises `typer.BadParameter`."""
    if file is not None:
        if topic is not None or partition is not None or replicas is not None:
            raise typer.BadParameter("give --json, or --topic, --partition and --replicas, not both")
        listed = _read(file)
        return dict.fromkeys(listed) if cancel else dict(listed)
    if cancel and topic is None and partition is None and replicas is None:
        return {}
    if topic is None or partition is None or (replicas is None) != cancel:
        raise typer.BadParameter(
            "give --topic and --partition with --cancel, or --cancel alone for all"
            if cancel
            else "give --topic, --partition and --replicas, or --json FILE"
        )
    return {(topic, partition): None if replicas is None else _ids(replicas)}


def _ids(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(f"'{text}' is no list of node ids, like 1,2,3", param_hint="--replicas")
    return [int(part) for part in parts]


def _read(file: Path) -> dict[Place, Sequence[int]]:
    """A reassignment as Kafka's tool writes and reads it."""
    try:
        document: Any = json.loads(file.read_text())
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}", param_hint="--json") from None
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{file} is not JSON: {error}", param_hint="--json") from None
    items = document.get("partitions") if isinstance(document, dict) else None
    if not isinstance(items, list):
        raise typer.BadParameter(f"{file} is not {EXAMPLE}", param_hint="--json")
    found: dict[Place, Sequence[int]] = {}
    for item in items:
        match item:
            case {"topic": str(topic), "partition": int(partition), "replicas": [*replicas]} if all(
                type(number) is int and number >= 0 for number in (partition, *replicas)
            ):
                if (topic, partition) in found:
                    raise typer.BadParameter(f"{file} names {topic}-{partition} twice", param_hint="--json")
                found[topic, partition] = replicas
            case _:
                raise typer.BadParameter(f"{file} is not {EXAMPLE}: {json.dumps(item)[:200]}", param_hint="--json")
    return found


def _row(topic: str, partition: "PartitionDescription", move: "PartitionReassignment | None") -> Mapping[str, Any]:
    return {
        "topic": topic,
        "partition": partition.partition,
        "leader": partition.leader if partition.leader >= 0 else None,
        "replicas": list(partition.replicas),
        "isr": list(partition.isr),
        "eligible": list(partition.eligible_replicas),
        "offline": list(partition.offline_replicas),
        "adding": list(partition.adding_replicas),
        "removing": list(partition.removing_replicas),
        "offset_lag": sum(each.offset_lag for each in move.progress) if move and move.progress else None,
        "bytes_lag": move.bytes_lag if move and move.progress else None,
    }


def _listed(replicas: Sequence[int]) -> str:
    return ",".join(map(str, replicas))
