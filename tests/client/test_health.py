"""The health of a cluster out of descriptions: which partitions are short of in-sync replicas."""

import pytest

from kraftpy.client.admin_values import ClusterDescription, PartitionDescription, TopicDescription
from kraftpy.client.health import cluster_health

CLUSTER = ClusterDescription("c", 1, (), {}, 0)


@pytest.mark.parametrize(
    ("replicas", "in_sync", "adding", "min_isr", "under", "at"),
    [
        (3, 3, 0, 2, False, False),
        (3, 2, 0, 2, False, True),
        (3, 1, 0, 2, True, False),
        (3, 3, 0, 4, False, False),  # more than there are holds as all of them, as brokers take it
        (3, 2, 0, 4, True, False),
        (1, 1, 0, 2, False, False),
        (4, 3, 1, 4, False, False),  # who is on the way does not count
        (4, 2, 1, 3, True, False),
        (4, 2, 2, 2, False, False),
    ],
)
def test_short_of_in_sync_replicas(
    replicas: int, in_sync: int, adding: int, min_isr: int, under: bool, at: bool
) -> None:
    ids = tuple(range(1, replicas + 1))
    partition = PartitionDescription(0, 1, 0, ids, ids[:in_sync], (), ids[replicas - adding :])
    found = cluster_health(CLUSTER, [TopicDescription("t", "id", False, (partition,))], {"t": min_isr})
    assert (found.under_min_isr, found.at_min_isr) == (("t-0",) if under else (), ("t-0",) if at else ())
