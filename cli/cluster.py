"""`kraftpy cluster`: the cluster as a whole."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.exit_codes import UNCLEAN
from cli.moving import carry_out
from cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Timeout, admin, pairs
from cli.output import Format, Output, show, show_one, show_table

if TYPE_CHECKING:
    from kraftpy import Admin
    from kraftpy.client.balancing import RebalancePlan

EMPTYING_ROUNDS = 3

Throttle = Annotated[
    int | None, typer.Option("--throttle", help="Bytes a second for what is copied.", min=1, metavar="BYTES")
]
Execute = Annotated[bool, typer.Option("--execute", help="Do it, and wait for it. Without: only the plan.")]

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
            "cordoned": node.cordoned,
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
        show_table(nodes, ("node_id", "calls", "listener", "rack", "in_service", "cordoned", "controller"))
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
        raise typer.Exit(UNCLEAN)


@app.command()
def metrics(
    broker: Annotated[
        list[int] | None,
        typer.Option("--broker", help="Of this broker; repeatable. Default: all in service.", metavar="ID"),
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
def rebalance(
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    execute: Execute = False,
    throttle: Throttle = None,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Make the nodes even in replicas and leaderships by as few moves as that takes; a new node gets its share."""
    with admin(bootstrap) as client:
        plan = client.plan_rebalance(timeout=timeout)
        if output is Format.TABLE:
            _show_plan(plan)
        if execute:
            carry_out(client, plan.moves, throttle, timeout)
    if output is not Format.TABLE:
        show_one({"executed": execute, **_planned(plan)}, output)
    elif plan.moves:
        typer.echo("done" if execute else "nothing has been changed; --execute carries this out")


@app.command()
def decommission(
    node_id: Annotated[int, typer.Argument(help="The node that is to go.", metavar="ID", min=0)],
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    execute: Execute = False,
    throttle: Throttle = None,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Move everything away from a node and let nothing new come (cordoned.log.dirs); once it is stopped, the same
    command again takes it off the list."""
    from kraftpy.errors import BrokerIdNotRegisteredError

    with admin(bootstrap) as client:
        nodes = {node.node_id: node for node in client.describe_cluster(timeout=timeout).brokers}
        if node_id not in nodes:
            known = ", ".join(map(str, sorted(nodes)))
            raise BrokerIdNotRegisteredError(f"there is no node {node_id}; the nodes are {known}")
        plan = client.plan_rebalance(empty=[node_id], timeout=timeout)
        if output is Format.TABLE:
            _show_plan(plan)
        unregistered = False
        votes = node_id in [voter.node_id for voter in client.describe_quorum(timeout=timeout).voters]
        if execute:
            _cordon(client, node_id, timeout)
            left = _empty(client, node_id, plan, throttle, timeout)
            if nodes[node_id].fenced and not left:
                client.unregister_broker(node_id, timeout=timeout)
                unregistered = True
    row = {"node_id": node_id, "executed": execute, "unregistered": unregistered, "votes": votes, **_planned(plan)}
    if output is not Format.TABLE:
        show_one(row, output)
    elif unregistered:
        typer.echo(f"node {node_id} is no longer a node of this cluster")
    elif not execute:
        typer.echo("nothing has been changed; --execute carries this out")
    elif left:
        typer.echo(f"node {node_id} still holds {left} replicas, of topics that came meanwhile: run this again")
    else:
        typer.echo(f"node {node_id} holds no replica any more: stop it, then run this again to take it off the list")
        typer.echo(f"(to keep it after all: kraftpy config unset cordoned.log.dirs --broker {node_id})")
    if votes and output is Format.TABLE:
        typer.echo(f"node {node_id} still votes in the quorum: kraftpy quorum remove {node_id}")


@app.command()
def unregister(
    node_id: Annotated[int, typer.Argument(help="The node that is gone.", metavar="ID", min=0)],
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Take a node off the list that is stopped and will not come back, with its settings; its replicas stay listed."""
    with admin(bootstrap) as client:
        client.unregister_broker(node_id, timeout=timeout)
        left = _held(client, node_id, timeout)
    if output is not Format.TABLE:
        show_one({"node_id": node_id, "unregistered": True, "replicas": left}, output)
        return
    typer.echo(f"node {node_id} is no longer a node of this cluster")
    if left:
        typer.echo(f"{left} partitions still list a replica there: kraftpy cluster rebalance moves them to others")


def _cordon(client: "Admin", node_id: int, timeout: float) -> None:
    from kraftpy import ConfigResource

    client.alter_configs({ConfigResource.broker(node_id): {"cordoned.log.dirs": "*"}}, timeout=timeout)


def _empty(client: "Admin", node_id: int, plan: "RebalancePlan", throttle: int | None, timeout: float) -> int:
    """Carry the plan out, and once more what came to the node before it was cordoned; how many replicas are left."""
    moves = plan.moves
    for _ in range(EMPTYING_ROUNDS):
        carry_out(client, moves, throttle, timeout)
        if not _held(client, node_id, timeout):
            return 0
        moves = client.plan_rebalance(empty=[node_id], timeout=timeout).moves
    return _held(client, node_id, timeout)


def _held(client: "Admin", node_id: int, timeout: float) -> int:
    topics = client.describe_topics(timeout=timeout)
    return sum(node_id in partition.replicas for topic in topics for partition in topic.partitions)


def _planned(plan: "RebalancePlan") -> dict[str, Any]:
    return {
        "copies": plan.copies,
        "moves": [
            {
                "topic": move.topic,
                "partition": move.partition,
                "before": list(move.before),
                "after": list(move.after),
            }
            for move in plan.moves
        ],
        "nodes": [asdict(share) for share in plan.shares],
    }


def _show_plan(plan: "RebalancePlan") -> None:
    planned = _planned(plan)
    if not plan.moves:
        typer.echo("nothing to move")
        return
    show_table(planned["moves"], ("topic", "partition", "before", "after"))
    typer.echo()
    show_table(planned["nodes"], ("node_id", "replicas_before", "replicas_after", "leaders_before", "leaders_after"))
    typer.echo(f"{len(plan.moves)} partitions change, {plan.copies} replicas are copied")


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
        changes = client.update_features(levels or None, release=release, validate_only=dry_run, timeout=timeout)
    rows = [
        {"feature": each.name, "from": each.old_level, "to": each.new_level, "done": not dry_run} for each in changes
    ]
    if output is Format.TABLE and not rows:
        typer.echo("nothing to raise: the cluster works at these levels already")
        return
    show(rows, output, ("feature", "from", "to", "done"))
