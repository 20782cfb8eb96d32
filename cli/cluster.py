"""`kraftpy cluster`: the cluster as a whole."""

from dataclasses import asdict
from typing import Annotated

import typer

from cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Timeout, admin, pairs
from cli.output import Format, Output, show, show_one, show_table

UNHEALTHY = 4

app = typer.Typer(help="The cluster as a whole.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def info(bootstrap: Bootstrap = DEFAULT_BOOTSTRAP, output: Output = Format.TABLE, timeout: Timeout = 10.0) -> None:
    """The cluster's id, its controller and its nodes."""
    with admin(bootstrap) as client:
        found = client.describe_cluster(timeout=timeout)
    nodes = [
        {
            "node_id": node.node_id,
            "calls": f"{node.host}:{node.port}",
            "listener": f"{node.listener_host}:{node.listener_port}" if node.listener_host else None,
            "rack": node.rack,
            "in_service": not node.fenced,
            "controller": node.node_id == found.controller_id,
        }
        for node in found.brokers
    ]
    summary = {
        "cluster_id": found.cluster_id,
        "controller_id": found.controller_id if found.controller_id >= 0 else None,
        "metadata_offset": found.metadata_offset,
        "features": dict(found.features),
    }
    if output is Format.TABLE:
        show_one(summary, output)
        typer.echo()
        show_table(nodes, ("node_id", "calls", "listener", "rack", "in_service", "controller"))
    else:
        show_one({**summary, "nodes": nodes}, output)


@app.command()
def health(bootstrap: Bootstrap = DEFAULT_BOOTSTRAP, output: Output = Format.TABLE, timeout: Timeout = 5.0) -> None:
    """Whether everything is in service and in sync. Exit code 4 where it is not, 3 where nobody answers."""
    with admin(bootstrap) as client:
        found = client.cluster_health(timeout=timeout)
    if output is Format.TABLE:
        for problem in found.problems:
            typer.echo(problem)
        if found.healthy:
            typer.echo(f"healthy: {found.brokers} nodes, {found.partitions} partitions")
    else:
        show_one({"healthy": found.healthy, **asdict(found)}, output)
    if not found.healthy:
        raise typer.Exit(UNHEALTHY)


@app.command()
def metrics(
    broker: Annotated[
        list[int] | None, typer.Option("--broker", help="Of this broker; repeatable. Default: all in service.")
    ] = None,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """What each broker tells of itself in numbers."""
    with admin(bootstrap) as client:
        found = client.describe_metrics(broker or None, timeout=timeout)
    rows = [
        {"metric": metric.name, "labels": dict(metric.labels), "broker": node.node_id, "value": metric.value}
        for node in found
        for metric in node.metrics
    ]
    show(rows, output, ("metric", "labels", "broker", "value"))


@app.command()
def features(bootstrap: Bootstrap = DEFAULT_BOOTSTRAP, output: Output = Format.TABLE, timeout: Timeout = 10.0) -> None:
    """The levels at which the cluster works, and what each node's release can work with."""
    with admin(bootstrap) as client:
        found = client.describe_features(timeout=timeout)
    names = list(dict.fromkeys([*found.finalized, *(name for node in found.nodes for name in node.supported)]))
    levels = [
        {"feature": name, "level": found.finalized.get(name), "possible": found.highest_common(name)} for name in names
    ]
    nodes = [
        {
            "node_id": node.node_id,
            "release": node.release or None,
            "in_service": node.in_service,
            "voter": node.is_voter,
            "supported": {name: f"{low}-{high}" for name, (low, high) in node.supported.items()},
        }
        for node in found.nodes
    ]
    if output is Format.TABLE:
        show_table(levels, ("feature", "level", "possible"))
        typer.echo()
        show_table(nodes, ("node_id", "release", "in_service", "voter", "supported"))
    else:
        show_one({"features": levels, "nodes": nodes}, output)


@app.command()
def upgrade(
    release: Annotated[str, typer.Option("--release", help="To the levels of this release.", metavar="RELEASE")] = "",
    feature: Annotated[
        list[str] | None,
        typer.Option("--feature", help="To this level; may be repeated.", metavar="NAME=LEVEL"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would change.")] = False,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    output: Output = Format.TABLE,
    timeout: Timeout = 30.0,
) -> None:
    """Raise the cluster's levels once every node runs the newer release: as far as all support it, unless told."""
    levels = {}
    for name, level in pairs(feature, "--feature").items():
        if not (level.isascii() and level.isdigit()) or int(level) >= 2**31:
            raise typer.BadParameter(f"'{name}={level}' is not NAME=LEVEL", param_hint="--feature")
        levels[name] = int(level)
    if release and levels:
        raise typer.BadParameter("names a release or features, not both", param_hint="--release")
    with admin(bootstrap) as client:
        changes = client.update_features(levels, release=release, validate_only=dry_run, timeout=timeout)
    rows = [
        {"feature": each.name, "from": each.old_level, "to": each.new_level, "done": not dry_run} for each in changes
    ]
    if output is Format.TABLE and not rows:
        typer.echo("nothing to raise: the cluster works at these levels already")
        return
    show(rows, output, ("feature", "from", "to", "done"))
