"""How a cluster begins: the first start needs everybody.

A cluster is founded only when *every* listed voter says that its quorum log is empty, under which directory id it
lives, and that it was told the same voters. Entry 0 is then the voter set with these directory ids, and the cluster id
follows from it alone, so that each voter writes the same bytes whenever it comes to it, and a crash changes nothing.

Why that is safe: a directory id is on disk before any answer, so a voter that answered and then crashed comes back as
the same replica or, wiped, as another one. A wiped voter finds the others founded and observes; two wiped voters of
three cannot found a second cluster, since the third does not answer that it is empty, and cannot elect each other,
since votes go by directory id. Invariants: once one voter has written entry 0, `decide` founds nothing else anywhere;
nothing is founded on a guess about a voter that does not answer.

Pure: the broker asks everybody (`Quorum.Describe`), again and again, and acts on the verdict over the answers of one
such round. A replica is empty by its log. That may have been lost, and the vote with it, which lies in the same
directory, while meta.properties beside them still name the directory and the cluster. So the cluster's id counts as a
vote: it is written after entry 0 is on the disk, or by an observer, of whom no voter set speaks before it has copied
the log. A replica that is not empty belongs where its log says; `misplaced` tells where that is not among the voters
that it was told.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from raft.events import Entry, Epoch, NodeId, Offset, ReplicaKey, Voter, VoterSet


@dataclass(frozen=True, slots=True, order=True)
class ListedVoter:
    """A voter as the operator wrote it: its directory is not known yet."""

    node_id: NodeId
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.node_id}@{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Foundation:
    """What a founded log says of itself. `voters`: entry 0, or where that has gone the set in the latest snapshot."""

    cluster_id: str
    voters: VoterSet | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a listed voter said. `foundation` None: its quorum log is empty."""

    key: ReplicaKey
    listed: tuple[str, ...]  # the voters that it was told, as `str(ListedVoter)`
    foundation: Foundation | None
    current: VoterSet | None = None  # the voters in force, as far as it knows; None while it starts


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet. `silent`: the voters that have not answered, or not what has to be known."""

    silent: tuple[ListedVoter, ...]

    def __str__(self) -> str:
        return "waiting for " + ", ".join(map(str, self.silent))


@dataclass(frozen=True, slots=True)
class Found:
    """Write `entry` as entry 0 of the empty log, then start as a voter of it."""

    cluster_id: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Observe:
    """Start with an empty log, as an observer of a cluster that exists.

    `replaced`: its voter set has this node's id with another directory, so an operator must remove that voter and add
    this one before it counts again.
    """

    cluster_id: str
    replaced: ReplicaKey | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """This cannot become right by waiting: an operator must act."""

    reason: str

    def __str__(self) -> str:
        return self.reason


Verdict = Wait | Found | Observe | Conflict


def cluster_id_of(voters: VoterSet) -> str:
    """22 characters, as Kafka's ids look: 16 bytes of a digest of the sorted voters with their directory ids."""
    lines = [
        f"{voter.key.node_id}@{voter.host}:{voter.port}/{voter.key.directory_id.hex}"
        for voter in sorted(voters.voters, key=lambda voter: voter.key)
    ]
    return urlsafe_b64encode(sha256("\n".join(lines).encode()).digest()[:16]).decode().rstrip("=")


def founding_entry(voters: VoterSet) -> Entry:
    """Entry 0, in epoch 0, before any leader: the same on every voter."""
    return Entry(Offset(0), 1, Epoch(0), voters)


def decide(
    key: ReplicaKey,
    listed: Sequence[ListedVoter],
    answers: Mapping[NodeId, Answer],
    *,
    remembered_cluster_id: str | None = None,
    has_voted: bool = False,
) -> Verdict:
    """What a replica with an *empty* quorum log is to do, by the answers so far (its own not among them).

    `answers` are by the listed id that was asked. `remembered_cluster_id` is what meta.properties holds: this replica
    was in that cluster. `has_voted`: an epoch is stored. Either way this log was not always empty, unless the replica
    only observed.
    """
    listed = sorted(listed)
    wrong = _contradiction(listed, answers)
    if wrong is not None:
        return Conflict(wrong)
    founded = [answers[voter.node_id] for voter in listed if _is_founded(answers.get(voter.node_id))]
    if founded:
        joined = _join(key, founded, remembered_cluster_id, has_voted)
        starting = tuple(voter for voter in listed if _is_starting(answers.get(voter.node_id)))
        if isinstance(joined, Observe) and starting and (has_voted or remembered_cluster_id is not None):
            return Wait(starting)  # this replica may have become a voter since the founding
        return joined
    silent = tuple(voter for voter in listed if voter.node_id != key.node_id and voter.node_id not in answers)
    if all(voter.node_id != key.node_id for voter in listed):
        return Wait(silent or tuple(listed))
    verdict = _found(key, listed, answers, silent)
    if isinstance(verdict, Found) and (has_voted or remembered_cluster_id is not None):
        return _lost(key, remembered_cluster_id)
    return verdict


def misplaced(
    node_id: NodeId, listed: Sequence[ListedVoter], own: Foundation, answers: Mapping[NodeId, Answer]
) -> str | None:
    """Why a replica whose log is *not* empty cannot belong among these listed voters; None where it may.

    Who answers from another cluster may be the one that is misplaced, or may have been removed from this one and serve
    another by now. It is this replica where so many of its voters are in another cluster that the rest could elect
    nobody; or where its own voter set does not know who answers so, and no other listed voter says that it votes in
    this replica's cluster. One that votes there itself waits for their word, since alone it elects nobody.
    """
    own_voters = tuple(listed) if own.voters is None else tuple(map(as_listed, own.voters.voters))
    elsewhere = [voter for voter in listed if _is_elsewhere(own, answers.get(voter.node_id))]
    lost = [voter for voter in elsewhere if voter in own_voters]
    others = [voter for voter in listed if voter.node_id != node_id]
    votes = any(voter.node_id == node_id for voter in own_voters)
    at_home = any(
        _is_at_home(own, answers.get(voter.node_id)) or (votes and voter in own_voters and voter not in elsewhere)
        for voter in others
    )
    if (len(lost) == len(elsewhere) or at_home) and 2 * (len(own_voters) - len(lost)) > len(own_voters):
        return None
    return (
        f"this node's directory belongs to cluster {own.cluster_id}, but {', '.join(map(str, elsewhere))} to "
        f"{', '.join(strangers_in(own, answers))}: give it the data directory or the voters that belong together"
    )


def strangers_in(own: Foundation, answers: Mapping[NodeId, Answer]) -> list[str]:
    """The ids of the other clusters that the answers tell of, sorted."""
    foundations = [answer.foundation for answer in answers.values() if answer.foundation is not None]
    return sorted({each.cluster_id for each in foundations} - {own.cluster_id})


def as_listed(voter: Voter) -> ListedVoter:
    """As an operator would list it."""
    return ListedVoter(voter.key.node_id, voter.host, voter.port)


def _is_elsewhere(own: Foundation, answer: Answer | None) -> bool:
    return answer is not None and answer.foundation is not None and answer.foundation.cluster_id != own.cluster_id


def _is_starting(answer: Answer | None) -> bool:
    """Whether it knows who founded the cluster, and cannot say yet who votes now."""
    return answer is not None and answer.foundation is not None and answer.current is None


def _is_at_home(own: Foundation, answer: Answer | None) -> bool:
    """Whether this is a voter of our own cluster, by its own word; it may have moved to where it is listed."""
    if answer is None or answer.foundation is None or answer.foundation.cluster_id != own.cluster_id:
        return False
    return own.voters is None or any(answer.key == each.key for each in own.voters.voters)


def _found(
    key: ReplicaKey, listed: Sequence[ListedVoter], answers: Mapping[NodeId, Answer], silent: tuple[ListedVoter, ...]
) -> Verdict:
    told = tuple(map(str, listed))
    for voter in listed:
        answer = answers.get(voter.node_id)
        if answer is not None and voter.node_id != key.node_id and answer.listed != told:
            return Conflict(
                f"node {voter.node_id} was told other voters ({', '.join(answer.listed) or 'none'}) than this node "
                f"({', '.join(told)}): start every node with the same controller.quorum.voters"
            )
    if silent:
        return Wait(silent)
    voters = VoterSet(
        tuple(
            Voter(key if voter.node_id == key.node_id else answers[voter.node_id].key, voter.host, voter.port)
            for voter in listed
        )
    )
    return Found(cluster_id_of(voters), founding_entry(voters))


def _join(key: ReplicaKey, founded: Sequence[Answer], remembered: str | None, has_voted: bool) -> Verdict:
    foundations = [answer.foundation for answer in founded if answer.foundation is not None]
    cluster_ids = sorted({each.cluster_id for each in foundations})
    if len(cluster_ids) > 1:
        return Conflict(f"the listed voters belong to different clusters: {', '.join(cluster_ids)}")
    cluster_id = cluster_ids[0]
    if remembered is not None and remembered != cluster_id:
        return Conflict(
            f"this node's directory belongs to cluster {remembered}, the listed voters to {cluster_id}: "
            "give it an empty data directory, or the right voters"
        )
    sets = [each.voters for each in foundations if each.voters is not None]
    sets += [each.current for each in founded if each.current is not None]  # the last word on who votes now
    voters = sets[-1] if sets else None
    own = _voter(key.node_id, voters)
    founders = next((each for each in sets if cluster_id_of(each) == cluster_id), None)
    founder = _voter(key.node_id, founders)
    votes = any(voter.key == key for each in sets for voter in each.voters)  # some who answer may lag
    if votes and (has_voted or remembered is not None):
        return Conflict(
            f"node {key.node_id} is a voter of cluster {cluster_id} and may have voted, yet its quorum log is empty: "
            "its disk lost data. Give it an empty (first) log directory: it then comes back as a new replica, copies "
            "what it had, and says which two commands make it a voter again (kraftpy quorum remove and add)"
        )
    if founders is not None and founder is not None and founder.key == key:
        return Found(cluster_id, founding_entry(founders))  # it did not come to writing it, as the others did
    return Observe(cluster_id, replaced=own.key if own is not None and own.key != key else None)


def _voter(node_id: NodeId, voters: VoterSet | None) -> Voter | None:
    return next((voter for voter in voters.voters if voter.key.node_id == node_id), None) if voters else None


def _lost(key: ReplicaKey, remembered: str | None) -> Conflict:
    """This replica was in a cluster, and nobody has its log any more: that is no reason to found another."""
    return Conflict(
        f"node {key.node_id} belongs to cluster {remembered or '(unknown)'}, but its quorum log is empty and no listed "
        "voter has one: restore a voter's data directory, or begin anew with empty directories everywhere"
    )


def _is_founded(answer: Answer | None) -> bool:
    return answer is not None and answer.foundation is not None


def _contradiction(listed: Sequence[ListedVoter], answers: Mapping[NodeId, Answer]) -> str | None:
    node_ids = [voter.node_id for voter in listed]
    if len(set(node_ids)) != len(node_ids):
        return f"a node id stands twice among the voters: {', '.join(map(str, listed))}"
    directories: dict[UUID, NodeId] = {}
    for voter in listed:
        answer = answers.get(voter.node_id)
        if answer is None:
            continue
        if answer.key.node_id != voter.node_id:
            return f"{voter.host}:{voter.port} answers as node {answer.key.node_id}, not {voter.node_id} as listed"
        other = directories.setdefault(answer.key.directory_id, voter.node_id)
        if other != voter.node_id:
            return f"nodes {other} and {voter.node_id} have the same directory id: a data directory was copied"
    return None
