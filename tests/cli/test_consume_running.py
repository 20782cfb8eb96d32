"""`kraftpy topic consume` and `produce` as processes that go on until they are told to stop."""

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.consume import _follow, _Printer, _Stop
from cli.output import Format
from kraftpy import ConsumerRecord
from tests.cli.command import kraftpy
from tests.cli.commands_running import ENDED_S, environment, running
from tests.cli.served import ServedCluster


@pytest.fixture
def topic(served: ServedCluster) -> Iterator[str]:
    name = f"followed-{len(served.cluster.topics)}"
    served.cluster.create(name)
    yield name


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_and_json_stays_valid(
    served: ServedCluster, topic: str, number: signal.Signals
) -> None:
    bootstrap = served.cluster.bootstrap
    with running("topic", "consume", topic, "--from-beginning", "-o", "json", "-b", bootstrap) as command:
        assert command.stdout is not None
        for value in (b"one\n", b"two\n"):
            assert kraftpy("topic", "produce", topic, bootstrap=bootstrap, stdin=value).code == 0
        printed = [command.stdout.readline() for _ in range(2)]  # "[" and the first record
        command.send_signal(number)
        assert command.stderr is not None
        assert (command.wait(ENDED_S), command.stderr.read()) == (0, "")
        document = "".join(printed) + command.stdout.read()
        assert [row["value"] for row in json.loads(document)] == ["one", "two"]


@pytest.mark.parametrize("end", [("-n", "3"), ()])
def test_what_was_to_end_by_itself_and_was_interrupted_says_so(
    served: ServedCluster, topic: str, end: tuple[str, ...]
) -> None:
    bootstrap = served.cluster.bootstrap
    with running("topic", "consume", topic, "--from-beginning", *end, "-b", bootstrap) as command:
        assert kraftpy("topic", "produce", topic, bootstrap=bootstrap, stdin=b"one\ntwo\n").code == 0
        assert command.stdout is not None
        assert [command.stdout.readline() for _ in range(2)] == ["one\n", "two\n"]
        command.send_signal(signal.SIGINT)
        assert command.wait(ENDED_S) == (130 if end else 0)


def test_who_reads_the_output_may_go(served: ServedCluster, topic: str) -> None:
    bootstrap = served.cluster.bootstrap
    kraftpy("topic", "produce", topic, bootstrap=bootstrap, stdin=b"x\n" * 50_000)
    with running("topic", "consume", topic, "--from-beginning", "-e", "-b", bootstrap) as command:
        assert command.stdout is not None and command.stderr is not None
        command.stdout.readline()
        command.stdout.close()
        command.wait(ENDED_S)
        assert "Traceback" not in command.stderr.read()


def test_what_a_member_has_printed_when_it_is_told_to_stop_is_committed() -> None:
    """The signal comes while a batch is being written."""
    stop = _Stop()

    class Interrupted(io.BytesIO):
        def write(self, text: Any) -> int:
            stop(signal.SIGINT, None)
            return super().write(text)

    class Member:
        in_group = True
        committed = -1

        def poll(self, _timeout: float, _count: int) -> list[ConsumerRecord]:
            return [ConsumerRecord("lines", 0, self.committed + 1, 0, None, b"x", ())]

        def commit_async(self, records: list[ConsumerRecord]) -> None:
            self.committed = records[-1].offset

    out, member = Interrupted(), Member()
    with pytest.raises(KeyboardInterrupt):
        _follow(member, _Printer(Format.TABLE, b"", out, stop).show, None, None, 1.0)  # type: ignore[arg-type]
    assert (out.getvalue(), member.committed) == (b"x\n", 0)


def producing(served: ServedCluster, topic: str, *arguments: str, stdin: Any) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "kraftpy", "topic", "produce", topic, "-b", served.cluster.bootstrap, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=stdin, stdout=pipe, stderr=pipe, env=environment())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_read_before_a_signal_is_delivered(served: ServedCluster, topic: str, number: signal.Signals) -> None:
    """The second record waits for more of its batch when the first, which filled one, has been acknowledged."""
    settings = ("-X", "linger.ms=60000", "-X", "batch.size=1000", "-o", "jsonl")
    first, second = b"a" * 900, b"b" * 900
    with producing(served, topic, *settings, stdin=subprocess.PIPE) as command:
        assert command.stdin is not None and command.stdout is not None
        command.stdin.write(first + b"\n" + second + b"\n")
        command.stdin.flush()
        assert json.loads(command.stdout.readline())["offset"] == 0
        command.send_signal(number)
        assert command.wait(ENDED_S) == 130
    assert served.cluster.values(topic) == [first, second]


def test_who_reads_what_is_told_of_records_may_go(served: ServedCluster, topic: str, tmp_path: Path) -> None:
    source = tmp_path / "lines"
    source.write_bytes(b"x\n" * 20_000)
    with open(source, "rb") as lines, producing(served, topic, "-o", "jsonl", stdin=lines) as command:
        assert command.stdout is not None and command.stderr is not None
        command.stdout.readline()
        command.stdout.close()
        said = command.stderr.read().decode()
        assert command.wait(ENDED_S) == 1
    assert "Traceback" not in said and "Exception ignored" not in said
    assert said.startswith(f"{len(served.cluster.values(topic))} records were acknowledged, 0 were not")
