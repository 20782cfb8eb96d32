"""Feeds the state machine: one task, in the order of the log, a little at a time, so that elections never wait for it.

It takes over those effects of the core which concern the state machine, and takes snapshots: of what is applied, in
chunks, while the loop goes on. Invariant: `applied_offset` never goes back.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from raft.config import RaftConfig
from raft.errors import Stopped
from raft.events import (
    ApplyUpTo,
    BecameLeader,
    Entry,
    Epoch,
    LeaderChange,
    LeaderKnown,
    LoadSnapshot,
    Offset,
    Resigned,
    SnapshotId,
    VoterSet,
)
from raft.ports import ReplicatedLog, StateMachine

Notice = ApplyUpTo | LoadSnapshot | LeaderKnown | BecameLeader | Resigned


class Applier:
    """`snapshot_taken` is called with each snapshot that has become durable."""

    def __init__(
        self,
        config: RaftConfig,
        log: ReplicatedLog,
        machine: StateMachine,
        snapshot_taken: Callable[[SnapshotId], None],
    ) -> None:
        self.applied_offset = Offset(0)
        self._applied_epoch = Epoch(0)
        self._voters: VoterSet | None = None
        self._config = config
        self._log = log
        self._machine = machine
        self._snapshot_taken = snapshot_taken
        self._bytes_since_snapshot = 0
        self._notices: deque[Notice] = deque()
        self._awake = asyncio.Event()
        self._waiters: list[tuple[Offset, asyncio.Future[None]]] = []
        self._snapshot_wanted = asyncio.Event()
        self._snapshot_running = False

    def notice(self, notice: Notice) -> None:
        """Queue what the core said. High watermarks in a row count as one, so the queue stays short."""
        if isinstance(notice, ApplyUpTo) and self._notices and isinstance(self._notices[-1], ApplyUpTo):
            self._notices.pop()
        self._notices.append(notice)
        self._awake.set()

    async def wait_applied(self, offset: Offset) -> None:
        """Raises `Stopped`."""
        if self.applied_offset < offset:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((offset, waiter))
            await waiter

    def close(self) -> None:
        """Tell everybody who waits that it will not come to it."""
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(Stopped())
                waiter.exception()
        self._waiters.clear()

    async def load(self, snapshot: SnapshotId) -> None:
        self._voters = self._log.snapshot_voters(snapshot)
        await self._machine.load_snapshot(snapshot, self._chunks(snapshot))
        self._bytes_since_snapshot = 0
        self._moved(snapshot.end_offset, snapshot.epoch)

    def _chunks(self, snapshot: SnapshotId) -> Iterator[bytes]:
        size, position = self._log.snapshot_size(snapshot) or 0, 0
        while position < size:
            chunk = self._log.read_snapshot(snapshot, position, self._config.snapshot_chunk_bytes_max)
            position += len(chunk)
            yield chunk

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            while self._notices:
                await self._tell(self._notices.popleft())

    async def _tell(self, notice: Notice) -> None:
        match notice:
            case ApplyUpTo(high_watermark):
                await self._apply(high_watermark)
            case LoadSnapshot(snapshot):
                await self.load(snapshot)
            case LeaderKnown(epoch, leader_id):
                self._machine.leader_changed(epoch, leader_id)
            case BecameLeader(epoch, end_offset):
                await self._apply(end_offset)
                self._machine.became_leader(epoch)
            case Resigned(epoch):
                self._machine.resigned(epoch)

    async def _apply(self, high_watermark: Offset) -> None:
        log = self._log
        while self.applied_offset < high_watermark and log.start_offset <= self.applied_offset:
            entries = log.read(self.applied_offset, high_watermark, self._config.apply_bytes_max)
            assert entries and entries[0].offset == self.applied_offset, (entries[:1], self.applied_offset)
            self._machine.apply(entries)
            for entry in entries:
                self._count(entry)
            self._moved(entries[-1].end_offset, entries[-1].epoch)
            if self._bytes_since_snapshot >= self._config.snapshot_interval_bytes and not self._snapshot_running:
                self._snapshot_wanted.set()
            await asyncio.sleep(0)
        # Where the log starts later, a snapshot is about to be loaded: its notice stands behind this one.

    def _count(self, entry: Entry) -> None:
        if isinstance(entry.body, VoterSet):
            self._voters = entry.body
        elif not isinstance(entry.body, LeaderChange):
            self._bytes_since_snapshot += len(entry.body)

    def _moved(self, end_offset: Offset, epoch: Epoch) -> None:
        assert end_offset >= self.applied_offset
        self.applied_offset, self._applied_epoch = end_offset, epoch
        reached = [waiter for offset, waiter in self._waiters if offset <= end_offset]
        self._waiters = [each for each in self._waiters if each[0] > end_offset]
        for waiter in reached:
            if not waiter.done():
                waiter.set_result(None)

    def want_snapshot(self) -> None:
        """Take one now, whatever has been applied since the last."""
        if not self._snapshot_running:
            self._snapshot_wanted.set()

    async def run_snapshots(self) -> None:
        """Runs until cancelled; takes one snapshot at a time."""
        while True:
            await self._snapshot_wanted.wait()
            self._snapshot_running = True
            self._snapshot_wanted.clear()
            self._bytes_since_snapshot = 0
            await self._take_snapshot(SnapshotId(self._applied_epoch, self.applied_offset), self._machine.snapshot())
            self._snapshot_running = False

    async def _take_snapshot(self, snapshot: SnapshotId, chunks: Iterator[bytes]) -> None:
        """Nothing was awaited since the state was looked at, so `chunks` are the state at exactly `snapshot`."""
        writer = self._log.begin_snapshot(snapshot, self._voters)
        for chunk in chunks:
            writer.write(chunk)
            await asyncio.sleep(0)
        await writer.finish()
        self._snapshot_taken(snapshot)
