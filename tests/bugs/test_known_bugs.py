"""Known bugs: each stands where its code is, ten are found again, and the campaign keeps what it has found."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bugs import __main__ as campaign
from tests.bugs.bug import ROOT, Bug, Outgrown, spoiled
from tests.bugs.catalogue import BUGS
from tests.bugs.find import in_one_line
from tests.bugs.overlay import copy_with
from tests.bugs.results import RESULTS, Results, digest_of
from tests.bugs.search import Tried, look_for
from tests.bugs.table import DOCUMENT, document

TEN = (
    "acknowledged-before-flushed",
    "appended-twice",
    "assigned-unreleased",
    "divergence-not-told",
    "elected-outside-the-isr",
    "first-marker-only",
    "new-names-not-synced",
    "newest-words",
    "quorum-not-flushed",
    "scrub-ignored",
)
"""One or two of each part, found by one to three seeds of the scenario that they are looked for with."""


@pytest.mark.parametrize("name", TEN)
def test_it_is_found_again(name: str) -> None:
    bug = BUGS[name]
    assert any(tried.said for tried in look_for(bug, bug.first_seed, 3)), bug.about


@pytest.mark.parametrize("bug", BUGS.values(), ids=lambda bug: bug.name)
def test_it_stands_where_its_code_is(bug: Bug) -> None:
    compile(spoiled(bug), str(bug.path), "exec")


@pytest.mark.parametrize(
    ("function", "right"),
    [
        ("Flusher.flush", "a line of long ago"),
        ("Flusher.flush", "self"),  # more than once
        ("Flusher.was_here", "await done"),
        ("Flusher.request", "await done"),  # it is in another
    ],
)
def test_a_bug_that_its_code_has_outgrown_is_noticed(function: str, right: str) -> None:
    bug = replace(BUGS["acknowledged-before-flushed"], function=function, right=right)
    with pytest.raises(Outgrown, match=bug.name), copy_with(bug):
        pass


def test_a_copy_differs_in_one_file_and_is_gone_afterwards() -> None:
    bug = BUGS["acknowledged-before-flushed"]
    with copy_with(bug) as copy:
        assert (copy / bug.path).read_text() == spoiled(bug) != (ROOT / bug.path).read_text()
        for other in ("log_store/log.py", "tests/bugs/bug.py", "pyproject.toml"):
            assert (copy / other).samefile(ROOT / other)
    assert not copy.exists()


def test_a_copy_without_a_bug_is_not_found_fault_with() -> None:
    bug = BUGS["acknowledged-before-flushed"]
    tried = list(look_for(replace(bug, wrong=bug.right), 0, 2))
    assert tried == [Tried(0, ""), Tried(1, "")]


def test_what_cannot_run_is_no_bug() -> None:
    bug = replace(BUGS["acknowledged-before-flushed"], wrong="return no_such_name\n")
    with pytest.raises(RuntimeError, match=r"does not run: .*no_such_name"):
        list(look_for(bug, 0, 1))


@pytest.mark.parametrize("number", range(1, 19))
def test_every_invariant_has_its_bug(number: int) -> None:
    offended = [offence for bug in BUGS.values() for offence in bug.offends.split("; ")]
    assert any(offence.startswith("invariant") and str(number) in _numbers(offence) for offence in offended)


def _numbers(offence: str) -> list[str]:
    return offence.removeprefix("invariants").removeprefix("invariant").replace(",", " ").split()


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("Refuted: 9 sends, 9 acknowledged\nlost lines-0: 'p/1'\nmore", "Refuted: lost lines-0: 'p/1'"),
        ("Refuted: log: 9 sends, 9 acknowledged\nlost lines-0: 'p/1'\nmore", "Refuted: lost lines-0: 'p/1'"),
        ("Violated: n1   leads\ntwice", "Violated: n1 leads"),
        ("ReplicaKey(node_id=2, directory_id=UUID('00-02')) votes twice", "node 2 votes twice"),
    ],
)
def test_what_a_check_says_in_one_line(said: str, line: str) -> None:
    assert in_one_line(said) == line


def test_the_campaign_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found_at = {"vote-forgotten": 4, "same-epoch": 30, "gap-appended": 0}
    looked: list[tuple[str, int, int]] = []

    def look(bug: Bug, first: int, seeds: int) -> Iterator[Tried]:
        looked.append((bug.name, first, seeds))
        for seed in range(first, first + seeds):
            said = "found" if seed == found_at[bug.name] else ""
            yield Tried(seed, said)
            if said:
                return

    monkeypatch.setattr(campaign, "look_for", look)
    path = tmp_path / "results.json"
    arguments = ["--only", ",".join(found_at), "--results", str(path)]
    assert campaign.main([*arguments, "--seeds", "10"]) == 0
    assert looked == [
        ("vote-forgotten", 0, 1),
        ("same-epoch", 0, 1),
        ("gap-appended", 0, 1),
        ("vote-forgotten", 1, 9),
        ("same-epoch", 1, 9),
    ]
    looked.clear()
    campaign.main(arguments)
    assert looked == [("same-epoch", 10, 10), ("same-epoch", 20, 180)]
    looked.clear()
    campaign.main([*arguments, "--again", "--seeds", "1"])
    assert len(looked) == 3


def test_a_bug_that_has_changed_begins_anew(tmp_path: Path) -> None:
    bug = BUGS["vote-forgotten"]
    results = Results.read(tmp_path / "results.json")
    results.note(bug, Tried(4, "votes twice"))
    results.save()
    results = Results.read(tmp_path / "results.json")
    assert (results.of(bug).tried, results.of(bug).said) == (5, "votes twice")
    assert results.of(replace(bug, about="in other words")).found
    other = replace(bug, wrong="pass")
    assert digest_of(other) != digest_of(bug) and not results.of(other).found


def test_the_document_says_what_was_found() -> None:
    assert DOCUMENT.read_text() == document(Results.read(RESULTS)), "run `make bugs`"
