"""Brokers' lives: registered, live, fenced, shut down, back again; and what becomes of their partitions."""

from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from broker.controller.commands import (
    AllocateProducerIds,
    AlterConfigs,
    AlterPartition,
    BrokerUnreachable,
    Command,
    ConfigAlteration,
    ConfigChange,
    Heartbeat,
    IsrMember,
    IsrProposal,
    NewTopic,
    Operation,
    RegisterBroker,
)
from broker.controller.config import ControllerConfig
from broker.controller.result import BrokerAppeared, BrokerFenced, ControllerStalled, Probe, UncleanElection
from broker.metadata.records import NO_LEADER, SupportedFeature, broker_resource
from broker.metadata.state import PartitionState
from kraftpy.errors import (
    BrokerIdNotRegisteredError,
    DuplicateBrokerRegistrationError,
    IneligibleReplicaError,
    InvalidRegistrationError,
    InvalidRequestError,
    StaleBrokerEpochError,
    UnsupportedVersionError,
)
from tests.controller.harness import Harness, registration


def brief(state: PartitionState) -> tuple[int, tuple[int, ...], int]:
    return state.leader, state.isr, state.leader_epoch


@pytest.fixture
def three() -> Harness:
    """Brokers 1, 2, 3 and a topic "t" with partitions led by 1, 2, 3."""
    harness = Harness()
    harness.start(1, 2, 3)
    harness.create("t", (1, 2, 3), (2, 3, 1), (3, 1, 2))
    return harness


# --- KIP-631: registration and epochs -------------------------------------------------------------------------------


def test_kip_631_a_broker_is_fenced_until_it_has_applied_its_registration() -> None:
    harness = Harness()
    epoch = harness.register(1)
    answer = harness.submit(Heartbeat(1, epoch, epoch))
    assert answer.is_fenced, "its registration stands at that offset, and the end is exclusive"
    assert not harness.submit(Heartbeat(1, epoch, epoch + 1)).is_fenced
    assert harness.image.is_active(1)


def test_kip_631_messages_of_an_earlier_life_are_refused(three: Harness) -> None:
    old = three.image.brokers[1].epoch
    three.register(1, life=2)
    topic_id = three.image.topic_ids["t"]
    proposal = IsrProposal(topic_id, 0, 0, 0, (IsrMember(1, old),))
    commands: list[Command[Any]] = [
        Heartbeat(1, old, 99),
        AlterPartition(1, old, (proposal,)),
        AllocateProducerIds(1, old),
    ]
    for command in commands:
        with pytest.raises(StaleBrokerEpochError):
            three.submit(command)
    before = three.image
    three.submit(BrokerUnreachable(1, old, confirmed=True))
    assert three.image == before and not three.probes, "a report about an earlier life"


def test_kip_631_an_unknown_broker_is_told_to_register() -> None:
    with pytest.raises(BrokerIdNotRegisteredError):
        Harness().submit(Heartbeat(1, 0, 0))


def test_the_same_process_that_asks_again_keeps_its_epoch(three: Harness) -> None:
    before = three.image
    assert three.register(1) == before.brokers[1].epoch
    assert three.image == before, "also while it is live"


def test_a_process_that_moves_is_registered_anew(three: Harness) -> None:
    moved = replace(registration(1), rack="elsewhere")
    epoch = three.introduce(moved)
    assert epoch == three.image.brokers[1].epoch == three.image.end_offset - 1


def test_a_late_message_of_an_earlier_life_does_not_replace_its_successor(three: Harness) -> None:
    """Found by the simulated cluster (seed 1119): it waited in a clogged link, and the new life was turned away."""
    late = RegisterBroker(registration(1, life=2), three.image.brokers[1].epoch)
    three.start(1, life=3)
    before = three.image
    with pytest.raises(StaleBrokerEpochError):
        three.submit(late)
    assert three.image == before


def test_a_restart_is_welcome_before_the_old_session_lapses_if_the_directory_is_the_same(three: Harness) -> None:
    three.start(1, life=2)
    assert three.image.is_active(1)


def test_two_processes_with_one_id_are_refused_while_the_first_lives(three: Harness) -> None:
    with pytest.raises(DuplicateBrokerRegistrationError):
        three.register(1, life=2, disk=2)
    three.advance(3_000, 2, 3)
    three.start(1, life=2, disk=2)


def test_a_broker_that_does_not_know_a_finalized_feature_is_refused() -> None:
    harness = Harness()
    without = replace(registration(1), features=())
    with pytest.raises(UnsupportedVersionError, match=r"works with kraft\.version=1; broker 1 does not know it"):
        harness.submit(RegisterBroker(without))
    newer = tuple(SupportedFeature(feature.name, 2, 3) for feature in registration(1).features)
    with pytest.raises(UnsupportedVersionError, match="knows 2 to 3"):
        harness.submit(RegisterBroker(replace(without, features=newer)))


def test_nonsense_is_no_registration() -> None:
    harness = Harness()
    with pytest.raises(InvalidRegistrationError):
        harness.submit(RegisterBroker(replace(registration(1), broker_id=-1)))
    with pytest.raises(InvalidRegistrationError):
        harness.submit(RegisterBroker(replace(registration(1), endpoints=())))


# --- a new life is a new epoch --------------------------------------------------------------------------------------


def test_a_new_life_is_a_new_epoch_another_replica_leads(three: Harness) -> None:
    three.register(1, life=2)
    assert brief(three.partition("t", 0)) == (2, (2, 3), 1)
    assert brief(three.partition("t", 1)) == (2, (2, 3), 0), "a follower's restart is no new leader epoch"


def test_a_new_life_is_a_new_epoch_the_only_replica_leads_again() -> None:
    harness = Harness()
    harness.start(1)
    harness.create("t", (1,))
    harness.register(1, life=2)
    assert brief(harness.partition("t")) == (NO_LEADER, (), 1)
    harness.beat(1)
    assert brief(harness.partition("t")) == (1, (1,), 2)


def test_a_new_directory_leaves_every_isr_first(three: Harness) -> None:
    three.advance(3_000, 2, 3)
    three.register(1, life=2, disk=2)
    assert BrokerAppeared(1, new_disk=True) in three.facts
    assert all(1 not in three.partition("t", number).isr for number in range(3))


def test_kip_966_a_last_member_on_a_new_directory_is_not_elected() -> None:
    """ISR 3 → 1, and the last one comes back without what it had."""
    harness = Harness()
    harness.start(1, 2, 3)
    harness.create("t", (1, 2, 3))
    harness.fence(2)
    harness.fence(3)
    harness.fence(1)
    assert brief(harness.partition("t")) == (NO_LEADER, (), 1)
    assert harness.partition("t").eligible_replicas == (1,)
    harness.advance(4_000)
    harness.start(1, 2, 3, life=2, disk=2)
    state = harness.partition("t")
    assert (state.leader, state.isr, state.eligible_replicas) == (NO_LEADER, (), ())
    assert not any(isinstance(fact, UncleanElection) for fact in harness.facts)


def test_kip_966_the_operator_may_have_it_elected_and_it_is_counted() -> None:
    harness = Harness()
    harness.start(1, 2)
    harness.create("t", (1, 2), config={"unclean.leader.election.enable": "true"})
    harness.fence(2)
    harness.advance(4_000)
    harness.start(2, life=2)
    assert brief(harness.partition("t"))[:2] == (2, (2,)), "2 was never out of contact with what 1 had alone"
    assert harness.facts.count(UncleanElection("t", 0, 2, (1,))) == 1
    assert harness.partition("t").recovering


def test_one_of_several_log_directories_lost_is_the_brokers_to_report() -> None:
    harness = Harness()
    harness.submit(RegisterBroker(registration(1, disks=(1, 2))))
    harness.beat(1)
    harness.create("t", (1,))
    harness.fence(1)
    harness.advance(4_000)
    harness.introduce(registration(1, life=2, disks=(1, 3)))
    assert harness.partition("t").eligible_replicas == (1,), "whether t lay there only the broker knows"
    assert harness.partition("t").leader == NO_LEADER


def test_one_more_log_directory_is_no_lost_disk() -> None:
    harness = Harness()
    harness.submit(RegisterBroker(registration(1, disks=(1,))))
    harness.beat(1)
    harness.create("t", (1,))
    harness.introduce(registration(1, life=2, disks=(1, 2)))
    harness.beat(1)
    assert brief(harness.partition("t")) == (1, (1,), 2)


def test_the_settings_of_a_broker_go_with_it(three: Harness) -> None:
    changes = tuple(
        ConfigChange(name, Operation.SET, value)
        for name, value in (("cordoned.log.dirs", "*"), ("leader.replication.throttled.rate", "5"))
    )
    three.submit(AlterConfigs((ConfigAlteration(broker_resource(3), changes),)))
    three.fence(3)
    three.unregister(3)
    assert not three.image.config(broker_resource(3))
    three.start(3, life=2)
    assert not three.image.config(broker_resource(3)), "the next one of this id begins with none"


# --- silence and probes ---------------------------------------------------------------------------------------------


def test_r05_a_silent_broker_is_fenced_after_its_session_and_not_before(three: Harness) -> None:
    three.advance(2_900, 2, 3)
    assert three.image.is_active(1)
    three.advance(100, 2, 3)
    assert not three.image.is_active(1)
    assert brief(three.partition("t", 0)) == (2, (2, 3), 1)
    assert brief(three.partition("t", 1)) == (2, (2, 3), 0)
    assert BrokerFenced(1, "silent for 3000 ms", leaders_moved=1, left_without_leader=0) in three.facts


def test_a_partition_whose_members_are_all_dead_keeps_the_last_one(three: Harness) -> None:
    three.advance(3_500)
    for number in range(3):
        state = three.partition("t", number)
        assert state.leader == NO_LEADER and state.isr == () and len(state.eligible_replicas) == 1
    last = three.partition("t", 0).eligible_replicas[0]
    three.beat(last)
    assert three.partition("t", 0).leader == last


def test_a_fenced_broker_that_speaks_again_is_live_but_not_in_sync(three: Harness) -> None:
    three.advance(3_000, 2, 3)
    assert three.beat(1) == (False, False)
    assert three.image.is_active(1)
    assert three.partition("t", 0).isr == (2, 3), "its leader takes it back once it has caught up"


def test_a_controller_that_slept_does_not_judge_by_its_own_sleep(three: Harness) -> None:
    three.now_ms += 10_000
    three.tick()
    assert ControllerStalled(7_000) in three.facts
    assert all(three.image.is_active(broker_id) for broker_id in (1, 2, 3))
    three.advance(2_000, 1, 2)
    assert [three.image.is_active(broker_id) for broker_id in (1, 2, 3)] == [True, True, False]


def test_a_controller_that_always_sleeps_fences_all_the_same(three: Harness) -> None:
    for _ in range(2):
        three.now_ms += 4_000
        three.beat(1)
        three.tick()
    assert not three.image.is_active(2)


def test_a_report_leads_to_a_probe_but_not_to_many(three: Harness) -> None:
    epoch = three.image.brokers[1].epoch
    for _ in range(5):
        three.submit(BrokerUnreachable(1, epoch))
    assert three.probes == [Probe(1, epoch)]
    three.now_ms += 500
    three.submit(BrokerUnreachable(1, epoch))
    assert three.probes == [Probe(1, epoch)] * 2
    assert three.image.is_active(1), "a report alone changes nothing"


def test_a_broker_that_lets_two_heartbeats_go_by_is_looked_for_without_any_report(three: Harness) -> None:
    """It died between two fetches of the quorum, so that nobody saw a connection break that waited for an answer."""
    look = Probe(1, three.image.brokers[1].epoch)
    three.advance(900, 2, 3)
    assert not three.probes
    three.advance(100, 2, 3)
    assert three.probes == [look]
    three.advance(900, 2, 3)
    assert three.probes == [look] * 2, "no oftener than reports would have it looked for"
    three.beat(1)
    three.advance(900, 2, 3)
    assert three.probes == [look] * 2, "it was heard of"
    three.advance(2_100, 2, 3)
    assert not three.image.is_active(1) and len(three.probes) == 6
    three.advance(5_000, 2, 3)
    assert len(three.probes) == 6, "it is out of service, and nobody waits for it"


def test_nobody_is_looked_for_who_is_out_of_service(three: Harness) -> None:
    three.fence(1)
    three.advance(2_000, 2, 3)
    assert not three.probes


def test_a_failed_probe_fences_at_once_unless_a_heartbeat_came_since(three: Harness) -> None:
    epoch = three.image.brokers[1].epoch
    probed_at_ms = three.now_ms
    three.now_ms += 50
    three.beat(1)
    three.submit(BrokerUnreachable(1, epoch, confirmed=True, probed_at_ms=probed_at_ms))
    assert three.image.is_active(1)
    three.submit(BrokerUnreachable(1, epoch, confirmed=True, probed_at_ms=three.now_ms))
    assert not three.image.is_active(1)
    assert brief(three.partition("t", 0)) == (2, (2, 3), 1)


def test_a_broker_that_is_known_to_be_gone_is_replaced_on_another_disk_at_once(three: Harness) -> None:
    with pytest.raises(DuplicateBrokerRegistrationError):
        three.start(1, life=2, disk=2)
    three.submit(BrokerUnreachable(1, three.image.brokers[1].epoch, confirmed=True, probed_at_ms=three.now_ms))
    three.start(1, life=2, disk=2)
    assert three.image.is_active(1)


# --- another controller ---------------------------------------------------------------------------------------------


def test_a_new_controller_gives_fresh_sessions_and_probes_suspects(three: Harness) -> None:
    three.advance(2_500)
    three.probes.clear()
    three.fail_over(suspects={1: 0, 9: 0})
    assert three.probes == [Probe(1, three.image.brokers[1].epoch)]
    three.advance(2_900)
    assert all(three.image.is_active(broker_id) for broker_id in (1, 2, 3))
    three.advance(100)
    assert not any(three.image.is_active(broker_id) for broker_id in (1, 2, 3))


def test_silence_that_made_the_quorum_elect_anew_counts_against_the_last_leader(three: Harness) -> None:
    three.fail_over(suspects={1: 1_600})
    three.advance(1_300, 2, 3)
    assert three.image.is_active(1)
    three.advance(100, 2, 3)
    assert not three.image.is_active(1)
    assert three.image.is_active(2)


def test_a_suspect_keeps_the_time_of_two_heartbeats(three: Harness) -> None:
    three.fail_over(suspects={1: 60_000})
    three.advance(900, 2, 3)
    assert three.image.is_active(1)
    three.beat(1)
    three.advance(2_900, 2, 3)
    assert three.image.is_active(1)


def test_a_new_controller_elects_what_the_old_one_left_undone() -> None:
    """The broker's unfencing was committed, the elections after it were not."""
    harness = Harness()
    harness.start(1)
    harness.create("t", (1,))
    harness.fence(1)
    result = harness.core.handle(Heartbeat(1, harness.image.brokers[1].epoch, harness.image.end_offset), harness.now_ms)
    assert len(result.entries(1)) == 2
    first = result.entries(1)[0]
    harness.core.replay(first, len(harness.records))
    harness.records += first
    assert harness.partition("t").leader == NO_LEADER
    harness.fail_over()
    assert harness.partition("t").leader == 1


# --- controlled shutdown --------------------------------------------------------------------------------------------


def test_r10_leaderships_move_first_then_the_broker_may_stop(three: Harness) -> None:
    assert three.beat(1, want_shut_down=True) == (False, False)
    assert brief(three.partition("t", 0)) == (2, (2, 3), 1)
    assert not three.image.brokers[1].fenced and three.image.brokers[1].in_controlled_shutdown
    assert three.beat(1, want_shut_down=True) == (False, False), "the others have not seen it yet"
    three.beat(2)
    three.beat(3)
    assert three.beat(1, want_shut_down=True) == (True, True)
    assert three.image.brokers[1].fenced
    assert three.beat(1, want_shut_down=True) == (True, True), "an answer that was lost"


def test_a_lone_broker_may_stop_at_once() -> None:
    harness = Harness()
    harness.start(1)
    harness.create("t", (1,))
    assert harness.beat(1, want_shut_down=True) == (True, True)
    harness.start(1, life=2)
    assert brief(harness.partition("t")) == (1, (1,), 2)


def test_a_controlled_shutdown_outlives_the_controller(three: Harness) -> None:
    three.beat(1, want_shut_down=True)
    three.fail_over()
    assert three.beat(1, want_shut_down=True) == (False, False)
    three.beat(2)
    three.beat(3)
    assert three.beat(1, want_shut_down=True) == (True, True)


def test_a_broker_that_shuts_down_gets_no_leadership(three: Harness) -> None:
    three.beat(1, want_shut_down=True)
    result = three.try_create(NewTopic("u", 6, 2))
    assert result.error is None
    assert all(three.partition("u", number).leader != 1 for number in range(6))


def test_kip_841_a_broker_that_is_fenced_or_shutting_down_is_not_taken_into_the_isr(three: Harness) -> None:
    topic_id = three.image.topic_ids["t"]
    three.beat(1, want_shut_down=True)
    for state in ("shutting down", "fenced"):
        partition = three.partition("t", 0)
        members = tuple(IsrMember(number, three.image.brokers[number].epoch) for number in (1, 2, 3))
        proposal = IsrProposal(topic_id, 0, partition.leader_epoch, partition.partition_epoch, members)
        altered = three.submit(AlterPartition(2, three.image.brokers[2].epoch, (proposal,))).partitions[0]
        assert isinstance(altered.error, IneligibleReplicaError) and state in str(altered.error)
        three.fence(1)


def test_kip_903_a_broker_that_restarted_while_being_added_is_not_taken_into_the_isr(three: Harness) -> None:
    """The leader saw the first life caught up; the second one has an empty disk."""
    topic_id = three.image.topic_ids["t"]
    seen = three.image.brokers[1].epoch
    three.advance(3_000, 2, 3)
    three.beat(1)
    three.advance(3_000, 2, 3)
    three.start(1, life=2, disk=2)
    partition = three.partition("t", 1)
    members = (*(IsrMember(number, three.image.brokers[number].epoch) for number in partition.isr), IsrMember(1, seen))
    proposal = IsrProposal(topic_id, 1, partition.leader_epoch, partition.partition_epoch, members)
    altered = three.submit(AlterPartition(2, three.image.brokers[2].epoch, (proposal,))).partitions[0]
    assert isinstance(altered.error, IneligibleReplicaError)
    assert three.partition("t", 1) == partition


# --- others ---------------------------------------------------------------------------------------------------------


def test_the_first_log_directory_takes_the_broker_with_it_another_does_not(three: Harness) -> None:
    broker = three.image.brokers[1]
    first, other = broker.registration.directory_id, UUID(int=5)
    beat = partial(Heartbeat, 1, broker.epoch, three.image.end_offset)
    assert not three.submit(beat(failed_log_directories=(other,))).is_fenced
    assert three.submit(beat(failed_log_directories=(other, first))).is_fenced
    assert three.partition("t", 0).leader == 2
    assert three.submit(beat(failed_log_directories=(first,))).is_fenced, "it stays so"


def test_only_a_stopped_broker_can_be_unregistered(three: Harness) -> None:
    with pytest.raises(InvalidRequestError):
        three.unregister(1)
    three.fence(1)
    three.unregister(1)
    assert 1 not in three.image.brokers
    with pytest.raises(BrokerIdNotRegisteredError):
        three.unregister(1)
    three.advance(3_000, 2, 3)
    three.start(1, life=2)
    assert three.image.is_active(1)


def test_producer_ids_are_never_given_twice(three: Harness) -> None:
    epoch = three.image.brokers[1].epoch
    first = three.submit(AllocateProducerIds(1, epoch))
    three.fail_over()
    second = three.submit(AllocateProducerIds(1, epoch))
    assert (first.first_producer_id, second.first_producer_id, second.count) == (0, 1_000, 1_000)


@pytest.mark.parametrize(
    ("field", "value"),
    [("broker_session_timeout_ms", 900), ("num_partitions", 0), ("leader_moves_max", 0)],
)
def test_settings_that_cannot_be_are_refused_by_name(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=field.replace("_", ".")):
        ControllerConfig(**{field: value})  # type: ignore[arg-type]
