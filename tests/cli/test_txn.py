"""`kraftpy txn` against a real node, with what the SDK's transactions look like there."""

from collections.abc import Iterator

import pytest

from kraftpy import Admin, Consumer, Producer
from kraftpy.errors import ProducerFencedError
from kraftpy.testing import Cluster
from tests.cli.command import Result, kraftpy


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=1, flush=False) as made:
        with Admin(made.bootstrap) as admin:
            admin.create_topic("lines", partitions=2)
        yield made


def run(cluster: Cluster, *arguments: str) -> Result:
    return kraftpy(*arguments, bootstrap=cluster.bootstrap)


def committed(cluster: Cluster) -> list[bytes]:
    with Consumer(
        "lines", bootstrap=cluster.bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
    ) as reader:
        values: list[bytes] = []
        while found := reader.poll(2.0):
            values += [record.value for record in found]
        return values


def test_list_describe_abort(cluster: Cluster) -> None:
    with Producer(cluster.bootstrap, transactional_id="done") as producer, producer.transaction():
        producer.send("lines", b"done", partition=0)
    with Producer(cluster.bootstrap, transactional_id="open") as producer:
        producer.begin_transaction()
        producer.send("lines", b"open", partition=1).result(10)
        rows = run(cluster, "txn", "list", "-o", "json").json()
        assert [row["transactional_id"] for row in rows] == ["done", "open"]
        (ongoing,) = run(cluster, "txn", "list", "--state", "Ongoing", "-o", "jsonl").json_lines()
        assert (ongoing["transactional_id"], ongoing["state"]) == ("open", "Ongoing")
        assert run(cluster, "txn", "list", "--running", "3600", "-o", "json").json() == []
        described = run(cluster, "txn", "describe", "open", "-o", "json").json()
        assert (described["state"], described["timeout_ms"]) == ("Ongoing", 60_000)
        assert described["partitions"] == [{"topic": "lines", "partition": 1}]
        assert 0 <= described["running_ms"] < 60_000
        assert "lines" in run(cluster, "txn", "describe", "open").text
        aborted = run(cluster, "txn", "abort", "open", "-y")
        assert (aborted.code, aborted.text) == (0, "aborted the transaction of open\n")
        with pytest.raises(ProducerFencedError):
            producer.commit_transaction()
    assert committed(cluster) == [b"done"]
    missing = run(cluster, "txn", "describe", "nobody")
    assert missing.code == 1 and missing.err.startswith("TRANSACTIONAL_ID_NOT_FOUND")
    misspelt = run(cluster, "txn", "abort", "opne", "-y")
    assert misspelt.code == 1 and misspelt.err.startswith("TRANSACTIONAL_ID_NOT_FOUND")
    rows = run(cluster, "txn", "list", "-o", "json").json()
    assert [row["transactional_id"] for row in rows] == ["done", "open"]


def test_aborting_what_hangs_in_a_partition(cluster: Cluster) -> None:
    with Producer(cluster.bootstrap, transactional_id="hangs") as producer:
        producer.begin_transaction()
        start = producer.send("lines", b"x", partition=0).result(10).offset
        with Admin(cluster.bootstrap) as admin:
            begun = [each.transaction_start_offset for each in admin.describe_producers(("lines", 0))]
        assert start in begun
        place = ["--topic", "lines", "--partition", "0", "--start-offset"]
        wrong = run(cluster, "txn", "abort", *place, str(start + 100), "-y")
        assert wrong.code == 1 and "no transaction that is open in lines-0 begins at offset" in wrong.err
        done = run(cluster, "txn", "abort", *place, str(start), "-y", "-o", "json")
        assert done.json()["aborted"] is True
        with Admin(cluster.bootstrap) as admin:
            begun = [each.transaction_start_offset for each in admin.describe_producers(("lines", 0))]
        assert start not in begun
        producer.abort_transaction()


@pytest.mark.parametrize("arguments", [[], ["id", "--topic", "t", "--partition", "0", "--start-offset", "1"]])
def test_what_makes_no_sense_is_refused(cluster: Cluster, arguments: list[str]) -> None:
    refused = run(cluster, "txn", "abort", *arguments, "-y")
    assert refused.code == 2 and "give a transactional id, or --topic" in refused.said
