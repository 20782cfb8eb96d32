"""Real nodes of an older release, upgraded one by one and then in their levels, under faults.

python -m simulation.run --scenario cluster-upgrade --seed 1 --seeds 1000
"""

from dataclasses import replace
from uuid import UUID

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from broker.metadata.features import METADATA_VERSION, RELEASES
from broker.metadata.records import FeatureLevelRecord, PartitionRecord
from broker.quorum.entries import encode_entries, metadata_body
from raft.events import Entry, Epoch, LeaderChange, NodeId, Offset
from simulation.faults import Plan
from simulation.scenarios.upgrade import OLDER, Word, words
from simulation.scenarios.whole_cluster import HOSTS, LENGTH_MS
from tests.simulation.plans import plans
from tests.tools.replay import passed


@settings(max_examples=4, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.integers(0, 1 << 30), plans(HOSTS, LENGTH_MS))
def test_a_cluster_is_upgraded_under_load_whatever_happens(seed: int, plan: Plan) -> None:
    passed("cluster-upgrade", seed, plan)


def test_it_begins_with_every_older_release() -> None:
    assert tuple(RELEASES)[:-1] == OLDER


def test_words_are_read_from_the_bytes_of_a_log_up_to_what_is_torn() -> None:
    feature = FeatureLevelRecord(METADATA_VERSION, 3)
    partition = PartitionRecord(UUID(int=7), 0, (1, 2), (1,), 1, 0, 0)
    moving = replace(partition, original_replicas=(1,))
    entries = [
        Entry(Offset(0), 1, Epoch(1), LeaderChange(NodeId(1), (NodeId(1),))),
        Entry(Offset(1), 2, Epoch(1), metadata_body([partition, feature], 0)),
        Entry(Offset(3), 1, Epoch(1), metadata_body([moving], 0)),
    ]
    data = encode_entries(entries)
    old, raised, new = Word("partition", 1, 0), Word("feature_level", 1, 3), Word("partition", 2, 0)
    assert list(words(data + bytes(4096))) == [old, raised, new]
    assert list(words(data[:-1])) == [old, raised]
    assert list(words(data[:-1] + b"?")) == [old, raised]
