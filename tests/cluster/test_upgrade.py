"""A rolling upgrade from an older release, under load; what cannot go back does not."""

import re

import pytest

from broker.metadata.features import INITIAL_LEVELS, METADATA_VERSION, RELEASE, RELEASES
from kraftpy.errors import InvalidRequestError, InvalidUpdateVersionError, UnsupportedVersionError
from kraftpy.testing import Cluster
from kraftpy.testing.node_process import LAUNCHER
from tests.cluster import release_0_1, release_0_2
from tests.cluster.load import STEADY, Load

NEW = INITIAL_LEVELS[METADATA_VERSION]


@pytest.mark.parametrize(("release", "launcher"), [("0.1", release_0_1.__name__), ("0.2", release_0_2.__name__)])
def test_a_cluster_is_upgraded_node_by_node(release: str, launcher: str) -> None:
    old = RELEASES[release][METADATA_VERSION]
    with Cluster(nodes=3, launcher=launcher) as cluster:
        cluster.admin.create_topic("lines", partitions=3, replication_factor=3, config={"min.insync.replicas": "2"})
        cluster.wait_in_sync()
        with Load(cluster.bootstrap, "lines", partitions=3, records_per_s=STEADY) as load:
            for node_id in (1, 2, 3):
                load.wait_acknowledged(200)
                assert cluster.admin.describe_features().finalized == RELEASES[release]
                cluster.stop(node_id)
                cluster.start(node_id, launcher=LAUNCHER)
                cluster.wait_in_sync()
                if node_id == 1:
                    refuse_while_mixed(cluster, old)
            load.wait_acknowledged(200)
            refuse_to_move(cluster)
            upgrade(cluster, release)
            refuse_to_go_back(cluster, launcher, old)
            move(cluster)
            load.wait_acknowledged(200)
            cluster.wait_in_sync()
            assert load.finish() == []


def refuse_while_mixed(cluster: Cluster, old: int) -> None:
    """Whoever leads: the older release says that it has no such level, the newer one who does not support it."""
    with pytest.raises(InvalidUpdateVersionError, match=rf"(broker [23]|the controller) knows 1 to {old}"):
        cluster.admin.update_features({METADATA_VERSION: NEW})
    assert cluster.admin.update_features() == ()


def refuse_to_move(cluster: Cluster) -> None:
    with pytest.raises(UnsupportedVersionError, match="moving partitions needs"):
        cluster.admin.alter_partition_reassignments({("lines", 0): [1, 2]})


def upgrade(cluster: Cluster, release: str) -> None:
    levels = RELEASES[release]
    dry = cluster.admin.update_features(validate_only=True)
    assert dry == tuple(
        (name, levels.get(name, 0), level)
        for name, level in sorted(INITIAL_LEVELS.items())
        if level != levels.get(name, 0)
    )
    assert cluster.admin.describe_features().finalized == levels
    assert cluster.admin.update_features(release=RELEASE) == dry
    described = cluster.admin.describe_features()
    assert described.finalized == INITIAL_LEVELS
    told = "" if release == "0.1" else RELEASE
    assert [node.release for node in described.nodes] == [told] * 3, "0.1 had no word for it in registrations"
    cluster.stop(2)
    cluster.start(2, launcher=LAUNCHER)
    described = cluster.admin.describe_features()
    assert [node.release for node in described.nodes] == [told, RELEASE, told]


def move(cluster: Cluster) -> None:
    """What the new level brought."""
    (begun,) = cluster.admin.alter_partition_reassignments({("lines", 0): [1, 2]})
    assert not begun.error
    cluster.wait_in_sync()
    (again,) = cluster.admin.alter_partition_reassignments({("lines", 0): [3, 1, 2]})
    assert not again.error
    cluster.wait_in_sync()


def refuse_to_go_back(cluster: Cluster, launcher: str, old: int) -> None:
    with pytest.raises(InvalidUpdateVersionError, match=f"cannot go back from {NEW} to {old}: .* would be lost"):
        cluster.admin.update_features({METADATA_VERSION: old})
    with pytest.raises(InvalidRequestError, match="there is no release 7"):
        cluster.admin.update_features(release="7")
    cluster.stop(3)
    cluster.start(3, launcher=launcher, wait=False)
    assert cluster.wait_ended(3) == 1
    level, record = r"the cluster works with .*metadata\.version=3", r"metadata record register_broker has version 2"
    said = f"the node stops: UNSUPPORTED_VERSION: ({level}|{record})"  # whichever it meets first
    assert re.search(said, cluster.log(3)), cluster.log(3)
    cluster.start(3, launcher=LAUNCHER)
