"""`kraftpy config`: settings of topics and brokers, changed while the cluster runs (KIP-226, KIP-339)."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Timeout, admin, pairs
from cli.output import Format, Output, show, show_one

if TYPE_CHECKING:
    from kraftpy import ConfigResource

app = typer.Typer(
    help="Settings of topics and brokers, changed while the cluster runs.", no_args_is_help=True, rich_markup_mode=None
)

Topic = Annotated[list[str] | None, typer.Option("--topic", help="Settings of this topic.", metavar="TOPIC")]
Broker = Annotated[list[int] | None, typer.Option("--broker", help="Settings of this broker.", metavar="ID", min=0)]
Brokers = Annotated[bool, typer.Option("--brokers", help="Settings of all brokers.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")]


@app.command("get")
def get_settings(
    names: Annotated[list[str] | None, typer.Argument(help="Settings; all without one.", metavar="[NAME]…")] = None,
    topic: Topic = None,
    broker: Broker = None,
    brokers: Brokers = False,
    everything: Annotated[bool, typer.Option("--all", help="Defaults, too.")] = False,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Settings that hold, with their sources: default, static (the node's file), or dynamic."""
    from kraftpy.errors import InvalidConfigError

    resource = _resource(topic, broker, brokers)
    with admin(bootstrap) as client:
        found = client.describe_configs([resource], timeout=timeout)[resource]
    for name in names or ():
        if name not in found and not brokers:
            raise InvalidConfigError(f"there is no setting {name} of {_named(resource)}")
    rows = [
        {
            "name": entry.name,
            "value": entry.value,
            "source": entry.source,
            "read_only": entry.read_only,
            "documentation": entry.documentation,
        }
        for entry in sorted(found.values(), key=lambda entry: entry.name)
        if (entry.name in names if names else everything or not entry.is_default)
    ]
    show(rows, output, ("name", "value", "source", "read_only"))


@app.command("set")
def set_settings(
    settings: Annotated[list[str], typer.Argument(help="What to set.", metavar="NAME=VALUE…")],
    topic: Topic = None,
    broker: Broker = None,
    brokers: Brokers = False,
    dry_run: DryRun = False,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Set settings; those that are not named stay as they are. What needs a restart is refused."""
    changes: dict[str, str | None] = {**pairs(settings, "NAME=VALUE")}
    _change(changes, topic, broker, brokers, dry_run, bootstrap, output, timeout)


@app.command("unset")
def unset_settings(
    names: Annotated[list[str], typer.Argument(help="What falls back to its default.", metavar="NAME…")],
    topic: Topic = None,
    broker: Broker = None,
    brokers: Brokers = False,
    dry_run: DryRun = False,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Take dynamic settings away: then the next source holds (one broker, all brokers, the file, the default)."""
    changes: dict[str, str | None] = dict.fromkeys(names)
    _change(changes, topic, broker, brokers, dry_run, bootstrap, output, timeout)


def _change(
    changes: dict[str, str | None],
    topic: list[str] | None,
    broker: list[int] | None,
    brokers: bool,
    dry_run: bool,
    bootstrap: str,
    output: Format,
    timeout: float,
) -> None:
    resource = _resource(topic, broker, brokers)
    with admin(bootstrap) as client:
        warnings = client.alter_configs({resource: changes}, validate_only=dry_run, timeout=timeout)
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    named = _named(resource)
    if output is Format.TABLE:
        told = [f"{name} unset" if value is None else f"{name}={value}" for name, value in changes.items()]
        typer.echo(f"{named} {'would be altered' if dry_run else 'altered'}: {', '.join(told)}")
    else:
        row = {"resource": named, "altered": not dry_run, "settings": changes, "warnings": list(warnings)}
        show_one(row, output)


def _resource(topics: list[str] | None, broker_ids: list[int] | None, brokers: bool) -> "ConfigResource":
    from kraftpy import ConfigResource

    resources = [ConfigResource.topic(topic) for topic in topics or ()]
    resources += [ConfigResource.broker(broker_id) for broker_id in broker_ids or ()]
    resources += [ConfigResource.broker(None)] if brokers else []
    if len(resources) != 1:
        raise typer.BadParameter("say whose settings: one of --topic TOPIC, --broker ID, --brokers, and once")
    return resources[0]


def _named(resource: "ConfigResource") -> str:
    from kraftpy.client.admin_values import TOPIC

    if resource.type == TOPIC:
        return f"topic {resource.name}"
    return f"broker {resource.name}" if resource.name else "all brokers"
