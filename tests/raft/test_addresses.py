"""Where a replica looks for another one."""

from dataclasses import replace
from uuid import UUID

from raft.addresses import Addresses
from raft.events import NodeId, ReplicaKey, Voter, VoterSet
from raft.ports import Peer
from tests.raft.world import World, play

TWO = NodeId(2)
VOTERS = VoterSet((Voter(ReplicaKey(TWO, UUID(int=2)), "n2", 9093),))


def test_nobody_has_told() -> None:
    assert Addresses(()).of(TWO, None) is None
    assert Addresses((Peer(NodeId(1), "n1", 9093),)).of(NodeId(3), VOTERS) is None


def test_the_log_is_believed_first_and_what_fails_takes_turns() -> None:
    addresses, listed = Addresses((Peer(TWO, "n2", 9193),)), Peer(TWO, "n2", 9193)
    assert addresses.of(TWO, None) == listed
    logged = addresses.of(TWO, VOTERS)
    assert logged == Peer(TWO, "n2", 9093)
    addresses.failed(logged)
    assert addresses.of(TWO, VOTERS) == addresses.of(TWO, VOTERS) == listed
    addresses.failed(listed)
    assert addresses.of(TWO, VOTERS) == logged


def test_an_only_address_is_tried_again() -> None:
    addresses = Addresses(())
    logged = Peer(TWO, "n2", 9093)
    addresses.failed(logged)
    assert addresses.of(TWO, VOTERS) == logged


def test_a_cluster_that_comes_back_on_other_ports_elects() -> None:
    """What the log says of them is refused there; what the operator lists is right."""
    world = World(3)

    async def story() -> None:
        await world.start()
        await world.write(b"one")
        for node_id in world.replicas:
            await world.kill(node_id)
        world.ports = dict.fromkeys(world.replicas, 19_093)
        world.voters = VoterSet(tuple(replace(voter, port=19_093) for voter in world.voters.voters))
        await world.start()
        await world.leader(within_ms=1_000)
        await world.write(b"two")
        await world.wait(lambda: all(each.machine.words == [b"one", b"two"] for each in world.replicas.values()))

    play(world, story())
