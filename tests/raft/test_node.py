"""The shell: mailbox, flushes, state machine, snapshots, and what callers are told."""

import asyncio
from uuid import UUID

import pytest

from raft.config import RaftConfig
from raft.errors import NotLeader, Overloaded, Stopped
from raft.events import (
    BeginQuorumEpochRequest,
    Epoch,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    LeaderChange,
    NodeId,
    Offset,
    ReplicaKey,
    SnapshotId,
    Voter,
    VoterSet,
)
from tests.raft.memory_log import MemoryLog
from tests.raft.world import World, Writer, play


def test_three_nodes_elect_commit_and_apply_everywhere() -> None:
    world = World(3)

    async def story() -> None:
        await world.start()
        leader_id = await world.leader(within_ms=500)
        node = world.node(leader_id)
        end_offset = await node.propose(b"one", 3, node.status().epoch)
        assert end_offset == 5  # the founding entry, the LeaderChange, three records
        await world.wait(lambda: all(each.machine.words == [b"one"] for each in world.replicas.values()), 100)
        status = node.status()
        assert (status.role, status.leader_id, status.high_watermark) == ("leader", leader_id, 5)
        assert [each.end_offset for each in status.replicas] == [5, 5, 5]
        assert all(each.is_voter for each in status.replicas)

    play(world, story())


def test_a_single_voter_needs_nobody() -> None:
    world = World(1)

    async def story() -> None:
        await world.start()
        await world.leader(within_ms=20)
        await world.write(b"alone")
        assert await world.node(1).read_barrier() == 3
        await world.node(1).transfer_leadership()  # nobody to give it to: it returns
        assert world.node(1).status().role == "leader"
        await asyncio.sleep(60)
        assert world.node(1).status().epoch == 1

    play(world, story())


def test_proposals_in_flight_share_flushes() -> None:
    world = World(3)

    async def story() -> None:
        await world.start()
        node = world.node(await world.leader())
        epoch, began_us = node.status().epoch, world.loop.now_us
        ends = await asyncio.gather(*[node.propose(b"%d" % i, 1, epoch) for i in range(200)])
        assert ends == list(range(3, 203))
        assert world.loop.now_us - began_us < 60_000  # a flush each would take 600 ms

    play(world, story())


def test_a_proposal_stands_where_it_was_meant_to_or_nowhere() -> None:
    """A state machine that has replayed an entry, before it is committed, at the offset where it expects it."""
    world = World(3)

    async def story() -> None:
        await world.start()
        node = world.node(await world.leader())
        at, epoch = node.status().end_offset, node.status().epoch
        results = await asyncio.gather(
            node.propose(b"one", 2, epoch, at),
            node.propose(b"misplaced", 1, epoch, Offset(at + 1)),
            node.propose(b"two", 1, epoch, Offset(at + 2)),
            node.propose(b"late", 1, epoch, at),
            node.propose(b"anywhere", 1, epoch),
            return_exceptions=True,
        )
        assert [results[each] for each in (0, 2, 4)] == [at + 2, at + 3, at + 4]
        assert isinstance(results[1], NotLeader) and isinstance(results[3], NotLeader)
        expected = [b"one", b"two", b"anywhere"]
        await world.wait(lambda: all(each.machine.words == expected for each in world.replicas.values()))

    play(world, story())


def test_the_state_machine_is_given_control_entries_in_their_places() -> None:
    world = World(3)

    async def story() -> None:
        await world.start()
        leader_id = await world.leader()
        await world.write(b"one")
        await world.wait(lambda: all(len(each.machine.entries) == 3 for each in world.replicas.values()))
        for replica in world.replicas.values():
            founding, opening, written = replica.machine.entries
            assert founding.body == world.voters
            assert opening.body == LeaderChange(NodeId(leader_id), (NodeId(1), NodeId(2), NodeId(3)))
            assert written.body == b"one"

    play(world, story())


def test_a_follower_names_the_leader_and_an_old_epoch_is_refused() -> None:
    world = World(3)

    async def story() -> None:
        await world.start()
        leader_id = await world.leader()
        follower_id = next(each for each in world.replicas if each != leader_id)
        with pytest.raises(NotLeader, match=f"node {leader_id} leads") as told:
            await world.node(follower_id).propose(b"no", 1, Epoch(1))
        assert told.value.leader_id == leader_id
        with pytest.raises(NotLeader):
            await world.node(follower_id).read_barrier()
        with pytest.raises(NotLeader):
            await world.node(leader_id).propose(b"no", 1, Epoch(0))

    play(world, story())


def test_a_killed_leader_is_replaced_in_a_fraction_of_a_second() -> None:
    """Connections break, so nobody waits for the fetch time-out."""
    world = World(3)

    async def story() -> None:
        await world.start()
        first = await world.leader()
        await world.write(b"before")
        await world.kill(first)
        began_us = world.loop.now_us
        await world.write(b"after")
        assert world.loop.now_us - began_us < 400_000
        await world.start(first)
        await world.wait(lambda: world[first].machine.words == [b"before", b"after"])

    play(world, story())


def test_a_silent_leader_is_replaced_within_the_fetch_time_out() -> None:
    world = World(3)

    async def story() -> None:
        await world.start()
        first = await world.leader()
        await asyncio.sleep(1)
        world.cut.append(NodeId(first))
        began_us = world.loop.now_us
        await world.wait(lambda: world.leader_id() not in (None, first))
        assert world.loop.now_us - began_us < (RaftConfig().fetch_timeout_ms + 500) * 1_000
        with pytest.raises(NotLeader):
            await world.node(first).read_barrier()

    play(world, story())


def test_leadership_is_given_away_without_a_gap() -> None:
    world = World(3)

    async def story() -> None:
        await world.start()
        first = await world.leader()
        to = next(each for each in world.replicas if each != first)
        await world.write(b"one")
        began_us = world.loop.now_us
        await world.node(first).transfer_leadership(to)
        assert world.node(first).status().role != "leader"
        assert await world.leader() == to
        assert world.loop.now_us - began_us < 100_000
        await world.node(first).transfer_leadership()  # it follows now: nothing to give
        assert ("resigned", 1) in world[first].machine.told

    play(world, story())


def test_an_observer_follows_and_is_never_counted() -> None:
    world = World(3, observers=2)

    async def story() -> None:
        await world.start()
        await world.write(b"one", b"two")
        await world.wait(lambda: world[5].machine.words == [b"one", b"two"])
        leader_id = await world.leader()
        await asyncio.sleep(1)
        observers = [each for each in world.node(leader_id).status().replicas if not each.is_voter]
        assert [each.key.node_id for each in observers] == [4, 5]
        followers = [each for each in (1, 2, 3) if each != leader_id]
        for node_id in followers:
            await world.kill(node_id)
        proposal = asyncio.ensure_future(world.node(leader_id).propose(b"three", 1, Epoch(1)))
        await asyncio.sleep(3)
        with pytest.raises(NotLeader):
            await proposal

    play(world, story())


SMALL = RaftConfig(snapshot_interval_bytes=40, snapshot_chunk_bytes_max=100, fetch_bytes_max=4)


def test_a_laggard_gets_the_snapshot_and_then_the_log() -> None:
    world = World(3, config=SMALL)
    words = [b"word-%02d" % i for i in range(30)]

    async def story() -> None:
        await world.start(1, 2)
        Writer.corrupt_next = 0
        await world.write(*words)
        leader_id = await world.leader()
        await world.wait(lambda: world[leader_id].log.start_offset > 0)
        Writer.corrupt_next = 1
        await world.start(3)
        await world.wait(lambda: world[3].machine.words == words)
        assert world[3].machine.told[-1][0] == "loaded" or ("loaded" in [each[0] for each in world[3].machine.told])
        assert world[3].log.start_offset > 0
        await world.write(b"more")
        await world.wait(lambda: world[3].machine.words[-1] == b"more", 200)

    play(world, story())


@pytest.mark.parametrize("more", [True, False], ids=["more was written since", "nothing was written since"])
def test_a_leader_replaces_its_damaged_snapshot_before_it_sends_it(more: bool) -> None:
    """A laggard would fetch it and throw it away for ever."""
    world = World(3, config=SMALL)
    words = [b"word-%02d" % i for i in range(30)]

    async def story() -> None:
        await world.start(1, 2)
        await world.write(*words)
        log = world[await world.leader()].log
        damaged = await damage_latest_snapshot(world, log)
        if more:
            await world.write(b"more")
        await world.start(3)
        await world.wait(lambda: world[3].machine.words[:30] == words)
        assert damaged not in log.damaged or log.latest_snapshot() != damaged

    play(world, story())


async def damage_latest_snapshot(world: World, log: MemoryLog) -> SnapshotId:
    """That of all that was written: no other is about to be taken."""
    await world.wait(lambda: any(snapshot.end_offset == log.end_offset for snapshot in log.snapshots))
    snapshot = log.latest_snapshot()
    assert snapshot is not None
    log.damaged[snapshot] = "a flipped bit"
    return snapshot


def test_two_that_fetch_a_damaged_snapshot_in_turns_do_not_keep_it_from_being_found_out() -> None:
    world = World(1, config=SMALL)

    async def story() -> None:
        await world.start()
        node, log = world.node(await world.leader()), world[1].log
        await world.write(*(b"word-%02d" % i for i in range(30)))
        snapshot = await damage_latest_snapshot(world, log)
        size = log.snapshot_size(snapshot)
        sizes = []
        for node_id in (8, 9, 8):
            replica = ReplicaKey(NodeId(node_id), UUID(int=node_id))
            answer = await node.handle(FetchSnapshotRequest(replica, Epoch(1), snapshot, 0, 100))
            assert isinstance(answer, FetchSnapshotResponse)
            sizes.append(answer.size)
        assert sizes == [size, size, -1]

    play(world, story())


def test_a_restart_begins_with_the_snapshot() -> None:
    world = World(1, config=SMALL)
    words = [b"word-%02d" % i for i in range(30)]

    async def story() -> None:
        await world.start()
        await world.write(*words)
        await world.wait(lambda: world[1].log.start_offset > 0)
        await world.kill(1)
        await world.start(1)
        assert world[1].machine.told[0][0] == "loaded"
        await world.leader()
        await world.wait(lambda: world[1].machine.words == words)
        assert world.node(1).status().epoch == 2

    play(world, story())


def test_a_full_mailbox_refuses() -> None:
    world = World(1, config=RaftConfig(mailbox_max=10))

    async def story() -> None:
        await world.start()
        node = world.node(await world.leader())
        waiting = [asyncio.ensure_future(node.propose(b"x", 1, Epoch(1))) for _ in range(30)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert sum(isinstance(each, Overloaded) for each in results) == 20
        assert await node.propose(b"y", 1, Epoch(1)) == 13

    play(world, story())


def test_a_caller_that_goes_away_leaves_nothing_behind() -> None:
    world = World(3)

    async def story() -> None:
        await world.start(1, 2)
        node = world.node(await world.leader())
        waiting = asyncio.ensure_future(node.propose(b"x", 1, node.status().epoch))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert await node.propose(b"y", 1, node.status().epoch) == 4

    play(world, story())


def test_after_a_stall_messages_count_before_deadlines() -> None:
    """The whole process stood still for longer than the fetch time-out, the leader did not: nobody is doubted."""
    world = World(3)

    async def story() -> None:
        await world.start()
        leader_id = await world.leader()
        await asyncio.sleep(2)
        world.loop.now_us += 5_000_000  # every node sees its deadline long past, with answers still to be read
        await asyncio.sleep(3)
        assert world.leader_id() == leader_id
        assert world.node(leader_id).status().epoch == 1

    play(world, story())


def test_a_voter_is_added_and_removed() -> None:
    """KIP-853: by the log, one at a time, an observer that has caught up."""
    world = World(3, observers=1)

    async def story() -> None:
        await world.start()
        await world.write(b"one")
        await world.wait(lambda: world[4].machine.words == [b"one"])
        await asyncio.sleep(1)
        node = world.node(await world.leader())
        four = VoterSet((*world.voters.voters, Voter(world[4].key, "n4", 9093)))
        await node.change_voters(four, Epoch(1))
        await world.wait(lambda: world.node(4).status().role == "follower")
        stranger = Voter(ReplicaKey(NodeId(9), UUID(int=9)), "n9", 9093)
        with pytest.raises(NotLeader):
            await node.change_voters(VoterSet((*four.voters, stranger)), Epoch(1))
        leader_id = node.status().key.node_id
        without = VoterSet(tuple(voter for voter in four.voters if voter.key.node_id != leader_id))
        await node.change_voters(without, Epoch(1))
        await world.wait(lambda: world.leader_id() not in (None, leader_id))
        await world.write(b"two")
        await world.wait(lambda: world[leader_id].machine.words == [b"one", b"two"])
        assert node.status().role == "observer"

    play(world, story())


def test_requests_after_the_stop_are_refused() -> None:
    world = World(1)

    async def story() -> None:
        await world.start()
        node = world.node(1)
        await node.stop()
        assert node.failed.done() and node.failed.exception() is None
        with pytest.raises(Stopped):
            await node.handle(BeginQuorumEpochRequest(NodeId(2), Epoch(5)))
        with pytest.raises(Stopped):
            await node.transfer_leadership()

    play(world, story())


def test_the_same_seed_gives_the_same_history() -> None:
    def history() -> tuple[str, Offset]:
        world = World(3, seed=7)

        async def story() -> Offset:
            await world.start()
            await world.write(b"one")
            await world.kill(await world.leader())
            await world.write(b"two")
            return world[await world.leader()].log.end_offset

        end_offset = play(world, story())
        return world.loop.trace_hash(), end_offset

    assert history() == history()
