"""A reader in a session that asked for what is not there, and goes on from where something is."""

from broker.replication.fetch_types import NEW_SESSION_EPOCH
from kraftpy.errors import OffsetOutOfRangeError
from tests.replication.cluster import Cluster, play
from tests.replication.test_reading import fill, query, target


def test_a_refusal_has_told_no_watermark() -> None:
    async def story(cluster: Cluster) -> None:
        await fill(cluster, 1, batches=5)
        opened = await cluster.fetch(1, query(target(cluster, 0, 99), session=(0, NEW_SESSION_EPOCH)))
        assert [(each.error, each.high_watermark) for each in opened.partitions] == [(OffsetOutOfRangeError, 5)]
        reset = await cluster.fetch(1, query(target(cluster, 0, 5), session=(opened.session_id, 1)))
        assert [(each.error, each.high_watermark) for each in reset.partitions] == [(None, 5)], "lag is told by it"
        later = await cluster.fetch(1, query(session=(opened.session_id, 2)))
        assert later.partitions == []

    play(story)
