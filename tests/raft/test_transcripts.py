"""The transcripts stand as they are written, and find the bugs that seeds find too seldom."""

from pathlib import Path

import pytest

from tests.raft.bugs import (
    ANYTHING_APPENDED,
    COUNTED_TOO_EARLY,
    CUT_BELOW_HIGH_WATERMARK,
    LOADS_WHILE_LEADING,
    NOT_COMPARED,
    TWO_CHANGES,
    Bug,
    core_with,
)
from tests.raft.transcripts import FOLDER, play

FILES = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_core_does_what_is_written(path: Path) -> None:
    assert play(path.read_text()) == path.read_text(), "see `python -m tests.raft.transcripts --rewrite`"


@pytest.mark.parametrize(
    ("bug", "name"),
    [
        (ANYTHING_APPENDED, "kafka-18723"),
        (COUNTED_TOO_EARLY, "figure-8"),
        (CUT_BELOW_HIGH_WATERMARK, "kafka-12460"),
        (LOADS_WHILE_LEADING, "snapshots"),
        (NOT_COMPARED, "slow-disk"),
        (TWO_CHANGES, "kip-853"),
    ],
    ids=lambda value: value.name if isinstance(value, Bug) else value,
)
def test_a_transcript_finds(bug: Bug, name: str) -> None:
    text = (FOLDER / f"{name}.txt").read_text()
    with core_with(bug) as make_core:
        assert play(text, make_core) != text
