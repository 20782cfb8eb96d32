"""The transcripts stand as they are written, and find the bugs that seeds find too seldom."""

from pathlib import Path

import pytest

from tests.bugs.bug import Bug
from tests.bugs.catalogue import BUGS
from tests.raft.bugs import core_with
from tests.raft.transcripts import FOLDER, play

FILES = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_core_does_what_is_written(path: Path) -> None:
    assert play(path.read_text()) == path.read_text(), "see `python -m tests.raft.transcripts --rewrite`"


@pytest.mark.parametrize(
    ("bug", "name"),
    [
        (BUGS["anything-appended"], "kafka-18723"),
        (BUGS["older-entries-counted"], "figure-8"),
        (BUGS["cut-below-watermark"], "kafka-12460"),
        (BUGS["loads-while-leading"], "snapshots"),
        (BUGS["not-compared"], "slow-disk"),
        (BUGS["two-voter-changes"], "kip-853"),
    ],
    ids=lambda value: value.name if isinstance(value, Bug) else value,
)
def test_a_transcript_finds(bug: Bug, name: str) -> None:
    text = (FOLDER / f"{name}.txt").read_text()
    with core_with(bug) as make_core:
        assert play(text, make_core) != text
