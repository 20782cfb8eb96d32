"""`kraftpy doctor -b HOST:PORT`: what a client would be told to connect to, and whether it could."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.exit_codes import UNCLEAN, UNREACHABLE
from cli.options import DEFAULT_BOOTSTRAP, TIMEOUT_MAX_S, Bootstrap, admin
from cli.output import Format, Output, show_one, show_table

if TYPE_CHECKING:
    from cli.doctor.findings import Finding
    from cli.doctor.probing import Probe
    from kraftpy.runtime.ports import Address

PROBES_MAX = 16
"""Addresses that are tried at once."""


def doctor(
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    output: Output = Format.TABLE,
    timeout: Annotated[
        float, typer.Option("--timeout", help="Seconds for each step of each address.", min=0.1, max=TIMEOUT_MAX_S)
    ] = 5.0,
) -> None:
    """Find out why clients of Kafka cannot reach a cluster, and which setting to change."""
    from cli.doctor.findings import judge_advertised, judge_bootstrap
    from kraftpy.client.addresses import parse_bootstrap
    from kraftpy.runtime.ports import Address

    first = _probe_all(list(parse_bootstrap(bootstrap)), timeout)
    asked = [judge_bootstrap(each, _listeners(each, timeout)) for each in first]
    answers = [each.answer for each in first if each.answer is not None]
    answer = max(answers, key=lambda each: len(each.brokers), default=None)
    brokers = answer.brokers if answer is not None else ()
    advertised = [Address(broker.host, broker.port) for broker in brokers]
    probes = _probe_all(advertised, timeout)
    told = []
    for at, (broker, found) in enumerate(zip(brokers, probes, strict=True)):
        others = {advertised[other]: brokers[other].broker_id for other in range(at)}
        cluster_id = answer.cluster_id if answer is not None else None
        told.append((broker.broker_id, judge_advertised(broker.broker_id, found, cluster_id, first, others)))
    summary: dict[str, Any] = {
        "cluster_id": answer.cluster_id if answer is not None else None,
        "controller_id": answer.controller_id if answer is not None else None,
    }
    _print(summary, asked, told, output)
    if answer is None:
        raise typer.Exit(UNREACHABLE)
    if not all(each.ok for each in [*asked, *[each for _, each in told]]):
        raise typer.Exit(UNCLEAN)


def _probe_all(addresses: "Sequence[Address]", timeout: float) -> "list[Probe]":
    from concurrent.futures import ThreadPoolExecutor

    from cli.doctor.probing import probe

    with ThreadPoolExecutor(PROBES_MAX) as pool:
        return list(pool.map(lambda address: probe(address, timeout), addresses))


def _listeners(found: "Probe", timeout: float) -> "list[Address]":
    """Where Kafka's protocol is served, by the word of a node whose port for calls was given."""
    from cli.doctor.probing import Outcome
    from kraftpy.errors import KraftpyError
    from kraftpy.runtime.ports import Address

    if found.outcome is not Outcome.CALLS:
        return []
    try:
        with admin(str(found.address)) as client:
            nodes = client.describe_cluster(timeout=timeout).brokers
    except KraftpyError:
        return []
    return [Address(node.listener_host, node.listener_port) for node in nodes if node.listener_port]


def _print(summary: dict[str, Any], asked: "list[Finding]", told: "list[tuple[int, Finding]]", output: Format) -> None:
    first = [_row(each) for each in asked]
    brokers = [{"node_id": node_id, **_row(each)} for node_id, each in told]
    if output is not Format.TABLE:
        show_one({**summary, "bootstrap": first, "brokers": brokers}, output)
        return
    typer.echo("asked")
    show_table(first, ("address", "ok", "problem"))
    if brokers:
        typer.echo(f"\ncluster {summary['cluster_id']} tells clients to connect to")
        show_table(brokers, ("node_id", "address", "ok", "problem"))
    for row in [*first, *brokers]:
        if row["advice"]:
            typer.echo(f"\n{row['address']}: {row['advice']}")
    if brokers and all(row["ok"] for row in [*first, *brokers]):
        typer.echo("\nclients on this machine can reach every broker")


def _row(finding: "Finding") -> dict[str, Any]:
    return {
        "address": str(finding.address),
        "ok": finding.ok,
        "problem": finding.problem or None,
        "advice": finding.advice or None,
    }
