"""`kraftpy cluster` and `kraftpy quorum` against the fake cluster."""

import asyncio

import pytest

from tests.cli.command import kraftpy
from tests.cli.served import ServedCluster


def test_cluster_info(served: ServedCluster) -> None:
    told = kraftpy("cluster", "info", bootstrap=served.cluster.bootstrap)
    assert told.code == 0 and "NODE ID" in told.text
    found = kraftpy("cluster", "info", "-o", "json", bootstrap=served.cluster.bootstrap).json()
    assert (found["cluster_id"], found["controller_id"], len(found["nodes"])) == ("fake", 1, 3)
    assert found["nodes"][0]["in_service"] is True


def test_quorum_status(served: ServedCluster) -> None:
    found = kraftpy("quorum", "status", "-o", "jsonl", bootstrap=served.cluster.bootstrap).json()
    assert (found["leader_id"], found["leader_epoch"], found["high_watermark"]) == (1, 3, 7)
    assert [(row["role"], row["lag"]) for row in found["replicas"]] == [("leader", 0), ("voter", 0), ("voter", 0)]


def test_health_is_an_exit_code() -> None:
    served = ServedCluster()
    try:
        assert kraftpy("cluster", "health", bootstrap=served.cluster.bootstrap).code == 0
        served.stop_node(3)
        sick = kraftpy("cluster", "health", "-o", "json", bootstrap=served.cluster.bootstrap)
        assert sick.code == 4
        assert (sick.json()["healthy"], sick.json()["problems"]) == (False, ["brokers out of service: 3"])
    finally:
        served.close()


def test_a_node_that_does_not_answer_in_time_is_no_node_that_is_not_there() -> None:
    async def silent(node_id: int, data: bytes) -> bytes:
        await asyncio.sleep(30)
        return b""

    served = ServedCluster(lambda cluster: setattr(cluster, "_DeleteTopics", silent))
    try:
        late = kraftpy("topic", "delete", "lines", "--timeout", "1", bootstrap=served.cluster.bootstrap)
        assert late.code == 1 and late.err.startswith("CALL_TIMEOUT: DeleteTopics was not answered in time")
        assert "kraftpy cluster health" in late.err and "Is a node running" not in late.err
    finally:
        served.close()


@pytest.mark.parametrize("arguments", [(), ("topic",), ("cluster",), ("quorum",)])
def test_help_is_what_an_incomplete_command_gets(arguments: tuple[str, ...]) -> None:
    result = kraftpy(*arguments)
    assert "Usage: kraftpy" in result.text + result.err and "Commands" in result.text + result.err


def test_exit_codes_are_told() -> None:
    assert "Exit codes: 0 done; 1 refused or failed" in " ".join(kraftpy("--help").text.split())


def test_version() -> None:
    assert kraftpy("--version").text.startswith("kraftpy ")
