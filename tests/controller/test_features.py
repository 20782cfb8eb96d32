"""Levels rise when every node knows them, and never go back."""

import pytest

from broker.controller.commands import FeatureChange, RegisterBroker, UpdateFeatures
from broker.controller.result import FeaturesFinalized
from broker.metadata.features import (
    ELIGIBLE_LEADER_REPLICAS_VERSION,
    GROUP_VERSION,
    INITIAL_LEVELS,
    KRAFT_VERSION,
    METADATA_VERSION,
    TRANSACTION_VERSION,
    NodeRelease,
)
from broker.metadata.image import MetadataImage
from broker.metadata.records import FeatureLevelRecord, MetadataRecord, RegisterBrokerRecord, SupportedFeature
from kraftpy.errors import FeatureUpdateFailedError, InvalidUpdateVersionError, UnsupportedVersionError
from tests.controller.harness import Harness, registration

OLD = (SupportedFeature(KRAFT_VERSION, 1, 1), SupportedFeature(METADATA_VERSION, 1, 1))


def started(*old_brokers: int) -> Harness:
    """A cluster of the first release's levels; brokers 1 to 3, those named with the first release."""
    harness = Harness()
    at_first: list[MetadataRecord] = [
        FeatureLevelRecord(METADATA_VERSION, 1),
        FeatureLevelRecord(ELIGIBLE_LEADER_REPLICAS_VERSION, 0),
        FeatureLevelRecord(GROUP_VERSION, 0),
        FeatureLevelRecord(TRANSACTION_VERSION, 0),
    ]
    harness.core.replay(at_first, len(harness.records))
    harness.records += at_first
    for broker_id in (1, 2, 3):
        register(harness, broker_id, old=broker_id in old_brokers)
    return harness


def register(harness: Harness, broker_id: int, *, old: bool = False, life: int = 1) -> None:
    record = registration(broker_id, life=life)
    features = OLD if old else record.features
    made = RegisterBrokerRecord(
        broker_id, record.incarnation_id, record.directory_id, record.endpoints, features=features, release="0.2"
    )
    present = harness.image.brokers.get(broker_id)
    harness.submit(RegisterBroker(made, present.epoch if present else -1))
    harness.beat(broker_id)


def level(harness: Harness) -> int:
    return harness.image.features[METADATA_VERSION]


def test_a_new_cluster_has_the_newest_levels_and_an_old_one_keeps_its_own() -> None:
    harness = started()
    assert dict(Harness().image.features) == INITIAL_LEVELS
    harness.fail_over()
    assert level(harness) == 1, "nobody but an operator raises it"


def test_all_rise_as_far_as_every_node_goes() -> None:
    harness = started()
    changes = (
        FeatureChange(ELIGIBLE_LEADER_REPLICAS_VERSION, 0, 1),
        FeatureChange(GROUP_VERSION, 0, 1),
        FeatureChange(METADATA_VERSION, 1, 3),
        FeatureChange(TRANSACTION_VERSION, 0, 2),
    )
    assert harness.submit(UpdateFeatures({}, validate_only=True)).changes == changes
    assert level(harness) == 1
    assert harness.submit(UpdateFeatures({})).changes == changes
    assert dict(harness.image.features) == INITIAL_LEVELS
    assert harness.facts[-1] == FeaturesFinalized(
        "eligible.leader.replicas.version=1, group.version=1, metadata.version=3, transaction.version=2"
    )
    assert harness.submit(UpdateFeatures({})).changes == ()
    assert harness.submit(UpdateFeatures({METADATA_VERSION: 3, KRAFT_VERSION: 1})).changes == ()


def test_a_broker_that_does_not_know_it_is_named_also_one_that_is_down() -> None:
    harness = started(2)
    with pytest.raises(InvalidUpdateVersionError, match=r"metadata\.version=2 is not possible: broker 2 knows 1 to 1"):
        harness.submit(UpdateFeatures({METADATA_VERSION: 2}))
    harness.fence(2)
    with pytest.raises(InvalidUpdateVersionError, match=r"broker 2 \(not in service\)"):
        harness.submit(UpdateFeatures({METADATA_VERSION: 2}))
    assert harness.submit(UpdateFeatures({})).changes == (), "as far as all go is no further"
    harness.unregister(2)
    assert harness.submit(UpdateFeatures({})).changes


def test_voters_that_are_no_brokers_are_asked() -> None:
    harness = started()
    old = NodeRelease(9, "0.1", OLD)
    with pytest.raises(InvalidUpdateVersionError, match="voter 9 knows 1 to 1"):
        harness.submit(UpdateFeatures({METADATA_VERSION: 2}, voters=(old,)))
    with pytest.raises(FeatureUpdateFailedError, match="the voters 8 do not answer"):
        harness.submit(UpdateFeatures({METADATA_VERSION: 2}, silent_voters=(8,)))
    assert level(harness) == 1


@pytest.mark.parametrize(
    ("levels", "sentence"),
    [
        ({METADATA_VERSION: 2}, "cannot go back from 3 to 2"),
        ({METADATA_VERSION: 0}, "cannot go back from 3 to 0"),
        ({ELIGIBLE_LEADER_REPLICAS_VERSION: 0}, "eligible.leader.replicas.version cannot go back from 1 to 0"),
        ({METADATA_VERSION: 99}, "the controller knows 1 to 3"),
        (
            {"streams.version": 1},
            "no feature streams.version; this release knows eligible.leader.replicas.version, group.",
        ),
        ({KRAFT_VERSION: 1, METADATA_VERSION: 4}, "metadata.version=4 is not possible"),
    ],
)
def test_what_cannot_be_is_refused_whole(levels: dict[str, int], sentence: str) -> None:
    harness = Harness()
    with pytest.raises(InvalidUpdateVersionError) as refused:
        harness.submit(UpdateFeatures(levels))
    assert sentence in str(refused.value)
    assert dict(harness.image.features) == INITIAL_LEVELS


def test_the_release_stands_in_registrations_only_where_everybody_can_read_it() -> None:
    harness = started()
    assert harness.image.brokers[1].registration.release == ""
    harness.submit(UpdateFeatures({}))
    register(harness, 1, life=2)
    assert harness.image.brokers[1].registration.release == "0.2"
    image = harness.image
    assert MetadataImage.load(image.records(), image.end_offset, image.epoch) == image


def test_a_node_of_an_older_release_cannot_come_back_after_that() -> None:
    harness = started(3)
    harness.fence(3)
    harness.unregister(3)
    harness.submit(UpdateFeatures({}))
    with pytest.raises(UnsupportedVersionError, match=r"metadata\.version=3; broker 3 knows 1 to 1"):
        register(harness, 3, old=True, life=2)
