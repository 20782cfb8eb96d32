"""Shells under faults, by a seed: kills, cuts, lost and doubled calls, slow disks, snapshots, and voters that come and
go meanwhile. In the end, what was acknowledged is everywhere, once."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from raft.config import RaftConfig
from raft.errors import RaftError
from raft.events import NodeId, Offset, Voter, VoterSet
from tests.raft.invariants import Violation
from tests.raft.world import World, Writer, play

FAULTS = 25
CONFIG = RaftConfig(snapshot_interval_bytes=120, snapshot_chunk_bytes_max=100, fetch_bytes_max=4, apply_bytes_max=3)


@dataclass(frozen=True, slots=True)
class Outcome:
    simulated_ms: int
    faults: int
    epochs: int
    acknowledged: int
    voter_changes: int


class Chaos:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.world = World(self.random.choice([1, 3, 3, 5]), observers=2, config=CONFIG, seed=seed)
        self.world.loss = self.random.choice([0, 0, 30])
        self.world.duplication = self.random.choice([0, 0, 100])
        self.acknowledged: list[bytes] = []
        self.words = 0
        self.epochs = 0
        self.changes = 0

    async def story(self) -> None:
        world = self.world
        await world.start()
        writers = [asyncio.ensure_future(self.write()) for _ in range(3)]
        for _ in range(FAULTS):
            await asyncio.sleep(self.random.randrange(20, 500) / 1000)
            await self.fault()
        for writer in writers:
            writer.cancel()
        ended = await asyncio.gather(*writers, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended
        await self.peace()

    async def write(self) -> None:
        """Propose to whoever leads, one after the other; a word whose fate is unknown is not sent again."""
        while True:
            await asyncio.sleep(self.random.randrange(1, 40) / 1000)
            leader_id = self.world.leader_id()
            if leader_id is None:
                continue
            node = self.world.node(leader_id)
            self.words += 1
            word = b"word-%d" % self.words
            count, place = self.random.randrange(1, 4), None
            if self.random.randrange(3) == 0:
                place = Offset(node.status().end_offset + self.random.choice([0, 0, 1]))
            try:
                end_offset = await node.propose(word, count, node.status().epoch, place)
            except RaftError:
                continue
            assert place in (None, end_offset - count), "it stands where it was not meant to"
            self.acknowledged.append(word)

    async def fault(self) -> None:
        world, node_id = self.world, self.random.choice(list(self.world.replicas))
        running = world[node_id].node is not None
        match self.random.randrange(10):
            case 0 | 1 if running:
                await world.kill(node_id)
            case 2 | 3 if not running:
                await world.start(node_id)
            case 4:
                world.cut.append(NodeId(node_id))
            case 5:
                world.cut.clear()
            case 6:
                world[node_id].log.flush_ms = self.random.choice([1, 20, 300])
            case 7 if running:
                await world.node(node_id).transfer_leadership()
            case 8 | 9:
                await self.change_voters(node_id)

    async def change_voters(self, node_id: int) -> None:
        """Have the leader take a voter out, or an observer in; what it refuses or cannot commit is given up."""
        leader_id = self.world.leader_id()
        status = self.world.node(leader_id).status() if leader_id is not None else None
        if leader_id is None or status is None or status.voters is None:
            return
        voters = {voter.key.node_id: voter for voter in status.voters.voters}
        key = self.world[node_id].key
        if voters.pop(key.node_id, None) is None:
            voters[key.node_id] = Voter(key, f"n{node_id}", 9093)
        changed = VoterSet(tuple(voters[each] for each in sorted(voters)))
        place = self.random.choice([None, status.end_offset])
        with suppress(RaftError, TimeoutError):
            async with asyncio.timeout(1):
                await self.world.node(leader_id).change_voters(changed, status.epoch, place)
                self.changes += 1

    async def peace(self) -> None:
        world = self.world
        world.cut.clear()
        world.loss = world.duplication = 0
        for node_id, replica in world.replicas.items():
            replica.log.flush_ms = 3
            assert replica.node is None or not replica.node.failed.done(), replica.node and replica.node.failed
            if replica.node is None:
                await world.start(node_id)
        await asyncio.sleep(5)  # whoever led on while it was cut off has noticed
        await world.write(b"last")
        await world.wait(lambda: all(each.machine.words[-1:] == [b"last"] for each in world.replicas.values()))
        self.epochs = world.node(1).status().epoch
        words = world[1].machine.words
        assert all(each.machine.words == words for each in world.replicas.values())
        assert len(set(words)) == len(words)
        assert [word for word in self.acknowledged if word not in words] == []
        assert await world.node(await world.leader()).read_barrier() == world[1].machine.end_offset


def run_chaos(seed: int) -> Outcome:
    """Raises `Violation`, whose message ends with the command that replays it."""
    Writer.corrupt_next = 1
    chaos = Chaos(seed)
    try:
        play(chaos.world, chaos.story())
    except (AssertionError, RaftError, OSError, LookupError) as error:
        raise Violation(f"{error!r}\nreplay with: python -m tests.raft.campaign --shells --seed {seed}") from error
    return Outcome(chaos.world.loop.now_us // 1000, FAULTS, chaos.epochs, len(chaos.acknowledged), chaos.changes)
