"""`kraftpy group`: groups of consumers, their members, their offsets and how far they lag."""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.asking import ask
from cli.group_reset import reset
from cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Timeout, admin
from cli.output import Format, Output, show, show_table

if TYPE_CHECKING:
    from kraftpy import Admin, Consumer, GroupDescription, OffsetAndMetadata, TopicPartition

app = typer.Typer(help="Groups of consumers and their offsets.", no_args_is_help=True, rich_markup_mode=None)
app.command("reset")(reset)

ONE_PARTITION_S = 1.0  # for the end of one partition, where not all could be told

Groups = Annotated[list[str], typer.Argument(help="The groups.", metavar="GROUP…")]


@app.command("list")
def list_groups(
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    state: Annotated[
        list[str] | None, typer.Option("--state", help="Only groups in this state; repeatable.", metavar="STATE")
    ] = None,
    type_: Annotated[
        list[str] | None, typer.Option("--type", help="classic or consumer; repeatable.", metavar="TYPE")
    ] = None,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """All groups."""
    with admin(bootstrap) as client:
        groups = client.list_groups(states=state or (), types=type_ or (), timeout=timeout)
    rows = [
        {"group": each.group_id, "type": each.type, "protocol": each.protocol_type, "state": each.state}
        for each in groups
    ]
    show(rows, output, ("group", "type", "protocol", "state"))


@app.command()
def describe(
    groups: Groups,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """State, members, offsets and lag, by partition, by topic and in all."""
    from kraftpy import Consumer

    rows: list[dict[str, Any]] = []
    with admin(bootstrap) as client, Consumer(bootstrap=bootstrap, client_id="kraftpy-cli") as reader:
        for group_id in groups:
            found = client.describe_group(group_id, timeout=timeout)
            committed = client.list_group_offsets(group_id, timeout=timeout)
            read = {place for member in found.members for place in member.assignment}
            ends = _known_ends(client, reader, [*dict.fromkeys([*sorted(committed), *sorted(read)])], timeout)
            rows.append(_row(found, committed, ends))
    if output is not Format.TABLE:
        show(rows, output, ())
        return
    for number, row in enumerate(rows):
        if number:
            typer.echo()
        _show(row)


@app.command()
def delete(
    groups: Groups,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    topic: Annotated[
        list[str] | None,
        typer.Option("--topic", help="Only the offsets of this topic; repeatable.", metavar="TOPIC"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Delete groups without members, with all their offsets; or offsets of some topics only."""
    what = f"the offsets of {', '.join(topic)} in {', '.join(groups)}" if topic else f"groups {', '.join(groups)}"
    if not yes:
        ask(f"Delete {what}?")
    with admin(bootstrap) as client:
        if topic:
            for group_id in groups:
                places = [place for place in client.list_group_offsets(group_id, timeout=timeout) if place[0] in topic]
                client.delete_group_offsets(group_id, places, timeout=timeout)
        else:
            client.delete_groups(groups, timeout=timeout)
    if output is Format.TABLE:
        typer.echo(f"deleted {what}")
    else:
        show([{"group": group_id, "topics": topic or None, "deleted": True} for group_id in groups], output, ())


def _known_ends(
    client: "Admin", reader: "Consumer", places: "list[TopicPartition]", timeout: float
) -> "dict[TopicPartition, int]":
    """Where partitions end; those of topics that are gone are left out, and those that nobody can tell of now."""
    from kraftpy.errors import UnknownTopicOrPartitionError

    ends: dict[TopicPartition, int] = {}
    for topic in dict.fromkeys(place.topic for place in places):
        try:
            partitions = client.describe_topic(topic, timeout=timeout).partitions
        except UnknownTopicOrPartitionError:
            continue
        led = {partition.partition for partition in partitions if partition.leader >= 0}
        ends |= _ends(reader, [place for place in places if place.topic == topic and place.partition in led], timeout)
    return ends


def _ends(reader: "Consumer", places: "list[TopicPartition]", timeout: float) -> "dict[TopicPartition, int]":
    """All at once; where that fails, one at a time, for as long again: the leader of one may have died just now."""
    from kraftpy.errors import CallTimeoutError, UnknownTopicOrPartitionError

    try:
        return reader.end_offsets(places, timeout) if places else {}
    except UnknownTopicOrPartitionError:
        return {}
    except CallTimeoutError:
        pass
    found: dict[TopicPartition, int] = {}
    gives_up = time.monotonic() + timeout
    for place in places:
        left_s = gives_up - time.monotonic()
        with suppress(CallTimeoutError, UnknownTopicOrPartitionError):
            found |= reader.end_offsets([place], min(left_s, ONE_PARTITION_S)) if left_s > 0 else {}
    return found


def _row(
    group: "GroupDescription",
    committed: "Mapping[TopicPartition, OffsetAndMetadata]",
    ends: "Mapping[TopicPartition, int]",
) -> dict[str, Any]:
    owner = {place: member for member in group.members for place in member.assignment}
    partitions: list[dict[str, Any]] = []
    for place in sorted({**committed, **owner}):
        offset, end, member = committed.get(place), ends.get(place), owner.get(place)
        partitions.append(
            {
                "topic": place.topic,
                "partition": place.partition,
                "current_offset": None if offset is None else offset.offset,
                "end_offset": end,
                "lag": None if offset is None or end is None else max(end - offset.offset, 0),
                "metadata": None if offset is None else offset.metadata or None,
                "member_id": None if member is None else member.member_id,
                "client_id": None if member is None else member.client_id,
            }
        )
    return {
        "group": group.group_id,
        "type": group.type,
        "state": group.state,
        "assignor": group.assignor or None,
        "coordinator": group.coordinator,
        "lag": _sum(each["lag"] for each in partitions),
        "topics": [
            {"topic": name, "lag": _sum(each["lag"] for each in partitions if each["topic"] == name)}
            for name in dict.fromkeys(each["topic"] for each in partitions)
        ],
        "members": [
            {
                "member_id": member.member_id,
                "instance_id": member.instance_id,
                "client_id": member.client_id,
                "host": member.client_host or None,
                "topics": list(member.topics),
                "partitions": [{"topic": place.topic, "partition": place.partition} for place in member.assignment],
            }
            for member in group.members
        ],
        "partitions": partitions,
    }


def _sum(lags: Iterable[int | None]) -> int | None:
    known = [lag for lag in lags if lag is not None]
    return sum(known) if known else None


def _show(row: Mapping[str, Any]) -> None:
    lag = "-" if row["lag"] is None else row["lag"]
    typer.echo(
        f"{row['group']}: {row['state']}, {row['type']}, {row['assignor'] or 'no assignor'}, "
        f"{len(row['members'])} members, lag {lag}, coordinator {row['coordinator']}"
    )
    if row["partitions"]:
        typer.echo()
        show_table(
            row["partitions"],
            ("topic", "partition", "current_offset", "end_offset", "lag", "client_id", "member_id"),
        )
    if len(row["topics"]) > 1:
        typer.echo()
        show_table(row["topics"], ("topic", "lag"))
    if row["members"]:
        typer.echo()
        members = [{**member, "partitions": len(member["partitions"])} for member in row["members"]]
        show_table(members, ("member_id", "instance_id", "client_id", "host", "partitions"))
