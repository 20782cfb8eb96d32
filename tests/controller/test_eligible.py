"""Eligible leader replicas (KIP-966), as stories: the last replicas standing."""

import pytest

from broker.controller.commands import (
    AlterConfigs,
    AlterPartitionReassignments,
    ConfigAlteration,
    ConfigChange,
    ElectLeaders,
    Operation,
    Reassignment,
)
from broker.controller.config import ControllerConfig
from broker.controller.core import ControllerCore
from broker.controller.result import UncleanElection
from broker.metadata.features import ELIGIBLE_LEADER_REPLICAS_VERSION
from broker.metadata.image import MetadataImage
from broker.metadata.records import (
    DEFAULT_BROKER,
    NO_LEADER,
    ConfigRecord,
    ConfigResource,
    FeatureLevelRecord,
    PartitionChangeRecord,
    ResourceType,
    broker_resource,
    topic_resource,
)
from tests.controller.harness import Harness

RELAXED = {"min.insync.replicas": "2", "flush.messages": "1000"}


@pytest.fixture
def three() -> Harness:
    """Brokers 1 to 3 hold `t`, min.insync.replicas=2, with appends that count before they are flushed."""
    harness = Harness()
    harness.start(1, 2, 3)
    harness.create("t", (1, 2, 3), config=RELAXED)
    return harness


def standing(harness: Harness) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """(leader, ISR, ELR)."""
    state = harness.partition("t")
    return state.leader, state.isr, state.eligible_replicas


def configure(harness: Harness, name: str, value: str | None, resource: ConfigResource | None = None) -> None:
    """`value` None: unset it."""
    change = ConfigChange(name, Operation.DELETE if value is None else Operation.SET, value)
    resource = resource or topic_resource("t")
    altered = harness.submit(AlterConfigs((ConfigAlteration(resource, (change,)),)))
    assert altered.resources[0].error is None


def unclean(harness: Harness) -> int:
    return sum(isinstance(fact, UncleanElection) for fact in harness.facts)


def test_kip_966_who_leaves_a_set_that_is_large_enough_is_not_eligible(three: Harness) -> None:
    three.fence(3)
    assert standing(three) == (1, (1, 2), ())


def test_kip_966_who_leaves_a_set_that_becomes_too_small_stays_eligible(three: Harness) -> None:
    three.fence(3)
    three.fence(1)
    assert standing(three) == (2, (2,), (1,))
    three.fence(2)
    assert standing(three) == (NO_LEADER, (), (1, 2))
    assert three.partition("t").last_known_elr == (2,)


def test_kip_966_either_of_the_eligible_leads_and_nobody_else(three: Harness) -> None:
    for broker_id in (3, 1, 2):
        three.fence(broker_id)
    three.beat(3)
    assert standing(three) == (NO_LEADER, (), (1, 2)), "3 went while the other two could still commit"
    three.beat(1)
    assert standing(three) == (1, (1,), (2,))
    assert unclean(three) == 0


def test_kip_966_nobody_is_eligible_once_the_set_is_large_enough_again(three: Harness) -> None:
    three.fence(3)
    three.fence(2)
    assert standing(three) == (1, (1,), (2,))
    three.beat(3)
    three.beat(2)
    three.propose_isr("t", 0, 1, 3)
    assert standing(three) == (1, (1, 3), ())


def test_kip_966_a_replica_that_lags_is_as_eligible_as_one_that_died(three: Harness) -> None:
    three.propose_isr("t", 0, 1)
    assert standing(three) == (1, (1,), (2, 3)), "both left at the moment at which the watermark came to rest"


def test_kip_966_a_member_that_is_put_out_because_it_lacks_something_is_not_eligible(three: Harness) -> None:
    three.fence(2)
    assert three.propose_isr("t", 0, 1, lacking=(3,)) is None
    assert standing(three) == (1, (1,), ())
    three.fence(1)
    assert standing(three) == (NO_LEADER, (), (1,)), "rather nobody than one without what was acknowledged"


def test_kip_966_a_leader_tells_also_of_one_that_left_the_set_before_that_it_lacks_something(three: Harness) -> None:
    three.fence(2)
    three.fence(3)
    assert standing(three) == (1, (1,), (3,))
    assert three.propose_isr("t", 0, 1, lacking=(3,)) is None, "the same set"
    three.fence(1)
    three.beat(3)
    assert standing(three) == (NO_LEADER, (), (1,)), "rather nobody than one without what was acknowledged"


def test_a_set_that_changes_nothing_for_anybody_is_no_change(three: Harness) -> None:
    three.fence(3)
    before = three.image.end_offset
    assert three.propose_isr("t", 0, 1, 2, lacking=(3,)) is None
    assert three.image.end_offset == before, "3 is not eligible"


def test_kip_966_the_last_one_loses_its_page_cache(three: Harness) -> None:
    """ISR 3 → 1: the last one comes back without what it had not flushed, and is not elected as if it had all."""
    three.fence(3)
    three.fence(2)
    three.advance(4_000)
    assert standing(three) == (NO_LEADER, (), (1, 2))
    three.start(1, life=2)
    assert standing(three) == (NO_LEADER, (), (2,))
    three.start(2, life=2, clean=True)
    assert standing(three) == (2, (2,), ())
    assert unclean(three) == 0


def test_kip_966_a_clean_stop_loses_nothing(three: Harness) -> None:
    for broker_id in (3, 2, 1):
        three.fence(broker_id)
    three.start(1, life=2, clean=True)
    assert standing(three) == (1, (1,), (2,))


def test_kip_966_a_stop_that_was_not_clean_loses_nothing_that_was_flushed() -> None:
    harness = Harness()
    harness.start(1, 2, 3)
    harness.create("t", (1, 2, 3), config={"min.insync.replicas": "2"})
    harness.advance(4_000)
    assert standing(harness)[0] == NO_LEADER
    eligible = harness.partition("t").eligible_replicas
    harness.start(eligible[0], life=2)
    assert standing(harness) == (eligible[0], (eligible[0],), eligible[1:])


def test_kip_966_a_lost_disk_is_never_eligible() -> None:
    harness = Harness()
    harness.start(1, 2, 3)
    harness.create("t", (1, 2, 3), config={"min.insync.replicas": "2"})
    harness.fence(3)
    harness.fence(2)
    assert standing(harness) == (1, (1,), (2,))
    harness.advance(4_000, 1)
    harness.start(2, life=2, disk=2)
    assert standing(harness) == (1, (1,), ())


def test_kip_966_all_without_their_page_caches_need_a_word_from_the_operator(three: Harness) -> None:
    three.fence(3)
    three.fence(2)
    three.advance(4_000)
    three.start(1, 2, 3, life=2)
    assert standing(three) == (NO_LEADER, (), ())
    assert three.partition("t").last_known_elr == (1,)
    three.submit(ElectLeaders((("t", 0),), unclean=True))
    assert standing(three) == (1, (1,), ()), "the last leader has most of all"
    assert three.partition("t").recovering and unclean(three) == 1


def test_kip_966_the_setting_is_such_a_word_too(three: Harness) -> None:
    three.fence(3)
    three.fence(2)
    three.advance(4_000)
    three.start(1, 2, 3, life=2)
    configure(three, "unclean.leader.election.enable", "true", DEFAULT_BROKER)
    assert standing(three) == (1, (1,), ())
    assert unclean(three) == 1


def test_an_unclean_election_asks_those_last_whose_disks_were_replaced(three: Harness) -> None:
    three.propose_isr("t", 0, 1, lacking=(2, 3))
    three.advance(4_000)
    three.start(1, disk=2)
    assert three.partition("t").last_known_elr == (2, 3)
    three.start(2, disk=2)
    three.start(3, life=2)
    three.submit(ElectLeaders((("t", 0),), unclean=True))
    assert standing(three) == (3, (3,), ()), "the only one that has anything"


def test_an_unclean_election_remembers_who_was_replaced_before_the_last_leader(three: Harness) -> None:
    three.propose_isr("t", 0, 1, lacking=(2, 3))
    three.advance(4_000)
    three.start(2, disk=2)
    three.start(1, disk=2)
    three.start(3, life=2)
    three.submit(ElectLeaders((("t", 0),), unclean=True))
    assert standing(three) == (3, (3,), ()), "the only one that has anything"


def test_an_unclean_election_asks_those_last_that_are_only_being_added(three: Harness) -> None:
    three.start(4)
    three.propose_isr("t", 0, 1, lacking=(2, 3))
    three.submit(AlterPartitionReassignments((Reassignment("t", 0, (4, 2, 3)),)))
    assert three.partition("t").replicas == (4, 2, 3, 1)
    three.fence(1)
    three.submit(ElectLeaders((("t", 0),), unclean=True))
    assert standing(three)[0] == 2, "4 has hardly begun to copy"


def test_a_single_replica_that_lost_its_disk_after_its_page_cache_does_not_lead_by_itself() -> None:
    harness = Harness()
    harness.start(1)
    harness.create("t", (1,), config={"flush.messages": "1000"})
    harness.advance(4_000)
    harness.register(1, life=2)
    harness.advance(4_000)
    harness.start(1, life=3, disk=2)
    assert standing(harness) == (NO_LEADER, (), ()), "it is empty, and nobody was told"


def test_a_single_replica_leads_again_whatever_it_lost_and_it_is_counted() -> None:
    harness = Harness()
    harness.start(1)
    harness.create("t", (1,), config={"flush.messages": "1000"})
    harness.advance(4_000)
    harness.start(1, life=2)
    assert standing(harness) == (1, (1,), ())
    assert unclean(harness) == 1


def test_a_partition_with_several_replicas_is_not_alone_because_a_disk_was_lost_among_them() -> None:
    harness = Harness()
    harness.start(1, 2, 3)
    harness.create("t", (1, 2), config={"flush.messages": "1000"})
    harness.fence(2)
    harness.submit(AlterPartitionReassignments((Reassignment("t", 0, (3, 1, 2)),)))
    harness.advance(4_000)
    harness.start(1, life=2)
    assert (standing(harness), harness.partition("t").last_known_elr) == ((NO_LEADER, (), ()), (1,))
    harness.register(3, disk=2)
    assert harness.partition("t").last_known_elr == (1, 2)
    harness.submit(AlterPartitionReassignments((Reassignment("t", 0, None),)))
    harness.beat(2)
    assert standing(harness) == (NO_LEADER, (), ()), "1 may lack something, and nobody was asked"
    assert unclean(harness) == 0


def test_a_single_replica_is_not_known_to_have_anything_because_a_move_to_another_was_cancelled() -> None:
    harness = Harness()
    harness.start(1, 2, 3)
    harness.create("t", (1,))
    harness.advance(4_000)
    harness.register(1, disk=2)
    assert (standing(harness), harness.partition("t").last_known_elr) == ((NO_LEADER, (), ()), ())
    harness.submit(AlterPartitionReassignments((Reassignment("t", 0, (3, 1)),)))
    harness.register(3, disk=2)
    harness.submit(AlterPartitionReassignments((Reassignment("t", 0, None),)))
    harness.beat(1)
    assert standing(harness) == (NO_LEADER, (), ()), "its disk is empty"
    assert unclean(harness) == 0


def test_a_lower_min_isr_ends_what_rested_on_the_old_one(three: Harness) -> None:
    three.fence(3)
    three.fence(2)
    assert standing(three) == (1, (1,), (2,))
    configure(three, "min.insync.replicas", "1")
    assert standing(three) == (1, (1,), ()), "the watermark moves on without 2"


def test_a_lower_min_isr_of_all_brokers_ends_it_only_where_it_holds(three: Harness) -> None:
    three.create("u", (1, 2, 3))
    configure(three, "min.insync.replicas", "2", DEFAULT_BROKER)
    three.fence(3)
    three.fence(2)
    configure(three, "min.insync.replicas", "1", DEFAULT_BROKER)
    assert standing(three) == (1, (1,), (2,))
    assert three.partition("u").eligible_replicas == ()


def test_a_lower_min_isr_takes_nothing_from_a_partition_without_a_leader(three: Harness) -> None:
    for broker_id in (3, 2, 1):
        three.fence(broker_id)
    configure(three, "min.insync.replicas", "1")
    assert standing(three) == (NO_LEADER, (), (1, 2)), "nobody could commit anything meanwhile"


BECOMES_ONE = [
    (topic_resource("t"), "flush.messages", "1"),
    (topic_resource("t"), "flush.messages", None),
    (DEFAULT_BROKER, "log.flush.interval.messages", "1"),
    (DEFAULT_BROKER, "log.flush.interval.messages", None),
]


@pytest.mark.parametrize(("resource", "name", "value"), BECOMES_ONE)
def test_kip_966_who_is_away_while_flush_messages_becomes_1_may_lack_what_counted_before(
    resource: ConfigResource, name: str, value: str | None
) -> None:
    harness = relaxed(resource)
    for broker_id in (3, 2, 1):
        harness.fence(broker_id)
    assert standing(harness) == (NO_LEADER, (), (1, 2))
    configure(harness, name, value, resource)
    assert standing(harness) == (NO_LEADER, (), ())
    assert harness.partition("t").last_known_elr == (1,)
    harness.start(2, life=2)
    assert standing(harness) == (NO_LEADER, (), ()), "its machine had lost power, perhaps before the setting"
    harness.submit(ElectLeaders((("t", 0),), unclean=True))
    assert standing(harness)[0] == 2 and unclean(harness) == 1


def relaxed(resource: ConfigResource) -> Harness:
    """Brokers 1 to 3 hold `t`, with appends that count before they are flushed because of `resource`."""
    harness = Harness()
    harness.start(1, 2, 3)
    own = resource.type == ResourceType.TOPIC
    harness.create("t", (1, 2, 3), config=RELAXED if own else {"min.insync.replicas": "2"})
    if not own:
        configure(harness, "log.flush.interval.messages", "1000", resource)
    return harness


def test_one_broker_whose_own_flush_messages_becomes_1_is_judged_by_it_alone() -> None:
    harness = relaxed(broker_resource(2))
    configure(harness, "log.flush.interval.messages", "1000", broker_resource(1))
    for broker_id in (3, 2, 1):
        harness.fence(broker_id)
    configure(harness, "log.flush.interval.messages", None, broker_resource(2))
    assert standing(harness) == (NO_LEADER, (), (1,))


def test_who_is_there_while_flush_messages_becomes_1_flushes_and_stays_eligible(three: Harness) -> None:
    three.propose_isr("t", 0, 1)
    three.fence(2)
    assert standing(three) == (1, (1,), (2, 3))
    configure(three, "flush.messages", "1")
    assert standing(three) == (1, (1,), (3,))


@pytest.mark.parametrize(("name", "value"), [("flush.messages", "2"), ("flush.ms", "1"), ("retention.ms", "1")])
def test_a_setting_that_still_lets_appends_count_at_once_takes_nothing(three: Harness, name: str, value: str) -> None:
    three.fence(3)
    three.fence(2)
    configure(three, name, value)
    assert standing(three) == (1, (1,), (2,))


def test_who_flushed_all_along_stays_eligible_whatever_flush_messages_becomes() -> None:
    harness = Harness()
    harness.start(1, 2, 3)
    harness.create("t", (1, 2, 3), config={"min.insync.replicas": "2"})
    harness.fence(3)
    harness.fence(2)
    configure(harness, "flush.messages", "1")
    assert standing(harness) == (1, (1,), (2,))


def test_nobody_is_eligible_for_a_moment_by_a_flush_messages_that_did_not_hold(three: Harness) -> None:
    """A controller that dies between the records leaves nobody eligible who may lack something."""
    three.fence(3)
    three.fence(2)
    change = ConfigChange("flush.messages", Operation.SET, "1")
    result = three.core.handle(AlterConfigs((ConfigAlteration(topic_resource("t"), (change,)),)), three.now_ms)
    assert [type(record) for record in result.records] == [PartitionChangeRecord, ConfigRecord]


def test_an_older_cluster_has_no_elr_before_its_feature_is_raised() -> None:
    image, _ = MetadataImage.EMPTY.apply([FeatureLevelRecord("metadata.version", 1)], 1, 1)
    core = ControllerCore(ControllerConfig(), Harness().random, image, 2, 0)
    assert not any(isinstance(record, FeatureLevelRecord) for record in core.activate(0).records)
    harness = Harness()
    harness.put(FeatureLevelRecord(ELIGIBLE_LEADER_REPLICAS_VERSION, 0))
    harness.start(1, 2)
    harness.create("t", (1, 2), config=RELAXED)
    harness.fence(2)
    harness.fence(1)
    assert standing(harness) == (NO_LEADER, (1,), ())
