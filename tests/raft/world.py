"""Replicas with their shells on virtual time: the deterministic loop, dumb disks that take their time, calls that take
theirs. What the heap of `tests.raft.cluster` is for the core, this is for `raft.node`."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from random import Random
from typing import Any, TypeVar
from uuid import UUID

from kraftpy.runtime.ports import RemoteFailure, TransportTimeout, Unreachable
from raft.config import RaftConfig
from raft.errors import RaftError, Stopped
from raft.events import (
    BeginQuorumEpochRequest,
    Entry,
    Epoch,
    LeaderChange,
    NodeId,
    Offset,
    PersistVote,
    ReplicaKey,
    Request,
    Response,
    SnapshotId,
    Voter,
    VoterSet,
)
from raft.founding import founding_entry
from raft.node import RaftNode
from raft.ports import Peer, SnapshotCorrupted
from simulation.clock import SimulatedClock
from simulation.loop import Loop
from tests.raft.memory_log import MemoryLog

T = TypeVar("T")


class SlowLog(MemoryLog):
    """`MemoryLog` with the asynchronous half of the port."""

    flush_ms = 3
    failure: OSError | None = None

    async def flush(self) -> Offset:
        end_offset = self.end_offset
        await asyncio.sleep(self.flush_ms / 1000)
        if self.failure is not None:
            raise self.failure
        self.flushed(end_offset)
        return end_offset

    def begin_snapshot(self, snapshot: SnapshotId, voters: VoterSet | None) -> "Writer":
        return Writer(self, snapshot, voters)


class Writer:
    """The voters' names come first in a snapshot's bytes, as in a real one."""

    known: dict[bytes, VoterSet] = {}  # noqa: RUF012  # the bytes of a voter set, to find it again
    corrupt_next = 0

    def __init__(self, log: SlowLog, snapshot: SnapshotId, voters: VoterSet | None) -> None:
        self._log, self._snapshot, self._content = log, snapshot, b""
        self._received = voters is None
        if voters is not None:
            name = repr(voters).encode() + b"\n"
            self.known[name] = voters
            self._content = name

    def write(self, chunk: bytes) -> None:
        self._content += chunk

    async def finish(self) -> VoterSet:
        await asyncio.sleep(0.005)
        if Writer.corrupt_next and self._received:
            Writer.corrupt_next -= 1
            raise SnapshotCorrupted
        voters = self.known.get(self._content[: self._content.index(b"\n") + 1])
        if voters is None:
            raise SnapshotCorrupted
        self._log.keep_snapshot(self._snapshot, voters, self._content)
        return voters

    def abort(self) -> None:
        self._content = b""


class LostVote(Exception):
    pass


class Votes:
    def __init__(self) -> None:
        self.vote: PersistVote | None = None

    async def load(self, log_epoch: Epoch = Epoch(0)) -> PersistVote | None:
        if log_epoch > (self.vote.epoch if self.vote is not None else 0):
            raise LostVote
        return self.vote

    async def save(self, vote: PersistVote) -> None:
        await asyncio.sleep(0.001)
        self.vote = vote


class Words:
    """A state machine that collects bodies, and what it is told besides."""

    def __init__(self) -> None:
        self.words: list[bytes] = []
        self.entries: list[Entry] = []  # all that were applied, control records among them
        self.end_offset = Offset(0)
        self.told: list[tuple[Any, ...]] = []

    def apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            assert entry.offset == self.end_offset
            self.end_offset = entry.end_offset
            self.entries.append(entry)
            if not isinstance(entry.body, VoterSet | LeaderChange):
                self.words.append(entry.body)

    def snapshot(self) -> Iterator[bytes]:
        words = tuple(self.words)
        return (word + b" " for word in words)

    async def load_snapshot(self, snapshot: SnapshotId, chunks: Iterator[bytes]) -> None:
        content = b"".join(chunks)
        self.words = content[content.index(b"\n") + 1 :].split()
        self.end_offset = snapshot.end_offset
        self.told.append(("loaded", snapshot))

    def leader_changed(self, epoch: Epoch, leader_id: NodeId | None) -> None:
        self.told.append(("leader", epoch, leader_id))

    def became_leader(self, epoch: Epoch) -> None:
        self.told.append(("leads", epoch))

    def resigned(self, epoch: Epoch) -> None:
        self.told.append(("resigned", epoch))


class Replica:
    """A node's disk and, while it runs, its shell."""

    def __init__(self, world: "World", key: ReplicaKey, log: SlowLog) -> None:
        self.world, self.key, self.log, self.votes = world, key, log, Votes()
        self.machine = Words()
        self.node: RaftNode | None = None

    async def request(self, to: Peer, request: Request, timeout_ms: int) -> Response:
        listening = self.world.who_listens(to.host, to.port)
        if listening is None:
            raise Unreachable
        if listening != to.node_id:  # it refuses what is not meant for it
            await asyncio.sleep(0.005)
            raise RemoteFailure(f"this is node {listening}")
        response = await self.world.carry(self.key.node_id, to.node_id, request, timeout_ms)
        if response.leader_id is not None and self.node is not None:
            self.node.tell_address(self.world.peer(response.leader_id))
        return response


class World:
    def __init__(self, voters: int, observers: int = 0, config: RaftConfig | None = None, seed: int = 0) -> None:
        self.loop = Loop(seed, time_limit_ms=300_000)
        self.config = config or RaftConfig()
        self.random = Random(seed)
        self._strays: list[asyncio.Task[None]] = []
        self.cut: list[NodeId] = []
        self.loss = self.duplication = 0  # of 1000 calls
        keys = [ReplicaKey(NodeId(i), UUID(int=i)) for i in range(1, voters + observers + 1)]
        self.voters = VoterSet(tuple(Voter(key, f"n{key.node_id}", 9093) for key in keys[:voters]))
        self.ports = {key.node_id: 9_093 for key in keys}  # where they listen now
        self.hosts = {key.node_id: f"n{key.node_id}" for key in keys}
        first = founding_entry(self.voters)
        self.replicas = {
            key.node_id: Replica(self, key, SlowLog([first] if key.node_id <= voters else [])) for key in keys
        }

    def __getitem__(self, node_id: int) -> Replica:
        return self.replicas[NodeId(node_id)]

    def node(self, node_id: int) -> RaftNode:
        node = self[node_id].node
        assert node is not None
        return node

    def peer(self, node_id: NodeId) -> Peer:
        """Where a node listens, as calls tell along with a leader's id."""
        return Peer(node_id, self.hosts[node_id], self.ports[node_id])

    def who_listens(self, host: str, port: int) -> NodeId | None:
        return next((each for each in self.replicas if (self.hosts[each], self.ports[each]) == (host, port)), None)

    async def carry(self, source: NodeId, target: NodeId, request: Request, timeout_ms: int) -> Response:
        """A call between nodes: a latency each way, refused where nobody listens, silent where the network is cut."""
        replica = self.replicas[target]
        await asyncio.sleep(self.random.randrange(1, 4) / 1000)
        if source in self.cut or target in self.cut or self._happens(self.loss):
            await asyncio.sleep(timeout_ms / 1000)
            raise TransportTimeout
        if replica.node is None:
            raise Unreachable
        if self._happens(self.duplication):
            self._strays.append(asyncio.ensure_future(self._again(replica, request)))
        if isinstance(request, BeginQuorumEpochRequest):
            replica.node.tell_address(self.peer(request.leader_id))
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                response = await replica.node.handle(request)
        except TimeoutError:
            raise TransportTimeout from None
        except Stopped:
            raise Unreachable from None
        await asyncio.sleep(self.random.randrange(1, 4) / 1000)
        return response

    def _happens(self, odds: int) -> bool:
        return odds > 0 and self.random.randrange(1_000) < odds

    async def _again(self, replica: Replica, request: Request) -> None:
        """A call that arrives twice, the second time late and with nobody waiting for its answer."""
        await asyncio.sleep(self.random.randrange(1_000) / 1000)
        with suppress(RaftError):
            if replica.node is not None:
                await replica.node.handle(request)

    # --- lives

    async def start(self, *node_ids: int) -> None:
        for node_id in node_ids or self.replicas:
            replica = self.replicas[NodeId(node_id)]
            replica.log.bring_back(self.random)
            replica.machine = Words()
            replica.node = RaftNode(
                self.config,
                replica.key,
                replica.log,
                replica.votes,
                replica,
                replica.machine,
                SimulatedClock(self.loop, self.loop.world),
                Random(node_id),
                tuple(Peer(voter.key.node_id, voter.host, voter.port) for voter in self.voters.voters),
            )
            await replica.node.start()

    async def kill(self, node_id: int) -> None:
        """The process ends without a word; what was not flushed is gone."""
        node, self[node_id].node = self.node(node_id), None
        await node.stop()
        self[node_id].log.crash(self.random)

    async def stop(self) -> None:
        for stray in self._strays:
            stray.cancel()
        await asyncio.gather(*self._strays, return_exceptions=True)
        for replica in self.replicas.values():
            if replica.node is not None:
                await replica.node.stop()

    # --- waiting

    async def wait(self, happened: Callable[[], object], within_ms: int = 10_000) -> None:
        until_us = self.loop.now_us + within_ms * 1000
        while not happened():
            assert self.loop.now_us < until_us, "it did not happen"
            await asyncio.sleep(0.001)

    def leader_id(self) -> int | None:
        """Who may propose."""
        leading = [
            (node.status().epoch, node_id)
            for node_id, node in ((node_id, replica.node) for node_id, replica in self.replicas.items())
            if node is not None and not node.failed.done() and node.status().role == "leader"
        ]
        node_id = max(leading)[1] if leading else None
        told = self[node_id].machine.told if node_id is not None else []
        return node_id if told and ("leads", max(leading)[0]) in told else None

    async def leader(self, within_ms: int = 10_000) -> int:
        await self.wait(lambda: self.leader_id() is not None, within_ms)
        node_id = self.leader_id()
        assert node_id is not None
        return node_id

    async def write(self, *words: bytes) -> None:
        for word in words:
            node = self.node(await self.leader())
            await node.propose(word, 1, node.status().epoch)


def play(world: World, story: Coroutine[Any, Any, T]) -> T:
    """Run a story to its end and its nodes to theirs."""

    async def whole() -> T:
        try:
            return await story
        finally:
            await world.stop()

    try:
        return world.loop.run_until_complete(whole())
    finally:
        world.loop.shutdown()
