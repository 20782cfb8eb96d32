"""How a node offers what the nodes ask of each other: so that no crowd of clients keeps it from being answered."""

import asyncio

from broker.rpc.methods import full_name
from kraftpy.pb import control_pb2, quorum_pb2
from simulation.cluster import Cluster, ClusterConfig
from simulation.world import World, WorldConfig


def test_all_that_nodes_ask_of_each_other_finds_room_among_clients_calls() -> None:
    world = World(1, WorldConfig(time_limit_ms=60_000))
    cluster = Cluster(world, ClusterConfig(nodes=1))

    async def started(_: World) -> None:
        cluster.start()
        while not hasattr(cluster.servers.get("n1"), "_methods"):  # noqa: ASYNC110 - on virtual time
            await asyncio.sleep(0.01)

    world.run(started)
    methods = cluster.servers["n1"]._methods
    between = {
        full_name(service.name, method.name)
        for file in (control_pb2, quorum_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert full_name("Control", "WriteTxnMarkers") in between
    assert between <= {*methods.unary, *methods.stream}
    assert methods.between_nodes == between
