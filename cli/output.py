"""How commands print what they found: a table for people, JSON for programs. Always on stdout.

JSON has numbers as numbers and null for what is not known. `json` is one document, `jsonl` one object a line.
"""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


Output = Annotated[Format, typer.Option("-o", "--output", help="How to print.")]

Row = Mapping[str, Any]


def show(rows: Sequence[Row], form: Format, columns: Sequence[str]) -> None:
    """Print a list of rows; `columns` are the ones of the table, in their order."""
    if form is Format.JSON:
        typer.echo(json.dumps([dict(row) for row in rows], indent=2, ensure_ascii=False))
    elif form is Format.JSONL:
        for row in rows:
            show_line(row)
    else:
        show_table(rows, columns)


def show_one(row: Row, form: Format) -> None:
    """Print one object; as a table: a line a field."""
    if form is Format.JSON:
        typer.echo(json.dumps(dict(row), indent=2, ensure_ascii=False))
    elif form is Format.JSONL:
        show_line(row)
    else:
        width = max((len(name) for name in row), default=0)
        for name, value in row.items():
            typer.echo(f"{name.replace('_', ' '):<{width}}  {cell(value)}")


def show_line(row: Row) -> None:
    typer.echo(json.dumps(dict(row), ensure_ascii=False))


def show_table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Columns as wide as their widest cell; numbers to the right."""
    cells = [[cell(row.get(column)) for column in columns] for row in rows]
    titles = [column.replace("_", " ").upper() for column in columns]
    widths = [max(map(len, (titles[index], *(line[index] for line in cells)))) for index in range(len(columns))]
    numeric = [
        bool(rows) and all(isinstance(row.get(column), int | float | None) for row in rows) for column in columns
    ]
    for line in (titles, *cells):
        parts = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        typer.echo("  ".join(parts).rstrip())


def cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "-"
    if isinstance(value, Mapping):
        return ",".join(f"{name}={each}" for name, each in value.items()) or "-"
    return str(value)
