"""`cli.node_line` reads what typer reads, and leaves the rest to it."""

import shlex
from pathlib import Path
from unittest import mock

import pytest
from typer.main import get_command

from cli import node_line, node_process
from cli.commands import app_of
from cli.node_line import NodeLine

EVERYTHING = (
    "--id 3 --peers 1@a:1,3@b:2 --data-dir /x,/y --config {file} --set a.b=c=d --set ' e = f ' --set g= --listen h:1 "
    "--listeners PLAINTEXT://h:2 --advertised-listeners PLAINTEXT://i:2 --insecure-listeners --strict"
)


def read_by_typer(words: list[str]) -> NodeLine:
    with mock.patch.object(node_process, "run_node", return_value=0) as run:
        with pytest.raises(SystemExit):
            app_of(["node", *words])(["node", *words], prog_name="kraftpy", standalone_mode=False)
        (line,) = run.call_args.args
        assert isinstance(line, NodeLine)
        return line


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "server.properties"
    path.touch()
    return path


@pytest.mark.parametrize(
    "text",
    [
        "",
        EVERYTHING,
        "--id 007 --id 8 --listen a:1 --listen ''",
        "--strict --strict",
        "--data-dir 'a b'",
    ],
)
def test_both_read_the_same(text: str, file: Path) -> None:
    words = shlex.split(text.format(file=file))
    assert node_line.read(words) == read_by_typer(words)


def test_every_option_is_known_here() -> None:
    takes = get_command(app_of(["node"]))
    options = takes.commands["node"].params  # type: ignore[attr-defined]
    known = {**node_line.TEXTS, **node_line.SWITCHES, "--id": "node_id", "--config": "config", "--set": "settings"}
    assert {each.opts[0]: each.name for each in options if each.name != "help"} == known
    assert set(known.values()) == set(NodeLine._fields)


@pytest.mark.parametrize(
    "text",
    [
        "--help",
        "-h",
        "--id",
        "--id x",
        "--id -1",
        "--id ٣",
        "--id 1234567890",
        "--id=1",
        "--peers --listen",
        "--pee 1@a:1",
        "--set a",
        "--set =b",
        "--config /nowhere/at/all",
        "--config /",
        "--strict=true",
        "one",
        "--listen a:1 more",
    ],
)
def test_what_is_to_be_explained_is_left_to_typer(text: str) -> None:
    assert node_line.read(shlex.split(text)) is None
