"""A whole quorum in one heap of events: cores, dumb disks, a network that misbehaves, and a witness that judges.

Time is a number, chance one seeded generator, so a seed is a history. After every event the witness checks the quorum's
invariants (`tests.raft.invariants`); a deadline that does not move, a request answered twice or an answer nobody asked
for is a violation as well.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from random import Random
from uuid import UUID
from zlib import crc32

from raft.config import RaftConfig
from raft.core import RaftCore
from raft.events import (
    AnswerProposal,
    AnswerRead,
    Append,
    ApplyUpTo,
    BecameLeader,
    DropLogBefore,
    Effect,
    Entry,
    Epoch,
    Event,
    FetchRequest,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    LeaderKnown,
    LoadSnapshot,
    NodeId,
    Offset,
    Persisted,
    PersistVote,
    Proposed,
    ReadRequested,
    ReplicaKey,
    RequestFailed,
    RequestId,
    RequestReceived,
    Resigned,
    Respond,
    RespondEntries,
    RespondSnapshot,
    Response,
    ResponseReceived,
    Send,
    SnapshotId,
    SnapshotReceived,
    SnapshotTaken,
    TimePassed,
    TransferRequested,
    Truncate,
    Voter,
    VoterChangeRequested,
    VoteRequest,
    VoteResponse,
    VoterSet,
)
from raft.founding import founding_entry
from raft.log_shape import BEGINNING
from raft.stored import recover
from tests.raft.invariants import Violation, Witness, check_start
from tests.raft.memory_log import MemoryLog

SIMULATED = RaftConfig(fetch_bytes_max=4, snapshot_chunk_bytes_max=6)
MakeCore = Callable[..., RaftCore]


@dataclass(slots=True)
class Network:
    """`loss` and `duplication` of 1000 messages; latencies in ms, so a wide range reorders."""

    loss: int = 0
    duplication: int = 0
    latency_min_ms: int = 1
    latency_max_ms: int = 5
    blocked: dict[tuple[NodeId, NodeId], None] = field(default_factory=dict)


@dataclass(slots=True)
class Node:
    """A process and its disk. `core` is None while it is down."""

    key: ReplicaKey
    disk: MemoryLog
    core: RaftCore | None = None
    life: int = 0
    paused: bool = False
    inbox: list[Callable[[int], Event]] = field(default_factory=list)
    alarm: int = 0  # number of the deadline in force
    flush_ms_max: int = 8
    flushing: bool = False
    flush_cut: Offset | None = None
    applied_offset: Offset = BEGINNING
    digest: int = 0
    sent: dict[RequestId, Send] = field(default_factory=dict)
    asked: dict[RequestId, tuple[NodeId, int, Send]] = field(default_factory=dict)  # asker, its life, what it sent
    proposals: dict[RequestId, bytes] = field(default_factory=dict)
    reads: dict[RequestId, Offset] = field(default_factory=dict)  # what was committed when the read was asked
    download: tuple[SnapshotId, bytes] | None = None
    chunk_id: RequestId | None = None
    leads: Epoch | None = None  # before the step that is being done
    steps_until_crash: int | None = None

    @property
    def node_id(self) -> NodeId:
        return self.key.node_id


class Cluster:
    def __init__(
        self,
        voters: int,
        observers: int,
        seed: int,
        config: RaftConfig = SIMULATED,
        make_core: MakeCore = RaftCore,
        trace: list[str] | None = None,
    ) -> None:
        self.random = Random(seed)
        self.now_ms = 0
        self.config = config
        self.network = Network()
        self.witness = Witness()
        self.trace = trace
        self.trace_digest = 0
        self.events = 0
        self.lost_disks: dict[ReplicaKey, MemoryLog] = {}
        self.acknowledged: dict[bytes, Offset] = {}
        self.refused = 0
        self.reads_answered = 0
        self.snapshots_taken: list[SnapshotId] = []
        self._make_core = make_core
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._bodies = count()
        self._ids = count(1)
        self._directories = count(1)
        keys = [self._new_key(NodeId(node_id)) for node_id in range(1, voters + observers + 1)]
        self.founders = VoterSet(tuple(Voter(key, f"n{key.node_id}", 9093) for key in keys[:voters]))
        first = founding_entry(self.founders)
        self.nodes: dict[NodeId, Node] = {}
        for key in keys:
            is_voter = key.node_id <= voters
            self.nodes[key.node_id] = Node(key, MemoryLog([first] if is_voter else []))
        self.witness.appended(self.nodes[NodeId(1)].disk, (first,), None)
        self.witness.applied(first)

    def _new_key(self, node_id: NodeId) -> ReplicaKey:
        return ReplicaKey(node_id, UUID(int=next(self._directories)))

    # --- time

    def at(self, delay_ms: int, action: Callable[[], None]) -> None:
        heappush(self._heap, (self.now_ms + delay_ms, next(self._order), action))

    def run(self, duration_ms: int, events_max: int = 200_000) -> None:
        until_ms = self.now_ms + duration_ms
        for _ in range(events_max):
            if not self._heap or self._heap[0][0] > until_ms:
                self.now_ms = until_ms
                return
            self.now_ms, _, action = heappop(self._heap)
            action()
        raise Violation(f"livelock: {events_max} events in {duration_ms} ms")

    def note(self, line: str) -> None:
        text = f"{self.now_ms:6d} {line}"
        self.trace_digest = crc32(text.encode(), self.trace_digest)
        if self.trace is not None:
            self.trace.append(text)

    # --- lives

    def start(self, node_id: NodeId) -> None:
        node = self.nodes[node_id]
        if node.core is not None:
            return
        node.life += 1
        node.paused = node.flushing = False
        node.inbox.clear()
        node.applied_offset, node.digest = Offset(0), 0
        stored = recover(node.disk)  # type: ignore[arg-type]  # the disk's asynchronous half is played below
        node.disk.durable_end_offset = node.disk.end_offset
        if stored.snapshot is not None:
            self._load(node, stored.snapshot)
        bootstrap = tuple(voter.key.node_id for voter in self.founders.voters)
        node.core = self._make_core(self.config, node.key, stored, node.disk.vote, self.random, self.now_ms, bootstrap)
        self.note(f"{node_id} starts")
        self.step(node, TimePassed(self.now_ms))

    def crash(self, node_id: NodeId, lose: bool = True) -> None:
        node = self.nodes[node_id]
        if node.core is None:
            return
        self.note(f"{node_id} crashes")
        node.core = None
        node.steps_until_crash = None
        if lose:
            node.disk.crash(self.random)
        node.download = None
        for waiting in (node.sent, node.asked, node.proposals, node.reads):
            waiting.clear()
        for other in self.nodes.values():
            self._break_connections(other, node)

    def _break_connections(self, other: Node, node: Node) -> None:
        """Whoever waits for an answer from a process that died is told by the system, unless the network is cut."""
        for request_id, send in list(other.sent.items()):
            if send.to == node.node_id and other.core is not None and self._passes(node.node_id, other.node_id):
                self._fail(other, other.life, request_id, refused=True, delay_ms=self._latency_ms())

    def wipe(self, node_id: NodeId) -> None:
        """A new disk: another replica by the same id."""
        self.crash(node_id)
        node = self.nodes[node_id]
        self.lost_disks[node.key] = node.disk  # what was counted on it was counted rightly
        node.disk = MemoryLog()
        node.key = self._new_key(node_id)
        self.note(f"{node_id} gets a new disk")

    def pause(self, node_id: NodeId, duration_ms: int) -> None:
        node = self.nodes[node_id]
        if node.core is not None and not node.paused:
            node.paused = True
            life = node.life
            self.note(f"{node_id} is paused")
            self.at(duration_ms, lambda: self._resume(node, life))

    def _resume(self, node: Node, life: int) -> None:
        """What was received meanwhile is handled before any deadline is judged."""
        if node.life != life or node.core is None or not node.paused:
            return
        self.note(f"{node.node_id} goes on")
        node.paused = False
        waiting, node.inbox = node.inbox, []
        for make_event in waiting:
            if node.core is not None and node.life == life:
                self.step(node, make_event(self.now_ms))
        if node.core is not None and node.life == life:
            self.step(node, TimePassed(self.now_ms))

    # --- the core

    def deliver(self, node: Node, life: int, make_event: Callable[[int], Event]) -> None:
        if node.core is None or node.life != life:
            return
        if node.paused:
            node.inbox.append(make_event)
        else:
            self.step(node, make_event(self.now_ms))

    def step(self, node: Node, event: Event) -> None:
        core = node.core
        assert core is not None
        self.events += 1
        high_watermark, epoch, start = core.high_watermark, core.epoch, core.log.start_offset
        node.leads = core.epoch if core.role.name == "leader" else None
        self.note(f"{node.node_id} < {event}")
        effects = core.step(event)
        if core.high_watermark < high_watermark or core.epoch < epoch or core.log.start_offset < start:
            raise Violation(f"5 something goes back on {node.node_id}")
        if core.role.name == "leader":
            self._leads(node, core)
        for effect in effects.items:
            if node.steps_until_crash is not None:
                node.steps_until_crash -= 1
                if node.steps_until_crash < 0:
                    self.crash(node.node_id)
                    return
            self.note(f"{node.node_id} > {effect}")
            self._do(node, core, effect)
        self._check_shape(node, core)
        self._set_alarm(node, event, effects.deadline_ms)

    def _leads(self, node: Node, core: RaftCore) -> None:
        """Judged before the first deed of a new leader."""
        if self.witness.leaders.get(core.epoch) != (node.key, node.life):
            self.witness.became_leader(node.key, node.life, core.epoch, node.disk)

    def _check_shape(self, node: Node, core: RaftCore) -> None:
        log, disk = core.log, node.disk
        if (log.start_offset, log.end_offset) != (disk.start_offset, disk.end_offset):
            raise Violation(f"the core takes the log of {node.node_id} for another than it is")
        if log.durable_offset > disk.durable_end_offset:
            raise Violation(f"6 the core of {node.node_id} believes too much to be durable")
        if core.high_watermark > log.end_offset:
            raise Violation(f"5 the high watermark of {node.node_id} is beyond its log")

    def _check_voters(self, node: Node, core: RaftCore) -> None:
        expected = node.disk.voters_at(node.disk.end_offset)
        if core.voters != expected:
            raise Violation(f"the core of {node.node_id} counts {core.voters}, its log says {expected}")

    def _set_alarm(self, node: Node, event: Event, deadline_ms: int | None) -> None:
        if deadline_ms is not None and deadline_ms <= self.now_ms and isinstance(event, TimePassed):
            raise Violation(f"livelock: {node.node_id} wants to be woken at {deadline_ms}, and that was now")
        node.alarm += 1
        if deadline_ms is not None:
            alarm, life = node.alarm, node.life
            self.at(max(0, deadline_ms - self.now_ms), lambda: self._ring(node, life, alarm))

    def _ring(self, node: Node, life: int, alarm: int) -> None:
        if node.life == life and node.alarm == alarm and node.core is not None and not node.paused:
            self.step(node, TimePassed(self.now_ms))

    # --- effects

    def _do(self, node: Node, core: RaftCore, effect: Effect) -> None:
        match effect:
            case PersistVote():
                self.witness.voted(node.key, effect)
                node.disk.vote = effect
            case Append(entries):
                self.witness.appended(node.disk, entries, self._epoch_at_end(node))
                node.disk.append(entries)
                self._flush(node)
            case Truncate(end_offset):
                node.disk.truncate(end_offset)
                if not core.log.end_offset > end_offset:
                    self._check_voters(node, core)
                node.flush_cut = end_offset if node.flush_cut is None else min(node.flush_cut, end_offset)
            case LoadSnapshot(snapshot):
                self._check_load(node, snapshot)
                node.disk.reset_to(snapshot)
                node.flush_cut = Offset(0)
                self._load(node, snapshot)
            case DropLogBefore(start_offset):
                node.disk.drop_before(start_offset)
                check_start(node.disk, node.node_id, self.snapshots_taken)
            case Send():
                self._send(node, effect)
            case Respond(request_id, response):
                self._respond(node, request_id, response)
            case RespondEntries():
                entries = tuple(node.disk.read(effect.offset, effect.end_offset, effect.bytes_max))
                self._respond(node, effect.request_id, replace(effect.response, entries=entries))
            case RespondSnapshot():
                self._respond_chunk(node, effect)
            case AnswerProposal() | AnswerRead():
                self._answer(node, core, effect)
            case ApplyUpTo(high_watermark):
                if node.leads is not None:
                    self._check_committed(node, node.leads, core, high_watermark)
                self._apply(node, high_watermark)
            case BecameLeader(_, end_offset):
                assert node.applied_offset >= end_offset
            case LeaderKnown() | Resigned():
                pass

    def _epoch_at_end(self, node: Node) -> Epoch | None:
        disk = node.disk
        if disk.entries:
            return disk.entries[-1].epoch
        return next((each.epoch for each in disk.snapshots if each.end_offset == disk.start_offset), None)

    def _check_committed(self, node: Node, epoch: Epoch, core: RaftCore, high_watermark: Offset) -> None:
        assert core.voters is not None
        disks = self.lost_disks | {each.key: each.disk for each in self.nodes.values()}
        self.witness.committed_up_to(epoch, high_watermark, core.voters, node.disk, disks)

    def _check_load(self, node: Node, snapshot: SnapshotId) -> None:
        if node.leads is not None:
            raise Violation(f"5 {node.node_id} leads and loads {snapshot}")

    def _apply(self, node: Node, high_watermark: Offset) -> None:
        while node.applied_offset < high_watermark:
            entries = node.disk.read(node.applied_offset, high_watermark, 100)
            if not entries:
                raise Violation(f"4 state machine safety: {high_watermark} is inside an entry of {node.node_id}")
            for entry in entries:
                self.witness.applied(entry)
                node.digest = crc32(repr(entry.body).encode(), node.digest)
                node.applied_offset = entry.end_offset

    def _load(self, node: Node, snapshot: SnapshotId) -> None:
        self.witness.snapshot_covers(snapshot)
        node.applied_offset = snapshot.end_offset
        node.digest = int(node.disk.snapshots[snapshot][1])

    def _flush(self, node: Node) -> None:
        """One flush at a time makes durable what was there when it began."""
        if node.flushing:
            return
        node.flushing, node.flush_cut = True, None
        end_offset, life, disk = node.disk.end_offset, node.life, node.disk

        def done() -> None:
            if node.life != life or node.core is None or node.disk is not disk:
                return
            node.flushing = False
            reached = end_offset if node.flush_cut is None else min(end_offset, node.flush_cut)
            if reached > disk.durable_end_offset:
                disk.flushed(reached)
                self.deliver(node, life, lambda now_ms: Persisted(now_ms, reached))
            if node.core is not None and node.life == life and disk.durable_end_offset < disk.end_offset:
                self._flush(node)

        self.at(self.random.randrange(node.flush_ms_max) + 1, done)

    def _answer(self, node: Node, core: RaftCore, effect: AnswerProposal | AnswerRead) -> None:
        if isinstance(effect, AnswerRead):
            expected = node.reads.pop(effect.read_id, None)
            if expected is None:
                raise Violation(f"{effect} was not asked, or is answered twice")
            if effect.offset is not None:
                self.reads_answered += 1
                self.witness.answered(effect.offset)
                if effect.offset < expected:
                    raise Violation(f"stale read: {effect.offset} is answered, {expected} was committed before")
            return
        body = node.proposals.pop(effect.proposal_id, None)
        if body is None:
            raise Violation(f"{effect} was not asked, or is answered twice")
        if effect.end_offset is None:
            self.refused += 1
            return
        self.witness.answered(effect.end_offset)
        self.acknowledged[body] = effect.end_offset

    # --- network

    def _latency_ms(self) -> int:
        return self.random.randrange(self.network.latency_min_ms, self.network.latency_max_ms + 1)

    def _passes(self, source: NodeId, target: NodeId) -> bool:
        return (source, target) not in self.network.blocked

    def _lost(self) -> bool:
        return self.network.loss > 0 and self.random.randrange(1000) < self.network.loss

    def _copies(self) -> int:
        twice = self.network.duplication > 0 and self.random.randrange(1000) < self.network.duplication
        return 2 if twice else 1

    def _send(self, node: Node, send: Send) -> None:
        node.sent[send.request_id] = send
        if isinstance(send.request, FetchSnapshotRequest):
            node.chunk_id = send.request_id
        if isinstance(send.request, FetchRequest):
            self.witness.reported(node.key, send.request, node.disk)
        life = node.life
        self._fail(node, life, send.request_id, refused=False, delay_ms=send.timeout_ms)
        if not self._passes(node.node_id, send.to) or self._lost():
            return
        for _ in range(self._copies()):
            self.at(self._latency_ms(), lambda: self._request_arrives(node, life, send))

    def _request_arrives(self, asker: Node, life: int, send: Send) -> None:
        target = self.nodes[send.to]
        if target.core is None:
            if self._passes(target.node_id, asker.node_id):
                self._fail(asker, life, send.request_id, refused=True, delay_ms=self._latency_ms())
            return
        request_id = RequestId(next(self._ids))
        target.asked[request_id] = (asker.node_id, life, send)
        self.deliver(target, target.life, lambda now_ms: RequestReceived(now_ms, request_id, send.request))

    def _respond(self, node: Node, request_id: RequestId, response: Response) -> None:
        asked = node.asked.pop(request_id, None)
        if asked is None:
            raise Violation(f"request {request_id} of {node.node_id} was not asked, or is answered twice")
        asker_id, life, send = asked
        if isinstance(send.request, VoteRequest) and isinstance(response, VoteResponse):
            self.witness.answered_vote(node.key, send.request, response, node.disk.vote)
        if not self._passes(node.node_id, asker_id) or self._lost():
            return
        for _ in range(self._copies()):
            self.at(
                self._latency_ms(),
                lambda: self._response_arrives(asker_id, life, send, node.node_id, response),
            )

    def _response_arrives(self, asker_id: NodeId, life: int, send: Send, sender: NodeId, response: Response) -> None:
        asker, request_id = self.nodes[asker_id], send.request_id
        if asker.life != life or asker.core is None:
            return
        asker.sent.pop(request_id, None)
        if isinstance(response, FetchSnapshotResponse):
            self._keep_chunk(asker, request_id, sender, response)
        self.deliver(asker, life, lambda now_ms: ResponseReceived(now_ms, request_id, sender, response))

    def _fail(self, node: Node, life: int, request_id: RequestId, *, refused: bool, delay_ms: int) -> None:
        def fail() -> None:
            send = node.sent.pop(request_id, None) if node.life == life else None
            if send is not None:
                self.deliver(node, life, lambda now_ms: RequestFailed(now_ms, request_id, send.to, refused))

        self.at(delay_ms, fail)

    # --- snapshots

    def _respond_chunk(self, node: Node, effect: RespondSnapshot) -> None:
        request, size = effect.request, node.disk.snapshot_size(effect.request.snapshot)
        chunk = b"" if size is None else node.disk.read_snapshot(request.snapshot, request.position, request.size_max)
        response = FetchSnapshotResponse(
            True, effect.epoch, node.node_id, request.snapshot, request.position, -1 if size is None else size, chunk
        )
        self._respond(node, effect.request_id, response)

    def _keep_chunk(self, node: Node, request_id: RequestId, sender: NodeId, response: FetchSnapshotResponse) -> None:
        """What the shell does with a chunk; now and then the whole does not verify."""
        if request_id != node.chunk_id:
            return
        node.chunk_id = None
        if not response.granted or response.size < 0:
            return
        if response.position == 0:
            node.download = (response.snapshot, b"")
        if node.download is None or node.download[0] != response.snapshot:
            return
        if len(node.download[1]) != response.position:
            return
        content = node.download[1] + response.chunk
        node.download = (response.snapshot, content)
        if len(content) < response.size:
            return
        node.download = None
        life, corrupt = node.life, self.network.loss > 0 and self.random.randrange(8) == 0
        voters = self.voters_of(response.snapshot)

        def finish() -> None:
            if node.life != life or node.core is None:
                return
            if corrupt:
                self.deliver(node, life, lambda now_ms: RequestFailed(now_ms, request_id, sender, False))
                return
            node.disk.keep_snapshot(response.snapshot, voters, content)
            self.deliver(node, life, lambda now_ms: SnapshotReceived(now_ms, response.snapshot, voters))

        self.at(self.random.randrange(node.flush_ms_max) + 1, finish)

    def voters_of(self, snapshot: SnapshotId) -> VoterSet:
        entries = [self.witness.committed[offset] for offset in sorted(self.witness.committed)]
        bodies = [entry.body for entry in entries if entry.end_offset <= snapshot.end_offset]
        return [body for body in bodies if isinstance(body, VoterSet)][-1]

    def take_snapshot(self, node_id: NodeId) -> None:
        node = self.nodes[node_id]
        if node.core is None or node.paused:
            return
        latest = node.disk.latest_snapshot()
        if node.applied_offset <= (latest.end_offset if latest else 1):
            return
        epoch = node.disk.epoch_before(node.applied_offset)
        assert epoch is not None
        snapshot = SnapshotId(epoch, node.applied_offset)
        self.witness.snapshot_covers(snapshot)
        self.snapshots_taken.append(snapshot)
        node.disk.keep_snapshot(snapshot, self.voters_of(snapshot), f"{node.digest:020d}".encode())
        self.step(node, SnapshotTaken(self.now_ms, snapshot))

    # --- clients

    def leaders(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.core and node.core.role.name == "leader"]

    def propose(self, node_id: NodeId, count_of_records: int = 1) -> bytes:
        """Also to a paused node: it will see it when it goes on."""
        node, body = self.nodes[node_id], b"%d" % next(self._bodies)
        if node.core is not None:
            proposal_id = RequestId(next(self._ids))
            node.proposals[proposal_id] = body
            epoch = node.core.epoch
            self.deliver(node, node.life, lambda now_ms: Proposed(now_ms, proposal_id, epoch, body, count_of_records))
        return body

    def read(self, node_id: NodeId) -> None:
        node = self.nodes[node_id]
        if node.core is not None:
            read_id = RequestId(next(self._ids))
            node.reads[read_id] = self.witness.committed_end_offset
            self.deliver(node, node.life, lambda now_ms: ReadRequested(now_ms, read_id))

    def transfer(self, node_id: NodeId, to: NodeId | None) -> None:
        node = self.nodes[node_id]
        if node.core is not None and not node.paused:
            self.step(node, TransferRequested(self.now_ms, to))

    def change_voters(self, node_id: NodeId, voters: VoterSet) -> None:
        node = self.nodes[node_id]
        if node.core is not None and not node.paused:
            proposal_id = RequestId(next(self._ids))
            node.proposals[proposal_id] = b"voters"
            self.step(node, VoterChangeRequested(self.now_ms, proposal_id, node.core.epoch, voters))

    def entry_at(self, offset: Offset) -> Entry:
        return self.witness.committed[offset]
