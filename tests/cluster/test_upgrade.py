"""A rolling upgrade from the release before this one, under load; what cannot go back does not."""

import pytest

from broker.metadata.features import INITIAL_LEVELS, METADATA_VERSION, RELEASE
from kraftpy.errors import InvalidRequestError, InvalidUpdateVersionError
from kraftpy.testing import Cluster
from kraftpy.testing.node_process import LAUNCHER
from tests.cluster import previous_release
from tests.cluster.load import Load

PREVIOUS = previous_release.__name__
OLD, NEW = previous_release.LEVELS[METADATA_VERSION], INITIAL_LEVELS[METADATA_VERSION]


def test_a_cluster_is_upgraded_node_by_node() -> None:
    with Cluster(nodes=3, launcher=PREVIOUS) as cluster:
        cluster.admin.create_topic("lines", partitions=3, replication_factor=3, config={"min.insync.replicas": "2"})
        cluster.wait_in_sync()
        with Load(cluster.bootstrap, "lines", partitions=3) as load:
            for node_id in (1, 2, 3):
                load.wait_acknowledged(200)
                assert cluster.admin.describe_features().finalized[METADATA_VERSION] == OLD
                cluster.stop(node_id)
                cluster.start(node_id, launcher=LAUNCHER)
                cluster.wait_in_sync()
                if node_id == 1:
                    refuse_while_mixed(cluster)
            load.wait_acknowledged(200)
            upgrade(cluster)
            refuse_to_go_back(cluster)
            load.wait_acknowledged(200)
            cluster.wait_in_sync()
            assert load.finish() == []


def refuse_while_mixed(cluster: Cluster) -> None:
    """Whoever leads: the older release says that it has no such level, the newer one who does not support it."""
    with pytest.raises(InvalidUpdateVersionError, match=r"(broker [23]|the controller) knows 1 to 1"):
        cluster.admin.update_features({METADATA_VERSION: NEW})
    assert cluster.admin.update_features() == ()


def upgrade(cluster: Cluster) -> None:
    (dry,) = cluster.admin.update_features(validate_only=True)
    assert dry == (METADATA_VERSION, OLD, NEW)
    assert cluster.admin.describe_features().finalized[METADATA_VERSION] == OLD
    assert cluster.admin.update_features(release=RELEASE) == (dry,)
    described = cluster.admin.describe_features()
    assert described.finalized[METADATA_VERSION] == NEW
    assert [node.release for node in described.nodes] == ["", "", ""], "registered at the level that had no word for it"
    cluster.stop(2)
    cluster.start(2, launcher=LAUNCHER)
    described = cluster.admin.describe_features()
    assert [node.release for node in described.nodes] == ["", RELEASE, ""]


def refuse_to_go_back(cluster: Cluster) -> None:
    with pytest.raises(InvalidUpdateVersionError, match=f"cannot go back from {NEW} to {OLD}: .* would be lost"):
        cluster.admin.update_features({METADATA_VERSION: OLD})
    with pytest.raises(InvalidRequestError, match="there is no release 7"):
        cluster.admin.update_features(release="7")
    cluster.stop(3)
    cluster.start(3, launcher=PREVIOUS, wait=False)
    assert cluster.wait_ended(3) == 1
    assert "the node stops: UNSUPPORTED_VERSION: the cluster works with metadata.version=2" in cluster.log(3)
    cluster.start(3, launcher=LAUNCHER)
