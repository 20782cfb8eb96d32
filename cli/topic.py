"""`kraftpy topic`: topics, and the records in them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.consume import consume
from cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Settings, Timeout, admin, pairs
from cli.output import Format, Output, show, show_one, show_table
from cli.produce import produce

if TYPE_CHECKING:
    from kraftpy import ConfigEntry, TopicDescription

app = typer.Typer(help="Topics, and the records in them.", no_args_is_help=True, rich_markup_mode=None)
app.command("produce")(produce)
app.command("consume")(consume)

Name = Annotated[str, typer.Argument(help="The topic's name.", metavar="TOPIC")]


@app.command("list")
def list_topics(
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    internal: Annotated[bool, typer.Option("--internal", help="The cluster's own topics, too.")] = False,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """All topics."""
    with admin(bootstrap) as client:
        topics = client.list_topics(include_internal=internal, timeout=timeout)
    rows = [
        {
            "topic": topic.name,
            "partitions": topic.partitions,
            "replication_factor": topic.replication_factor,
            "topic_id": topic.topic_id,
            "internal": topic.internal,
        }
        for topic in topics
    ]
    show(rows, output, ("topic", "partitions", "replication_factor"))


@app.command()
def create(
    name: Name,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    partitions: Annotated[
        int | None, typer.Option("--partitions", "-p", help="How many. Default: the cluster's num.partitions.")
    ] = None,
    replication_factor: Annotated[
        int | None,
        typer.Option("--replication-factor", "-r", help="Copies of each. Default: default.replication.factor."),
    ] = None,
    config: Settings = None,
    if_not_exists: Annotated[bool, typer.Option("--if-not-exists", help="Do nothing where it exists.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, create nothing.")] = False,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Create a topic."""
    from kraftpy.errors import TopicAlreadyExistsError

    settings = pairs(config, "--config")
    with admin(bootstrap) as client:
        try:
            created = client.create_topic(
                name,
                partitions=partitions,
                replication_factor=replication_factor,
                config=settings,
                validate_only=dry_run,
                timeout=timeout,
            )
        except TopicAlreadyExistsError:
            if not if_not_exists:
                raise
            _said(f"topic {name} exists", {"topic": name, "created": False}, output)
            return
    _warn(created.warnings)
    row = {
        "topic": created.name,
        "created": not dry_run,
        "partitions": created.partitions,
        "replication_factor": created.replication_factor,
        "topic_id": None if dry_run else created.topic_id,
    }
    verb = "would be created" if dry_run else "created"
    shape = f"{created.partitions} partitions, replication factor {created.replication_factor}"
    _said(f"topic {name} {verb}: {shape}", row, output)


@app.command()
def describe(
    names: Annotated[list[str] | None, typer.Argument(help="Topics; all without one.", metavar="[TOPIC]…")] = None,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Partitions with their leaders and in-sync replicas, and the settings that are not defaults."""
    from kraftpy import ConfigResource

    with admin(bootstrap) as client:
        topics = client.describe_topics(names or None, timeout=timeout)
        resources = [ConfigResource.topic(topic.name) for topic in topics]
        settings = client.describe_configs(resources, timeout=timeout) if resources else {}
    rows = [_described(topic, settings.get(ConfigResource.topic(topic.name), {})) for topic in topics]
    if output is not Format.TABLE:
        show(rows, output, ())
        return
    for number, row in enumerate(rows):
        if number:
            typer.echo()
        show_one({name: value for name, value in row.items() if name != "partitions"}, output)
        typer.echo()
        show_table(row["partitions"], ("partition", "leader", "replicas", "isr", "offline"))


@app.command()
def alter(
    name: Name,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    partitions: Annotated[
        int | None, typer.Option("--partitions", "-p", help="The new total; it can only rise.", min=1)
    ] = None,
    config: Settings = None,
    delete_config: Annotated[
        list[str] | None,
        typer.Option("--delete-config", help="A setting to fall back to its default; repeatable.", metavar="NAME"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")] = False,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Raise a topic's number of partitions, set settings, or unset them."""
    from kraftpy import ConfigResource

    changes: dict[str, str | None] = {**pairs(config, "--config")}
    for setting in delete_config or ():
        if setting in changes:
            raise typer.BadParameter(f"{setting} is both set and deleted", param_hint="--delete-config")
        changes[setting] = None
    if partitions is None and not changes:
        raise typer.BadParameter("nothing to do: give --partitions, --config or --delete-config")
    with admin(bootstrap) as client:
        if changes:
            resource = ConfigResource.topic(name)
            if partitions is not None:  # of two changes the one that is refused more often is tried out first
                client.create_partitions(name, partitions, validate_only=True, timeout=timeout)
            _warn(client.alter_configs({resource: changes}, validate_only=dry_run, timeout=timeout))
        if partitions is not None:
            client.create_partitions(name, partitions, validate_only=dry_run, timeout=timeout)
    row = {"topic": name, "altered": not dry_run, "partitions": partitions, "settings": changes}
    told = [f"partitions={partitions}"] if partitions is not None else []
    told += [f"{setting} unset" if value is None else f"{setting}={value}" for setting, value in changes.items()]
    _said(f"topic {name} {'would be altered' if dry_run else 'altered'}: {', '.join(told)}", row, output)


@app.command()
def delete(
    names: Annotated[list[str], typer.Argument(help="The topics.", metavar="TOPIC…")],
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    if_exists: Annotated[bool, typer.Option("--if-exists", help="Pass over those that do not exist.")] = False,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Delete topics with all their records."""
    from kraftpy.errors import KraftpyError, UnknownTopicOrPartitionError

    refused: KraftpyError | None = None
    rows: list[dict[str, Any]] = []
    with admin(bootstrap) as client:
        for name in dict.fromkeys(names):
            try:
                client.delete_topic(name, timeout=timeout)
                rows.append({"topic": name, "deleted": True})
            except UnknownTopicOrPartitionError as error:
                rows.append({"topic": name, "deleted": False})
                refused = refused if if_exists else refused or type(error)(f"{name}: {error}")
    if output is Format.TABLE:
        for row in rows:
            typer.echo(f"topic {row['topic']} {'deleted' if row['deleted'] else 'does not exist'}")
    else:
        show(rows, output, ())
    if refused is not None:
        raise refused


@app.command("delete-records")
def delete_records(
    name: Name,
    before: Annotated[
        str,
        typer.Option("--before", help='The first offset that stays, or "end": all goes.', metavar="OFFSET|end"),
    ],
    partitions: Annotated[
        list[int] | None,
        typer.Option("--partition", "-p", help="Of this one; repeatable. Default: all.", min=0, metavar="N"),
    ] = None,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Delete the oldest records, for good; where each partition begins afterwards."""
    if before != "end" and not (before.isascii() and before.isdigit() and len(before) < 20 and int(before) < 2**63):
        raise typer.BadParameter(f"'{before}' is neither an offset nor end", param_hint="--before")
    offset = -1 if before == "end" else int(before)
    with admin(bootstrap) as client:
        (topic,) = client.describe_topics([name], timeout=timeout)
        wanted = partitions or [partition.partition for partition in topic.partitions]
        starts = client.delete_records({(name, partition): offset for partition in wanted}, timeout=timeout)
    rows = [{"topic": name, "partition": place.partition, "start_offset": start} for place, start in starts.items()]
    show(rows, output, ("topic", "partition", "start_offset"))


def _described(topic: "TopicDescription", entries: "dict[str, ConfigEntry]") -> dict[str, Any]:
    return {
        "topic": topic.name,
        "topic_id": topic.topic_id,
        "internal": topic.internal,
        "partition_count": len(topic.partitions),
        "replication_factor": topic.replication_factor,
        "settings": {name: entry.value for name, entry in entries.items() if entry.source not in ("default", "static")},
        "partitions": [
            {
                "partition": partition.partition,
                "leader": partition.leader if partition.leader >= 0 else None,
                "leader_epoch": partition.leader_epoch,
                "replicas": list(partition.replicas),
                "isr": list(partition.isr),
                "offline": list(partition.offline_replicas),
                "eligible": list(partition.eligible_replicas),
                "adding": list(partition.adding_replicas),
                "removing": list(partition.removing_replicas),
            }
            for partition in topic.partitions
        ],
    }


def _said(sentence: str, row: dict[str, Any], form: Format) -> None:
    """What was done: a sentence for people, an object for programs."""
    if form is Format.TABLE:
        typer.echo(sentence)
    else:
        show_one(row, form)


def _warn(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
