"""What a disk changes by itself, on one replica of three at a time: bits, blocks and sectors under running nodes.

One host after the other is hurt, always a file of a replica whose others are whole: a bit flips, a block that was
written lands elsewhere or never, a sector cannot be read. The scrub is at work, with a short interval. Then the host is
waited for: it must find what was done, leave the in-sync sets where it counts, fetch the records anew and come back.
Meanwhile clients write and read, and a node is killed now and then by the plan.

Judged: nothing acknowledged is lost, nothing damaged is delivered, and in the end the replicas are equal byte for byte,
although nobody but the scrub has looked at old segments.
"""

import asyncio
import sys
from dataclasses import replace
from functools import partial
from random import Random

from broker.maintenance.config import ScrubConfig
from simulation import rot
from simulation.cluster import DATA, Cluster
from simulation.device import Device
from simulation.faults import Fault, Plan
from simulation.hosts import node_id_of
from simulation.scenario import Refuted, Scenario
from simulation.scenarios.whole_cluster import HOSTS, LENGTH_MS, TOPIC, Shape, run_on, settings
from simulation.world import World, WorldConfig

SCRUB = ScrubConfig(interval_ms=1_000, bytes_per_second=10_000_000.0)
FIND_MS = 60_000
"""How long a node may take to find damage and be whole again, plan and all."""
SMALL = {"file.delete.delay.ms": "500"}
"""Of every topic, so that what was cut goes soon."""


async def run(world: World, plan: Plan, scrub: ScrubConfig = SCRUB) -> str:
    config = settings(Shape(), world.seed)
    controller = replace(config.controller, topic_defaults=SMALL)
    cluster = Cluster(world, replace(config, scrub=scrub, controller=controller))
    hurt: list[str] = []
    summary = await run_on(cluster, Shape(), plan, partial(_hurt_disks, cluster, hurt))
    for host in HOSTS:
        for path, inode in world.device(host).files():
            if path.startswith(f"{DATA}/{TOPIC}-") and path.endswith(".log") and not rot.is_whole(inode):
                raise Refuted(f"{path} of {host} is still damaged in the end")
    return f"{summary}; damaged: {', '.join(hurt) or 'nothing'}"


async def _hurt_disks(cluster: Cluster, hurt: list[str]) -> None:
    world = cluster.world
    random = Random(f"{world.seed}/bit-rot")
    until_us = world.loop.now_us + LENGTH_MS * 1000
    while world.loop.now_us < until_us:
        await asyncio.sleep(0.5 + random.random())
        host = random.choice(HOSTS)
        if world.is_alive(host) and _others_are_whole(cluster, host):
            damaged = _hurt(world.device(host), random, hurt)
            if damaged is not None:
                replica = node_id_of(host), damaged.log
                cluster.witness.rots(*replica)
                await _until_whole(cluster, host, damaged)
                cluster.witness.mended(*replica)


def _others_are_whole(cluster: Cluster, host: str) -> bool:
    """Whether every partition has at least two replicas in sync besides this host's: what replication survives."""
    image = cluster.witness.image
    others = {node_id_of(other) for other in HOSTS if other != host}
    return all(others <= {*state.isr} for state in image.topics[image.topic_ids[TOPIC]].partitions)


def _hurt(device: Device, random: Random, hurt: list[str]) -> rot.Damaged | None:
    """Damage a closed segment of the topic's replicas."""
    closed = rot.closed_segments(device, DATA, lambda log: sys.maxsize if log.startswith(f"{TOPIC}-") else -1)
    if not closed:
        return None
    kind = random.choice(rot.KINDS)
    hurt.append(kind)
    return rot.damage(device, closed, kind, random)


async def _until_whole(cluster: Cluster, host: str, damaged: rot.Damaged) -> None:
    """Until the segment is gone, or reads as it did, and its replica is in sync again."""
    world = cluster.world
    partition = int(damaged.log.rpartition("-")[2])
    for _ in range(FIND_MS // 100):
        await asyncio.sleep(0.1)
        state = cluster.witness.image.topics[cluster.witness.image.topic_ids[TOPIC]].partitions[partition]
        if damaged.is_mended(world.device(host)) and node_id_of(host) in state.isr:
            return
    raise Refuted(f"{damaged.path} of {host} is still damaged, or its replica out of sync, {FIND_MS // 1000} s later")


BIT_ROT = Scenario(
    name="bit-rot",
    about="disks that change what they hold, on one replica of three at a time",
    hosts=HOSTS,
    length_ms=LENGTH_MS,
    run=run,
    config=WorldConfig(time_limit_ms=900_000),
    faults=(Fault.KILL, Fault.STOP, Fault.PAUSE, Fault.SLOW_DISK, Fault.ISOLATION),
)
