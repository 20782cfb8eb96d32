"""`kraftpy bench` at the SDK's door, against a fake cluster: what it prints, what it leaves, what it refuses."""

import json
import re
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from cli.bench import failing_over
from cli.bench.payload import values_of
from cli.bench.report import stretch_fields
from cli.bench.topics import PREFIX
from cli.bench.waits import Stretch
from tests.cli.answering import closed_port, listening, saying, telling
from tests.cli.command import Result, kraftpy
from tests.cli.commands_running import ENDED_S, read_until, running
from tests.cli.served import ServedCluster

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "bench.md"
LATENCIES = ["mean", "p50", "p90", "p99", "p99.9", "max"]
DESCRIBED = [
    "command",
    "door",
    "topic",
    "partitions",
    "replication_factor",
    "acks",
    "compression",
    "record_size_bytes",
    "target_records_per_second",
]
SENT = [
    "sent",
    "acknowledged",
    "failed",
    "unsent",
    "seconds",
    "records_per_second",
    "megabytes_per_second",
    "latency_ms",
]


def bench(served: ServedCluster, *arguments: str) -> Result:
    return kraftpy("bench", *arguments, bootstrap=served.cluster.bootstrap)


def told(served: ServedCluster, *arguments: str) -> dict[str, Any]:
    result = bench(served, *arguments, "-o", "json")
    assert result.code == 0, result.said
    found: dict[str, Any] = result.json()
    return found


def test_producing_to_a_topic_of_its_own_leaves_nothing(served: ServedCluster) -> None:
    found = told(served, "produce", "--records", "300", "--record-size", "100", "-p", "2", "-r", "1")
    assert list(found) == [*DESCRIBED, *SENT, "interrupted"]
    assert (found["sent"], found["acknowledged"], found["failed"], found["unsent"]) == (300, 300, 0, 0)
    assert (found["door"], found["partitions"], found["replication_factor"]) == ("grpc", 2, 1)
    assert found["topic"].startswith(PREFIX) and found["topic"] not in served.cluster.topics
    assert list(found["latency_ms"]) == LATENCIES
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"] <= found["latency_ms"]["max"]
    assert found["megabytes_per_second"] == pytest.approx(found["records_per_second"] / 10_000, abs=0.001)


def test_producing_to_a_named_topic_makes_it_and_writes_what_the_seed_says(served: ServedCluster) -> None:
    arguments = ["-t", "seeded", "-n", "5", "--record-size", "64", "--seed", "3", "--compressible", "0.2", "-p", "1"]
    told(served, "produce", *arguments, "--no-warm-up")
    assert served.cluster.values("seeded") == list(values_of(3, 64, 0.2)[:5])
    told(served, "produce", *arguments[:-2])
    assert len(served.cluster.values("seeded")) == 11  # the warm-up has one record a partition
    refused = bench(served, "produce", *arguments[:-1], "2")
    assert refused.code == 2 and "topic seeded has 1 partitions, not 2" in refused.said


def test_a_rate_and_a_time_are_so_many_records(served: ServedCluster) -> None:
    for acks in ("1", "0"):
        found = told(served, "produce", "--rate", "200", "--seconds", "0.5", "--acks", acks, "--compression", "lz4")
        assert found["sent"] == found["acknowledged"] == 100
        assert (found["target_records_per_second"], found["acks"], found["compression"]) == (200, acks, "lz4")


def test_reading_a_topic_to_its_end_and_so_many_records(served: ServedCluster) -> None:
    told(served, "produce", "-t", "read", "-n", "500", "--record-size", "10", "--no-warm-up")
    whole = told(served, "consume", "-t", "read")
    assert (whole["records"], whole["bytes"], whole["ended_by"], whole["group"]) == (500, 5_000, "end", None)
    assert 0 < whole["time_to_first_record_ms"] <= whole["seconds"] * 1_000 + 1
    some = told(served, "consume", "-t", "read", "-n", "123")
    assert (some["records"], some["bytes"], some["ended_by"]) == (123, 1_230, "records")
    few = told(served, "consume", "-t", "read", "-n", "501", "--silence", "0.3")
    assert (few["records"], few["ended_by"]) == (500, "silence")
    timed = told(served, "consume", "-t", "read", "--seconds", "0.2")
    assert timed["ended_by"] == "seconds"


def test_an_empty_topic_has_no_figures(served: ServedCluster) -> None:
    served.cluster.create("empty", 2)
    found = told(served, "consume", "-t", "empty")
    assert (found["records"], found["ended_by"]) == (0, "end")
    for name in ("time_to_first_record_ms", "records_per_second", "fetch_megabytes_per_second"):
        assert found[name] is None


def test_latency_is_measured_to_the_reader(served: ServedCluster) -> None:
    served.cluster.create("timed", 3)
    told(served, "produce", "-t", "timed", "-n", "20")  # what is there already is nobody's business
    found = told(served, "latency", "-t", "timed", "--rate", "400", "-n", "200", "--record-size", "16")
    end_to_end = ["received", "missing", "duplicated", "end_to_end_ms", "interrupted"]
    assert list(found) == [*DESCRIBED, *SENT, *end_to_end]
    assert (found["acknowledged"], found["received"], found["missing"], found["duplicated"]) == (200, 200, 0, 0)
    assert list(found["end_to_end_ms"]) == LATENCIES and found["end_to_end_ms"]["max"] > 0


def test_a_failover_without_a_fault_is_clean(served: ServedCluster) -> None:
    found = told(served, "failover", "--rate", "500", "-n", "300")
    assert (found["acknowledged"], found["read"]) == (300, 300)
    for name in ("lost", "duplicated", "out_of_order", "damaged", "foreign", "failed", "unsent"):
        assert found[name] == 0
    assert found["longest_gap_ms"] > 0 and found["longest_wait_ms"] == found["latency_ms"]["max"]
    assert isinstance(found["waits"], list)


def test_what_is_lost_is_counted_and_makes_the_exit_code(
    served: ServedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_back = failing_over._read_back

    def damaged(door: Any, topic: Any, *arguments: Any) -> Any:
        del served.cluster.partition(topic.name, 0).batches[1]  # the one before it has the warm-up
        return read_back(door, topic, *arguments)

    monkeypatch.setattr(failing_over, "_read_back", damaged)
    result = bench(served, "failover", "--rate", "500", "-n", "200", "-p", "1", "-o", "json")
    assert result.code == 4, result.said
    found = result.json()
    assert found["lost"] > 0 and found["read"] + found["lost"] == found["acknowledged"] == 200
    assert "is not there" in result.err
    assert not [topic for topic in served.cluster.topics if topic.startswith(PREFIX)]


def test_what_was_measured_is_told_although_it_cannot_be_read_back(
    served: ServedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise TimeoutError("no record for 60 s")

    monkeypatch.setattr(failing_over, "_read_back", fail)
    result = bench(served, "failover", "--rate", "500", "-n", "50", "-o", "json")
    assert result.code == 1 and "not everything could be read back" in result.err and "no record for 60 s" in result.err
    found = result.json()
    assert (found["acknowledged"], found["read"], found["lost"]) == (50, None, None)


def test_every_field_is_documented(served: ServedCluster) -> None:
    documented = set(re.findall(r"`(\w+)`", DOCUMENT.read_text()))
    told(served, "produce", "-t", "fields", "-n", "10")
    for arguments in (
        ("produce", "-n", "10"),
        ("consume", "-t", "fields"),
        ("latency", "-n", "10"),
        ("failover", "-n", "10"),
    ):
        assert set(told(served, *arguments)) <= documented
    assert {*stretch_fields(Stretch(0, 0, 0, 0, 0, frozenset()))} <= documented


def test_the_table_and_a_line_of_json(served: ServedCluster) -> None:
    table = bench(served, "produce", "-n", "10")
    assert table.code == 0 and "latency p99.9" in table.text and "MB/s" in table.text
    (line,) = bench(served, "produce", "-n", "10", "-o", "jsonl").json_lines()
    assert line["acknowledged"] == 10


def test_plain_lines_are_told_where_they_are_wanted(served: ServedCluster) -> None:
    result = bench(served, "produce", "--rate", "50", "--seconds", "2.5", "--verbose")
    lines = result.err.splitlines()
    assert len(lines) >= 1 and all("records/s" in line and "MB/s" in line for line in lines)
    assert bench(served, "produce", "--rate", "50", "--seconds", "1.5").err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("consume", "-t", "nowhere"), 1, "there is no topic nowhere"),
        (("consume",), 2, "--topic"),
        (("consume", "-t", "x", "--group", "g"), 2, "add --records or --seconds"),
        (("latency", "--record-size", "15"), 2, "16 bytes"),
        (("produce", "--rate", "-1"), 2, "--rate"),
        (("produce", "--rate", "0.0001"), 2, "too few"),
        (("latency", "--rate", "0"), 2, "--rate"),
        (("produce", "-X", "linger"), 2, "is not NAME=VALUE"),
        (("produce", "-X", "lingr.ms=1"), 2, "did you mean 'linger.ms'"),
        (("produce", "--record-size", "2000000", "-n", "1", "--no-warm-up"), 1, "MESSAGE_TOO_LARGE"),
    ],
)
def test_what_cannot_be_is_refused(served: ServedCluster, arguments: tuple[str, ...], code: int, sentence: str) -> None:
    result = bench(served, *arguments)
    assert (result.code, result.out) == (code, b"") and sentence in result.said
    assert not [topic for topic in served.cluster.topics if topic.startswith(PREFIX)]


# --- doors -----------------------------------------------------------------------------------------------------------


def test_nobody_there() -> None:
    for door in ((), ("--door", "grpc"), ("--door", "kafka")):
        result = kraftpy("bench", "produce", "-b", str(closed_port()), *door)
        assert result.code == 3 and "Is a node running there?" in result.err


def test_a_kafka_that_is_not_kraftpy_has_one_door(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(telling([])) as address:
        result = kraftpy("bench", "produce", "-b", str(address), "--door", "grpc")
        assert result.code == 2 and "only --door kafka works there" in result.said
        monkeypatch.setitem(sys.modules, "confluent_kafka", None)
        monkeypatch.delitem(sys.modules, "cli.bench.kafka_door", raising=False)
        for door in ((), ("--door", "kafka")):
            result = kraftpy("bench", "produce", "-b", str(address), *door)
            assert result.code == 2 and "pip install 'kraftpy[bench]'" in result.said


def test_what_is_neither_is_sent_to_the_doctor() -> None:
    with listening(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as address:
        result = kraftpy("bench", "produce", "-b", str(address))
        assert result.code == 2 and f"kraftpy doctor -b {address}" in result.said


def test_a_bootstrap_that_is_down_or_silent_is_skipped(served: ServedCluster) -> None:
    goes_on = threading.Event()

    def stay(connection: socket.socket) -> None:
        goes_on.wait(ENDED_S)

    with listening(stay) as silent:
        for first in (closed_port(), silent):
            bootstrap = f"{first},{served.cluster.bootstrap}"
            done = kraftpy("bench", "produce", "-b", bootstrap, "-n", "5", "--timeout", "1")
            assert done.code == 0, done.said
        goes_on.set()


# --- signals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("what", ["produce", "latency", "failover"])
def test_a_signal_ends_it_early_and_what_was_measured_is_told(
    served: ServedCluster, what: str, number: signal.Signals
) -> None:
    bootstrap = served.cluster.bootstrap
    arguments = ["--rate", "100", "--seconds", "300", "-o", "json", "--verbose", "-b", bootstrap]
    with running("bench", what, *arguments) as command:
        assert command.stdout is not None
        read_until(command, "   ", errors=True)  # the first line of figures
        command.send_signal(number)
        out, err = command.communicate(timeout=ENDED_S)
        assert command.returncode == 130, err
    found = json.loads(out)
    assert found["interrupted"] and 0 < found["acknowledged"] == found["sent"] < 30_000
    assert not [topic for topic in served.cluster.topics if topic.startswith(PREFIX)]
