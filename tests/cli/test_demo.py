"""`kraftpy demo` itself, short: a real kill under load, and an exit code that says whether all came back."""

import json
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from cli.demo.access_log import OURS, Line, read_lines
from cli.demo.fault import assignment
from cli.demo.ledger import Ledger, Reading, Verdict
from cli.demo.publisher import Publisher
from cli.demo.reader import Follower, end_offsets, read_everything
from cli.demo.report import Outcome, fields_of, sentence_of, table_of
from kraftpy.errors import ConfigurationError, RecordTooLargeError
from tests.cli.command import kraftpy
from tests.cli.commands_running import ENDED_S, environment, running
from tests.cli.served import ServedCluster


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kraftpy", "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment())


def test_the_demo_with_a_kill_in_plain_lines(tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_bytes(b"".join(b"host-%d GET /%d\n" % (number % 50, number) for number in range(500)))
    done = demo("--seconds", "2", "--input", str(lines))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\r" not in done.stdout
    assert "kill -9" in done.stdout and "is in every ISR again" in done.stdout
    for name in (
        "sent",
        "acknowledged",
        "read",
        "lost",
        "duplicated",
        "out of order",
        "MB/s",
        "longest wait",
        "in sync",
    ):
        assert name in done.stdout
    assert done.stdout.rstrip().endswith("Nothing was lost, duplicated or reordered.")


def test_the_demo_with_a_pause_as_json() -> None:
    done = demo("--seconds", "2", "--fault", "pause", "-o", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["clean"] and found["read"] >= found["acknowledged"] > 0
    assert (found["lost"], found["duplicated"], found["out_of_order"]) == (0, 0, 0)


def test_ctrl_c_ends_it_and_leaves_nothing() -> None:
    with running("demo", "--seconds", "60") as command:
        assert command.stdout is not None
        next(line for line in command.stdout if "publishing" in line)
        command.send_signal(signal.SIGINT)
        assert command.wait(ENDED_S) == 130


def test_a_publisher_that_breaks_says_so(served: ServedCluster) -> None:
    served.cluster.create("broken", 1)
    publisher = Publisher(served.cluster.bootstrap, "broken", Ledger([Line(b"k", b"v" * (2 << 20))]))
    publisher.start()
    publisher._thread.join(30)
    with pytest.raises(RecordTooLargeError):
        publisher.stop()


def test_publisher_and_follower_agree_on_what_there_is(served: ServedCluster) -> None:
    served.cluster.create("whole", 2)
    ledger = Ledger(read_lines(OURS)[:1_000])
    publisher = Publisher(served.cluster.bootstrap, "whole", ledger)
    follower = Follower(served.cluster.bootstrap, "whole", 2, Reading(ledger))
    follower.start()
    publisher.watch_waits()
    publisher.start()
    pause = threading.Event()
    while ledger.acknowledged < 3_000:
        assert publisher.alive and not pause.wait(0.005)
    publisher.stop()
    follower.finish(end_offsets(served.cluster.bootstrap, "whole", 2))
    verdict = follower.reading.judge()
    assert verdict.clean and verdict.read == ledger.sent == ledger.acknowledged
    assert publisher.error is None and publisher.failed == 0 and publisher.longest_wait_s > 0
    kept = served.cluster.partition("whole", 0).batches
    kept.insert(0, kept.pop())  # the last batch comes first: what follows it comes late
    again = Reading(ledger)
    read_everything(served.cluster.bootstrap, "whole", again, lambda read: None)
    assert not again.judge().clean


def outcome(read_back: Verdict, followed: Verdict) -> Outcome:
    return Outcome(10, 9, 9_000_000, 3.0, 0.25, 1.5, read_back, followed)


CLEAN = Verdict(9, 0, 0, 0, 0, 0, ())


def test_the_worse_of_both_readings_counts() -> None:
    lossy = Verdict(8, 1, 0, 0, 0, 0, ("record 3 was acknowledged and is not there",))
    for bad in (outcome(lossy, CLEAN), outcome(CLEAN, lossy)):
        assert not bad.clean and fields_of(bad)["lost"] == 1
        assert "record 3 was acknowledged" in table_of(bad) and sentence_of(bad).startswith("NOT CLEAN")
    idle = replace(outcome(CLEAN, CLEAN), acknowledged=0)
    assert not idle.clean and "nothing was acknowledged" in sentence_of(idle)
    good = outcome(CLEAN, CLEAN)
    assert good.clean and fields_of(good) == {
        "sent": 10,
        "acknowledged": 9,
        "read": 9,
        "lost": 0,
        "duplicated": 0,
        "out_of_order": 0,
        "megabytes_per_second": 3.0,
        "longest_wait_seconds": 0.25,
        "seconds_until_in_sync": 1.5,
    }


@pytest.mark.parametrize("nodes", [3, 4, 7])
def test_the_victim_leads_most_and_holds_a_copy_of_everything(nodes: int) -> None:
    for victim in range(1, nodes + 1):
        placed = assignment(victim, list(range(1, nodes + 1)), 6, 3)
        assert sorted(placed) == list(range(6))
        assert [replicas[0] for replicas in placed.values()].count(victim) == 4
        assert all(victim in replicas and len(set(replicas)) == 3 for replicas in placed.values())


def test_the_access_log_travels_with_the_command() -> None:
    lines = read_lines(OURS)
    assert len(lines) == 10_000 and len({line.key for line in lines}) == 1_753
    assert all(line.value.startswith(line.key) for line in lines)
    assert "Apache License" in (OURS.parent / "README.md").read_text()


def test_an_input_without_lines_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_bytes(b"\n  \n")
    with pytest.raises(ConfigurationError, match="no lines to publish"):
        read_lines(empty)
    assert kraftpy("demo", "--input", str(empty)).code == 2
    assert kraftpy("demo", "--input", str(tmp_path / "none")).code == 2
    assert kraftpy("demo", "--nodes", "2").code == 2
