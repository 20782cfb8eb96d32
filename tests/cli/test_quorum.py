"""`kraftpy quorum add|remove`, `cluster features|upgrade`: on one node of its own, and what they refuse."""

import re
from collections.abc import Iterator

import pytest

from kraftpy.testing import Cluster
from tests.cli.command import Result, kraftpy


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes, of which the first votes."""
    with Cluster(nodes=2, voters=1) as made:
        yield made


def run(cluster: Cluster, *arguments: str) -> Result:
    return kraftpy(*arguments, bootstrap=cluster.bootstrap)


def test_a_voter_comes_and_goes(cluster: Cluster) -> None:
    observer = next(
        row for row in run(cluster, "quorum", "status", "-o", "json").json()["replicas"] if row["role"] == "observer"
    )
    added = run(cluster, "quorum", "add", "2", "--directory-id", observer["directory_id"], "-o", "json")
    assert added.code == 0
    assert [(row["node_id"], row["address"]) for row in added.json()] == [
        (1, cluster.address(1)),
        (2, cluster.address(2)),
    ]
    handed = run(cluster, "quorum", "transfer", "2", "-o", "json")
    assert handed.code == 0 and handed.json()["leader_id"] == 2 and handed.json()["leader_epoch"] > 1
    assert run(cluster, "quorum", "transfer").text.startswith("node 1 leads the quorum in epoch ")
    again = run(cluster, "quorum", "add", "2")
    assert again.code == 1 and again.err.startswith("DUPLICATE_VOTER: node 2 is a voter already")
    removed = run(cluster, "quorum", "remove", "2")
    assert removed.code == 0 and "DIRECTORY ID" in removed.text and cluster.address(1) in removed.text
    gone = run(cluster, "quorum", "remove", "2", "--force")
    assert gone.code == 1 and gone.err.startswith("VOTER_NOT_FOUND: node 2 is no voter; the voters are 1")


def test_what_makes_no_sense_is_refused_by_name(cluster: Cluster) -> None:
    last = run(cluster, "quorum", "remove", "1")
    assert last.code == 1 and last.err.startswith("INVALID_REQUEST: node 1 is the only voter")
    nonsense = run(cluster, "quorum", "add", "2", "--directory-id", "here")
    assert nonsense.code == 1 and nonsense.err.startswith("INVALID_VOTER_KEY: 'here' is no directory id")
    other = run(cluster, "quorum", "add", "2", "--directory-id", "00000000-0000-0000-0000-000000000001")
    assert other.code == 1 and other.err.startswith("INVALID_VOTER_KEY: node 2 fetches from directory")
    absent = run(cluster, "quorum", "add", "7", "--timeout", "6")
    assert absent.code == 1 and "REQUEST_TIMED_OUT: node 7 does not fetch from the quorum's leader" in absent.err
    assert absent.err.count("node 7 does not fetch") == 2, "it says once what it waits for, and in the end"
    waited = re.search(r"nodes\?\); it was waited for (\d+) ms, and nothing is changed", absent.err)
    assert waited is not None and 5_000 <= int(waited[1]) < 7_000
    stranger = run(cluster, "quorum", "transfer", "7")
    assert stranger.code == 1 and stranger.err.startswith("VOTER_NOT_FOUND: node 7 is no voter; the voters are 1")
    alone = run(cluster, "quorum", "transfer")
    assert alone.code == 1 and alone.err.startswith("ELIGIBLE_LEADERS_NOT_AVAILABLE: the quorum has no other voter")
    for command in ("add", "remove"):
        assert run(cluster, "quorum", command, "-1").code == 2
        assert run(cluster, "quorum", command).code == 2


def test_features_are_told_and_raised(cluster: Cluster) -> None:
    found = run(cluster, "cluster", "features", "-o", "json").json()
    assert {row["feature"]: (row["level"], row["possible"]) for row in found["features"]} == {
        "eligible.leader.replicas.version": (1, 1),
        "group.version": (1, 1),
        "kraft.version": (1, 1),
        "metadata.version": (3, 3),
        "transaction.version": (2, 2),
    }
    assert [(row["node_id"], row["voter"], row["supported"]["metadata.version"]) for row in found["nodes"]] == [
        (1, True, "1-3"),
        (2, False, "1-3"),
    ]
    assert "POSSIBLE" in run(cluster, "cluster", "features").text
    assert "nothing to raise" in run(cluster, "cluster", "upgrade", "--dry-run").text
    assert run(cluster, "cluster", "upgrade", "--release", "0.3", "-o", "json").json() == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--feature", "metadata.version=1"), 1, "INVALID_UPDATE_VERSION: metadata.version cannot go back from 3 to 1"),
        (("--release", "0.1"), 1, "INVALID_UPDATE_VERSION: metadata.version cannot go back"),
        (("--feature", "metadata.version=9"), 1, "INVALID_UPDATE_VERSION: metadata.version=9 is not possible"),
        (("--feature", "nonsense=1"), 1, "INVALID_UPDATE_VERSION: there is no feature nonsense"),
        (("--release", "99"), 1, "INVALID_REQUEST: there is no release 99"),
        (("--feature", "metadata.version=two"), 2, "is not NAME=LEVEL"),
        (("--feature", "metadata.version"), 2, "is not NAME=VALUE"),
        (("--feature", "metadata.version=3", "--release", "0.3"), 2, "not both"),
    ],
)
def test_an_upgrade_that_cannot_be_is_refused(
    cluster: Cluster, arguments: tuple[str, ...], code: int, said: str
) -> None:
    refused = run(cluster, "cluster", "upgrade", *arguments)
    assert refused.code == code and said in refused.said
