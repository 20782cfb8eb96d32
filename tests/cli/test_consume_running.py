"""`kraftpy topic consume` as a process that follows a topic until it is told to stop."""

import json
import signal
from collections.abc import Iterator

import pytest

from tests.cli.command import kraftpy
from tests.cli.commands_running import ENDED_S, running
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


def test_who_reads_the_output_may_go(served: ServedCluster, topic: str) -> None:
    bootstrap = served.cluster.bootstrap
    kraftpy("topic", "produce", topic, bootstrap=bootstrap, stdin=b"x\n" * 50_000)
    with running("topic", "consume", topic, "--from-beginning", "-e", "-b", bootstrap) as command:
        assert command.stdout is not None and command.stderr is not None
        command.stdout.readline()
        command.stdout.close()
        command.wait(ENDED_S)
        assert "Traceback" not in command.stderr.read()
