"""`kraftpy cluster`: the cluster as a whole."""

from dataclasses import asdict

import typer

from cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Timeout, admin
from cli.output import Format, Output, show_one, show_table

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
