"""What a real node refuses, as a user reads it: Kafka's error name and a sentence that says what to do."""

from collections.abc import Iterator

import pytest

from cli.options import TIMEOUT_MAX_S
from kraftpy.client import wire_numbers
from kraftpy.testing import Cluster
from tests.cli.command import kraftpy


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(1, flush=False) as made:
        made.admin.create_topic("lines", partitions=3)
        yield made


@pytest.mark.parametrize(
    ("arguments", "name", "advice"),
    [
        (("alter", "lines", "--partitions", "2"), "INVALID_PARTITIONS", "create a new topic with 2"),
        (("alter", "lines", "--partitions", "3"), "INVALID_PARTITIONS", "has 3 partitions already"),
        (("create", "more", "--replication-factor", "2"), "INVALID_REPLICATION_FACTOR", "start 1 more, or ask for 1"),
        (("create", "a b"), "INVALID_TOPIC_EXCEPTION", 'other characters than a-z, A-Z, 0-9, ".", "_" and "-"'),
        (("create", ".."), "INVALID_TOPIC_EXCEPTION", 'cannot be called ".."'),
        (("create", "more", "-c", "retention.mss=1"), "INVALID_CONFIG", "did you mean retention.ms?"),
        (("create", "more", "-c", "nix=1"), "INVALID_CONFIG", "kraftpy config get --all"),
        (("alter", "lines", "-c", "retention.ms=soon"), "INVALID_CONFIG", "whole number"),
        (("create", "lines"), "TOPIC_ALREADY_EXISTS", "lines"),
        (("describe", "line"), "UNKNOWN_TOPIC_OR_PARTITION", "kraftpy topic list"),
    ],
)
def test_a_refusal_names_the_error_and_says_what_to_do(
    cluster: Cluster, arguments: tuple[str, ...], name: str, advice: str
) -> None:
    result = kraftpy("topic", *arguments, bootstrap=cluster.bootstrap)
    assert (result.code, result.out) == (1, b"")
    assert result.err.startswith(f"{name}: ") and advice in result.err


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("topic create more --timeout 3000000", "Invalid value for '--timeout'"),
        ("verify lines --timeout inf", "Invalid value for '--timeout'"),
        ("doctor --timeout inf", "Invalid value for '--timeout'"),
        ("topic delete-records lines --before 9223372036854775808", "neither an offset nor end"),
        ("group reset g --topic lines --by-duration P99999999999D", "is more than 999999999 days"),
        ("topic consume lines --offset 9223372036854775808", "offsets lie below 9223372036854775808"),
        ("topic consume lines --offset -" + "9" * 4_000, "offsets lie below"),
        ("topic consume lines -X bootstrap.servers=h:1", "-b names the nodes to ask"),
        ("topic produce lines -X bootstrap.servers=h:1", "-b names the nodes to ask"),
        ("txn list --running inf", "Invalid value for '--running'"),
        ("txn abort --topic lines --partition 2147483648 --start-offset 0 -y", "Invalid value for '--partition'"),
    ],
)
def test_numbers_that_are_too_large_are_a_wrong_command_line(cluster: Cluster, line: str, advice: str) -> None:
    result = kraftpy(*line.split(), bootstrap=cluster.bootstrap)
    assert (result.code, result.out) == (2, b"")
    assert advice in result.said


@pytest.mark.parametrize("line", ["group delete g", "txn abort t"])
def test_who_says_no_or_nothing_is_told_that_nothing_was_changed(cluster: Cluster, line: str) -> None:
    refused = kraftpy(*line.split(), bootstrap=cluster.bootstrap, stdin=b"n\n")
    assert refused.code == 1 and refused.err.endswith("nothing was changed\n")
    silent = kraftpy(*line.split(), bootstrap=cluster.bootstrap)
    assert silent.code == 2 and "nobody is there to answer: give --yes" in silent.said


def test_an_offset_that_is_not_there_is_said_to_be_moved(cluster: Cluster) -> None:
    asked = ("group", "reset", "g", "--topic", "lines", "--to-offset")
    moved = kraftpy(*asked, "99999999999999999999", bootstrap=cluster.bootstrap)
    assert moved.code == 0
    assert "offset 99999999999999999999 is not there: moved to the nearest that is (lines-0 to 0" in moved.err
    assert "moved" not in kraftpy(*asked, "0", bootstrap=cluster.bootstrap).err


def test_the_command_line_and_the_client_have_the_same_longest_time() -> None:
    assert TIMEOUT_MAX_S == wire_numbers.TIMEOUT_MAX_S


def test_nothing_came_of_what_was_refused(cluster: Cluster) -> None:
    rows = kraftpy("topic", "list", "-o", "json", bootstrap=cluster.bootstrap).json()
    assert [(row["topic"], row["partitions"]) for row in rows] == [("lines", 3)]


def test_a_dry_run_changes_nothing(cluster: Cluster) -> None:
    for arguments in (("create", "tried", "-p", "2", "--dry-run"), ("alter", "lines", "-p", "9", "--dry-run")):
        result = kraftpy("topic", *arguments, bootstrap=cluster.bootstrap)
        assert result.code == 0 and "would be" in result.text
    test_nothing_came_of_what_was_refused(cluster)


def test_records_go_in_and_come_out(cluster: Cluster) -> None:
    sent = b"".join(b"key-%d:value %d\n" % (number % 7, number) for number in range(1_000))
    for compression in ("none", "zstd"):
        produced = kraftpy(
            "topic",
            "produce",
            f"records-{compression}",
            "--key-separator",
            ":",
            "--compression",
            compression,
            bootstrap=cluster.bootstrap,
            stdin=sent,
        )
        assert produced.code == 0, produced.err
        read = kraftpy(
            "topic",
            "consume",
            f"records-{compression}",
            "--from-beginning",
            "-n",
            "1000",
            "--key-separator",
            ":",
            bootstrap=cluster.bootstrap,
        )
        assert read.out == sent
        kraftpy("topic", "delete", f"records-{compression}", bootstrap=cluster.bootstrap)
