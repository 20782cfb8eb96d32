"""The shell when a disk fails, or power does: known cases by their names."""

import asyncio
from collections.abc import Sequence

import pytest

from raft.applier import Applier
from raft.errors import Stopped
from raft.events import Entry, Epoch, LogPosition, NodeId, Offset, PersistVote, VoteRequest, VoteResponse
from tests.raft.world import LostVote, Replica, World, play


class FullLog:
    """Stands before a log whose disk takes nothing more."""

    def __init__(self, replica: Replica) -> None:
        self._log = replica.log
        self.refused = 0

    def append(self, entries: Sequence[Entry]) -> None:
        self.refused += 1
        raise OSError(28, "No space left on device")

    def stand_before(self) -> None:
        self._log.append = self.append  # type: ignore[method-assign]


def test_kafka_10533_a_failed_flush_ends_the_replica_and_everybody_who_waits_is_told() -> None:
    world = World(1)

    async def story() -> None:
        await world.start()
        node = world.node(await world.leader())
        world[1].log.failure = OSError(5, "Input/output error")
        with pytest.raises(Stopped):
            await node.propose(b"lost", 1, Epoch(1))
        assert isinstance(node.failed.exception(), OSError)
        with pytest.raises(Stopped):
            await node.read_barrier()
        with pytest.raises(Stopped):
            node.status()

    play(world, story())


def test_kafka_10778_nothing_is_accepted_after_a_failed_append() -> None:
    """The leader ends with the first error, another leads, and what it answers afterwards is nothing."""
    world = World(3)

    async def story() -> None:
        await world.start()
        first = await world.leader()
        await world.write(b"one")
        node, disk = world.node(first), FullLog(world[first])
        disk.stand_before()
        proposals = [node.propose(b"lost-%d" % i, 1, Epoch(1)) for i in range(3)]
        results = await asyncio.gather(*proposals, return_exceptions=True)
        assert [type(each) for each in results] == [Stopped] * 3
        assert disk.refused == 1 and isinstance(node.failed.exception(), OSError)
        with pytest.raises(Stopped):
            await node.handle(vote_for(2, world, Epoch(9), asked=first))
        await world.wait(lambda: world.leader_id() not in (None, first))
        await world.write(b"two")
        others = [each for each in world.replicas.values() if each.key.node_id != first]
        await world.wait(lambda: all(each.machine.words == [b"one", b"two"] for each in others))

    play(world, story())


def vote_for(candidate: int, world: World, epoch: Epoch, *, asked: int) -> VoteRequest:
    return VoteRequest(world[candidate].key, world[asked].key, epoch, LogPosition(epoch, Offset(99)), False)


@pytest.mark.parametrize("forgotten", [None, PersistVote(Epoch(0), None, None)])
def test_a_vote_that_is_older_than_the_log_is_lost_and_the_replica_does_not_start(
    forgotten: PersistVote | None,
) -> None:
    """It may have voted in the epoch of its log, and would vote there again."""
    world = World(3)

    async def story() -> None:
        await world.start()
        await world.leader()
        await world.write(b"word")
        await world.kill(3)
        world[3].votes.vote = forgotten
        with pytest.raises(LostVote):
            await world.start(3)
        world[3].node = None

    play(world, story())


@pytest.mark.parametrize("killed_after_ms", [0.0, 0.5, 1.5])
def test_kafka_16541_power_is_lost_while_a_vote_is_stored(killed_after_ms: float) -> None:
    """The vote is the old one or the new one afterwards, and the candidate has it only in the second case."""
    world = World(3)

    async def story() -> None:
        await world.start(3)
        asking = asyncio.ensure_future(world.node(3).handle(vote_for(1, world, Epoch(5), asked=3)))
        await asyncio.sleep(killed_after_ms / 1000)
        await world.kill(3)
        (answer,) = await asyncio.gather(asking, return_exceptions=True)
        stored = PersistVote(Epoch(5), world[1].key, None)
        if isinstance(answer, VoteResponse):
            assert answer.granted and world[3].votes.vote == stored
        else:
            assert isinstance(answer, Stopped) and world[3].votes.vote in (None, stored)
        kept = world[3].votes.vote == stored
        await world.start(3)
        other = await world.node(3).handle(vote_for(2, world, Epoch(5), asked=3))
        assert isinstance(other, VoteResponse) and other.granted is not kept

    play(world, story())


def test_a_vote_that_cannot_be_stored_is_not_given() -> None:
    world = World(3)

    async def story() -> None:
        await world.start(3)

        async def fail(vote: PersistVote) -> None:
            raise OSError(5, "Input/output error")

        world[3].votes.save = fail  # type: ignore[method-assign]
        with pytest.raises(Stopped):
            await world.node(3).handle(vote_for(1, world, Epoch(5), asked=3))
        assert isinstance(world.node(3).failed.exception(), OSError)

    play(world, story())


def test_nats_2_12_1_a_leader_that_reads_a_flipped_bit_ends() -> None:
    """What its checksum refuses is not spread: the leader stops, another leads, and the replica that lagged gets the
    record from that one."""
    world = World(3)

    async def story() -> None:
        await world.start(1, 2)
        await world.write(b"one", b"two")
        first = await world.leader()
        node, log = world.node(first), world[first].log

        def read(offset: Offset, end_offset: Offset, bytes_max: int) -> list[Entry]:
            raise OSError("CORRUPT_MESSAGE: the batch at offset 2 has another CRC than it says")

        log.read = read  # type: ignore[method-assign]
        await world.start(3)
        await world.wait(lambda: node.failed.done())
        assert isinstance(node.failed.exception(), OSError)
        await world.wait(lambda: world.leader_id() not in (None, first))
        await world.write(b"three")
        await world.wait(lambda: world[3].machine.words == [b"one", b"two", b"three"])
        assert world[3].log.entries == world[NodeId(3 - first)].log.entries

    play(world, story())


def test_a_read_that_waits_for_the_state_machine_is_told_of_the_end() -> None:
    """It is not cancelled: whoever asked goes on."""
    world = World(1)

    async def story() -> None:
        applier = Applier(world.config, world[1].log, world[1].machine, lambda _: None)
        waiting = asyncio.ensure_future(applier.wait_applied(Offset(2)))
        await asyncio.sleep(0)
        applier.close()
        with pytest.raises(Stopped):
            await waiting

    play(world, story())


def test_a_broken_state_machine_ends_the_replica() -> None:
    world = World(1)

    async def story() -> None:
        await world.start()
        node = world.node(await world.leader())

        def apply(entries: Sequence[Entry]) -> None:
            raise ValueError("the state machine is broken")

        world[1].machine.apply = apply  # type: ignore[method-assign]
        await node.propose(b"one", 1, Epoch(1))
        await world.wait(lambda: node.failed.done())
        assert isinstance(node.failed.exception(), ValueError)
        with pytest.raises(Stopped):
            await node.read_barrier()

    play(world, story())
