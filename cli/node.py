"""`kraftpy node`: what it takes, for typer to read and to explain. `node_process` runs it.

Most starts do without this module: `node_line` reads what scripts type.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.node_line import NodeLine
from cli.options import pairs


def node(
    node_id: Annotated[int | None, typer.Option("--id", help="This node's id (node.id). Default: 1.", min=0)] = None,
    peers: Annotated[
        str,
        typer.Option(
            "--peers",
            help="The quorum's voters (controller.quorum.voters), this node among them or not. None: a cluster of one.",
            metavar="ID@HOST:PORT,…",
        ),
    ] = "",
    data_dir: Annotated[
        str,
        typer.Option("--data-dir", help="Where data lies (log.dirs). Default: kraftpy-data/node-ID.", metavar="DIR"),
    ] = "",
    config: Annotated[
        Path | None, typer.Option("--config", help="A server.properties.", exists=True, dir_okay=False, metavar="FILE")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting; may be repeated.", metavar="NAME=VALUE")
    ] = None,
    listen: Annotated[
        str, typer.Option("--listen", help="Where to take calls. Default: as the peers say.", metavar="HOST:PORT")
    ] = "",
    listeners: Annotated[
        str,
        typer.Option(
            "--listeners",
            help="Where to take Kafka's protocol. Default: one port below the calls.",
            metavar="NAME://HOST:PORT,…",
        ),
    ] = "",
    advertised_listeners: Annotated[
        str,
        typer.Option(
            "--advertised-listeners",
            help="What clients are told where that differs from --listeners.",
            metavar="NAME://HOST:PORT,…",
        ),
    ] = "",
    insecure_listeners: Annotated[
        bool,
        typer.Option("--insecure-listeners", help="Listen beyond loopback although nobody has to prove who they are."),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse unknown settings instead of warning.")] = False,
) -> None:
    """Run one node of a cluster. Start the others in any order, with any delay."""
    line = NodeLine(
        node_id=node_id,
        peers=peers,
        data_dir=data_dir,
        config=config,
        settings=pairs(settings, "--set"),
        listen=listen,
        listeners=listeners,
        advertised_listeners=advertised_listeners,
        insecure_listeners=insecure_listeners,
        strict=strict,
    )
    from cli.node_process import run_node

    sys.exit(run_node(line))
