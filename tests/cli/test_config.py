"""`kraftpy config` against the fake cluster: what is printed, and what is refused before anybody is asked."""

import pytest

from tests.cli.command import Result, kraftpy
from tests.cli.served import ServedCluster


def run(served: ServedCluster, *arguments: str) -> Result:
    return kraftpy("config", *arguments, bootstrap=served.cluster.bootstrap)


def test_set_get_unset(served: ServedCluster) -> None:
    kraftpy("topic", "create", "tuned", bootstrap=served.cluster.bootstrap)
    done = run(served, "set", "retention.ms=5", "segment.ms=7", "--topic", "tuned")
    assert done == Result(0, b"topic tuned altered: retention.ms=5, segment.ms=7\n", "")
    (row,) = run(served, "get", "retention.ms", "--topic", "tuned", "-o", "json").json()
    assert (row["name"], row["value"], row["source"]) == ("retention.ms", "5", "dynamic-topic")
    names = [row["name"] for row in run(served, "get", "--topic", "tuned", "-o", "json").json()]
    assert names == ["retention.ms", "segment.ms"], "defaults are left out"
    assert "min.insync.replicas" in run(served, "get", "--topic", "tuned", "--all").text
    undone = run(served, "unset", "retention.ms", "--topic", "tuned", "-o", "json").json()
    assert undone == {
        "resource": "topic tuned",
        "altered": True,
        "settings": {"retention.ms": None},
        "warnings": [],
    }
    assert run(served, "get", "retention.ms", "--topic", "tuned").err.startswith("INVALID_CONFIG: there is no setting")


def test_one_broker_and_all_brokers(served: ServedCluster) -> None:
    assert run(served, "set", "log.level=DEBUG", "--broker", "2").text == "broker 2 altered: log.level=DEBUG\n"
    assert run(served, "set", "log.retention.ms=9", "--brokers").text == "all brokers altered: log.retention.ms=9\n"
    assert served.cluster.configs[4, "2"] == {"log.level": "DEBUG"}
    assert served.cluster.configs[4, ""] == {"log.retention.ms": "9"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("get",),
        ("set", "a=1"),
        ("unset", "a"),
        ("get", "--topic", "t", "--brokers"),
        ("get", "--broker=1", "--brokers"),
        ("get", "--broker=1", "--broker=2"),
        ("set", "a=1", "--topic", "t", "--topic", "u"),
    ],
)
def test_it_must_be_said_whose_settings(served: ServedCluster, arguments: tuple[str, ...]) -> None:
    result = run(served, *arguments)
    assert result.code == 2
    assert "one of --topic TOPIC, --broker ID, --brokers" in result.said


def test_a_setting_without_a_value_is_no_setting(served: ServedCluster) -> None:
    assert "is not NAME=VALUE" in run(served, "set", "retention.ms", "--topic", "t").said
