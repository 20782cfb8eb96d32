"""The founding rule: a table of verdicts, and every order of questions, crashes and wiped disks that chance brings."""

from dataclasses import dataclass, field, replace
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft.events import NodeId, ReplicaKey, Voter, VoterSet
from raft.founding import (
    Answer,
    Conflict,
    Found,
    Foundation,
    ListedVoter,
    Observe,
    Verdict,
    Wait,
    cluster_id_of,
    decide,
    founding_entry,
    misplaced,
)


def key(node_id: int, disk: int = 0) -> ReplicaKey:
    return ReplicaKey(NodeId(node_id), UUID(int=node_id * 1000 + disk))


LISTED = tuple(ListedVoter(NodeId(node_id), "127.0.0.1", 9000 + node_id) for node_id in (1, 2, 3))
TOLD = tuple(map(str, LISTED))
VOTERS = VoterSet(tuple(Voter(key(each.node_id), each.host, each.port) for each in LISTED))
FOUNDATION = Foundation(cluster_id_of(VOTERS), VOTERS)


def answers(*given: Answer) -> dict[NodeId, Answer]:
    return {each.key.node_id: each for each in given}


def empty(node_id: int, disk: int = 0, told: tuple[str, ...] = TOLD) -> Answer:
    return Answer(key(node_id, disk), told, None)


def founded(node_id: int, disk: int = 0, foundation: Foundation = FOUNDATION) -> Answer:
    return Answer(key(node_id, disk), TOLD, foundation)


OTHER = Foundation("other", None)
ALL_EMPTY = answers(empty(2), empty(3))
COPY = Answer(ReplicaKey(NodeId(3), key(2).directory_id), TOLD, None)


def test_everybody_is_empty_and_everything_follows() -> None:
    verdicts = [
        decide(key(1), LISTED, answers(empty(2), empty(3))),
        decide(key(2), LISTED[::-1], answers(empty(3), empty(1))),
        decide(key(3), LISTED, answers(empty(2), founded(1))),
    ]
    assert verdicts == [Found(FOUNDATION.cluster_id, founding_entry(VOTERS))] * 3
    assert len(FOUNDATION.cluster_id) == 22


def test_the_cluster_id_is_the_same_for_ever() -> None:
    """It is written to disks: how it is derived must not change."""
    assert cluster_id_of(VOTERS) == "CDASbHuwhLSbrPL0wXPPOg"


def test_one_voter_alone() -> None:
    verdict = decide(key(1), LISTED[:1], {})
    assert isinstance(verdict, Found) and verdict.entry.offset == 0 and verdict.entry.epoch == 0


def test_a_node_that_waits_says_for_whom() -> None:
    verdict = decide(key(1), LISTED, answers(empty(3)))
    assert str(verdict) == "waiting for 2@127.0.0.1:9002"
    assert isinstance(decide(key(9), LISTED, answers(empty(1), empty(2), empty(3))), Wait)


def test_the_first_founder_is_enough_to_join() -> None:
    assert isinstance(decide(key(2), LISTED, answers(founded(1))), Found)


def test_a_new_disk_observes_and_knows_why() -> None:
    verdict = decide(key(2, disk=1), LISTED, answers(founded(1)))
    assert verdict == Observe(FOUNDATION.cluster_id, replaced=key(2))
    assert decide(key(4), LISTED, answers(founded(1))) == Observe(FOUNDATION.cluster_id)
    compacted = Foundation(FOUNDATION.cluster_id, None)
    assert decide(key(2), LISTED, answers(founded(1, foundation=compacted))) == Observe(FOUNDATION.cluster_id)


@pytest.mark.parametrize(
    ("verdict", "says"),
    [
        (decide(key(1), LISTED, answers(empty(2, told=TOLD[:2]))), "was told other voters"),
        (decide(key(1), LISTED, {NodeId(2): empty(3)}), "answers as node 3, not 2"),
        (decide(key(1), (*LISTED, LISTED[0]), {}), "stands twice"),
        (decide(key(1), LISTED, answers(founded(2, foundation=OTHER), founded(3))), "different clusters"),
        (decide(key(1), LISTED, answers(founded(2)), remembered_cluster_id="other"), "belongs to cluster other"),
        (decide(key(1), LISTED, answers(founded(2)), has_voted=True), "its disk lost data"),
        (decide(key(1), LISTED, ALL_EMPTY, has_voted=True), "is empty and no listed voter has one"),
        (decide(key(1), LISTED, ALL_EMPTY, remembered_cluster_id="other"), "belongs to cluster other"),
        (decide(key(1), LISTED, answers(empty(2), COPY)), "was copied"),
    ],
)
def test_what_waiting_cannot_mend_is_named(verdict: Verdict, says: str) -> None:
    assert isinstance(verdict, Conflict)
    assert says in str(verdict)


GROWN = VoterSet((*VOTERS.voters, Voter(key(4), "127.0.0.1", 9004)))
GROWN_WITHOUT_1 = VoterSet(GROWN.voters[1:])


def knows(node_id: int, current: VoterSet) -> Answer:
    return replace(founded(node_id), current=current)


@pytest.mark.parametrize(
    ("node_id", "listed", "told", "says"),
    [
        (1, LISTED[:1], answers(), "no listed voter has one"),  # alone: it would found itself again, with nothing in it
        (1, LISTED, ALL_EMPTY, "no listed voter has one"),
        (1, LISTED, answers(empty(2), founded(3)), "its disk lost data"),
        (3, LISTED, answers(founded(1), founded(2)), "its disk lost data"),
        (1, LISTED, answers(knows(2, GROWN_WITHOUT_1)), "its disk lost data"),  # it was removed since
        (4, LISTED, answers(knows(1, GROWN)), "its disk lost data"),
        (4, LISTED, answers(knows(1, GROWN), knows(2, VOTERS)), "its disk lost data"),  # 2 lags
    ],
)
def test_a_log_that_was_lost_with_its_votes_is_no_empty_one(
    node_id: int, listed: tuple[ListedVoter, ...], told: dict[NodeId, Answer], says: str
) -> None:
    """The cluster's id is remembered once entry 0 is on the disk, and the votes lie where the log does: who remembers a
    cluster that names it as a voter may have voted."""
    verdict = decide(key(node_id), listed, told, remembered_cluster_id=founded_by(len(listed)))
    assert isinstance(verdict, Conflict)
    assert says in str(verdict)


def founded_by(count: int) -> str:
    """The id of the cluster that the first voters of the list, so many of them, found."""
    return cluster_id_of(VoterSet(VOTERS.voters[:count]))


def test_an_observer_that_crashed_before_it_had_copied_anything_observes() -> None:
    verdict = decide(key(5), LISTED, answers(knows(1, GROWN)), remembered_cluster_id=FOUNDATION.cluster_id)
    assert verdict == Observe(FOUNDATION.cluster_id)
    verdict = decide(key(2, disk=1), LISTED, answers(knows(1, VOTERS)), remembered_cluster_id=FOUNDATION.cluster_id)
    assert verdict == Observe(FOUNDATION.cluster_id, replaced=key(2))


def test_who_may_have_been_added_waits_until_somebody_says_who_votes_now() -> None:
    """All start together: who answers first knows who founded the cluster, and not yet who was added since."""
    for has_voted, remembered in ((True, None), (False, FOUNDATION.cluster_id)):
        told = answers(founded(1))
        verdict = decide(key(4), LISTED, told, remembered_cluster_id=remembered, has_voted=has_voted)
        assert verdict == Wait((LISTED[0],))
        told = answers(knows(1, GROWN))
        verdict = decide(key(4), LISTED, told, remembered_cluster_id=remembered, has_voted=has_voted)
        assert isinstance(verdict, Conflict)


# --- a log that is not empty

ALONE = VoterSet((Voter(key(1), "127.0.0.1", 9001),))
ELSEWHERE = VoterSet(tuple(Voter(key(node_id), "127.0.0.1", 8000 + node_id) for node_id in (1, 2, 3)))
PAIR = Foundation("pair", VoterSet(VOTERS.voters[:2]))
MOVED_PAIR = Foundation("moved", VoterSet(tuple(replace(each, port=each.port - 1_000) for each in VOTERS.voters[:2])))


@pytest.mark.parametrize(
    ("own", "told", "refused"),
    [
        (FOUNDATION, answers(), False),
        (FOUNDATION, answers(empty(2), founded(3)), False),
        (FOUNDATION, answers(founded(2, foundation=OTHER), founded(3)), False),  # that one is misplaced
        (FOUNDATION, answers(founded(2, foundation=OTHER), founded(3, foundation=OTHER)), True),
        (FOUNDATION, answers(founded(1, foundation=OTHER), founded(2, foundation=OTHER)), True),  # an observer asks
        (Foundation("lonely", ALONE), answers(founded(3)), True),
        (Foundation("lonely", ALONE), answers(empty(2), empty(3)), False),
        (Foundation("far", ELSEWHERE), answers(founded(1)), True),
        (Foundation("compacted", None), answers(founded(2)), False),
        (Foundation("compacted", None), answers(founded(2), founded(3)), True),
        (PAIR, answers(founded(2, foundation=PAIR), founded(3, foundation=OTHER)), False),  # 3 was removed
        (PAIR, answers(founded(3, foundation=OTHER)), False),  # 2 is down, and may yet say so
        (PAIR, answers(empty(2), founded(3, foundation=OTHER)), False),
        (PAIR, answers(founded(2, foundation=OTHER), founded(3, foundation=OTHER)), True),
        (MOVED_PAIR, answers(founded(2, foundation=MOVED_PAIR), founded(3, foundation=OTHER)), False),
        (MOVED_PAIR, answers(founded(3, foundation=OTHER)), True),  # of its voters none is listed where it was
        (PAIR, answers(founded(2, disk=1, foundation=PAIR), founded(3, foundation=OTHER)), False),  # 2 was wiped
        (MOVED_PAIR, answers(founded(2, 1, MOVED_PAIR), founded(3, foundation=OTHER)), True),  # nor is it one of them
    ],
)
def test_a_directory_of_another_cluster_is_refused_and_its_neighbours_are_not(
    own: Foundation, told: dict[NodeId, Answer], refused: bool
) -> None:
    reason = misplaced(NodeId(1), LISTED, own, told)
    assert (reason is not None) == refused
    if reason is not None:
        assert f"this node's directory belongs to cluster {own.cluster_id}, but " in reason


@pytest.mark.parametrize(
    ("told", "refused"),
    [
        (answers(founded(3, foundation=OTHER)), True),  # its voters say nothing, and may be others than are listed
        (answers(empty(1), empty(2), founded(3, foundation=OTHER)), True),
        (answers(founded(1, foundation=PAIR), founded(3, foundation=OTHER)), False),
    ],
)
def test_an_observer_is_in_its_place_where_a_voter_of_its_cluster_says_so(
    told: dict[NodeId, Answer], refused: bool
) -> None:
    assert (misplaced(NodeId(4), LISTED, PAIR, told) is not None) == refused


# --- all orders


@dataclass
class Machine:
    """A node as the rule sees it: a disk, and what it has been told in the round under way."""

    node_id: int
    disk: int = 0
    cluster_id: str | None = None
    log: VoterSet | None = None
    observes: str | None = None
    heard: dict[NodeId, Answer] = field(default_factory=dict)

    @property
    def key(self) -> ReplicaKey:
        return key(self.node_id, self.disk)

    def answer(self) -> Answer:
        foundation = None if self.log is None else Foundation(cluster_id_of(self.log), self.log)
        return Answer(self.key, TOLD, foundation)


STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "ask", "ask", "crash", "half"]), st.integers(1, 3), st.integers(1, 3)),
    max_size=60,
)


@settings(max_examples=300, deadline=None, database=None)
@given(STEPS)
def test_a_crash_at_any_point_of_the_founding_changes_nothing(steps: list[tuple[str, int, int]]) -> None:
    """Nodes ask one another in any order and crash anywhere, also between the log ("half") and meta.properties."""
    nodes = {node_id: Machine(node_id) for node_id in (1, 2, 3)}
    for kind, node_id, other in steps:
        play(nodes, kind, nodes[node_id], other)
    for _ in range(3):
        for node in nodes.values():
            for other in nodes:
                play(nodes, "ask", node, other)
    assert [node.log for node in nodes.values()] == [VOTERS] * 3
    assert {node.cluster_id for node in nodes.values()} == {FOUNDATION.cluster_id}


def play(nodes: dict[int, Machine], kind: str, node: Machine, other: int) -> None:
    if node.log is not None:
        node.cluster_id = cluster_id_of(node.log)  # a start finishes what a crash left half done
        return
    if node.observes is not None:
        return
    if kind == "crash":
        node.heard.clear()
        return
    if other != node.node_id:
        node.heard[NodeId(other)] = nodes[other].answer()
    verdict = decide(node.key, LISTED, node.heard, remembered_cluster_id=node.cluster_id)
    assert not isinstance(verdict, Conflict), verdict
    if isinstance(verdict, Found):
        assert isinstance(verdict.entry.body, VoterSet)
        node.log = verdict.entry.body
        if kind == "half":
            node.heard.clear()
            return
        node.cluster_id = verdict.cluster_id
    elif isinstance(verdict, Observe):
        node.observes = verdict.cluster_id


@settings(max_examples=200, deadline=None, database=None)
@given(st.permutations([1, 2, 3]), st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=40))
def test_two_wiped_voters_of_three_found_nothing(order: list[int], asks: list[tuple[int, int]]) -> None:
    nodes = {node_id: Machine(node_id, cluster_id=FOUNDATION.cluster_id, log=VOTERS) for node_id in (1, 2, 3)}
    for node_id in order[:2]:
        nodes[node_id] = Machine(node_id, disk=1)
    for node_id, other in asks:
        play(nodes, "ask", nodes[node_id], other)
    for node_id in order[:2]:
        assert nodes[node_id].log is None
    for node_id in order[:2]:
        play(nodes, "ask", nodes[node_id], order[2])
        assert nodes[node_id].observes == FOUNDATION.cluster_id


@settings(max_examples=200, deadline=None, database=None)
@given(
    st.sets(st.integers(1, 3), min_size=1).map(sorted),
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=40),
)
def test_voters_that_lost_their_logs_never_begin_again(lost: list[int], asks: list[tuple[int, int]]) -> None:
    """One, two or all of them, whatever they hear of one another: their directory ids are there, and the cluster's."""
    nodes = {node_id: Machine(node_id, cluster_id=FOUNDATION.cluster_id, log=VOTERS) for node_id in (1, 2, 3)}
    for node_id in lost:
        nodes[node_id].log = None
    for node_id, other in asks:
        node = nodes[node_id]
        if node_id not in lost:
            continue
        if other != node_id:
            node.heard[NodeId(other)] = nodes[other].answer()
        verdict = decide(node.key, LISTED, node.heard, remembered_cluster_id=node.cluster_id)
        assert isinstance(verdict, Wait | Conflict), verdict
