"""`kraftpy topic` against the fake cluster: what is printed, and exit codes."""

import pytest

from tests.cli.command import Result, kraftpy, lines
from tests.cli.served import ServedCluster


def run(served: ServedCluster, *arguments: str, stdin: bytes = b"") -> Result:
    return kraftpy("topic", *arguments, bootstrap=served.cluster.bootstrap, stdin=stdin)


def test_create_list_describe_alter_delete(served: ServedCluster) -> None:
    created = run(served, "create", "admin", "-p", "3", "-r", "3", "-c", "min.insync.replicas=2")
    assert created == Result(0, b"topic admin created: 3 partitions, replication factor 3\n", "")
    assert "admin           3                   3" in run(served, "list").text
    assert run(served, "alter", "admin", "--partitions", "5", "-c", "retention.ms=5").code == 0
    row = next(row for row in run(served, "describe", "admin", "-o", "json").json())
    assert (row["partition_count"], row["settings"]) == (5, {"min.insync.replicas": "2", "retention.ms": "5"})
    assert run(served, "alter", "admin", "--delete-config", "retention.ms").code == 0
    assert "retention.ms" not in run(served, "describe", "admin").text
    assert run(served, "delete", "admin") == Result(0, b"topic admin deleted\n", "")
    assert run(served, "delete", "admin", "--if-exists").code == 0


def test_json_shapes_are_pinned(served: ServedCluster) -> None:
    run(served, "create", "shapes")
    listed = run(served, "list", "-o", "jsonl").json_lines()
    assert next(row for row in listed if row["topic"] == "shapes") == {
        "topic": "shapes",
        "partitions": 1,
        "replication_factor": 3,
        "topic_id": listed[-1]["topic_id"],
        "internal": False,
    }
    (described,) = run(served, "describe", "shapes", "-o", "json").json()
    assert list(described) == [
        "topic",
        "topic_id",
        "internal",
        "partition_count",
        "replication_factor",
        "settings",
        "partitions",
    ]
    assert described["partitions"] == [
        {
            "partition": 0,
            "leader": 1,
            "leader_epoch": 1,
            "replicas": [1, 2, 3],
            "isr": [1, 2, 3],
            "offline": [],
            "eligible": [],
            "adding": [],
            "removing": [],
        }
    ]


def test_what_exists_is_refused_by_kafkas_name_unless_that_is_fine(served: ServedCluster) -> None:
    run(served, "create", "twice")
    again = run(served, "create", "twice")
    assert again.code == 1 and again.err.startswith("TOPIC_ALREADY_EXISTS: ")
    fine = run(served, "create", "twice", "--if-not-exists", "-o", "json")
    assert (fine.code, fine.json()) == (0, {"topic": "twice", "created": False})


def test_an_unknown_topic_says_where_to_look(served: ServedCluster) -> None:
    for arguments in (("describe", "nix"), ("delete", "nix"), ("consume", "nix", "--timeout", "0.5")):
        result = run(served, *arguments)
        assert result.code == 1
        assert "UNKNOWN_TOPIC_OR_PARTITION" in result.err and "kraftpy topic list" in result.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("alter", "x"), "nothing to do"),
        (("alter", "x", "-c", "a=1", "--delete-config", "a"), "both set and deleted"),
        (("create", "x", "-c", "a"), "'a' is not NAME=VALUE"),
        (("delete-records", "x", "--before", "-3"), "neither an offset nor end"),
        (("delete-records", "x", "--before", "9223372036854775808"), "neither an offset nor end"),
        (("consume", "x", "--offset", "soon"), "neither a number nor earliest nor latest"),
        (("consume", "x", "--offset", "3", "--from-beginning"), "two ways to say where to start"),
        (("produce", "x", "-i", "jsonl", "--key-separator", ":"), "names its key itself"),
        (("produce", "x", "-X", "interceptor.classes=a.B"), "interceptors are objects"),
        (("consume", "x", "-X", "value.deserializer=json"), "printed as the bytes that they are"),
    ],
)
def test_a_wrong_command_line_is_explained(served: ServedCluster, arguments: tuple[str, ...], said: str) -> None:
    result = run(served, *arguments)
    assert result.code == 2
    assert said in result.said


def test_produce_and_consume_lines(served: ServedCluster) -> None:
    run(served, "create", "plain")
    assert run(served, "produce", "plain", stdin=b"one\n\ntwo\r\nlast").code == 0
    assert run(served, "consume", "plain", "--from-beginning", "-n", "4").out == b"one\n\ntwo\nlast\n"
    assert run(served, "consume", "plain", "--offset", "2", "-e").out == b"two\nlast\n"
    assert run(served, "consume", "plain", "--offset", "-1", "-e").out == b"last\n"
    assert run(served, "consume", "plain", "-e").out == b""


def test_keys_and_where_records_went(served: ServedCluster) -> None:
    run(served, "create", "keyed", "-p", "4")
    sent = run(served, "produce", "keyed", "--key-separator", r"\t", "-o", "jsonl", stdin=b"a\t1\nc\t2\na\t3\n")
    places = {(row["partition"], row["offset"]) for row in sent.json_lines()}
    assert sent.code == 0 and len(places) == 3 and len({partition for partition, _ in places}) == 2
    read = run(served, "consume", "keyed", "--from-beginning", "-e", "--key-separator", "=")
    assert sorted(read.text.splitlines()) == ["a=1", "a=3", "c=2"]
    only = sorted(partition for partition, _ in places)[0]
    some = run(served, "consume", "keyed", "--partition", str(only), "--offset", "earliest", "-e", "-o", "jsonl")
    assert {row["partition"] for row in some.json_lines()} == {only}
    beyond = run(served, "consume", "keyed", "--partition", "4", "-e")
    assert beyond.code == 1 and "partitions 0 to 3, not 4" in beyond.said


def test_delete_records_says_where_each_partition_begins(served: ServedCluster) -> None:
    run(served, "create", "pruned", "-p", "1")
    assert run(served, "produce", "pruned", stdin=lines("a", "b", "c")).code == 0
    some = run(served, "delete-records", "pruned", "-p", "0", "--before", "2", "-o", "json")
    assert some.json() == [{"topic": "pruned", "partition": 0, "start_offset": 2}]
    assert run(served, "consume", "pruned", "--from-beginning", "-e").out == b"c\n"
    assert run(served, "alter", "pruned", "--partitions", "2").code == 0
    all_of_it = run(served, "delete-records", "pruned", "--before", "end", "-o", "json").json()
    assert [(row["partition"], row["start_offset"]) for row in all_of_it] == [(0, 3), (1, 0)]
    missing = run(served, "delete-records", "pruned", "-p", "0", "-p", "99", "--before", "0")
    assert missing.code == 1 and "UNKNOWN_TOPIC_OR_PARTITION: topic pruned has partitions 0 to 1, not 99" in missing.err
    beyond = run(served, "delete-records", "pruned", "-p", "0", "--before", "9")
    assert beyond.code == 1 and beyond.err.startswith("OFFSET_OUT_OF_RANGE: ")


def test_a_wrong_line_is_named_and_what_came_before_it_is_delivered(served: ServedCluster) -> None:
    run(served, "create", "wrong")
    result = run(served, "produce", "wrong", "--key-separator", ":", stdin=lines("a:1", "b"))
    assert result.code == 2 and "line 2: there is no key separator ':'" in result.said
    result = run(served, "produce", "wrong", "-i", "jsonl", stdin=b'{"value": "2"}\n\n{"value": 3}\n')
    assert result.code == 2 and "line 3: value is a string or null" in result.said
    assert run(served, "consume", "wrong", "--from-beginning", "-e").out == b"1\n2\n"


@pytest.mark.parametrize(
    ("topic", "wrong", "code", "said"),
    [
        ("large", '{"value": "%s"}' % ("x" * 2_000_000), 1, "line 3 of standard input was refused: MESSAGE_TOO_LARGE"),
        ("elsewhere", '{"value": "c", "partition": 7}', 1, "line 3 of standard input was refused: INVALID_PARTITION"),
        ("nested", "[" * 200_000, 2, "line 3: not JSON"),
    ],
    ids=["large", "elsewhere", "nested"],
)
def test_what_came_before_a_line_that_is_refused_is_told(
    served: ServedCluster, topic: str, wrong: str, code: int, said: str
) -> None:
    run(served, "create", topic)
    stdin = lines('{"value": "a"}', '{"value": "b"}', wrong, '{"value": "d"}')
    result = run(served, "produce", topic, "-i", "jsonl", "-o", "json", stdin=stdin)
    assert result.code == code and said in result.said
    assert result.json() == {"topic": topic, "acknowledged": 2, "failed": int(code == 1)}
    assert run(served, "consume", topic, "--from-beginning", "-e").out == b"a\nb\n"


def test_jsonl_is_piped_from_topic_to_topic_without_loss(served: ServedCluster) -> None:
    run(served, "create", "from", "-p", "2")
    run(served, "create", "to", "-p", "2")
    run(served, "create", "one")
    given = (
        b'{"key": "k", "value_base64": "/wA=", "partition": 1,"timestamp": 5,"headers": [{"key": "h", "value": null}]}'
        b"\n"
        b'{"key_base64": "/w==", "value": null, "partition": 0, "timestamp": 6}\n'
        b'{"value": "caf\xc3\xa9 \xe2\x80\xa8", "partition": 1, "timestamp": 7}\n'
    )
    assert run(served, "produce", "from", "-i", "jsonl", stdin=given).code == 0
    first = run(served, "consume", "from", "--from-beginning", "-e", "-o", "jsonl")
    assert run(served, "produce", "to", "-i", "jsonl", stdin=first.out).code == 0
    second = run(served, "consume", "to", "--from-beginning", "-e", "-o", "jsonl")
    assert len(first.json_lines()) == 3
    assert sorted(second.text.replace('"to"', '"from"').splitlines()) == sorted(first.text.splitlines())
    refused = run(served, "produce", "one", "-i", "jsonl", stdin=first.out)
    assert refused.code == 1 and "partitions 0 to 0, not 1" in refused.err
    assert run(served, "produce", "one", "-i", "jsonl", "--repartition", stdin=first.out).code == 0


def test_json_is_one_document_also_when_it_is_empty(served: ServedCluster) -> None:
    run(served, "create", "document")
    assert run(served, "consume", "document", "-e", "-o", "json").json() == []
    summary = run(served, "produce", "document", "-o", "json", stdin=b"a\nb\n")
    assert summary.json() == {"topic": "document", "acknowledged": 2, "failed": 0}
    rows = run(served, "consume", "document", "--from-beginning", "-e", "-o", "json").json()
    assert [row["value"] for row in rows] == ["a", "b"]


def test_blanks_and_dead_nodes_in_the_bootstrap_list(served: ServedCluster) -> None:
    bootstrap = f"127.0.0.1:1 , {served.cluster.bootstrap.partition(',')[0]}"
    assert kraftpy("topic", "list", "-b", bootstrap).code == 0


def test_nobody_there_is_exit_code_3_with_advice() -> None:
    for arguments in (("list",), ("produce", "x"), ("consume", "x"), ("delete", "x")):
        result = kraftpy("topic", *arguments, "-b", "127.0.0.1:1, 127.0.0.1:2", "--timeout", "0.2")
        assert result.code == 3, result
        assert "127.0.0.1:" in result.err  # both, unless a slow machine hears of no refusal in that time
        assert "KRAFTPY_BOOTSTRAP_SERVER" in result.err


def test_an_address_that_is_none_is_a_wrong_setting() -> None:
    result = kraftpy("topic", "list", "-b", "localhost")
    assert result.code == 2 and "'localhost' is not HOST:PORT" in result.err


def test_an_unknown_setting_of_a_client_is_refused_with_the_nearest(served: ServedCluster) -> None:
    result = run(served, "produce", "x", "-X", "linger=5")
    assert result.code == 2 and "linger" in result.err
