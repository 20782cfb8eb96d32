"""The matrix as a document shows it, and what is kept between runs."""

from pathlib import Path

import pytest

from tests.compatibility import matrix
from tests.compatibility.capabilities import CAPABILITIES
from tests.compatibility.case import Outcome, Verdict
from tests.compatibility.clients.every import CLIENTS, LIBRARIES
from tests.compatibility.clusters import ClusterUnderTest, KraftpyCluster


def results_of(*outcomes: Outcome) -> matrix.Results:
    results: matrix.Results = {}
    for outcome in outcomes:
        matrix.add(results, outcome, date="2026-11-21", cluster="kraftpy 1", kills=False)
    return results


def test_a_row_has_a_cell_for_each_capability() -> None:
    client = LIBRARIES[0]
    outcomes = [Outcome(case, Verdict.PASSED, "", 1.0) for case in client.cases[:-1]]
    outcomes.append(Outcome(client.cases[-1], Verdict.FAILED, "no | way", 1.0))
    shown = matrix.render(results_of(*outcomes), CLIENTS)
    row = next(line for line in shown.splitlines() if line.startswith(f"| {client.name} |"))
    assert row.split(" | ")[1:] == ["yes"] * (len(CAPABILITIES) - 1) + ["**no** |"]
    assert f"{len(CAPABILITIES) - 1} cases passed, 1 failed" in shown
    assert "no \\| way" in shown


def test_a_client_that_cannot_be_had_says_why() -> None:
    client = LIBRARIES[0]
    shown = matrix.render(
        results_of(*(Outcome(case, Verdict.NOT_RUN, "no pip", 0.0) for case in client.cases)), CLIENTS
    )
    assert shown.count("not run") >= len(CAPABILITIES)
    assert "no pip" in shown


def test_results_are_kept(tmp_path: Path) -> None:
    results = results_of(*(Outcome(case, Verdict.PASSED, "", 1.0) for case in LIBRARIES[0].cases))
    matrix.save(tmp_path / "results.json", results)
    assert matrix.load(tmp_path / "results.json") == results
    assert matrix.load(tmp_path / "nothing.json") == {}


def test_only_what_is_between_the_markers_is_written(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text("before\n<!-- matrix kafka -->old<!-- /matrix kafka -->\nafter\n")
    matrix.write(document, "kafka", "new")
    assert document.read_text() == "before\n<!-- matrix kafka -->\n\nnew\n\n<!-- /matrix kafka -->\nafter\n"
    with pytest.raises(ValueError, match="lacks the markers"):
        matrix.write(document, "kraftpy", "new")


def test_names_are_unique() -> None:
    cases = [(case.client, case.capability) for client in CLIENTS for case in client.cases]
    assert len(set(cases)) == len(cases)


def test_the_cluster_is_one_of_those_under_test() -> None:
    made: ClusterUnderTest = KraftpyCluster()
    assert made.kind == "kraftpy"
