"""A core that is told nonsense: by other replicas, or by somebody who pretends to be one. It answers, and serves on."""

from collections.abc import Sequence
from random import Random
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from raft.config import RaftConfig
from raft.core import RaftCore
from raft.errors import QuorumBroken
from raft.events import (
    BeginQuorumEpochRequest,
    EndQuorumEpochRequest,
    Entry,
    Epoch,
    EpochResponse,
    Event,
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    LogPosition,
    NodeId,
    Offset,
    Persisted,
    ReplicaKey,
    Request,
    RequestId,
    RequestReceived,
    Respond,
    RespondEntries,
    RespondSnapshot,
    Response,
    ResponseReceived,
    Send,
    SnapshotId,
    SnapshotTaken,
    TimePassed,
    Voter,
    VoteRequest,
    VoteResponse,
    VoterSet,
)
from raft.log_shape import StoredLog

KEYS = [ReplicaKey(NodeId(node_id), UUID(int=node_id)) for node_id in (1, 2, 3)]
VOTERS = VoterSet(tuple(Voter(key, "n", 9093) for key in KEYS))
YOUNG = StoredLog(Offset(0), Offset(4), ((Epoch(0), Offset(0)), (Epoch(1), Offset(1))), ((Offset(1), VOTERS),), None)
OLD = StoredLog(
    Offset(4),
    Offset(9),
    ((Epoch(1), Offset(4)), (Epoch(3), Offset(6))),
    ((Offset(4), VOTERS),),
    SnapshotId(Epoch(1), Offset(5)),
)

numbers = st.one_of(st.integers(-2, 12), st.sampled_from([-(2**63), 2**31, 2**63 - 1]))
epochs = st.one_of(st.integers(-1, 5).map(Epoch), st.sampled_from([Epoch(-(2**31)), Epoch(2**31 - 1)]))
offsets = numbers.map(Offset)
nodes = st.integers(-1, 5).map(NodeId)
keys = st.builds(ReplicaKey, nodes, st.integers(1, 5).map(lambda number: UUID(int=number)))
positions = st.builds(LogPosition, epochs, offsets)
snapshots = st.builds(SnapshotId, epochs, offsets)
some_nodes = st.lists(nodes, max_size=5).map(tuple)
entries = st.lists(st.builds(Entry, offsets, numbers, epochs, st.just(b"x")), max_size=3).map(tuple)
chunks = st.sampled_from([b"", b"xx"])
leaders = st.one_of(st.none(), nodes)
requests: st.SearchStrategy[Request] = st.one_of(
    st.builds(VoteRequest, keys, st.one_of(st.none(), keys), epochs, positions, st.booleans()),
    st.builds(BeginQuorumEpochRequest, nodes, epochs),
    st.builds(EndQuorumEpochRequest, nodes, epochs, some_nodes),
    st.builds(FetchRequest, keys, epochs, positions, offsets, numbers, numbers),
    st.builds(FetchSnapshotRequest, keys, epochs, snapshots, numbers, numbers),
)
responses: st.SearchStrategy[Response] = st.one_of(
    st.builds(VoteResponse, epochs, leaders, st.booleans()),
    st.builds(EpochResponse, epochs, leaders),
    st.builds(
        FetchResponse,
        st.booleans(),
        epochs,
        leaders,
        offsets,
        numbers,
        st.one_of(st.none(), positions),
        st.one_of(st.none(), snapshots),
        entries,
    ),
    st.builds(FetchSnapshotResponse, st.booleans(), epochs, leaders, snapshots, numbers, numbers, chunks),
)
logs = st.sampled_from([OLD, YOUNG])
questions = st.lists(st.one_of(requests, responses, st.integers(0, 2_000)), max_size=25)


class Victim:
    """A core with its disk played: what it appends is durable at the next step of time."""

    def __init__(self, log: StoredLog) -> None:
        self.core = RaftCore(RaftConfig(), KEYS[0], log, None, Random(0), 0)
        self.now_ms = 0
        self.asked = RequestId(0)
        self.owed: dict[RequestId, Request] = {}

    def step(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self.owed[event.request_id] = event.request
        for effect in self.core.step(event).items:
            if isinstance(effect, Send):
                self.asked = effect.request_id
            if isinstance(effect, Respond | RespondEntries | RespondSnapshot):
                assert self.owed.pop(effect.request_id, None), f"{effect.request_id} is answered twice"
            if isinstance(effect, RespondEntries):
                assert self.core.log.start_offset <= effect.offset < effect.end_offset <= self.core.log.end_offset
            if isinstance(effect, RespondSnapshot):
                assert effect.request.position >= 0 and effect.request.size_max >= 1

    def hear(self, question: Request | Response | int, number: int) -> None:
        if isinstance(question, int):
            self.now_ms += question
            self.step(Persisted(self.now_ms, self.core.log.end_offset))
            self.step(TimePassed(self.now_ms))
        elif isinstance(question, Request):
            self.step(RequestReceived(self.now_ms, RequestId(number), question))
        else:
            self.step(ResponseReceived(self.now_ms, self.asked, NodeId(2), question))

    def elect(self) -> None:
        """Until it leads, with the votes of node 2."""
        self.step(TimePassed(self.now_ms))
        while self.core.role.name != "leader":
            self.hear(1_000, 0)
            for _ in range(2):
                first_asked = RequestId(self.asked - 1)
                answer = VoteResponse(self.core.epoch, None, True)
                self.step(ResponseReceived(self.now_ms, first_asked, NodeId(2), answer))
        self.step(Persisted(self.now_ms, self.core.log.end_offset))
        position = LogPosition(self.core.epoch, self.core.log.end_offset)
        fetch = FetchRequest(KEYS[1], self.core.epoch, position, Offset(0), 0, 0)
        self.step(RequestReceived(self.now_ms, RequestId(1), fetch))
        if self.core.log.snapshot is not None:
            self.step(SnapshotTaken(self.now_ms, SnapshotId(Epoch(3), Offset(8))))


@settings(max_examples=500, deadline=None, database=None)
@given(logs, st.lists(st.tuples(st.sampled_from(KEYS[1:]), positions, offsets, numbers, numbers), max_size=8))
def test_a_leader_survives_fetches_from_anywhere(
    log: StoredLog, fetches: list[tuple[ReplicaKey, LogPosition, Offset, int, int]]
) -> None:
    """In its own epoch, so that they are looked at."""
    victim = Victim(log)
    victim.elect()
    told(victim, [FetchRequest(key, victim.core.epoch, at, mark, *rest) for key, at, mark, *rest in fetches])
    assert victim.core.role.name == "leader"


def told(victim: Victim, asked: Sequence[Request | Response | int]) -> None:
    """`QuorumBroken` is an answer too: the replica stops rather than go on with what cannot be."""
    try:
        for number, question in enumerate(asked, 10):
            victim.hear(question, number)
    except QuorumBroken:
        return
    assert all(isinstance(request, FetchRequest) for request in victim.owed.values()), "only fetches are parked"
    assert len(victim.owed) <= 30


@settings(max_examples=300, deadline=None, database=None)
@given(logs, questions)
def test_a_leader_survives_nonsense(log: StoredLog, asked: list[Request | Response | int]) -> None:
    victim = Victim(log)
    victim.elect()
    told(victim, asked)


@settings(max_examples=300, deadline=None, database=None)
@given(logs, questions)
def test_a_voter_survives_nonsense(log: StoredLog, asked: list[Request | Response | int]) -> None:
    told(Victim(log), asked)
