"""`kraftpy quorum`: the metadata quorum, and who votes in it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Timeout, admin
from cli.output import Format, Output, show, show_one, show_table

if TYPE_CHECKING:
    from kraftpy.client.admin_values import QuorumVoter

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
        show_table(
            replicas, ("node_id", "role", "address", "log_end_offset", "lag", "last_fetch_age_ms", "directory_id")
        )
    else:
        show_one({**summary, "replicas": replicas}, output)


NodeId = Annotated[int, typer.Argument(help="The node's id.", metavar="NODE_ID", min=0)]
DirectoryId = Annotated[
    str | None,
    typer.Option("--directory-id", help="Only on this disk, as `quorum status` shows it.", metavar="ID"),
]


@app.command()
def add(
    node_id: NodeId,
    directory_id: DirectoryId = None,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    output: Output = Format.TABLE,
    timeout: Timeout = 60.0,
) -> None:
    """Make an observer a voter, once it has caught up. One at a time."""
    with admin(bootstrap) as client:
        voters = client.add_raft_voter(node_id, directory_id=directory_id, timeout=timeout, progress=_Reasons())
    _show_voters(voters, output)


@app.command()
def remove(
    node_id: NodeId,
    directory_id: DirectoryId = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Also where no majority of the voters that are left can be heard: until they come back, no topic can "
            "be created and no leader elected.",
        ),
    ] = False,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    output: Output = Format.TABLE,
    timeout: Timeout = 30.0,
) -> None:
    """Take a voter out of the quorum; its node goes on as an observer. One at a time."""
    with admin(bootstrap) as client:
        voters = client.remove_raft_voter(node_id, directory_id=directory_id, force=force, timeout=timeout)
    _show_voters(voters, output)


@app.command()
def transfer(
    node_id: Annotated[
        int | None, typer.Argument(help="The voter that is to lead. Default: who is furthest.", metavar="[ID]", min=0)
    ] = None,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    output: Output = Format.TABLE,
    timeout: Timeout = 30.0,
) -> None:
    """Hand the quorum's leadership to another voter; the active controller goes with it."""
    with admin(bootstrap) as client:
        client.transfer_quorum_leadership(node_id, timeout=timeout)
        found = client.describe_quorum(timeout=timeout)
    if output is Format.TABLE:
        typer.echo(f"node {found.leader_id} leads the quorum in epoch {found.leader_epoch}")
    else:
        show_one({"leader_id": found.leader_id, "leader_epoch": found.leader_epoch}, output)


class _Reasons:
    """What is waited for, said when it changes."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, sentence: str) -> None:
        reason = sentence.partition("; it was waited for")[0]
        if reason != self._last:
            typer.echo(reason, err=True)
        self._last = reason


def _show_voters(voters: "Iterable[QuorumVoter]", output: Format) -> None:
    rows = [
        {"node_id": each.node_id, "address": f"{each.host}:{each.port}", "directory_id": each.directory_id}
        for each in voters
    ]
    show(rows, output, ("node_id", "address", "directory_id"))
