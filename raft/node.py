"""The shell of one replica: a mailbox, a task that owns the core, and one method for each thing the core wants done.

Invariants:

- events are handled one at a time and in order; the effects of one are done in order before the next is looked at;
- a vote is durable before any later effect; a flush is never under way while the log is cut;
- what has been received is handled before a deadline is judged, also after the loop was held up for a while.

No decision about consensus is made here. Whatever fails for good (the disk, a broken promise, a bug) ends the replica:
`failed` then holds the error, and every call raises `Stopped`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from dataclasses import replace
from random import Random
from typing import Any, Final, TypeVar, assert_never

from kraftpy.runtime.alarm import Alarm
from kraftpy.runtime.ports import Clock, TransportError, Unreachable
from raft.addresses import Addresses
from raft.applier import Applier
from raft.config import RaftConfig
from raft.core import RaftCore
from raft.errors import NotLeader, Overloaded, Stopped
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
    Request,
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
    VoterSet,
)
from raft.log_shape import LogShape
from raft.ports import (
    Peer,
    QuorumTransport,
    ReplicatedLog,
    SnapshotCorrupted,
    SnapshotWriter,
    StateMachine,
    VoteStore,
)
from raft.status import QuorumStatus
from raft.stored import recover

logger = logging.getLogger(__name__)

LATE_MS: Final = 100  # a deadline judged so late means that the loop was held up

T = TypeVar("T")


class RaftNode:
    """One replica of the quorum, on a real world or a simulated one.

    `bootstrap` are nodes to ask for the leader while the log names no voters, and where to try a voter that does not
    answer at the address in the log.
    """

    def __init__(
        self,
        config: RaftConfig,
        key: ReplicaKey,
        log: ReplicatedLog,
        votes: VoteStore,
        transport: QuorumTransport,
        state_machine: StateMachine,
        clock: Clock,
        random: Random,
        bootstrap: tuple[Peer, ...] = (),
    ) -> None:
        self._config = config
        self._key = key
        self._log = log
        self._votes = votes
        self._transport = transport
        self._clock = clock
        self._random = random
        self._bootstrap = bootstrap
        self._addresses = Addresses(bootstrap)
        self._applier = Applier(config, log, state_machine, self._snapshot_taken)
        self._core: RaftCore | None = None
        self._mailbox: deque[Event] = deque()
        self._awake = asyncio.Event()
        self._alarm = Alarm(clock, self._awake.set)
        self._deadline_ms: int | None = None
        self._last_id = 0
        self._answers: dict[RequestId, asyncio.Future[Response]] = {}
        self._proposals: dict[RequestId, asyncio.Future[Offset | None]] = {}
        self._reads: dict[RequestId, asyncio.Future[Offset | None]] = {}
        self._transfers: list[asyncio.Future[None]] = []
        self._dirty = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._durable: Offset | None = None  # flushed, and not yet told to the core
        self._download: tuple[SnapshotId, SnapshotWriter, int] | None = None
        self._begun: dict[ReplicaKey, SnapshotId] = {}  # who was sent the beginning of which; the longest ago first
        self._chunk_id: RequestId | None = None  # the only chunk that the core waits for
        self._tasks: dict[asyncio.Task[None], None] = {}  # in the order of their making
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the replica has stopped: with the error that ended it, or None after `stop`."""

    @property
    def key(self) -> ReplicaKey:
        return self._key

    # --- life

    async def start(self) -> None:
        """Recover, load the state machine from its snapshot, and begin. Raises what the disk raises."""
        stored = recover(self._log)
        vote = await self._votes.load(LogShape(stored).last.epoch)
        if stored.snapshot is not None:
            await self._applier.load(stored.snapshot)
        now_ms, others = self._clock.monotonic_ms(), tuple(peer.node_id for peer in self._bootstrap)
        self._core = RaftCore(self._config, self._key, stored, vote, self._random, now_ms, others)
        self._deadline_ms = now_ms
        for work in (self._own_core(), self._flush(), self._applier.run(), self._applier.run_snapshots()):
            self._spawn(work)

    async def stop(self) -> None:
        """End at once, without giving leadership away (`transfer_leadership` first)."""
        self._end(None)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._abort_download()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._end(error)

    def _end(self, error: Exception | None) -> None:
        if self.failed.done():
            return
        if error is None:
            self.failed.set_result(None)
        else:
            self.failed.set_exception(error)
            self.failed.exception()  # whether anybody looks is the owner's matter
            for task in self._tasks:
                task.cancel()
        self._applier.close()
        self._alarm.cancel()
        waiting: list[asyncio.Future[Any]] = [*self._answers.values(), *self._proposals.values(), *self._reads.values()]
        for future in waiting + self._transfers:
            if not future.done():
                future.set_exception(Stopped())
                future.exception()

    # --- what others ask of it

    async def handle(self, request: Request) -> Response:
        """Answer a request of another replica. Raises `Overloaded`, `Stopped`."""
        request_id, answer = self._expect(self._answers)
        try:
            self._receive(RequestReceived(self._now_ms(), request_id, request))
            return await answer
        finally:
            del self._answers[request_id]

    async def propose(self, body: bytes, count: int, epoch: Epoch, base_offset: Offset | None = None) -> Offset:
        """Append `body`, `count` records, if this replica leads `epoch`; its end offset, once committed.

        `base_offset` is where it must stand in the log: it is refused, and nothing appended, where it would not. Bodies
        take their places in the order of the calls, before the first suspension of each.
        Raises `NotLeader` where it was refused or its fate is unknown, `Overloaded`, `Stopped`.
        """
        proposal_id, answer = self._expect(self._proposals)
        event = Proposed(self._now_ms(), proposal_id, epoch, body, count, base_offset)
        return await self._answered(self._proposals, answer, event)

    async def change_voters(self, voters: VoterSet, epoch: Epoch, base_offset: Offset | None = None) -> Offset:
        """Put a voter set in force that differs in one replica (KIP-853).

        It is one entry of the log, takes its place as `propose` does, and raises as that does.
        """
        proposal_id, answer = self._expect(self._proposals)
        event = VoterChangeRequested(self._now_ms(), proposal_id, epoch, voters, base_offset)
        return await self._answered(self._proposals, answer, event)

    async def read_barrier(self) -> Offset:
        """Return once everything committed before the call is applied here, on the leader; raises as `propose` does."""
        read_id, answer = self._expect(self._reads)
        offset = await self._answered(self._reads, answer, ReadRequested(self._now_ms(), read_id))
        await self._applier.wait_applied(offset)
        return offset

    async def transfer_leadership(self, to: NodeId | None = None) -> None:
        """Give leadership away, if this replica has it and there is another voter; returns once it has stepped down."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._receive(TransferRequested(self._now_ms(), to))
        self._transfers.append(done)
        await done

    def voter(self, key: ReplicaKey) -> Voter | None:
        """The entry of a replica in the voter set, if it votes."""
        voters = self._core.voters if self._core is not None else None
        return next((voter for voter in voters.voters if voter.key == key), None) if voters is not None else None

    def tell_address(self, peer: Peer) -> None:
        """Another replica says where `peer` listens: it may be a leader whom our log does not name yet."""
        self._addresses.tell(peer)

    def status(self) -> QuorumStatus:
        core = self._running()
        return QuorumStatus(
            core.key,
            core.role.name,
            core.epoch,
            core.named_leader,
            core.high_watermark,
            core.log.start_offset,
            core.log.end_offset,
            self._applier.applied_offset,
            core.voters,
            core.replicas(),
            core.log.voters_end_offset,
        )

    def peer_of(self, node_id: NodeId) -> Peer | None:
        """Where another replica is reached, as far as is known: the address that answered its last request."""
        return self._addresses.of(node_id, None if self._core is None else self._core.voters)

    def _expect(self, waiting: dict[RequestId, asyncio.Future[T]]) -> tuple[RequestId, asyncio.Future[T]]:
        self._running()
        self._last_id += 1
        request_id = RequestId(self._last_id)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        waiting[request_id] = future
        return request_id, future

    async def _answered(
        self,
        waiting: dict[RequestId, asyncio.Future[Offset | None]],
        answer: asyncio.Future[Offset | None],
        event: Proposed | ReadRequested | VoterChangeRequested,
    ) -> Offset:
        request_id = event.read_id if isinstance(event, ReadRequested) else event.proposal_id
        try:
            self._receive(event)
            offset = await answer
        finally:
            del waiting[request_id]
        if offset is None:
            raise NotLeader(self._running().named_leader)
        return offset

    def _running(self) -> RaftCore:
        if self._core is None or self.failed.done():
            raise Stopped
        return self._core

    # --- the mailbox and the task that owns the core

    def _now_ms(self) -> int:
        return self._clock.monotonic_ms()

    def _receive(self, event: Event) -> None:
        """From outside: bounded."""
        self._running()
        if len(self._mailbox) >= self._config.mailbox_max:
            raise Overloaded(len(self._mailbox))
        self._post(event)

    def _post(self, event: Event) -> None:
        """From our own work: bounded by how much of it the core asks for."""
        self._mailbox.append(event)
        self._awake.set()

    async def _own_core(self) -> None:
        while True:
            for _ in range(len(self._mailbox)):  # those that came meanwhile wait for the deadline, not it for them
                await self._step(self._mailbox.popleft())
            if self._durable is not None:
                end_offset, self._durable = self._durable, None
                await self._step(Persisted(self._now_ms(), end_offset))
            if self._deadline_ms is not None and self._now_ms() >= self._deadline_ms:
                await self._judge_deadline(self._deadline_ms)
            elif not self._mailbox and self._durable is None:
                await self._sleep()

    async def _judge_deadline(self, deadline_ms: int) -> None:
        if self._now_ms() - deadline_ms >= LATE_MS:
            await asyncio.sleep(self._config.stall_grace_ms / 1000)
            for _ in range(len(self._mailbox)):
                await self._step(self._mailbox.popleft())
        await self._step(TimePassed(self._now_ms()))
        await asyncio.sleep(0)

    async def _sleep(self) -> None:
        self._awake.clear()
        self._alarm.set(self._deadline_ms)
        await self._awake.wait()

    async def _step(self, event: Event) -> None:
        core = self._running()
        effects = core.step(event)
        self._deadline_ms = effects.deadline_ms
        for effect in effects.items:
            await self._do(effect)
        if self._transfers and not core.gives_leadership_away:
            self._settle_transfers()

    def _settle_transfers(self) -> None:
        if any(isinstance(event, TransferRequested) for event in self._mailbox):
            return  # not looked at yet
        for done in self._transfers:
            if not done.done():
                done.set_result(None)
        self._transfers.clear()

    async def _do(self, effect: Effect) -> None:
        match effect:
            case PersistVote():
                await self._votes.save(effect)
            case Append(entries):
                self._log.append(entries)
                self._dirty.set()
            case Truncate(end_offset):
                await self._cut(end_offset)
            case LoadSnapshot(snapshot):
                async with self._flushing:
                    self._durable = None
                    self._log.reset_to(snapshot)
                self._applier.notice(effect)
            case DropLogBefore(start_offset):
                self._log.drop_before(start_offset)
            case Send():
                if isinstance(effect.request, FetchSnapshotRequest):
                    self._chunk_id = effect.request_id
                self._spawn(self._send(effect))
            case Respond(request_id, response):
                _resolve(self._answers, request_id, response)
            case RespondEntries():
                self._respond_entries(effect)
            case RespondSnapshot():
                self._spawn(self._respond_chunk(effect))
            case AnswerProposal(proposal_id, end_offset_or_none):
                _resolve(self._proposals, proposal_id, end_offset_or_none)
            case AnswerRead(read_id, offset):
                _resolve(self._reads, read_id, offset)
            case ApplyUpTo(high_watermark):
                self._log.note_committed(high_watermark)
                self._applier.notice(effect)
            case LeaderKnown() | BecameLeader() | Resigned():
                self._applier.notice(effect)
            case _:
                assert_never(effect)

    # --- the log

    async def _flush(self) -> None:
        """Make what was appended durable, all that came during one flush by the next."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            async with self._flushing:
                self._durable = await self._log.flush()
            self._awake.set()

    async def _cut(self, end_offset: Offset) -> None:
        """A flush under way is waited for, and what it has to report reaches no further than the cut."""
        async with self._flushing:
            if self._durable is not None:
                self._durable = min(self._durable, end_offset)
            self._log.truncate(end_offset)

    def _respond_entries(self, effect: RespondEntries) -> None:
        end_offset = min(effect.end_offset, self._log.end_offset)
        entries = tuple(self._log.read(effect.offset, end_offset, effect.bytes_max))
        _resolve(self._answers, effect.request_id, replace(effect.response, entries=entries))

    async def _respond_chunk(self, effect: RespondSnapshot) -> None:
        """A snapshot that is gone has size -1: the replica then asks for the next. So has a damaged one, which the
        receiver would refuse for ever; another is taken in its place."""
        request, size = effect.request, self._log.snapshot_size(effect.request.snapshot)
        if size is not None and request.position == 0 and self._begins_again(request):
            damage = await self._log.damage_of(request.snapshot)
            if damage is not None:
                logger.error("the quorum's %s is damaged (%s); it is taken anew", request.snapshot, damage)
                self._applier.want_snapshot()
            size = None if damage is not None else self._log.snapshot_size(request.snapshot)
        chunk = b"" if size is None else self._log.read_snapshot(request.snapshot, request.position, request.size_max)
        size = -1 if size is None else size
        leader_id = self._key.node_id
        response = FetchSnapshotResponse(True, effect.epoch, leader_id, request.snapshot, request.position, size, chunk)
        _resolve(self._answers, effect.request_id, response)

    def _begins_again(self, request: FetchSnapshotRequest) -> bool:
        """Whether what was sent may have been refused: then all of it is read before it is sent once more. Not twice in
        a row, for a replica that begins again because its patience is over gains nothing by that."""
        if self._begun.pop(request.replica, None) == request.snapshot:
            return True
        self._begun[request.replica] = request.snapshot
        if len(self._begun) > self._config.observers_max:
            del self._begun[next(iter(self._begun))]
        return False

    def _snapshot_taken(self, snapshot: SnapshotId) -> None:
        self._post(SnapshotTaken(self._now_ms(), snapshot))

    # --- requests to others

    async def _send(self, send: Send) -> None:
        peer = self._addresses.of(send.to, self._running().voters)
        try:
            if peer is None:
                raise TransportError(f"nobody has told this replica where node {send.to} listens")
            response = await self._transport.request(peer, send.request, send.timeout_ms)
        except TransportError as error:
            if peer is not None:
                self._addresses.failed(peer)
            refused = isinstance(error, Unreachable)
            self._post(RequestFailed(self._now_ms(), send.request_id, send.to, refused))
            return
        complete = False
        if isinstance(response, FetchSnapshotResponse) and isinstance(send.request, FetchSnapshotRequest):
            complete = send.request_id == self._chunk_id and self._keep_chunk(send.request, response)
        self._post(ResponseReceived(self._now_ms(), send.request_id, send.to, response))
        if complete:
            await self._finish_download(send)

    def _keep_chunk(self, request: FetchSnapshotRequest, response: FetchSnapshotResponse) -> bool:
        """Write a chunk that continues the download; whether it was the last."""
        self._chunk_id = None
        if not response.granted or response.snapshot != request.snapshot or response.size < 0:
            return False
        if response.position == 0:
            self._abort_download()
            self._download = (request.snapshot, self._log.begin_snapshot(request.snapshot, None), 0)
        if self._download is None or self._download[0] != request.snapshot or self._download[2] != response.position:
            return False
        snapshot, writer, position = self._download
        writer.write(response.chunk)
        self._download = (snapshot, writer, position + len(response.chunk))
        return self._download[2] >= response.size

    async def _finish_download(self, send: Send) -> None:
        assert self._download is not None
        snapshot, writer, _ = self._download
        self._download = None
        try:
            voters = await writer.finish()
        except SnapshotCorrupted as error:
            logger.warning("the quorum's %s, as node %d sent it, is damaged: %s", snapshot, send.to, error)
            writer.abort()
            self._post(RequestFailed(self._now_ms(), send.request_id, send.to, refused=False))
            return
        self._post(SnapshotReceived(self._now_ms(), snapshot, voters))

    def _abort_download(self) -> None:
        if self._download is not None:
            self._download[1].abort()
            self._download = None


def _resolve(waiting: dict[RequestId, asyncio.Future[T]], request_id: RequestId, value: T) -> None:
    """Answer, unless whoever asked has gone."""
    future = waiting.get(request_id)
    if future is not None and not future.done():
        future.set_result(value)
