"""Settings changed while real nodes run: by the command and by `Admin`, refused by name, and still there afterwards."""

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kraftpy import ConfigResource, Producer
from kraftpy.aio import Admin as AsyncAdmin
from kraftpy.errors import InvalidConfigError, NotEnoughReplicasError
from kraftpy.testing import Cluster
from tests.cli.command import Result, kraftpy

STATIC = 86_400_000


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=3, config={"log.retention.ms": STATIC}) as made:
        made.admin.create_topic("lines", partitions=1, replication_factor=3)
        made.wait_in_sync()
        yield made


def config(cluster: Cluster, *arguments: str) -> Result:
    return kraftpy("config", *arguments, bootstrap=cluster.bootstrap)


def held(cluster: Cluster, name: str, *whose: str) -> tuple[Any, Any]:
    """What holds, and where it comes from."""
    done = config(cluster, "get", name, *whose, "-o", "json")
    assert done.code == 0, done.err
    (row,) = done.json()
    return row["value"], row["source"]


def becomes(look: Callable[[], object], expected: object) -> None:
    """The node that is asked next may hear of it a moment later."""
    deadline_s = time.monotonic() + 30
    while (found := look()) != expected and time.monotonic() < deadline_s:
        threading.Event().wait(0.05)
    assert found == expected


def test_the_nearest_source_holds_survives_a_restart_and_gives_way_again(cluster: Cluster) -> None:
    of_topic = ("--topic", "lines")
    assert held(cluster, "retention.ms", *of_topic) == (str(STATIC), "static")
    for arguments, expected in (
        (("set", "log.retention.ms=7000000", "--brokers"), ("7000000", "dynamic-default")),
        (("set", "retention.ms=9000000", *of_topic), ("9000000", "dynamic-topic")),
    ):
        assert config(cluster, *arguments).code == 0
        becomes(lambda: held(cluster, "retention.ms", *of_topic), expected)
    assert config(cluster, "set", "log.retention.ms=8000000", "--broker", "2").code == 0
    becomes(lambda: held(cluster, "log.retention.ms", "--broker", "2"), ("8000000", "dynamic-broker"))
    becomes(lambda: held(cluster, "log.retention.ms", "--broker", "3"), ("7000000", "dynamic-default"))

    cluster.kill(2)
    cluster.start(2)
    cluster.wait_in_sync()
    assert held(cluster, "log.retention.ms", "--broker", "2") == ("8000000", "dynamic-broker")
    assert config(cluster, "unset", "log.retention.ms", "--broker", "2").code == 0
    assert config(cluster, "unset", "log.retention.ms", "--brokers").code == 0
    assert config(cluster, "unset", "retention.ms", *of_topic, "-o", "json").json()["altered"] is True
    becomes(lambda: held(cluster, "log.retention.ms", "--broker", "2"), (str(STATIC), "static"))
    becomes(lambda: held(cluster, "retention.ms", *of_topic), (str(STATIC), "static"))


def test_it_holds_at_once_where_the_work_is_done(cluster: Cluster) -> None:
    of_topic = ("--topic", "lines")
    told = config(cluster, "set", "min.insync.replicas=4", *of_topic)
    assert "warning: min.insync.replicas=4 is more than the topic's 3 replicas: it holds as 3" in told.err
    becomes(lambda: refused(cluster), False)
    assert cluster.admin.cluster_health().healthy
    assert config(cluster, "unset", "min.insync.replicas", *of_topic).code == 0

    cluster.kill(1)
    becomes(lambda: cluster.admin.cluster_health().under_replicated, ("lines-0",))
    assert not refused(cluster)
    assert config(cluster, "set", "min.insync.replicas=4", *of_topic).code == 0
    becomes(lambda: refused(cluster), True)
    becomes(lambda: cluster.admin.cluster_health().under_min_isr, ("lines-0",))
    assert config(cluster, "unset", "min.insync.replicas", *of_topic).code == 0
    becomes(lambda: refused(cluster), False)
    cluster.start(1)
    cluster.wait_in_sync()


def test_a_node_says_what_was_changed(cluster: Cluster) -> None:
    assert config(cluster, "set", "log.level=DEBUG", "--broker", "3").code == 0
    becomes(lambda: "log.level is DEBUG now (dynamic-broker), was INFO" in cluster.log(3), True)
    assert config(cluster, "unset", "log.level", "--broker", "3").code == 0
    becomes(lambda: "log.level is INFO now (default), was DEBUG" in cluster.log(3), True)
    assert "log.level" not in cluster.log(1)


def refused(cluster: Cluster) -> bool:
    """Whether too few replicas are in sync for a record."""
    try:
        with Producer(cluster.bootstrap, retries=0) as producer:
            producer.send("lines", b"x").result(30)
    except NotEnoughReplicasError:
        return True
    return False


@pytest.mark.parametrize(
    ("resource", "changes", "sentence"),
    [
        (ConfigResource.topic("lines"), {"retention.ms": "soon"}, "retention.ms=soon: it is a whole number"),
        (ConfigResource.topic("lines"), {"retention.mss": "1"}, "retention.mss"),
        (ConfigResource.topic("lines"), {"cleanup.policy": "compact,nothing"}, "it is delete or compact"),
        (ConfigResource.broker(1), {"node.id": "9"}, "is read when a broker starts"),
        (ConfigResource.broker(1), {"log.cleaner.threads": "0"}, "it lies between 1 and 32"),
    ],
)
def test_nonsense_is_refused_by_both_kinds_of_admin_and_changes_nothing(
    cluster: Cluster, resource: ConfigResource, changes: dict[str, str], sentence: str
) -> None:
    fine = {"retention.bytes": "5"} if resource == ConfigResource.topic("lines") else {"log.level": "ERROR"}

    async def ask() -> None:
        async with AsyncAdmin(cluster.bootstrap) as admin:
            with pytest.raises(InvalidConfigError, match=re.escape(sentence)):
                await admin.alter_configs({resource: {**fine, **changes}})

    with pytest.raises(InvalidConfigError, match=re.escape(sentence)):
        cluster.admin.alter_configs({resource: changes})
    asyncio.run(ask())
    found = cluster.admin.describe_configs([resource])[resource]
    assert not [entry for entry in found.values() if entry.source.startswith("dynamic")]
