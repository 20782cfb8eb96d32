"""The rules of changing voters, case by case (KIP-853)."""

from uuid import UUID

import pytest

from broker.quorum.membership import Behind, candidate, how_far_behind, with_voter, without_voter
from kraftpy.errors import DuplicateVoterError, InvalidRequestError, InvalidVoterKeyError, VoterNotFoundError
from kraftpy.runtime.ports import Address
from raft.events import Epoch, NodeId, Offset, ReplicaKey, Voter, VoterSet
from raft.status import QuorumStatus, ReplicaStatus

SILENCE_MS = 1_500
END = 100


def key(node_id: int, disk: int = 0) -> ReplicaKey:
    return ReplicaKey(NodeId(node_id), UUID(int=node_id + 1_000 * disk))


def replica(
    node_id: int, disk: int = 0, *, voter: bool = True, end: int = END, age_ms: int | None = 5
) -> ReplicaStatus:
    return ReplicaStatus(key(node_id, disk), voter, Offset(end), age_ms, age_ms)


def status(*replicas: ReplicaStatus) -> QuorumStatus:
    """As replica 1, which leads, sees them."""
    voters = VoterSet(tuple(Voter(each.key, f"n{each.key.node_id}", 9093) for each in replicas if each.is_voter))
    one, end = NodeId(1), Offset(END)
    return QuorumStatus(key(1), "leader", Epoch(1), one, end, Offset(0), end, end, voters, replicas)


def ids(voters: VoterSet) -> list[int]:
    return [voter.key.node_id for voter in voters.voters]


THREE = (replica(1), replica(2), replica(3))


def test_an_observer_that_has_caught_up_joins_in_the_order_of_ids() -> None:
    quorum = status(replica(1), replica(5), replica(3, voter=False))
    found = candidate(quorum, 3, None)
    assert isinstance(found, ReplicaStatus) and how_far_behind(found, Offset(END), SILENCE_MS) is None
    assert quorum.voters is not None
    assert ids(with_voter(quorum.voters, found, Address("n3", 1))) == [1, 3, 5]


def test_a_broker_only_cannot_vote() -> None:
    quorum = status(*THREE)
    assert quorum.voters is not None
    with pytest.raises(InvalidRequestError, match=r"node 4 is a broker only: start it with process\.roles"):
        with_voter(quorum.voters, replica(4, voter=False), None)


def test_a_voter_cannot_be_added_again_and_its_old_disk_is_named() -> None:
    with pytest.raises(DuplicateVoterError, match="node 2 is a voter already"):
        candidate(status(*THREE), 2, None)
    wiped = status(*THREE, replica(2, disk=1, voter=False))
    with pytest.raises(DuplicateVoterError, match="kraftpy quorum remove 2 --directory-id AAAAAAAAAAAAAAAAAAAAAg"):
        candidate(wiped, 2, key(2, 1).directory_id)


def test_an_observer_is_waited_for_while_it_is_not_there() -> None:
    unheard = candidate(status(*THREE), 4, None)
    assert isinstance(unheard, Behind) and "node 4 does not fetch" in unheard.reason
    silent = how_far_behind(replica(4, voter=False, age_ms=2_000), Offset(END), SILENCE_MS)
    assert silent is not None and "has not been heard for 2000 ms" in silent.reason
    short = how_far_behind(replica(4, voter=False, end=60), Offset(END), SILENCE_MS)
    assert short is not None and short.reason == "node 4 has the log up to 60, and needs it up to 100"


def test_of_two_disks_of_an_observer_the_living_one_is_meant() -> None:
    quorum = status(*THREE, replica(4, voter=False, age_ms=9_000), replica(4, disk=1, voter=False))
    found = candidate(quorum, 4, None)
    assert isinstance(found, ReplicaStatus) and found.key == key(4, 1)
    with pytest.raises(InvalidVoterKeyError, match="node 4 fetches from directory"):
        candidate(quorum, 4, key(4).directory_id)


def test_a_voter_is_removed_also_one_that_is_dead() -> None:
    assert ids(without_voter(status(*THREE), 1, None, SILENCE_MS, force=False)) == [2, 3]
    dead = status(replica(1), replica(2), replica(3, age_ms=None))
    assert ids(without_voter(dead, 3, key(3).directory_id, SILENCE_MS, force=False)) == [1, 2]


@pytest.mark.parametrize("age_ms", [None, 9_000])
def test_no_living_majority_is_left_only_by_force(age_ms: int | None) -> None:
    quorum = status(replica(1), replica(2), replica(3, age_ms=age_ms))
    with pytest.raises(
        InvalidRequestError, match=r"would be 1, 3, of which 3 cannot be heard: no majority .* stand still"
    ):
        without_voter(quorum, 2, None, SILENCE_MS, force=False)
    assert ids(without_voter(quorum, 2, None, SILENCE_MS, force=True)) == [1, 3]


def test_what_does_not_vote_cannot_be_removed() -> None:
    with pytest.raises(VoterNotFoundError, match="node 4 is no voter; the voters are 1, 2, 3"):
        without_voter(status(*THREE), 4, None, SILENCE_MS, force=True)
    with pytest.raises(VoterNotFoundError, match="node 3 votes with directory"):
        without_voter(status(*THREE), 3, key(3, 1).directory_id, SILENCE_MS, force=True)


def test_the_last_voter_stays() -> None:
    with pytest.raises(InvalidRequestError, match="node 1 is the only voter"):
        without_voter(status(replica(1)), 1, None, SILENCE_MS, force=True)
