"""`kraftpy quorum`: the metadata quorum."""

import typer

from cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Timeout, admin
from cli.output import Format, Output, show_one, show_table

app = typer.Typer(help="The metadata quorum.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def quorum() -> None:
    """The metadata quorum."""


@app.command()
def status(bootstrap: Bootstrap = DEFAULT_BOOTSTRAP, output: Output = Format.TABLE, timeout: Timeout = 10.0) -> None:
    """Leader, epoch, high watermark, and how far each voter and observer is behind."""
    with admin(bootstrap) as client:
        found = client.describe_quorum(timeout=timeout)
    replicas = [
        {
            "node_id": replica.node_id,
            "role": role if replica.node_id != found.leader_id else "leader",
            "address": f"{replica.host}:{replica.port}" if replica.host else None,
            "log_end_offset": replica.log_end_offset,
            "lag": found.lag(replica),
            "last_fetch_age_ms": replica.last_fetch_age_ms,
            "last_caught_up_age_ms": replica.last_caught_up_age_ms,
            "directory_id": replica.directory_id,
        }
        for role, group in (("voter", found.voters), ("observer", found.observers))
        for replica in group
    ]
    summary = {
        "leader_id": found.leader_id,
        "leader_epoch": found.leader_epoch,
        "high_watermark": found.high_watermark,
    }
    if output is Format.TABLE:
        show_one(summary, output)
        typer.echo()
        show_table(replicas, ("node_id", "role", "address", "log_end_offset", "lag", "last_fetch_age_ms"))
    else:
        show_one({**summary, "replicas": replicas}, output)
