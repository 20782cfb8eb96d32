"""Placement: the rules of R06 (never two replicas on one machine) and R07 (leaders spread evenly), on any cluster."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.controller.placement import Assignment, Candidate, place
from kraftpy.errors import InvalidReplicationFactorError

HOSTS = st.integers(1, 6)


@st.composite
def clusters(draw: st.DrawFn) -> list[Candidate]:
    """Racks of hosts of brokers, some of them down; labels may be missing altogether."""
    with_racks, with_hosts = draw(st.booleans()), draw(st.booleans())
    candidates: list[Candidate] = []
    for rack in range(draw(st.integers(1, 4))):
        for host in range(draw(st.integers(1, 3))):
            for _ in range(draw(st.integers(1, 2))):
                candidates.append(
                    Candidate(
                        broker_id=len(candidates) + 1,
                        rack=f"rack {rack}" if with_racks else None,
                        host=f"host {rack}.{host}" if with_hosts else "",
                        live=draw(st.integers(0, 4)) > 0,
                    )
                )
    candidates[0] = Candidate(1, candidates[0].rack, candidates[0].host)
    return candidates


def spread(counts: Counter[object], among: Sequence[object]) -> int:
    values = [counts[one] for one in among]
    return max(values) - min(values)


@settings(max_examples=150, deadline=None)
@given(clusters(), st.integers(1, 20), st.integers(1, 5), st.integers(0, 9))
def test_r06_r07_the_rules_hold_on_any_cluster(
    candidates: list[Candidate], partitions: int, replication_factor: int, seed: int
) -> None:
    replication_factor = min(replication_factor, len(candidates))
    placed = place(candidates, partitions, replication_factor, Random(seed))
    by_id = {candidate.broker_id: candidate for candidate in candidates}
    live = [candidate for candidate in candidates if candidate.live]
    assert len(placed) == partitions
    for replicas in placed:
        check_partition(replicas, replication_factor, by_id, live)
    leaders: Counter[object] = Counter(replicas[0] for replicas in placed)
    assert spread(leaders, [candidate.broker_id for candidate in live]) <= 1


def machine(candidate: Candidate) -> str:
    return candidate.host or str(candidate.broker_id)


def check_partition(
    replicas: Assignment, replication_factor: int, by_id: dict[int, Candidate], live: list[Candidate]
) -> None:
    assert len(replicas) == len(set(replicas)) == replication_factor
    assert by_id[replicas[0]].live, "a leader is live"
    chosen = [by_id[broker_id] for broker_id in replicas]
    assert sum(candidate.live for candidate in chosen) == min(replication_factor, len(live)), "live ones first"
    machines = {machine(candidate) for candidate in live}
    if len(machines) >= replication_factor:
        assert len({machine(candidate) for candidate in chosen}) == replication_factor, "distinct machines"
        racks = {candidate.rack for candidate in live}
        wanted = min(replication_factor, len(racks))
        assert len({candidate.rack for candidate in chosen}) == wanted, "as many racks as can be"


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.lists(st.integers(1, 12), min_size=1, max_size=30), st.integers(0, 9))
def test_r07_many_small_topics_spread_as_one_large_one(brokers: int, sizes: list[int], seed: int) -> None:
    random = Random(seed)
    leaders: Counter[object] = Counter()
    replicas: Counter[object] = Counter()
    for size in sizes:
        candidates = [
            Candidate(number, leaders=leaders[number], replicas=replicas[number]) for number in range(brokers)
        ]
        for assignment in place(candidates, size, min(3, brokers), random):
            leaders[assignment[0]] += 1
            replicas.update(assignment)
    assert spread(leaders, range(brokers)) <= 1


@pytest.mark.parametrize("brokers", [3, 4, 5, 7])
def test_replicas_spread_and_a_dead_brokers_leaderships_go_to_all_others(brokers: int) -> None:
    partitions = brokers * (brokers - 1) * 2
    placed = place([Candidate(number) for number in range(brokers)], partitions, 3, Random(3))
    replicas: Counter[object] = Counter(broker_id for assignment in placed for broker_id in assignment)
    assert spread(replicas, range(brokers)) <= 2
    for dead in range(brokers):
        heirs: Counter[object] = Counter(assignment[1] for assignment in placed if assignment[0] == dead)
        assert spread(heirs, [number for number in range(brokers) if number != dead]) <= 1


def test_growth_goes_on_where_the_topic_stands() -> None:
    candidates = [Candidate(number) for number in range(4)]
    existing = place(candidates, 5, 2, Random(1))
    grown = place(candidates, 4, 2, Random(2), existing)
    leaders: Counter[object] = Counter(assignment[0] for assignment in (*existing, *grown))
    assert spread(leaders, range(4)) <= 1


def test_a_host_is_not_used_twice_while_another_has_room() -> None:
    """One rack is a single machine of two brokers, the other has three machines: distinct machines outweigh racks."""
    candidates = [
        Candidate(1, "a", "alone"),
        Candidate(2, "a", "alone"),
        Candidate(3, "b", "x"),
        Candidate(4, "b", "y"),
        Candidate(5, "b", "z"),
    ]
    for assignment in place(candidates, 10, 4, Random(1)):
        assert len({candidates[broker_id - 1].host for broker_id in assignment}) == 4


@pytest.mark.parametrize(
    ("candidates", "replication_factor", "message"),
    [
        ([Candidate(1)], 3, "needs as many brokers; 1 are registered: start 2 more"),
        ([], 1, "0 are registered"),
        (
            [Candidate(1), Candidate(2, cordoned=True)],
            2,
            r"1 are registered \(besides 1 cordoned: cordoned.log.dirs\)",
        ),
        ([Candidate(1, live=False)], 1, "no broker is live"),
        ([Candidate(1)], 0, "at least 1"),
    ],
)
def test_what_cannot_be_is_refused(candidates: list[Candidate], replication_factor: int, message: str) -> None:
    with pytest.raises(InvalidReplicationFactorError, match=message):
        place(candidates, 1, replication_factor, Random(1))


def test_a_cordoned_broker_gets_nothing_also_where_it_holds_the_fewest() -> None:
    candidates = [Candidate(number, leaders=5, replicas=10) for number in (1, 2, 3)] + [Candidate(4, cordoned=True)]
    placed = place(candidates, 12, 3, Random(1), existing=[(4, 1, 2)])
    assert all(4 not in assignment for assignment in placed)


def test_equal_chance_gives_equal_places() -> None:
    candidates = [Candidate(number) for number in range(5)]
    assert place(candidates, 9, 3, Random(4)) == place(candidates, 9, 3, Random(4))
