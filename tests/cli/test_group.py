"""`kraftpy group`, and `topic consume --group`: a fake cluster with the broker's own coordinator of groups."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.reset_plan import Span, parse_datetime, parse_duration, parse_file, parse_topics, to_file
from kraftpy import Consumer, Producer
from tests.cli.command import Result, kraftpy
from tests.cli.served import ServedCluster
from tests.client.fake_groups import FakeGroups


@pytest.fixture(scope="module")
def cluster() -> Iterator[ServedCluster]:
    """One topic of two partitions, with ten records each; served anew, so that it has groups."""
    served = ServedCluster(with_groups=FakeGroups)
    served.cluster.create("orders", 2)
    served.cluster.create("other", 1)
    with Producer(served.cluster.bootstrap) as producer:
        for number in range(20):
            producer.send("orders", b"%d" % number, partition=number % 2, timestamp=1_000 * number)
        producer.send("other", b"x")
    yield served
    served.close()


def run(served: ServedCluster, *arguments: str) -> Result:
    return kraftpy(*arguments, bootstrap=served.cluster.bootstrap)


def commit(served: ServedCluster, group: str, offsets: dict[tuple[str, int], int]) -> None:
    with Consumer(bootstrap=served.cluster.bootstrap, group_id=group) as consumer:
        consumer.commit(offsets)


def committed(served: ServedCluster, group: str) -> list[int | None]:
    with Consumer(bootstrap=served.cluster.bootstrap, group_id=group) as consumer:
        found = consumer.committed([("orders", 0), ("orders", 1)])
    return [None if offset is None else offset.offset for offset in found.values()]


def test_list_and_describe(cluster: ServedCluster) -> None:
    commit(cluster, "idle", {("orders", 0): 4, ("other", 0): 1})
    with Consumer("orders", bootstrap=cluster.cluster.bootstrap, group_id="busy", client_id="me") as consumer:
        while len(consumer.assignment()) < 2:
            consumer.poll(0.1)
        consumer.commit({("orders", 1): 7})
        listed = run(cluster, "group", "list", "-o", "json").json()
        assert {row["group"]: row["state"] for row in listed} | {"busy": "Stable", "idle": "Empty"} == {
            row["group"]: row["state"] for row in listed
        }
        assert [
            row["group"] for row in run(cluster, "group", "list", "--state", "stable", "-o", "jsonl").json_lines()
        ] == ["busy"]
        (row,) = run(cluster, "group", "describe", "busy", "-o", "json").json()
        assert (row["state"], row["assignor"], row["type"], row["lag"]) == ("Stable", "range", "classic", 3)
        assert [
            (each["partition"], each["current_offset"], each["end_offset"], each["lag"], each["client_id"])
            for each in row["partitions"]
        ] == [(0, None, 10, None, "me"), (1, 7, 10, 3, "me")]
        assert row["members"][0]["topics"] == ["orders"] and len(row["members"][0]["partitions"]) == 2
        text = run(cluster, "group", "describe", "busy").text
        assert text.startswith("busy: Stable, classic, range, 1 members, lag 3, coordinator ")
        refused = run(cluster, "group", "reset", "busy", "--all-topics", "--to-latest", "--execute")
        assert refused.code == 1 and refused.err.startswith("NON_EMPTY_GROUP: group busy has 1 members")
        refused = run(cluster, "group", "delete", "busy", "-y")
        assert refused.code == 1 and refused.err.startswith("NON_EMPTY_GROUP")
    (row,) = run(cluster, "group", "describe", "idle", "-o", "json").json()
    assert (row["state"], row["lag"], row["topics"]) == (
        "Empty",
        6,
        [{"topic": "orders", "lag": 6}, {"topic": "other", "lag": 0}],
    )
    missing = run(cluster, "group", "describe", "nobody")
    assert missing.code == 1 and missing.err.startswith("GROUP_ID_NOT_FOUND")


@pytest.mark.parametrize("fault", ["nobody leads it", "its leader is silent"])
def test_describe_shows_what_can_be_found(cluster: ServedCluster, fault: str) -> None:
    """One partition whose end nobody can tell does not hide the rest; what is missing is shown as that."""
    commit(cluster, "wounded", {("orders", 0): 4, ("orders", 1): 8, ("other", 0): 0})
    place = cluster.cluster.partition("orders", 0)
    leader = place.leader
    if fault == "nobody leads it":
        place.leader = -1
    else:
        place.lookups_take_s = 60
    try:
        described = run(cluster, "group", "describe", "wounded", "-o", "json", "--timeout", "2")
        text = run(cluster, "group", "describe", "wounded", "--timeout", "2").text
    finally:
        place.leader, place.lookups_take_s = leader, 0
    (row,) = described.json()
    assert [(each["end_offset"], each["lag"]) for each in row["partitions"]] == [(None, None), (10, 2), (1, 1)]
    assert row["lag"] == 3
    (line,) = (line.split() for line in text.splitlines() if line.split()[:2] == ["orders", "0"])
    assert line[2:5] == ["4", "-", "-"]


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        (["--to-earliest"], [0, 0]),
        (["--to-latest"], [10, 10]),
        (["--to-offset", "6"], [6, 6]),
        (["--to-offset", "60"], [10, 10]),
        (["--shift-by", "-2"], [2, 6]),
        (["--shift-by", "5"], [9, 10]),
        (["--to-current"], [4, 8]),
        (["--to-datetime", "1970-01-01T00:00:05"], [3, 2]),
        (["--to-datetime", "1970-01-01T02:00:05+02:00"], [3, 2]),
        (["--by-duration", "PT1H"], [10, 10]),
    ],
)
def test_reset(cluster: ServedCluster, way: list[str], expected: list[int]) -> None:
    commit(cluster, "to-reset", {("orders", 0): 4, ("orders", 1): 8})
    arguments = ["group", "reset", "to-reset", "--topic", "orders", *way, "-o", "json"]
    dry = run(cluster, *arguments)
    assert [row["new_offset"] for row in dry.json()] == expected
    assert not any(row["executed"] for row in dry.json()) and committed(cluster, "to-reset") == [4, 8]
    assert [row["current_offset"] for row in run(cluster, *arguments, "--execute").json()] == [4, 8]
    assert committed(cluster, "to-reset") == expected


def test_reset_of_some_partitions_and_by_file(cluster: ServedCluster, tmp_path: Any) -> None:
    commit(cluster, "filed", {("orders", 0): 4, ("orders", 1): 8})
    exported = run(cluster, "group", "reset", "filed", "--all-topics", "--to-current", "--export")
    assert exported.text == "orders,0,4\norders,1,8\n"
    file = tmp_path / "offsets.csv"
    file.write_text("orders,0,2\norders,1,99\n")
    done = run(cluster, "group", "reset", "filed", "--from-file", str(file), "--execute")
    assert done.code == 0 and committed(cluster, "filed") == [2, 10]
    dry = run(cluster, "group", "reset", "filed", "--topic", "orders:1", "--to-earliest")
    assert "NEW OFFSET" in dry.text and "--execute does it" in dry.err and dry.text.count("orders") == 1
    assert run(cluster, "group", "reset", "new", "--topic", "orders", "--to-latest", "--execute").code == 0
    assert committed(cluster, "new") == [10, 10]


def test_a_file_that_names_nothing_of_the_group_changes_nothing(cluster: ServedCluster, tmp_path: Any) -> None:
    commit(cluster, "kept", {("orders", 0): 4, ("orders", 1): 8})
    for text in ("", "\n", "another,orders,0,7\n"):
        file = tmp_path / "offsets.csv"
        file.write_text(text)
        refused = run(cluster, "group", "reset", "kept", "--from-file", str(file), "--execute")
        assert refused.code == 2 and "offsets.csv names no partition of group kept" in refused.said
    for of_what in (["--topic", "orders"], ["--all-topics"]):
        refused = run(cluster, "group", "reset", "kept", *of_what, "--from-file", str(file), "--execute")
        assert refused.code == 2 and "--from-file names the partitions itself" in refused.said
    assert committed(cluster, "kept") == [4, 8]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--all-topics"], "say where to, by one of --to-earliest"),
        (["--all-topics", "--to-latest", "--to-earliest"], "say where to"),
        (["--to-latest"], "say of what, by --topic or --all-topics"),
        (["--topic", "a:x", "--to-latest"], "'a:x' is not TOPIC or TOPIC:PARTITION"),
        (["--all-topics", "--by-duration", "1h"], "not a duration such as PT1H30M"),
        (["--all-topics", "--by-duration", "P99999999999D"], "'P99999999999D' is more than 999999999 days"),
        (["--all-topics", "--to-datetime", "noon"], "Invalid isoformat"),
        (["--all-topics", "--to-latest", "--execute", "--dry-run"], "are two ways"),
        (["--topic", "orders", "--shift-by", "1"], "nothing is committed for orders-0"),
    ],
)
def test_what_makes_no_sense_is_refused(cluster: ServedCluster, arguments: list[str], sentence: str) -> None:
    refused = run(cluster, "group", "reset", "g", *arguments)
    assert refused.code == 2 and sentence in refused.said


def test_delete(cluster: ServedCluster) -> None:
    commit(cluster, "old", {("orders", 0): 4, ("other", 0): 1})
    assert run(cluster, "group", "delete", "old", "--topic", "other", "-y").code == 0
    (row,) = run(cluster, "group", "describe", "old", "-o", "json").json()
    assert [each["topic"] for each in row["partitions"]] == ["orders"]
    gone = run(cluster, "group", "delete", "old", "-y", "-o", "json")
    assert gone.json() == [{"group": "old", "topics": None, "deleted": True}]
    missing = run(cluster, "group", "delete", "old", "-y")
    assert missing.code == 1 and missing.err.startswith("GROUP_ID_NOT_FOUND")


def test_consuming_in_a_group_goes_on_where_it_was(cluster: ServedCluster) -> None:
    first = run(cluster, "topic", "consume", "orders", "--group", "cli", "--from-beginning", "-n", "12")
    assert first.code == 0 and len(first.out.splitlines()) == 12
    second = run(cluster, "topic", "consume", "orders", "--group", "cli", "-n", "8")
    assert sorted(map(int, (first.out + second.out).split())) == list(range(20))
    refused = run(cluster, "topic", "consume", "orders", "--group", "cli", "--partition", "0")
    assert refused.code == 2 and "leave out the rest" in refused.said


@given(offsets=st.dictionaries(st.tuples(st.sampled_from(["a", "b,c", 'd"e']), st.integers(0, 9)), st.integers(0, 99)))
def test_what_is_exported_is_read_back(offsets: dict[tuple[str, int], int]) -> None:
    assert parse_file(to_file(offsets), "g") == offsets


def test_reading_what_people_write() -> None:
    assert parse_file('"g","t",1,5\nother,t,2,6\n\n', "g") == {("t", 1): 5}
    assert parse_datetime("1970-01-01T00:00:01.500") == 1_500
    assert parse_duration("P1DT2H3M4.5S").total_seconds() == 86_400 + 2 * 3_600 + 3 * 60 + 4.5
    assert parse_topics(["a", "b:0,2"]) == {"a": None, "b": [0, 2]}
    assert parse_topics(["a:0", "a:2,0", "b", "b:1", "c:1", "c"]) == {"a": [0, 2], "b": None, "c": None}
    assert Span(3, 9).nearest(1) == 3
    for wrong in ("t,1", "t,x,1", "t,1,-1"):
        with pytest.raises(ValueError, match="line 1"):
            parse_file(wrong, "g")
