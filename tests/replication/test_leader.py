"""The leader's arithmetic: who is in sync, and what is committed."""

from dataclasses import dataclass, field, replace
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.replication.isr import BrokerLiveness, InSyncAnswer, InSyncProposal
from broker.replication.leader import Leadership, Liveness

TOPIC = UUID(int=7)
LAG_MS = 10_000


def leadership(
    isr: tuple[int, ...] = (1, 2, 3), epoch_start: int = 0, now_ms: int = 0, eligible: tuple[int, ...] = ()
) -> Leadership:
    return Leadership(1, (1, 2, 3), isr, 5, 10, epoch_start, now_ms, eligible=eligible)


def alive(broker_id: int) -> BrokerLiveness:
    return BrokerLiveness(broker_epoch=100 + broker_id, fenced=False, in_controlled_shutdown=False)


def fetched(leader: Leadership, follower: int, offset: int, *, end: int, now_ms: int, broker_epoch: int = 0) -> None:
    leader.followers[follower].fetched(offset, 0, end, broker_epoch or 100 + follower, now_ms)


def watermark(leader: Leadership, own_end: int, current: int = 0, min_isr: int = 1, now_ms: int = 0) -> int:
    return leader.advanced(current, own_end, min_isr, alive, now_ms, LAG_MS)


def expand(leader: Leadership, high_watermark: int, liveness: Liveness = alive, now_ms: int = 1) -> bool:
    return leader.expand(high_watermark, liveness, now_ms, LAG_MS)


def proposed(leader: Leadership) -> InSyncProposal:
    proposal = leader.proposal(TOPIC, 0, 101)
    assert proposal is not None
    return proposal


# --- high watermark ---


def test_a_new_leader_commits_nothing_before_every_member_was_heard() -> None:
    leader = leadership()
    fetched(leader, 2, 8, end=10, now_ms=1)
    assert watermark(leader, own_end=10, current=3) == 3
    fetched(leader, 3, 6, end=10, now_ms=1)
    assert watermark(leader, own_end=10, current=3) == 6


def test_the_leaders_own_unflushed_records_hold_it_back() -> None:
    leader = leadership()
    for follower in (2, 3):
        fetched(leader, follower, 10, end=10, now_ms=1)
    assert watermark(leader, own_end=4) == 4


def test_it_never_goes_back() -> None:
    leader = leadership()
    for follower in (2, 3):
        fetched(leader, follower, 5, end=10, now_ms=1)
    assert watermark(leader, own_end=10, current=9) == 9


def test_it_waits_for_a_replica_that_is_proposed_and_not_yet_answered() -> None:
    leader = leadership(isr=(1, 2))
    fetched(leader, 2, 10, end=10, now_ms=1)
    fetched(leader, 3, 6, end=10, now_ms=1)
    assert expand(leader, 6)
    fetched(leader, 2, 20, end=20, now_ms=2)
    assert watermark(leader, own_end=20, current=6) == 6


def test_it_waits_for_the_old_set_while_a_smaller_one_is_proposed() -> None:
    leader = leadership()
    fetched(leader, 2, 10, end=10, now_ms=LAG_MS)
    assert leader.shrink(10, LAG_MS + 1, LAG_MS)
    assert proposed(leader).isr == ((1, 101), (2, 102))
    assert watermark(leader, own_end=10, now_ms=LAG_MS + 1) == 0


def test_kafka_13091_the_answer_to_a_shrink_lets_it_move() -> None:
    leader = leadership()
    fetched(leader, 2, 10, end=10, now_ms=LAG_MS)
    leader.shrink(10, LAG_MS + 1, LAG_MS)
    answer = InSyncAnswer(None, leader=1, leader_epoch=5, partition_epoch=11, isr=(1, 2))
    assert not leader.answered(proposed(leader), answer, LAG_MS + 2)
    assert watermark(leader, own_end=10, now_ms=LAG_MS + 2) == 10


def test_kip_966_it_rests_below_min_insync_replicas() -> None:
    leader = leadership(isr=(1,))
    assert watermark(leader, own_end=10, min_isr=2) == 0
    assert watermark(leader, own_end=10, min_isr=1) == 10
    assert not leader.has_min_isr(2)
    assert leadership(isr=(1, 2, 3)).has_min_isr(9), "a minimum above the number of replicas means all of them"


def test_a_replica_far_behind_does_not_hold_it() -> None:
    leader = leadership(isr=(1, 2))
    fetched(leader, 2, 10, end=10, now_ms=1)
    fetched(leader, 3, 4, end=10, now_ms=1)
    assert watermark(leader, own_end=10, current=8, now_ms=1) == 10


def test_a_replica_about_to_join_holds_it_while_it_is_heard_of() -> None:
    leader = leadership(isr=(1, 2))
    fetched(leader, 2, 10, end=10, now_ms=1)
    fetched(leader, 3, 9, end=10, now_ms=1)
    assert watermark(leader, own_end=10, current=8, now_ms=2) == 9
    assert watermark(leader, own_end=10, current=9, now_ms=LAG_MS + 2) == 10


def test_kip_112_a_replica_whose_directory_failed_is_not_about_to_join() -> None:
    leader = leadership(isr=(1, 2))
    fetched(leader, 2, 10, end=10, now_ms=1)
    fetched(leader, 3, 9, end=10, now_ms=1)
    failed = replace(alive(3), serves=False)
    assert not expand(leader, 8, lambda broker: failed if broker == 3 else alive(broker))
    assert leader.advanced(8, 10, 1, lambda broker: failed if broker == 3 else alive(broker), 2, LAG_MS) == 10


# --- in-sync set ---


def test_a_replica_joins_at_the_high_watermark_and_the_epoch_start() -> None:
    leader = leadership(isr=(1, 2), epoch_start=10)
    fetched(leader, 3, 9, end=12, now_ms=1)
    assert not expand(leader, 5), "the watermark is still below the epoch's start: it may be older than it says"
    fetched(leader, 3, 10, end=12, now_ms=2)
    assert expand(leader, 5)
    assert proposed(leader).isr == ((1, 101), (2, -1), (3, 103))


def test_a_replica_that_fell_silent_does_not_join_and_its_session_can_vouch_for_it() -> None:
    leader = leadership(isr=(1, 2))
    fetched(leader, 3, 10, end=10, now_ms=1)
    assert not expand(leader, 10, now_ms=LAG_MS + 2)
    leader.followers[3].fetched_again(2)
    assert expand(leader, 10, now_ms=LAG_MS + 2)


def test_kip_841_a_fenced_or_leaving_broker_is_not_proposed() -> None:
    leader = leadership(isr=(1, 2))
    fetched(leader, 3, 10, end=10, now_ms=1)
    assert not expand(leader, 10, lambda _: BrokerLiveness(103, True, False))
    assert not expand(leader, 10, lambda _: BrokerLiveness(103, False, True))
    assert not expand(leader, 10, lambda _: None)


def test_kip_903_only_the_incarnation_that_fetched_is_proposed_by_its_epoch() -> None:
    leader = leadership(isr=(1, 2))
    fetched(leader, 3, 10, end=10, now_ms=1, broker_epoch=50)
    assert not expand(leader, 10), "metadata knows a later life, whose disk may be empty"
    fetched(leader, 3, 10, end=10, now_ms=2)
    assert expand(leader, 10)
    assert dict(proposed(leader).isr)[3] == 103


def test_kip_903_a_proposal_that_is_sent_again_names_the_life_that_had_caught_up() -> None:
    leader = leadership(isr=(1, 2))
    fetched(leader, 3, 10, end=10, now_ms=1)
    assert expand(leader, 10)
    fetched(leader, 3, 0, end=10, now_ms=2, broker_epoch=203)  # it restarted, and its disk is empty
    assert dict(proposed(leader).isr)[3] == 103
    leader.answered(proposed(leader), InSyncAnswer("INELIGIBLE_REPLICA"), 3)
    assert not expand(leader, 10, lambda broker: BrokerLiveness(203, False, False)), "it has nothing yet"


def test_one_proposal_at_a_time() -> None:
    leader = leadership(isr=(1, 2))
    fetched(leader, 3, 10, end=10, now_ms=1)
    assert expand(leader, 10)
    assert not expand(leader, 10)
    assert not leader.shrink(10, 10 * LAG_MS, LAG_MS)


def test_answers() -> None:
    table = [
        (None, True, False),
        ("INELIGIBLE_REPLICA", True, False),  # the old set stands, another may be proposed
        ("INVALID_UPDATE_VERSION", False, False),  # metadata is on its way; nothing is sent meanwhile
        ("FENCED_LEADER_EPOCH", False, False),
        ("UNKNOWN_SERVER_ERROR", False, True),  # decides nothing: sent again
    ]
    for error, settled, again in table:
        leader = leadership(isr=(1, 2))
        fetched(leader, 3, 10, end=10, now_ms=1)
        expand(leader, 10)
        answer = InSyncAnswer(error, 1, 5, 11, (1, 2, 3))
        assert leader.answered(proposed(leader), answer, 2) is again, error
        assert (leader.in_sync.proposed is None) is settled, error
        assert leader.in_sync.committed == ((1, 2, 3) if error is None else (1, 2)), error


def test_metadata_that_comes_before_the_answer_wins() -> None:
    leader = leadership(isr=(1, 2))
    fetched(leader, 3, 10, end=10, now_ms=1)
    expand(leader, 10)
    sent = proposed(leader)
    leader.assigned((1, 2, 3), (1,), 12, 2)  # the controller fenced broker 2 meanwhile
    leader.answered(sent, InSyncAnswer(None, 1, 5, 11, (1, 2, 3)), 3)
    assert (leader.in_sync.committed, leader.in_sync.partition_epoch) == ((1,), 12)


def test_older_metadata_changes_nothing() -> None:
    leader = leadership()
    leader.assigned((1, 2, 3), (1,), 10, 2)
    assert leader.in_sync.committed == (1, 2, 3)


# --- lag ---


def test_a_follower_always_one_fetch_behind_a_busy_leader_is_in_sync() -> None:
    leader, end = leadership(), 0
    for now_ms in range(0, 5 * LAG_MS, LAG_MS // 2):
        for follower in (2, 3):
            fetched(leader, follower, end, end=end + 100, now_ms=now_ms)
        end += 100
    assert not leader.shrink(end, 5 * LAG_MS, LAG_MS)


def test_a_follower_that_keeps_fetching_but_falls_behind_leaves() -> None:
    leader = leadership()
    for now_ms in range(0, LAG_MS + 2_000, 1_000):
        fetched(leader, 2, now_ms, end=now_ms + 5_000, now_ms=now_ms)
        fetched(leader, 3, now_ms + 5_000, end=now_ms + 5_000, now_ms=now_ms)
    assert leader.shrink(LAG_MS + 6_000, LAG_MS + 1_001, LAG_MS)
    assert leader.in_sync.proposed == (1, 3)


def test_a_follower_idle_at_the_end_is_in_sync_however_long_ago_it_fetched() -> None:
    leader = leadership()
    for follower in (2, 3):
        fetched(leader, follower, 10, end=10, now_ms=1)
    assert not leader.shrink(10, 100 * LAG_MS, LAG_MS)
    leader.followers[2].fetched_again(100 * LAG_MS)
    assert leader.shrink(11, 100 * LAG_MS + 1, LAG_MS)
    assert leader.in_sync.proposed == (1, 2), "its session vouches for one, the other is silent since long ago"


def test_another_life_of_a_broker_starts_its_lag_anew() -> None:
    leader = leadership()
    fetched(leader, 2, 10, end=10, now_ms=LAG_MS)
    fetched(leader, 3, 10, end=10, now_ms=LAG_MS)
    fetched(leader, 2, 2, end=10, now_ms=LAG_MS + 1, broker_epoch=999)
    assert leader.shrink(11, LAG_MS + 2, LAG_MS)
    assert leader.in_sync.proposed == (1, 3)


# --- against a dumb twin ---


@dataclass
class Twin:
    """A controller that commits, or refuses, or stays silent; and every set that it may have committed."""

    committed: tuple[int, ...] = (1, 2, 3)
    partition_epoch: int = 10
    ends: dict[int, int] = field(default_factory=lambda: {1: 0, 2: -1, 3: -1})


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("afffsxcdw"), st.integers(2, 3), st.integers(0, 5)), max_size=60))
def test_the_watermark_is_never_above_what_any_set_in_force_has(steps: list[tuple[str, int, int]]) -> None:
    leader, twin, current, now_ms = leadership(), Twin(), 0, 0
    waiting: InSyncProposal | None = None
    for kind, follower, amount in steps:
        now_ms += 1 + amount * 1_500
        if kind == "a":
            twin.ends[1] += amount
        elif kind == "f":
            twin.ends[follower] = min(max(0, twin.ends[follower]) + amount, twin.ends[1])
            fetched(leader, follower, twin.ends[follower], end=twin.ends[1], now_ms=now_ms)
            expand(leader, current, now_ms=now_ms)
        elif kind == "s":
            leader.shrink(twin.ends[1], now_ms, LAG_MS)
        elif kind == "x" and (waiting := leader.proposal(TOPIC, 0, 101)):
            pass
        elif kind == "c" and waiting is not None and waiting.partition_epoch == twin.partition_epoch:
            twin.committed = tuple(member for member, _ in waiting.isr)  # committed; the answer may be lost
            twin.partition_epoch += 1
        elif kind == "d":
            leader.assigned((1, 2, 3), twin.committed, twin.partition_epoch, now_ms)
        elif kind == "w" and waiting is not None:
            answer = InSyncAnswer("INVALID_UPDATE_VERSION")
            if waiting.partition_epoch + 1 == twin.partition_epoch:
                answer = InSyncAnswer(None, 1, 5, twin.partition_epoch, twin.committed)
            leader.answered(waiting, answer, now_ms)
        advanced = leader.advanced(current, twin.ends[1], 1, alive, now_ms, LAG_MS)
        assert advanced >= current
        # Invariant 7: every offset gained was on every member of the set that the controller has at this moment,
        # which is what the next leader is chosen from.
        if advanced > current:
            assert all(twin.ends[member] >= advanced for member in twin.committed)
        current = advanced


def test_a_member_that_lacks_what_is_committed_is_proposed_out_at_once() -> None:
    leader = leadership()
    assert leader.judge(3, 1)
    assert proposed(leader).isr == ((1, 101), (2, -1))
    assert proposed(leader).lacking == (3,), "or the controller could elect it, once nobody else is left"
    assert not leader.judge(2, 1), "one proposal at a time"
    assert not leadership(isr=(1, 2)).judge(3, 1), "it is none"


def test_that_a_member_lacks_something_is_not_forgotten_while_another_proposal_is_out() -> None:
    """It may die then, and would be eligible for what it had when it counted."""
    leader = leadership()
    fetched(leader, 3, 10, end=10, now_ms=LAG_MS)
    fetched(leader, 2, 0, end=10, now_ms=1)
    assert leader.shrink(10, LAG_MS + 2, LAG_MS)
    assert proposed(leader).isr == ((1, 101), (3, 103))
    fetched(leader, 3, 2, end=10, now_ms=LAG_MS + 3, broker_epoch=999)
    assert not leader.judge(3, 10), "one proposal at a time"
    assert proposed(leader).lacking == ()
    leader.answered(proposed(leader), InSyncAnswer(None, 1, 5, 11, (1, 3)), LAG_MS + 4)

    assert leader.shrink(10, LAG_MS + 5, LAG_MS), "it is not waited for"
    assert (proposed(leader).isr, proposed(leader).lacking) == (((1, 101),), (3,))


def test_who_lacks_something_is_named_by_every_proposal_until_it_has_come_up_again() -> None:
    leader = leadership()
    for follower in (2, 3):
        fetched(leader, follower, 10, end=10, now_ms=1)
    fetched(leader, 3, 2, end=10, now_ms=2)
    assert leader.judge(3, 10)
    leader.answered(proposed(leader), InSyncAnswer(None, 1, 5, 11, (1, 2)), 3)
    assert leader.shrink(20, LAG_MS + 5, LAG_MS)
    assert (proposed(leader).isr, proposed(leader).lacking) == (((1, 101),), (3,))
    leader.answered(proposed(leader), InSyncAnswer(None, 1, 5, 12, (1,)), LAG_MS + 6)

    fetched(leader, 2, 20, end=20, now_ms=LAG_MS + 7)
    assert expand(leader, 10) and proposed(leader).lacking == (3,)
    leader.answered(proposed(leader), InSyncAnswer(None, 1, 5, 13, (1, 2)), LAG_MS + 8)

    fetched(leader, 3, 10, end=20, now_ms=LAG_MS + 9)
    assert not leader.judge(3, 10)
    assert leader.shrink(30, 3 * LAG_MS, LAG_MS)
    assert (proposed(leader).isr, proposed(leader).lacking) == (((1, 101),), ())


def test_a_member_that_lacks_something_and_left_before_its_turn_is_told_of_where_it_may_be_elected() -> None:
    leader = leadership()
    for follower in (2, 3):
        fetched(leader, follower, 10, end=10, now_ms=1)
    assert leader.shrink(20, LAG_MS + 2, LAG_MS)
    fetched(leader, 3, 2, end=20, now_ms=LAG_MS + 3, broker_epoch=999)
    assert not leader.judge(3, 10), "one proposal at a time"
    leader.assigned((1, 2, 3), (1,), 11, LAG_MS + 4, eligible=(2, 3))  # the controller fenced both meanwhile
    assert leader.shrink(20, LAG_MS + 5, LAG_MS)
    assert (proposed(leader).isr, proposed(leader).lacking) == (((1, 101),), (3,))
    leader.answered(proposed(leader), InSyncAnswer(None, 1, 5, 12, (1,)), LAG_MS + 6)
    assert not leader.put_out_lacking(), "metadata has not told yet that it is eligible no longer"
    leader.assigned((1, 2, 3), (1,), 12, LAG_MS + 7, eligible=(2,))
    assert not leader.put_out_lacking()


def test_a_member_that_waited_for_another_proposal_is_put_out_by_the_answer_to_that_one() -> None:
    leader = leadership(isr=(1, 3))
    fetched(leader, 2, 10, end=10, now_ms=1)
    assert expand(leader, 10)
    fetched(leader, 3, 2, end=10, now_ms=2)
    assert not leader.judge(3, 10)
    leader.answered(proposed(leader), InSyncAnswer(None, 1, 5, 11, (1, 2, 3)), 3)
    assert leader.put_out_lacking(), "it lags not at all"
    assert (proposed(leader).isr, proposed(leader).lacking) == (((1, 101), (2, 102)), (3,))


def test_one_that_is_eligible_and_turns_out_to_lack_something_is_told_of() -> None:
    leader = leadership(isr=(1,), eligible=(3,))
    assert not leader.judge(2, 1), "nobody would elect it"
    assert leader.judge(3, 1)
    assert (proposed(leader).isr, proposed(leader).lacking) == (((1, 101),), (3,))


def test_a_controller_that_takes_the_same_set_for_no_change_is_told_once() -> None:
    """One of an older release: it accepts, and its partition epoch stays."""
    leader = leadership(isr=(1,), eligible=(3,))
    assert leader.judge(3, 1)
    assert not leader.answered(proposed(leader), InSyncAnswer(None, 1, 5, 10, (1,)), 1)
    assert leader.in_sync.proposed is None, "or nobody could join in all of the epoch"
    assert not leader.judge(3, 1)
    assert not leader.shrink(1, 2, LAG_MS)
    fetched(leader, 2, 10, end=10, now_ms=3)
    assert expand(leader, 10)
