"""`kraftpy group reset`: set the offsets of a group that has no members. Without --execute it only shows them."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, assert_never

import typer

from cli.options import DEFAULT_BOOTSTRAP, Bootstrap, Timeout, admin
from cli.output import Format, Output, show, show_table
from cli.reset_plan import (
    ByFile,
    Mark,
    Place,
    ShiftBy,
    Span,
    ToOffset,
    ToTime,
    Way,
    kept,
    parse_datetime,
    parse_duration,
    parse_file,
    parse_topics,
    shifted,
    to_file,
)

if TYPE_CHECKING:
    from kraftpy import Admin, Consumer, OffsetAndTimestamp

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
    from kraftpy import Consumer

    values = (to_offset, to_datetime, by_duration, shift_by, from_file)
    ways = sum([to_earliest, to_latest, to_current, *(value is not None for value in values)])
    if ways != 1:
        raise typer.BadParameter(f"say where to, by one of {WAYS}")
    if execute and dry_run:
        raise typer.BadParameter("--execute and --dry-run are two ways")
    if from_file is None and bool(topics) == all_topics:
        raise typer.BadParameter("say of what, by --topic or --all-topics")
    if from_file is not None and (topics or all_topics):
        raise typer.BadParameter("--from-file names the partitions itself: leave out --topic and --all-topics")
    try:
        wanted = parse_topics(topics or ())
        way = _value_way(group, to_offset, to_datetime, by_duration, shift_by, from_file)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if way is None:
        way = Mark.EARLIEST if to_earliest else Mark.LATEST if to_latest else Mark.CURRENT
    with admin(bootstrap) as client, Consumer(bootstrap=bootstrap, client_id="kraftpy-cli") as reader:
        _check_idle(client, group, timeout)
        current = _offsets_of(client, group, timeout)
        spans = _spans(reader, _places(reader, wanted, current, way, timeout), timeout)
        target = _target(reader, way, current, spans, timeout)
        if execute:
            client.alter_group_offsets(group, target, timeout=timeout)
    _show(group, current, target, output, executed=execute, export=export)
    _tell_moved(to_offset, target)


def _tell_moved(to_offset: int | None, target: Mapping[Place, int]) -> None:
    """Of partitions that do not have the offset that was asked for."""
    moved = [f"{topic}-{index} to {at}" for (topic, index), at in target.items() if to_offset not in (None, at)]
    if moved:
        rest = f" and {len(moved) - MOVED_SHOWN} more" if len(moved) > MOVED_SHOWN else ""
        what = ", ".join(moved[:MOVED_SHOWN])
        typer.echo(f"offset {to_offset} is not there: moved to the nearest that is ({what}{rest})", err=True)


def _value_way(
    group: str,
    to_offset: int | None,
    to_datetime: str | None,
    by_duration: str | None,
    shift_by: int | None,
    from_file: Path | None,
) -> Way | None:
    """The way that was told with a value, if one was. Raises `ValueError` where the value is none."""
    if to_offset is not None:
        return ToOffset(to_offset)
    if to_datetime is not None:
        return ToTime(parse_datetime(to_datetime))
    if by_duration is not None:
        return ToTime(round((time.time() - parse_duration(by_duration).total_seconds()) * 1_000))
    if shift_by is not None:
        return ShiftBy(shift_by)
    return None if from_file is None else ByFile(_read(from_file, group))


def _read(path: Path, group: str) -> dict[Place, int]:
    """What a file says of the group. Raises `ValueError` where that is nothing: hardly what was meant."""
    found = parse_file(path.read_text(encoding="utf-8"), group)
    if not found:
        raise ValueError(f"{path} names no partition of group {group}")
    return found


def _check_idle(client: "Admin", group: str, timeout: float) -> None:
    """Raises `NonEmptyGroupError`. A group that is yet to come may begin where it is told."""
    from kraftpy.errors import GroupIdNotFoundError, NonEmptyGroupError

    try:
        described = client.describe_group(group, timeout=timeout)
    except GroupIdNotFoundError:
        return
    if described.is_active:
        raise NonEmptyGroupError(
            f"group {group} has {len(described.members)} members and is {described.state}: stop them first, "
            "their offsets are theirs"
        )


def _offsets_of(client: "Admin", group: str, timeout: float) -> dict[Place, int]:
    committed = client.list_group_offsets(group, timeout=timeout)
    return {(topic, index): offset.offset for (topic, index), offset in committed.items()}


def _places(
    reader: "Consumer",
    wanted: Mapping[str, list[int] | None],
    current: Mapping[Place, int],
    way: Way,
    timeout: float,
) -> list[Place]:
    """The partitions that are concerned. `wanted`: by topic, None for all of it; empty: all that the group has."""
    from kraftpy.errors import UnknownTopicOrPartitionError

    if isinstance(way, ByFile):
        return sorted(way.offsets)
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


def _target(
    reader: "Consumer", way: Way, current: Mapping[Place, int], spans: Mapping[Place, Span], timeout: float
) -> dict[Place, int]:
    """The new offset of each partition. Raises `BadParameter` where the way leads nowhere from here."""
    match way:
        case Mark.EARLIEST:
            return {place: span.first for place, span in spans.items()}
        case Mark.LATEST:
            return {place: span.end for place, span in spans.items()}
        case Mark.CURRENT:
            return kept(current, spans)
        case ToOffset(offset):
            return {place: span.nearest(offset) for place, span in spans.items()}
        case ToTime(time_ms):
            return _at(reader, spans, time_ms, timeout)
        case ShiftBy(records):
            try:
                return shifted(current, spans, records)
            except ValueError as error:
                raise typer.BadParameter(str(error)) from None
        case ByFile(offsets):
            return {place: spans[place].nearest(offset) for place, offset in offsets.items()}
        case _:
            assert_never(way)


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
