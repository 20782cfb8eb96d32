"""What a change of the voters must be like (KIP-853): the rules, with Kafka's error names. Pure.

| refused | with |
|---|---|
| adding an id that votes already, on whatever disk | DUPLICATE_VOTER |
| adding what does not fetch from the leader | REQUEST_TIMED_OUT, after waiting for it |
| adding an observer that has not caught up, or fell silent | REQUEST_TIMED_OUT, after waiting for it |
| adding a broker without the controller role | INVALID_REQUEST |
| a directory id that is not the one of that node's replica | INVALID_VOTER_KEY |
| removing what does not vote (that id, on that disk) | VOTER_NOT_FOUND |
| removing the last voter, or one without which no living majority is left | INVALID_REQUEST |

One voter at a time: two sets that follow each other differ in one replica, so any majority of the one meets any
majority of the other. Caught up first: a voter that lacks most of the log would count towards every majority and could
not help to reach one.
"""

from dataclasses import dataclass
from uuid import UUID

from kraftpy.errors import DuplicateVoterError, InvalidRequestError, InvalidVoterKeyError, VoterNotFoundError
from kraftpy.runtime.ports import Address
from kraftpy.shown_ids import shown_id
from raft.events import NodeId, Offset, ReplicaKey, Voter, VoterSet
from raft.status import QuorumStatus, ReplicaStatus


@dataclass(frozen=True, slots=True)
class Behind:
    """Why an observer cannot vote yet; waiting may help."""

    reason: str


def candidate(status: QuorumStatus, node_id: int, directory_id: UUID | None) -> ReplicaStatus | Behind:
    """The observer that is to vote: the one that was heard last under this id, or the one on that directory.

    Raises `DuplicateVoterError`; `InvalidVoterKeyError` where the node is there, on another directory.
    """
    present = _voter(status, node_id)
    if present is not None:
        raise DuplicateVoterError(_already(present, directory_id))
    heard = [each for each in status.replicas if each.key.node_id == node_id and each.last_fetch_age_ms is not None]
    if not heard:
        return Behind(
            f"node {node_id} does not fetch from the quorum's leader (is it started, with this cluster's nodes?)"
        )
    found = min(heard, key=lambda each: each.last_fetch_age_ms or 0)
    if directory_id is not None and found.key.directory_id != directory_id:
        asked, own = _shown(directory_id), _shown(found.key.directory_id)
        raise InvalidVoterKeyError(f"node {node_id} fetches from directory {own}, not from {asked}")
    return found


def how_far_behind(observer: ReplicaStatus, goal: Offset, silence_ms_max: int) -> Behind | None:
    """None where `observer` has everything below `goal` and is heard."""
    age_ms = observer.last_fetch_age_ms
    if age_ms is None or age_ms > silence_ms_max:
        return Behind(f"node {observer.key.node_id} has not been heard for {age_ms} ms")
    if observer.end_offset < goal:
        return Behind(f"node {observer.key.node_id} has the log up to {observer.end_offset}, and needs it up to {goal}")
    return None


def with_voter(voters: VoterSet, observer: ReplicaStatus, address: Address | None) -> VoterSet:
    """The set with one more. `address` None: it has not said where it takes calls, so it is no controller.

    Raises `InvalidRequestError`.
    """
    key = observer.key
    if address is None:
        raise InvalidRequestError(
            f"node {key.node_id} is a broker only: start it with process.roles=broker,controller before it can vote "
            "(or it runs release 0.1: upgrade it first)"
        )
    voter = Voter(key, address.host, address.port)
    return VoterSet(tuple(sorted((*voters.voters, voter), key=lambda each: each.key)))


def without_voter(
    status: QuorumStatus, node_id: int, directory_id: UUID | None, silence_ms_max: int, *, force: bool
) -> VoterSet:
    """The set with one less.

    Raises `VoterNotFoundError`, and `InvalidRequestError` where the others, as far as they have been heard within
    `silence_ms_max`, are no majority of themselves (unless `force`), or nobody would be left.
    """
    assert status.voters is not None
    present = _voter(status, node_id)
    if present is None:
        listed = ", ".join(str(each.key.node_id) for each in status.voters.voters)
        raise VoterNotFoundError(f"node {node_id} is no voter; the voters are {listed}")
    if directory_id is not None and present.key.directory_id != directory_id:
        asked, own = _shown(directory_id), _shown(present.key.directory_id)
        raise VoterNotFoundError(f"node {node_id} votes with directory {own}, not with {asked}")
    left = [each for each in status.voters.voters if each != present]
    if not left:
        raise InvalidRequestError(f"node {node_id} is the only voter: add another one first")
    silent = [each.key.node_id for each in left if not _is_heard(status, each, silence_ms_max)]
    if not force and 2 * (len(left) - len(silent)) <= len(left):
        raise InvalidRequestError(
            f"without node {node_id} the voters would be {', '.join(str(each.key.node_id) for each in left)}, of which "
            f"{', '.join(map(str, silent))} cannot be heard: no majority would be left, and the cluster would stand "
            "still until they come back. Start them, or remove them first (force it only if they are about to return)"
        )
    return VoterSet(tuple(left))


def with_address(voters: VoterSet, key: ReplicaKey, address: Address) -> VoterSet:
    """The same replicas, one of them at another address (KIP-853's UpdateRaftVoter)."""
    moved = Voter(key, address.host, address.port)
    return VoterSet(tuple(moved if voter.key == key else voter for voter in voters.voters))


def _already(present: Voter, directory_id: UUID | None) -> str:
    node_id, own = present.key.node_id, _shown(present.key.directory_id)
    if directory_id in (None, present.key.directory_id):
        return f"node {node_id} is a voter already, with directory {own}"
    return (
        f"node {node_id} is a voter with another directory, {own}. If that disk is gone, remove it first: "
        f"kraftpy quorum remove {node_id} --directory-id {own}"
    )


def _voter(status: QuorumStatus, node_id: int) -> Voter | None:
    voters = status.voters.voters if status.voters is not None else ()
    return next((voter for voter in voters if voter.key.node_id == NodeId(node_id)), None)


def _is_heard(status: QuorumStatus, voter: Voter, silence_ms_max: int) -> bool:
    ages_ms = [each.last_fetch_age_ms for each in status.replicas if each.key == voter.key]
    return any(age_ms is not None and age_ms <= silence_ms_max for age_ms in ages_ms)


def _shown(directory_id: UUID) -> str:
    return shown_id(directory_id.bytes)
