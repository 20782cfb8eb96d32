"""`kraftpy check-history`: the documented example, planted anomalies, and what is wrong with a file."""

import json
from pathlib import Path

import pytest

from simulation.checkers.history import from_line, to_line
from simulation.checkers.log_checker import Anomaly
from tests.cli.command import Result, kraftpy
from tests.simulation.test_log_checker import PLANTED as LOGS
from tests.simulation.test_log_checker import a_good_history

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "check-history.md").read_text()


def between(name: str) -> str:
    """A block of the document, without its fences."""
    block = DOCUMENT.split(f"<!-- {name}: begin -->\n")[1].split(f"<!-- {name}: end -->")[0]
    return "".join(line for line in block.splitlines(keepends=True) if not line.startswith("```"))


EXAMPLE = between("example")


def judged(text: str, *options: str) -> Result:
    return kraftpy("check-history", "-", *options, stdin=text.encode())


def test_the_documented_example_prints_what_is_documented(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(EXAMPLE)
    result = kraftpy("check-history", str(path))
    assert (result.code, result.text, result.err) == (0, between("verdicts"), "")


def test_every_field_of_every_event_is_documented() -> None:
    for line in EXAMPLE.splitlines():
        for field in json.loads(line):
            assert f"`{field}`" in DOCUMENT
    for anomaly in Anomaly:
        name = anomaly.name.lower().replace("_", "-")
        assert f"`{name}` | {anomaly.value} |" in DOCUMENT or anomaly is Anomaly.REAL_TIME_ORDER


@pytest.mark.parametrize("anomaly", Anomaly)
def test_what_is_planted_is_found(anomaly: Anomaly) -> None:
    text = "\n".join(map(to_line, LOGS[anomaly][0]))
    result = judged(text, "-o", "json")
    assert result.code == 4 and result.json()["ok"] is False
    failed = [row for row in result.json()["checkers"] if row["verdict"] == "failed"]
    assert any(anomaly.name.lower().replace("_", "-") in row["detail"] for row in failed)
    assert ("append order" in [row["checker"] for row in failed]) >= (anomaly is Anomaly.REAL_TIME_ORDER)
    assert f"{failed[0]['checker']}: failed: " in judged(text).text


def test_a_search_that_gives_up_is_unknown_and_not_ok() -> None:
    calls: list[tuple[object, ...]] = [("write", number, None, 0, 100) for number in range(20)]
    calls += [("read", None, number, 101 + number, 101 + number) for number in (1, 2)]
    names = ("function", "argument", "result", "invoked_us", "completed_us")
    common = {"type": "operation", "process": "p", "key": "k", "outcome": "ok"}
    lines = [json.dumps({**common, **dict(zip(names, call, strict=True))}) for call in calls]
    result = judged("\n".join(lines), "--steps-max", "1000")
    assert (result.code, result.text) == (4, "register k: unknown: 22 operations, given up after 1000 steps\n")


def test_a_large_history_is_judged_in_time_that_grows_gently() -> None:
    result = judged("\n".join(map(to_line, a_good_history(5, 20_000))))
    assert result.code == 0 and result.text.startswith("log: ok: 20000 sends")


def changed(number: int, **fields: object) -> str:
    """The example with one line (from 1) that is otherwise; a field that is `...` is left out."""
    lines = EXAMPLE.splitlines()
    body = {**json.loads(lines[number - 1]), **fields}
    lines[number - 1] = json.dumps({name: value for name, value in body.items() if value is not ...})
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "line 1: no JSON"),
        ("\n\n[]", "line 3: an object is expected, not []"),
        (changed(2, type="sent"), 'line 2: the type is "sent"; one of send, poll, end, tail, operation is expected'),
        (changed(1, process=...), "line 1: a send has no 'process'"),
        (changed(1, proces="p1"), "line 1: a send knows no 'proces'; it has process, partition,"),
        (changed(1, offset="0"), "line 1: 'offset' of a send is \"0\"; an offset, or null, is expected"),
        (changed(1, offset=-1), "line 1: 'offset' of a send is -1"),
        (changed(1, offset=None), "line 1: an acknowledged send has an offset"),
        (changed(1, value=True), "line 1: 'value' of a send is true; a string or an integer is expected"),
        (changed(1, completed_us=5), "line 1: it was completed at 5, before it was invoked at 10"),
        (changed(1, outcome="good"), "line 1: 'outcome' of a send is \"good\"; ok, failed or unknown is expected"),
        (changed(3, value="a"), 'line 3: the value "a" was sent in line 1 already'),
        (changed(4, records=[["lines-0", 0]]), "line 4: 'records' of a poll is"),
        (changed(7, end_offset=0, start_offset=4), "line 7: a log cannot end at 0 and begin at 4"),
        (changed(8, key=3), "line 8: 'key' of an operation is 3; a string is expected"),
        (changed(8, function="make"), "no model has the functions make, describe of 'lines'"),
        (changed(8, argument="one"), "line 8: a topic does not understand a1 on 'lines': create('one') -> 'created'"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, sentence: str) -> None:
    result = judged(text)
    assert result.code == 2 and sentence in result.said


def test_a_model_can_be_named() -> None:
    result = judged(EXAMPLE, "--model", "register")
    assert result.code == 2 and "line 8: a register has no 'create' (a1 on 'lines')" in result.said


def test_a_file_that_is_not_there_is_told() -> None:
    assert kraftpy("check-history", "no-such.jsonl").code == 2


def test_what_is_read_is_what_was_written() -> None:
    for line in EXAMPLE.splitlines():
        assert from_line(to_line(from_line(line))) == from_line(line)
