"""Brokers with two log directories each: the second ones fail and are mended, and replicas move between the two.

Clients, faults and judges are those of `whole_cluster`. Beside them an operator moves replicas at random (KIP-113), and
second directories fail: their partitions must find other leaders, the others must be served on, and after the node's
restart everything must be whole again.
"""

import asyncio
from dataclasses import replace
from functools import partial
from random import Random

from broker.replication.config import ReplicationConfig
from kraftpy.client.admin_values import ConfigResource
from kraftpy.errors import KraftpyError
from simulation.cluster import DATA, SECOND, Cluster
from simulation.device import DiskFault
from simulation.faults import Plan
from simulation.scenario import Scenario
from simulation.scenarios.whole_cluster import (
    CLUSTER,
    CLUSTER_MOVES,
    LENGTH_MS,
    PARTITIONS,
    TOPIC,
    Shape,
    run_on,
    settings,
)
from simulation.world import World

FAILURES = (DiskFault.SYNC_FAILURE, DiskFault.FULL, DiskFault.WRITE_ERROR)
COPY_BYTES_PER_SECOND = (2_000, 50_000, 2**63 - 1)


async def run(shape: Shape, world: World, plan: Plan) -> str:
    random = Random(f"{world.seed}/directories")
    config = settings(shape, world.seed)
    replication: ReplicationConfig = replace(
        config.replication, alter_log_dirs_bytes_per_second=random.choice(COPY_BYTES_PER_SECOND)
    )
    cluster = Cluster(world, replace(config, log_dirs=(DATA, SECOND), replication=replication))
    return await run_on(cluster, shape, plan, partial(_operate, cluster, random))


async def _operate(cluster: Cluster, random: Random) -> None:
    """Moves and failures while the plan runs; in the end every node has mended directories."""
    world = cluster.world
    until_us = world.loop.now_us + LENGTH_MS * 1_000
    life = world.open_life("d1")
    moving = world.run_in(life, _move_replicas(cluster, random, until_us))
    while world.loop.now_us < until_us:
        await asyncio.sleep(random.uniform(1, 6))
        host = random.choice(cluster.hosts)
        world.device(host).arm(random.choice(FAILURES), SECOND)
        await asyncio.sleep(random.uniform(0.5, 4))
        _mend(cluster, host)
    await moving
    for host in cluster.hosts:
        _mend(cluster, host)
    await world.run_in(world.open_life("d2"), _hurry(cluster))


async def _hurry(cluster: Cluster) -> None:
    """Let the moves that are still under way come to their ends."""
    async with cluster.admin(cluster.world.lives["d2"]) as admin:
        fast = {"replica.alter.log.dirs.io.max.bytes.per.second": str(10**12)}
        while True:  # nodes are being started again
            try:
                await admin.alter_configs({ConfigResource.broker(): fast}, timeout=10)
                return
            except KraftpyError as error:
                cluster.world.loop.trace("not-hurried", type(error).__name__)


def _mend(cluster: Cluster, host: str) -> None:
    """Exchange the cable, and start the node again if the directory had failed."""
    world = cluster.world
    world.device(host).disarm()
    if world.is_alive(host) and cluster.servers[host].has_failed_directory:
        world.loop.trace("mended", host)
        world.stop(host)
        world.restart_when_ended(host, reboot=True)


async def _move_replicas(cluster: Cluster, random: Random, until_us: int) -> None:
    world = cluster.world
    async with cluster.admin(world.lives["d1"]) as admin:
        while world.loop.now_us < until_us:
            place = (TOPIC, random.randrange(PARTITIONS), random.randint(1, len(cluster.hosts)))
            path = random.choice((DATA, SECOND))
            try:
                await admin.alter_replica_log_dirs({place: path}, timeout=2)
                world.loop.trace("move", *place, path)
            except KraftpyError as error:
                world.loop.trace("not-moved", *place, path, type(error).__name__)
            await asyncio.sleep(random.uniform(0.1, 2))


CLUSTER_DIRECTORIES: Scenario = replace(
    CLUSTER,
    name="cluster-directories",
    about="three brokers with two directories each: one fails alone, replicas move between them",
    run=partial(run, Shape()),
)
CLUSTER_MOVES_DIRECTORIES: Scenario = replace(
    CLUSTER_MOVES,
    name="cluster-moves-directories",
    about="four brokers with two directories each, between all of which partitions move while directories fail",
    run=partial(run, Shape(4, observers=1, moves=True)),
)
