"""Where a replica looks for another one."""

from dataclasses import replace
from uuid import UUID

import pytest

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


@pytest.mark.parametrize("now_at", [{2: 3, 3: 2}, {1: 2, 2: 3, 3: 1}, {1: 3, 3: 1}])
@pytest.mark.parametrize("seed", range(5))
def test_a_cluster_whose_voters_have_exchanged_their_addresses_elects(now_at: dict[int, int], seed: int) -> None:
    """Somebody answers at every address of the log, and no one is who he was. The operator's list is right."""
    world = World(3, seed=seed)

    async def story() -> None:
        await world.start()
        await world.write(b"one")
        for node_id in world.replicas:
            await world.kill(node_id)
        world.hosts = {each: f"n{now_at.get(each, each)}" for each in world.hosts}
        listed = tuple(replace(voter, host=world.hosts[voter.key.node_id]) for voter in world.voters.voters)
        world.voters = VoterSet(listed)
        await world.start()
        await world.leader(within_ms=2_000)
        await world.write(b"two")
        await world.wait(lambda: all(each.machine.words == [b"one", b"two"] for each in world.replicas.values()))

    play(world, story())
