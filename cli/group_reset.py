"""`kraftpy group reset`: set the offsets of a group that has no members. Without --execute it only shows them."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Timeout, admin
from cli.output import Format, Output, show, show_table
from cli.reset_plan import (
    Place,
    Span,
    kept,
    parse_datetime,
    parse_duration,
    parse_file,
    parse_topics,
    shifted,
    to_file,
)

if TYPE_CHECKING:
    from kraftpy import Consumer, OffsetAndTimestamp

MOVED_SHOWN = 5
WAYS = "--to-earliest, --to-latest, --to-offset, --to-datetime, --by-duration, --shift-by, --to-current or --from-file"


def reset(
    group: Annotated[str, typer.Argument(help="The group.", metavar="GROUP")],
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    topics: Annotated[
        list[str] | None,
        typer.Option("--topic", help="A topic, or some of its partitions; repeatable.", metavar="TOPIC[:PARTITION,…]"),
    ] = None,
    all_topics: Annotated[bool, typer.Option("--all-topics", help="All that the group has offsets of.")] = False,
    to_earliest: Annotated[bool, typer.Option("--to-earliest", help="To the first record.")] = False,
    to_latest: Annotated[bool, typer.Option("--to-latest", help="To the end.")] = False,
    to_offset: Annotated[int | None, typer.Option("--to-offset", help="To this offset.", min=0)] = None,
    to_datetime: Annotated[
        str | None,
        typer.Option("--to-datetime", help="To the first record at or after this time; UTC without a zone."),
    ] = None,
    by_duration: Annotated[
        str | None, typer.Option("--by-duration", help="To the first record of the last PT1H30M, P7D …")
    ] = None,
    shift_by: Annotated[int | None, typer.Option("--shift-by", help="By so many records, back where negative.")] = None,
    to_current: Annotated[bool, typer.Option("--to-current", help="To where they are: for --export.")] = False,
    from_file: Annotated[
        Path | None, typer.Option("--from-file", help="As a file of topic,partition,offset says.")
    ] = None,
    execute: Annotated[bool, typer.Option("--execute", help="Do it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show it, which is the default.")] = False,
    export: Annotated[bool, typer.Option("--export", help="Print a file for --from-file.")] = False,
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Set a group's offsets. The group must have no members. A dry run without --execute."""
    from kraftpy import Consumer, TopicPartition
    from kraftpy.errors import GroupIdNotFoundError, NonEmptyGroupError

    ways = [to_earliest, to_latest, to_current]
    ways += [way is not None for way in (to_offset, to_datetime, by_duration, shift_by, from_file)]
    if sum(ways) != 1:
        raise typer.BadParameter(f"say where to, by one of {WAYS}")
    if execute and dry_run:
        raise typer.BadParameter("--execute and --dry-run are two ways")
    if from_file is None and bool(topics) == all_topics:
        raise typer.BadParameter("say of what, by --topic or --all-topics")
    if from_file is not None and (topics or all_topics):
        raise typer.BadParameter("--from-file names the partitions itself: leave out --topic and --all-topics")
    try:
        wanted = parse_topics(topics or ())
        file = None if from_file is None else _read(from_file, group)
        time_ms = None if to_datetime is None else parse_datetime(to_datetime)
        if by_duration is not None:
            time_ms = round((time.time() - parse_duration(by_duration).total_seconds()) * 1_000)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    with admin(bootstrap) as client, Consumer(bootstrap=bootstrap, client_id="kraftpy-cli") as reader:
        try:
            described = client.describe_group(group, timeout=timeout)
            if described.is_active:
                raise NonEmptyGroupError(
                    f"group {group} has {len(described.members)} members and is {described.state}: stop them first, "
                    "their offsets are theirs"
                )
        except GroupIdNotFoundError:
            pass  # a group that is yet to come may begin where it is told
        committed = client.list_group_offsets(group, timeout=timeout)
        current: dict[Place, int] = {(topic, index): offset.offset for (topic, index), offset in committed.items()}
        places = _places(reader, wanted, current, file, timeout)
        spans = _spans(reader, places, timeout)
        try:
            if file is not None:
                target = {place: spans[place].nearest(offset) for place, offset in file.items()}
            elif shift_by is not None:
                target = shifted(current, spans, shift_by)
            elif time_ms is not None:
                target = _at(reader, spans, time_ms, timeout)
            elif to_offset is not None:
                target = {place: span.nearest(to_offset) for place, span in spans.items()}
            elif to_current:
                target = kept(current, spans)
            else:
                target = {place: span.first if to_earliest else span.end for place, span in spans.items()}
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        if execute:
            client.alter_group_offsets(
                group, {TopicPartition(*place): offset for place, offset in target.items()}, timeout=timeout
            )
    _show(group, current, target, output, executed=execute, export=export)
    _tell_moved(to_offset, target)


def _tell_moved(to_offset: int | None, target: Mapping[Place, int]) -> None:
    """Of partitions that do not have the offset that was asked for."""
    moved = [f"{topic}-{index} to {at}" for (topic, index), at in target.items() if to_offset not in (None, at)]
    if moved:
        rest = f" and {len(moved) - MOVED_SHOWN} more" if len(moved) > MOVED_SHOWN else ""
        what = ", ".join(moved[:MOVED_SHOWN])
        typer.echo(f"offset {to_offset} is not there: moved to the nearest that is ({what}{rest})", err=True)


def _read(path: Path, group: str) -> dict[Place, int]:
    """What a file says of the group. Raises `ValueError` where that is nothing: hardly what was meant."""
    found = parse_file(path.read_text(encoding="utf-8"), group)
    if not found:
        raise ValueError(f"{path} names no partition of group {group}")
    return found


def _places(
    reader: "Consumer",
    wanted: Mapping[str, list[int] | None],
    current: Mapping[Place, int],
    file: Mapping[Place, int] | None,
    timeout: float,
) -> list[Place]:
    from kraftpy.errors import UnknownTopicOrPartitionError

    if file is not None:
        return sorted(file)
    if not wanted:
        return sorted(current)
    places: list[Place] = []
    for name, numbers in wanted.items():
        count = reader.partitions_for(name, timeout)
        for number in range(count) if numbers is None else numbers:
            if number >= count:
                raise UnknownTopicOrPartitionError(f"topic {name} has partitions 0 to {count - 1}, not {number}")
            places.append((name, number))
    return places


def _spans(reader: "Consumer", places: list[Place], timeout: float) -> dict[Place, Span]:
    first = reader.beginning_offsets(places, timeout)
    end = reader.end_offsets(places, timeout)
    return {(place.topic, place.partition): Span(first[place], end[place]) for place in first}


def _at(reader: "Consumer", spans: Mapping[Place, Span], time_ms: int, timeout: float) -> dict[Place, int]:
    """The first record at or after a time; the end where there is none."""
    found = reader.offsets_for_times(dict.fromkeys(spans, max(time_ms, 0)), timeout)
    offsets: dict[Place, OffsetAndTimestamp | None] = {(place[0], place[1]): at for place, at in found.items()}
    return {
        place: span.end if (at := offsets.get(place)) is None else span.nearest(at.offset)
        for place, span in spans.items()
    }


def _show(
    group: str,
    current: Mapping[Place, int],
    target: Mapping[Place, int],
    output: Format,
    *,
    executed: bool,
    export: bool,
) -> None:
    if export:
        sys.stdout.write(to_file(target))
        return
    rows = [
        {
            "group": group,
            "topic": topic,
            "partition": partition,
            "current_offset": current.get((topic, partition)),
            "new_offset": offset,
            "executed": executed,
        }
        for (topic, partition), offset in sorted(target.items())
    ]
    if output is not Format.TABLE:
        show(rows, output, ())
        return
    show_table(rows, ("group", "topic", "partition", "current_offset", "new_offset"))
    if not executed:
        typer.echo("Nothing was changed: --execute does it.", err=True)
