"""Any metadata record at all, for round trips."""

from uuid import UUID

from hypothesis import strategies as st

from broker.metadata.records import (
    BrokerChangeRecord,
    ConfigRecord,
    ConfigResource,
    Endpoint,
    FeatureLevelRecord,
    MetadataRecord,
    OfflineReplicasRecord,
    PartitionChangeRecord,
    PartitionRecord,
    ProducerIdsRecord,
    RegisterBrokerRecord,
    RemoveTopicRecord,
    ResourceType,
    SupportedFeature,
    TopicRecord,
    UnregisterBrokerRecord,
)

NAMES = st.text(max_size=12)
IDS = st.uuids()
NUMBERS = st.integers(0, 2**31 - 1)
LONGS = st.integers(0, 2**63 - 1)
NODES = st.lists(NUMBERS, max_size=4).map(tuple)
FEATURES = st.dictionaries(NAMES, st.tuples(NUMBERS, NUMBERS), max_size=3).map(
    lambda ranges: tuple(SupportedFeature(name, *ranges[name]) for name in sorted(ranges))
)
ENDPOINTS = st.lists(st.builds(Endpoint, NAMES, NAMES, NUMBERS, NAMES), max_size=3).map(tuple)
UUIDS = st.lists(IDS, max_size=3).map(tuple)

RECORDS: st.SearchStrategy[MetadataRecord] = st.one_of(
    st.builds(FeatureLevelRecord, NAMES, NUMBERS),
    st.builds(
        RegisterBrokerRecord,
        NUMBERS,
        IDS,
        IDS,
        ENDPOINTS,
        st.none() | NAMES,
        NAMES,
        st.booleans(),
        FEATURES,
        UUIDS,
    ),
    st.builds(UnregisterBrokerRecord, NUMBERS, LONGS),
    st.builds(BrokerChangeRecord, NUMBERS, LONGS, st.none() | st.booleans(), st.none() | st.booleans()),
    st.builds(OfflineReplicasRecord, NUMBERS, LONGS, IDS, NODES),
    st.builds(TopicRecord, NAMES, IDS),
    st.builds(RemoveTopicRecord, IDS),
    st.builds(
        PartitionRecord,
        topic_id=IDS,
        partition=NUMBERS,
        replicas=NODES,
        isr=NODES,
        leader=st.integers(-1, 9),
        leader_epoch=NUMBERS,
        partition_epoch=NUMBERS,
        adding_replicas=NODES,
        removing_replicas=NODES,
        recovering=st.booleans(),
        eligible_replicas=NODES,
        last_known_elr=NODES,
        original_replicas=NODES,
    ),
    st.builds(
        PartitionChangeRecord,
        topic_id=IDS,
        partition=NUMBERS,
        leader=st.none() | st.integers(-1, 9),
        isr=st.none() | NODES,
        replicas=st.none() | NODES,
        adding_replicas=st.none() | NODES,
        removing_replicas=st.none() | NODES,
        recovering=st.none() | st.booleans(),
        eligible_replicas=st.none() | NODES,
        last_known_elr=st.none() | NODES,
        original_replicas=st.none() | NODES,
    ),
    st.builds(ConfigRecord, st.builds(ConfigResource, st.sampled_from(ResourceType), NAMES), NAMES, st.none() | NAMES),
    st.builds(ProducerIdsRecord, LONGS),
)

SOME_ID = UUID(int=7)
