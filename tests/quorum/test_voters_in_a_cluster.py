"""Whole nodes whose quorum moves on: roles, lists that are out of date, voters that come and go."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from random import Random

import pytest

from broker.config import VoterAddress
from kraftpy.aio import Admin
from kraftpy.errors import (
    DuplicateVoterError,
    InvalidRequestError,
    KraftpyError,
    RequestTimedOutError,
    VoterNotFoundError,
)
from kraftpy.pb import quorum_pb2 as pb
from kraftpy.runtime.ports import Address, BadRequest
from simulation.cluster import CALLS_PORT, Cluster, ClusterConfig
from simulation.world import World, WorldConfig

Story = Callable[[World, Cluster, Admin], Awaitable[None]]


def play(story: Story, config: ClusterConfig, asked: Sequence[int] = ()) -> None:
    """`asked`: the nodes that the admin knows; none: all."""
    world = World(3, WorldConfig(time_limit_ms=200_000))

    async def main() -> None:
        cluster = Cluster(world, config)
        cluster.start()
        life = world.open_life("admin")
        bootstrap = ",".join(f"n{number}:{CALLS_PORT}" for number in asked) or cluster.bootstrap
        ports = life.ports
        admin = Admin(bootstrap, _transport=ports.transport, _clock=ports.clock, _random=Random(1))

        async def told() -> None:
            async with admin:
                await story(world, cluster, admin)

        await world.run_in(life, told())

    world.run(lambda _: main())


async def in_service(admin: Admin, *broker_ids: int) -> None:
    """Wait until exactly these brokers are in service."""
    async with asyncio.timeout(60):
        while True:
            brokers = (await admin.describe_cluster(include_fenced=False)).brokers
            if [broker.node_id for broker in brokers] == list(broker_ids):
                return
            await asyncio.sleep(0.1)


async def voters_of(admin: Admin) -> list[int]:
    return sorted(voter.node_id for voter in (await admin.describe_quorum()).voters)


async def led_by_another(admin: Admin, leader_id: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                if (await admin.describe_quorum(timeout=1)).leader_id != leader_id:
                    return
            except KraftpyError:
                pass  # nobody leads at the moment
            await asyncio.sleep(0.1)


def start_listing(world: World, cluster: Cluster, node_id: int, *listed: int) -> None:
    """Start a node again that is told these voters."""
    voters = tuple(VoterAddress(number, Address(f"n{number}", CALLS_PORT)) for number in listed)
    config = replace(cluster.node_config(node_id), voters=voters)
    world.restart(f"n{node_id}", partial(cluster._run_node, f"n{node_id}", config))


def test_a_controller_that_is_no_broker_leads_brokers_that_do_not_vote() -> None:
    async def story(world: World, cluster: Cluster, admin: Admin) -> None:
        await in_service(admin, 2, 3)
        quorum = await admin.describe_quorum()
        assert (quorum.leader_id, sorted(each.node_id for each in quorum.observers)) == (1, [2, 3])
        created = await admin.create_topic("lines", partitions=4, replication_factor=2)
        assert created.partitions == 4
        described = await admin.describe_topic("lines")
        assert all(sorted(each.replicas) == [2, 3] for each in described.partitions)
        features = await admin.describe_features()
        assert [(each.node_id, each.is_voter, each.in_service) for each in features.nodes] == [
            (1, True, True),
            (2, False, True),
            (3, False, True),
        ]
        with pytest.raises(InvalidRequestError, match="node 2 is a broker only"):
            await admin.add_raft_voter(2)
        await admin.add_raft_voter(3)
        await admin.remove_raft_voter(1)
        assert await voters_of(admin) == [3]
        found = await admin.describe_quorum()
        assert found.leader_id == 3 and [
            (each.node_id, each.host) for each in found.observers if each.node_id == 1
        ] == [(1, "n1")]
        world.stop("n1")
        await in_service(admin, 2, 3)
        await admin.create_topic("more", partitions=1, replication_factor=2)

    play(story, ClusterConfig(observers=2, roles={1: ("controller",), 2: ("broker",)}))


def test_controllers_and_brokers_of_their_own() -> None:
    """Three that vote, two that serve; the loss of a controller moves the quorum's leadership only."""

    async def story(world: World, cluster: Cluster, admin: Admin) -> None:
        await in_service(admin, 4, 5)
        await admin.create_topic("lines", partitions=2, replication_factor=2)
        leader_id = (await admin.describe_quorum()).leader_id
        world.crash(f"n{leader_id}")
        await led_by_another(admin, leader_id)
        await admin.create_topic("more", partitions=2, replication_factor=2)
        world.restart(f"n{leader_id}")
        await in_service(admin, 4, 5)
        assert not (await admin.cluster_health()).problems

    roles = {**dict.fromkeys((1, 2, 3), ("controller",)), **dict.fromkeys((4, 5), ("broker",))}
    play(story, ClusterConfig(nodes=5, observers=2, roles=roles))


def test_a_node_whose_list_names_none_of_todays_voters_finds_them_by_asking_one_who_knows() -> None:
    """Node 3 was down while 4 and 5 took over. Of the voters in its log and its list only 1 is left, which observes."""

    async def story(world: World, cluster: Cluster, admin: Admin) -> None:
        await in_service(admin, 1, 2, 3, 4, 5)
        world.crash("n3")
        for node_id in (4, 5):
            await admin.add_raft_voter(node_id)
        for node_id in (1, 2, 3):
            await admin.remove_raft_voter(node_id)
        assert await voters_of(admin) == [4, 5]
        world.crash("n2")
        world.restart("n3")
        await in_service(admin, 1, 3, 4, 5)
        assert cluster.servers["n3"].voter_ids() == (4, 5)
        world.crash("n1")
        world.crash("n3")
        start_listing(world, cluster, 3, 4)  # nobody is left of those in its list before
        await in_service(admin, 3, 4, 5)

    play(story, ClusterConfig(nodes=5, observers=2))


def test_a_voter_of_long_ago_asks_those_whom_the_operator_lists_now() -> None:
    """Node 3 slept through everything: its log names 1, 2 and 3, of which nobody is left. Its new list names 4."""

    async def story(world: World, cluster: Cluster, admin: Admin) -> None:
        await in_service(admin, 1, 2, 3, 4, 5)
        world.crash("n3")
        for node_id in (4, 5):
            await admin.add_raft_voter(node_id)
        for node_id in (1, 2, 3):
            await admin.remove_raft_voter(node_id)
        world.crash("n1")
        world.crash("n2")
        start_listing(world, cluster, 3, 4)
        await in_service(admin, 3, 4, 5)
        assert cluster.servers["n3"].voter_ids() == (4, 5)

    play(story, ClusterConfig(nodes=5, observers=2))


def test_a_new_node_may_ask_an_observer_or_a_voter_that_came_later() -> None:
    async def story(world: World, cluster: Cluster, admin: Admin) -> None:
        await in_service(admin, 1, 2, 3)
        world.crash("n3")
        world.wipe("n3")
        await admin.add_raft_voter(2)
        await admin.remove_raft_voter(1)
        world.crash("n1")
        await in_service(admin, 2)
        config = replace(cluster.node_config(3), voters=(VoterAddress(2, Address("n2", CALLS_PORT)),))
        world.restart("n3", partial(cluster._run_node, "n3", config))
        await in_service(admin, 2, 3)

    play(story, ClusterConfig(observers=2))


def test_changes_that_cannot_be_are_refused_with_kafkas_names() -> None:
    async def story(world: World, cluster: Cluster, admin: Admin) -> None:
        await in_service(admin, 1, 2, 3)
        with pytest.raises(DuplicateVoterError, match="node 1 is a voter already"):
            await admin.add_raft_voter(1)
        with pytest.raises(VoterNotFoundError, match="node 2 is no voter; the voters are 1"):
            await admin.remove_raft_voter(2)
        with pytest.raises(InvalidRequestError, match="the only voter"):
            await admin.remove_raft_voter(1)
        told: list[str] = []
        with pytest.raises(RequestTimedOutError, match="node 9 does not fetch"):
            await admin.add_raft_voter(9, timeout=9, progress=told.append)
        assert len(told) >= 2 and all("node 9 does not fetch" in sentence for sentence in told)
        await admin.add_raft_voter(2)
        await admin.add_raft_voter(3)
        world.crash("n3")
        await asyncio.sleep(5)
        living = 2 if (await admin.describe_quorum()).leader_id == 1 else 1
        with pytest.raises(InvalidRequestError, match="of which 3 cannot be heard: no majority"):
            await admin.remove_raft_voter(living)
        await admin.remove_raft_voter(3)
        assert await voters_of(admin) == [1, 2]

    play(story, ClusterConfig(observers=2))


def test_two_changes_at_once_are_done_one_after_the_other() -> None:
    """KIP-853: the second is told to wait, which the SDK does."""

    async def story(world: World, cluster: Cluster, admin: Admin) -> None:
        await in_service(admin, 1, 2, 3, 4, 5)
        await asyncio.gather(*[admin.add_raft_voter(node_id) for node_id in (2, 3, 4, 5)])
        assert await voters_of(admin) == [1, 2, 3, 4, 5]
        leader_id = (await admin.describe_quorum()).leader_id
        others = [node_id for node_id in (1, 2, 3, 4, 5) if node_id != leader_id]
        await asyncio.gather(*[admin.remove_raft_voter(node_id) for node_id in (leader_id, others[0])])
        assert await voters_of(admin) == others[1:]

    play(story, ClusterConfig(nodes=5, observers=4))


def test_a_voter_on_a_new_disk_is_replaced() -> None:
    async def story(world: World, cluster: Cluster, admin: Admin) -> None:
        await in_service(admin, 1, 2, 3)
        (old,) = [each for each in (await admin.describe_quorum()).voters if each.node_id == 3]
        world.crash("n3")
        world.wipe("n3")
        await in_service(admin, 1, 2)
        world.restart("n3")
        await in_service(admin, 1, 2, 3)
        with pytest.raises(DuplicateVoterError, match=f"kraftpy quorum remove 3 --directory-id {old.directory_id}"):
            (new,) = [each for each in (await admin.describe_quorum()).observers if each.node_id == 3]
            await admin.add_raft_voter(3, directory_id=new.directory_id)
        await admin.remove_raft_voter(3, directory_id=old.directory_id)
        voters = await admin.add_raft_voter(3, directory_id=new.directory_id)
        assert [voter.node_id for voter in voters] == [1, 2, 3]
        leader_id = (await admin.describe_quorum()).leader_id
        world.crash("n1" if leader_id == 3 else f"n{leader_id}")
        await led_by_another(admin, 1 if leader_id == 3 else leader_id)
        await admin.create_topic("lines", partitions=1, replication_factor=2)  # by the new 3 and one other

    play(story, ClusterConfig())


def test_a_voter_that_comes_back_at_another_port_is_written_down_there() -> None:
    """KIP-853's UpdateRaftVoter: afterwards the others find it without having been told in their lists."""

    async def story(world: World, cluster: Cluster, admin: Admin) -> None:
        await in_service(admin, 1, 2, 3)
        leader_id = (await admin.describe_quorum()).leader_id
        mover = 1 if leader_id == 3 else 3
        world.crash(f"n{mover}")
        config = cluster.node_config(mover)
        grpc = replace(config.grpc, bind=Address(f"n{mover}", 9193))
        world.restart(f"n{mover}", partial(cluster._run_node, f"n{mover}", replace(config, grpc=grpc)))
        async with asyncio.timeout(30):
            while True:
                voters = (await admin.describe_quorum()).voters
                if {voter.node_id: voter.port for voter in voters}[mover] == 9193:
                    break
                await asyncio.sleep(0.1)
        third = next(node_id for node_id in (1, 2, 3) if node_id not in (mover, leader_id))
        world.crash(f"n{leader_id}")
        await led_by_another(admin, leader_id)
        assert (await admin.describe_quorum()).leader_id in (mover, third)

    play(story, ClusterConfig())


@pytest.mark.parametrize("now_at", [{2: 3, 3: 2}, {1: 2, 2: 3, 3: 1}])
def test_voters_that_exchanged_their_addresses_while_the_cluster_was_down_elect(now_at: dict[int, int]) -> None:
    """As when containers get each other's addresses: those in the log are wrong, and somebody listens at each of them.
    The list is right; in the end the voter set is too, but for its leader, whom nobody leads."""

    def place(cluster: Cluster, node_id: int) -> str:
        return cluster.hosts[now_at.get(node_id, node_id) - 1]

    async def story(world: World, cluster: Cluster, admin: Admin) -> None:
        await in_service(admin, 1, 2, 3)
        await admin.create_topic("lines", partitions=1, replication_factor=3)
        for host in cluster.hosts:
            world.crash(host)
        disks = dict(world.devices)
        for node_id in (1, 2, 3):
            world.devices[place(cluster, node_id)] = disks[f"n{node_id}"]
        voters = tuple(VoterAddress(each, Address(place(cluster, each), CALLS_PORT)) for each in (1, 2, 3))
        for node_id in (1, 2, 3):
            config, host = cluster.node_config(node_id), place(cluster, node_id)
            grpc = replace(config.grpc, bind=Address(host, CALLS_PORT))
            framed = tuple(replace(each, bind=Address(host, each.bind.port)) for each in config.framed)
            config = replace(config, voters=voters, grpc=grpc, framed=framed)
            world.restart(host, partial(cluster._run_node, host, config))
        async with asyncio.timeout(30):
            await in_service(admin, 1, 2, 3)
            await admin.create_topic("more", partitions=1, replication_factor=3)
            while True:
                quorum = await admin.describe_quorum()
                led = [each for each in quorum.voters if each.node_id != quorum.leader_id]
                if all(each.host == place(cluster, each.node_id) for each in led):
                    return
                await asyncio.sleep(0.5)

    play(story, ClusterConfig())


def test_what_is_meant_for_another_replica_is_refused_and_what_names_none_is_not() -> None:
    """As nodes of older releases, which say nothing of it."""

    async def story(world: World, cluster: Cluster, admin: Admin) -> None:
        await in_service(admin, 1, 2, 3)
        server = cluster.servers["n1"]
        end = server._quorum_service.methods().unary["/kraftpy.pb.Quorum/EndQuorumEpoch"]
        cluster_id = (await admin.describe_cluster()).cluster_id
        for receiver_id in (None, 1):
            request = pb.EndQuorumEpochRequest(cluster_id=cluster_id, leader_id=2, epoch=0, receiver_id=receiver_id)
            assert pb.EpochResponse.FromString(await end(request.SerializeToString())).epoch >= 1
        for receiver_id in (0, 2, -1):
            request = pb.EndQuorumEpochRequest(cluster_id=cluster_id, leader_id=2, epoch=0, receiver_id=receiver_id)
            with pytest.raises(BadRequest, match=f"this is node 1, not node {receiver_id}"):
                await end(request.SerializeToString())

    play(story, ClusterConfig())
