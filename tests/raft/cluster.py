"""A whole quorum in one heap of events: cores, dumb disks, a network that misbehaves, and a witness that judges.

Time is a number, chance one seeded generator, so a seed is a history. After every event the witness checks the quorum's
invariants (`tests.raft.invariants`); a deadline that does not move, a request answered twice or an answer nobody asked
for is a violation as well.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
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
from raft.stored import recover
from tests.raft.invariants import (
    Violation,
    Witness,
    check_forward,
    check_load,
    check_shape,
    check_start,
    check_voters,
    marks_of,
)
from tests.raft.memory_log import MemoryLog
from tests.raft.parts import Network, Node
from tests.raft.timeline import Timeline

SIMULATED = RaftConfig(fetch_bytes_max=4, snapshot_chunk_bytes_max=6)
MakeCore = Callable[..., RaftCore]


class Cluster(Timeline):
    def __init__(
        self,
        voters: int,
        observers: int,
        seed: int,
        config: RaftConfig = SIMULATED,
        make_core: MakeCore = RaftCore,
        trace: list[str] | None = None,
    ) -> None:
        super().__init__(seed, trace)
        self.config = config
        self.network = Network()
        self.witness = Witness()
        self.events = 0
        self.lost_disks: dict[ReplicaKey, MemoryLog] = {}
        self.acknowledged: dict[bytes | VoterSet, Offset] = {}
        self.refused = 0
        self.reads_answered = 0
        self.snapshots_taken: list[SnapshotId] = []
        self._make_core = make_core
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

    # --- lives

    def start(self, node_id: NodeId) -> None:
        node = self.nodes[node_id]
        if node.core is not None:
            return
        node.life += 1
        node.paused = node.flushing = False
        node.inbox.clear()
        node.applied_offset, node.digest = Offset(0), 0
        node.disk.bring_back(self.random)
        stored = recover(node.disk)  # type: ignore[arg-type]  # the disk's asynchronous half is played below
        node.disk.durable_end_offset = node.disk.end_offset
        if stored.snapshot is not None:
            self._load(node, stored.snapshot)
        bootstrap = tuple(voter.key.node_id for voter in self.founders.voters)
        now_ms = node.clock_ms(self.now_ms)
        node.core = self._make_core(self.config, node.key, stored, node.disk.vote, self.random, now_ms, bootstrap)
        self.note(f"{node_id} starts")
        self.step(node, TimePassed(node.clock_ms(self.now_ms)))

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
            if send.to == node.node_id and other.core is not None and self.network.passes(node.node_id, other.node_id):
                self._fail(other, other.life, request_id, refused=True, delay_ms=self.network.latency_ms(self.random))

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
                self.step(node, make_event(node.clock_ms(self.now_ms)))
        if node.core is not None and node.life == life:
            self.step(node, TimePassed(node.clock_ms(self.now_ms)))

    # --- the core

    def deliver(self, node: Node, life: int, make_event: Callable[[int], Event]) -> None:
        if node.core is None or node.life != life:
            return
        if node.paused:
            node.inbox.append(make_event)
        else:
            self.step(node, make_event(node.clock_ms(self.now_ms)))

    def step(self, node: Node, event: Event) -> None:
        core = node.core
        assert core is not None
        self.events += 1
        before = marks_of(core)
        node.leads = core.epoch if core.role.name == "leader" else None
        self.note(f"{node.node_id} < {event}")
        effects = core.step(event)
        check_forward(node.node_id, before, marks_of(core))
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
        check_shape(node.node_id, core, node.disk)
        self._set_alarm(node, event, effects.deadline_ms)

    def _leads(self, node: Node, core: RaftCore) -> None:
        """Judged before the first deed of a new leader."""
        if self.witness.leaders.get(core.epoch) != (node.key, node.life):
            self.witness.became_leader(node.key, node.life, core.epoch, node.disk)

    def _set_alarm(self, node: Node, event: Event, deadline_ms: int | None) -> None:
        now_ms = node.clock_ms(self.now_ms)
        if deadline_ms is not None and deadline_ms <= now_ms and isinstance(event, TimePassed):
            raise Violation(f"livelock: {node.node_id} wants to be woken at {deadline_ms}, and that was now")
        node.alarm += 1
        if deadline_ms is not None:
            alarm, life = node.alarm, node.life
            self.at(node.true_ms(max(0, deadline_ms - now_ms)), lambda: self._ring(node, life, alarm))

    def _ring(self, node: Node, life: int, alarm: int) -> None:
        if node.life == life and node.alarm == alarm and node.core is not None and not node.paused:
            self.step(node, TimePassed(node.clock_ms(self.now_ms)))

    # --- effects

    def _do(self, node: Node, core: RaftCore, effect: Effect) -> None:
        match effect:
            case PersistVote():
                self.witness.voted(node.key, effect)
                node.disk.vote = effect
            case Append(entries):
                self.witness.appended(node.disk, entries, node.disk.last_epoch)
                node.disk.append(entries)
                self._flush(node)
            case Truncate(end_offset):
                node.disk.truncate(end_offset)
                if not core.log.end_offset > end_offset:
                    check_voters(node.node_id, core, node.disk)
                node.flush_cut = end_offset if node.flush_cut is None else min(node.flush_cut, end_offset)
            case LoadSnapshot(snapshot):
                check_load(node.node_id, node.leads, snapshot)
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
                self.witness.applies_up_to(node.node_id, high_watermark)
                self._apply(node, high_watermark)
            case BecameLeader(_, end_offset):
                assert node.applied_offset >= end_offset
            case LeaderKnown() | Resigned():
                pass

    def _check_committed(self, node: Node, epoch: Epoch, core: RaftCore, high_watermark: Offset) -> None:
        assert core.voters is not None
        disks = self.lost_disks | {each.key: each.disk for each in self.nodes.values()}
        self.witness.committed_up_to(epoch, high_watermark, core.voters, node.disk, disks)

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
        asked = node.proposals.pop(effect.proposal_id, None)
        if asked is None:
            raise Violation(f"{effect} was not asked, or is answered twice")
        body, meant = asked
        if effect.end_offset is None:
            self.refused += 1
            return
        if effect.end_offset != meant and meant is not None:
            raise Violation(f"{effect} was to end at {meant}")
        self.witness.answered(effect.end_offset)
        self.acknowledged[body] = effect.end_offset

    # --- network

    def _send(self, node: Node, send: Send) -> None:
        node.sent[send.request_id] = send
        if isinstance(send.request, FetchSnapshotRequest):
            node.chunk_id = send.request_id
        if isinstance(send.request, FetchRequest):
            self.witness.reported(node.key, send.request, node.disk)
        life = node.life
        self._fail(node, life, send.request_id, refused=False, delay_ms=send.timeout_ms)
        if not self.network.passes(node.node_id, send.to) or self.network.loses(self.random):
            return
        for _ in range(self.network.copies(self.random)):
            self.at(self.network.latency_ms(self.random), lambda: self._request_arrives(node, life, send))

    def _request_arrives(self, asker: Node, life: int, send: Send) -> None:
        target = self.nodes[send.to]
        if target.core is None:
            if self.network.passes(target.node_id, asker.node_id):
                self._fail(asker, life, send.request_id, refused=True, delay_ms=self.network.latency_ms(self.random))
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
        if not self.network.passes(node.node_id, asker_id) or self.network.loses(self.random):
            return
        for _ in range(self.network.copies(self.random)):
            self.at(
                self.network.latency_ms(self.random),
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
        self.step(node, SnapshotTaken(node.clock_ms(self.now_ms), snapshot))

    # --- clients

    def leaders(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.core and node.core.role.name == "leader"]

    def propose(self, node_id: NodeId, count_of_records: int = 1, place: Offset | None = None) -> bytes:
        """Also to a paused node: it will see it when it goes on."""
        node, body = self.nodes[node_id], b"%d" % next(self._bodies)
        if node.core is not None:
            proposal_id = RequestId(next(self._ids))
            node.proposals[proposal_id] = (body, None if place is None else Offset(place + count_of_records))
            epoch = node.core.epoch
            self.deliver(
                node, node.life, lambda now_ms: Proposed(now_ms, proposal_id, epoch, body, count_of_records, place)
            )
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
            self.step(node, TransferRequested(node.clock_ms(self.now_ms), to))

    def change_voters(self, node_id: NodeId, voters: VoterSet) -> None:
        node = self.nodes[node_id]
        if node.core is not None and not node.paused:
            proposal_id = RequestId(next(self._ids))
            node.proposals[proposal_id] = (voters, None)
            self.step(node, VoterChangeRequested(node.clock_ms(self.now_ms), proposal_id, node.core.epoch, voters))
