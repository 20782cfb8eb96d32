"""`kraftpy dev`: a cluster for the desk, as one process tree with one Ctrl-C.

The nodes are ordinary `kraftpy node` processes on loopback, in sessions of their own, so a Ctrl-C reaches this process
only, and it ends them. A reaper ends them where this process cannot: when it is killed.
"""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exit_codes import FAILED
from cli.options import DEFAULT_BOOTSTRAP, pairs
from cli.output import show_table

if TYPE_CHECKING:
    from types import FrameType

    from kraftpy.testing import Cluster

LOOK_S = 0.2
PORT_STEP = 100  # as in kraftpy.testing.Cluster
STOP_S = 60.0


def dev(
    nodes: Annotated[int, typer.Option("--nodes", "-n", help="How many nodes.", min=1, max=99)] = 1,
    data_dir: Annotated[
        str, typer.Option("--data-dir", help="Keep data and logs here. Default: nothing is kept.", metavar="DIR")
    ] = "",
    port: Annotated[
        int,
        typer.Option(
            "--port", help="Where node 1 takes calls; the next ones 100 further each. 0: any free ports.", max=65_535
        ),
    ] = 9093,
    flush: Annotated[
        bool,
        typer.Option(
            "--flush/--no-flush", help="Whether records are on disk before they are acknowledged; off is faster."
        ),
    ] = True,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of every node; may be repeated.", metavar="NAME=VALUE")
    ] = None,
) -> None:
    """Run a cluster on this machine until Ctrl-C."""
    from kraftpy.testing import Cluster, ClusterError, PortInUseError

    if port != 0 and not 2 <= port <= 65_535 - PORT_STEP * (nodes - 1):
        raise typer.BadParameter(f"{port} leaves no ports for {nodes} nodes", param_hint="--port")
    if data_dir:
        _tell_of_others(data_dir, nodes)
    # Nobody is left to lead when all go at once, so there is nothing to wait for.
    config = {"controlled.shutdown.enable": "false", **pairs(settings, "--set")}
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays what it is
            signal.signal(number, _interrupt)
    try:
        with Cluster(nodes, config=config, flush=flush, directory=data_dir or None, first_port=port or None) as cluster:
            _tell(cluster)
            _watch(cluster)
            typer.echo("stopping ...", err=True)
            cluster.stop_all(STOP_S)
    except KeyboardInterrupt:
        pass  # before the nodes were up, or a second one: they have been killed
    except PortInUseError as error:
        typer.echo(f"kraftpy dev: {error}. Does another cluster run? --port chooses other ports.", err=True)
        raise typer.Exit(FAILED) from None
    except ClusterError as error:
        typer.echo(f"kraftpy dev: {error}", err=True)
        raise typer.Exit(FAILED) from None


def _tell(cluster: "Cluster") -> None:
    """Addresses on stdout, how to go on on stderr."""
    rows = [
        {
            "node_id": node_id,
            "pid": cluster.pid(node_id),
            "calls": cluster.address(node_id),
            "kafka": cluster.listener(node_id),
        }
        for node_id in cluster.node_ids
    ]
    show_table(rows, ("node_id", "pid", "calls", "kafka"))
    typer.echo(f"\nbootstrap  {cluster.kafka_bootstrap}\ndata       {cluster.directory}")
    sys.stdout.flush()
    first = cluster.listener(cluster.node_ids[0])
    is_default = first.rpartition(":")[2] == DEFAULT_BOOTSTRAP.rpartition(":")[2]
    bootstrap = "" if is_default else f" -b {first}"
    typer.echo(f"\nTry: echo hello | kraftpy topic produce lines{bootstrap}\nCtrl-C ends everything.", err=True)


def _watch(cluster: "Cluster") -> None:
    """Return when told to stop. Raises `ClusterError` where so many nodes have ended by themselves that no majority is
    left; of the others it only tells."""
    told = threading.Event()
    gone: dict[int, int] = {}
    try:
        while not told.wait(LOOK_S):
            failed = cluster.failed
            if 2 * (len(cluster.node_ids) - len(failed)) <= len(cluster.node_ids):
                cluster.check_alive()
            for node_id in failed.keys() - gone.keys():
                _tell_gone(cluster, node_id, failed[node_id])
            gone = failed
    except KeyboardInterrupt:
        return


def _tell_gone(cluster: "Cluster", node_id: int, code: int) -> None:
    log = os.path.join(cluster.directory, f"node-{node_id}.log")
    typer.echo(
        f"kraftpy dev: node {node_id} ended by itself, exit code {code}; the others go on. Its log is {log}", err=True
    )


def _tell_of_others(data_dir: str, nodes: int) -> None:
    """Of nodes whose data is there and that are not started: without a majority of the voters nothing goes on."""
    names = (entry.name.removeprefix("node-") for entry in Path(data_dir).glob("node-*") if entry.is_dir())
    found = sorted(int(name) for name in names if name.isascii() and name.isdigit())
    if found and found[-1] > nodes:
        known, started = ", ".join(map(str, found)), ", ".join(map(str, range(1, nodes + 1)))
        typer.echo(
            f"kraftpy dev: {data_dir} has the data of nodes {known}, and --nodes {nodes} starts {started}: where the "
            f"others vote, too, a majority of them is waited for. --nodes {found[-1]} starts them all",
            err=True,
        )


def _interrupt(_number: int, _frame: "FrameType | None") -> None:
    raise KeyboardInterrupt
