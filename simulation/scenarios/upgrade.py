"""A rolling upgrade from an older release (KIP-584), under load and every usual fault.

The cluster is founded on the levels of an older release, and its nodes say that they are of it. An operator restarts
them as the present release, one after the other in an order of the seed, and tries all the time to finalize the new
levels: that must be refused until the last node is new. Clients and judges are those of `whole_cluster`, and:

- whatever stands in the metadata log or a snapshot of any node, committed or not, is in words of the level that was
  finalized before it;
- a partition cannot be moved before, and moves afterwards;
- in the end every node works by the same levels, the present release's.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Final
from unittest.mock import patch

from broker.controller import core
from broker.metadata.features import (
    INITIAL_LEVELS,
    METADATA_VERSION,
    OFFLINE_REPLICAS,
    REASSIGNMENTS,
    RELEASE,
    RELEASE_IN_REGISTRATIONS,
    RELEASES,
)
from kraftpy.aio import Admin
from kraftpy.errors import CorruptRecordError, KraftpyError, UnsupportedVersionError
from kraftpy.pb import metadata_pb2
from kraftpy.record import decode_batch, iterate_headers
from log_store.file_names import QUORUM_LOG
from simulation.checkers.replicas import written
from simulation.cluster import Cluster
from simulation.faults import Plan
from simulation.hosts import node_id_of
from simulation.scenario import Refuted, Scenario
from simulation.scenarios.whole_cluster import HOSTS, LENGTH_MS, TOPIC, Shape, run_on, settings
from simulation.world import World, WorldConfig

OLDER: Final = ("0.1", "0.2")
SINCE: Final[Mapping[tuple[str, int], int]] = MappingProxyType(
    {
        ("register_broker", 2): RELEASE_IN_REGISTRATIONS,
        ("offline_replicas", 1): OFFLINE_REPLICAS,
        ("partition", 2): REASSIGNMENTS,
        ("partition_change", 2): REASSIGNMENTS,
    }
)
"""The metadata.version that brought a type's version; everything else came with the first."""
CALL_S = 4.0
PAUSE_S = 0.3
UPGRADE_MS = 120_000  # within which an upgrade that began under faults must be over
RESTART_MS = 15_000  # for which the operator waits for a node before the next one


async def run(world: World, plan: Plan) -> str:
    release = Random(f"{world.seed}/older").choice(OLDER)
    with patch.object(core, "INITIAL_LEVELS", dict(RELEASES[release])):
        cluster = Cluster(world, settings(Shape(), world.seed))
        cluster.releases.update(dict.fromkeys(cluster.hosts, release))
        operator = Operator(cluster, release)
        summary = await run_on(cluster, Shape(), plan, operator.upgrade)
    newer = operator.check_words()
    for host in cluster.hosts:
        if cluster.servers[host].finalized_features() != INITIAL_LEVELS:
            raise Refuted(f"{host} works by {dict(cluster.servers[host].finalized_features())}")
    if newer == 0:
        raise Refuted(f"{TOPIC}-0 was moved, and nobody's metadata says so in the words of the new level")
    return f"{summary}; from {release} to {RELEASE}, after {operator.refusals} refusals; {newer} records in new words"


class Operator:
    """Who upgrades the cluster."""

    def __init__(self, cluster: Cluster, release: str) -> None:
        self.refusals = 0
        self._cluster = cluster
        self._random = Random(f"{cluster.world.seed}/upgrade")
        self._old_level = RELEASES[release][METADATA_VERSION]

    async def upgrade(self) -> None:
        """Beside the plan; goes on after it until all is done."""
        world = self._cluster.world
        deadline_us = world.loop.now_us + UPGRADE_MS * 1000
        life = world.open_life("operator")
        rolling = asyncio.ensure_future(self._roll())
        await world.run_in(life, self._finalize_and_move(deadline_us))
        await rolling

    async def _roll(self) -> None:
        world, random = self._cluster.world, self._random
        for host in random.sample(HOSTS, len(HOSTS)):
            await asyncio.sleep(random.random() * LENGTH_MS / 1000 / len(HOSTS))
            self._cluster.releases[host] = RELEASE
            if world.is_alive(host):  # otherwise the plan starts it again, as the new release
                world.stop(host)
                world.restart_when_ended(host)
            for _ in range(0, RESTART_MS, 100):
                if self._is_new(host):
                    break
                await asyncio.sleep(0.1)

    def _is_new(self, host: str) -> bool:
        broker = self._cluster.witness.image.brokers[node_id_of(host)]
        known = {feature.name: feature.max_level for feature in broker.registration.features}
        return known == INITIAL_LEVELS and not broker.fenced

    async def _finalize_and_move(self, deadline_us: int) -> None:
        world, witness = self._cluster.world, self._cluster.witness
        target = tuple(self._random.sample(range(1, len(HOSTS) + 1), 2))
        async with self._cluster.admin(world.lives["operator"]) as admin:
            while not self._has_moved(target):
                if world.loop.now_us > deadline_us:
                    raise Refuted(f"not upgraded in {UPGRADE_MS // 1000} s: {dict(witness.image.features)}")
                self.check_words()
                if witness.image.features != INITIAL_LEVELS:
                    await self._refused_to_move(admin, target)
                    await self._finalize(admin)
                else:
                    await self._move(admin, target)
                await asyncio.sleep(PAUSE_S)
            await self._back(admin, deadline_us)

    async def _finalize(self, admin: Admin) -> None:
        """Refused while any node is old; the witness sees to that."""
        try:
            await admin.update_features(release=RELEASE, timeout=CALL_S)
        except KraftpyError as error:
            self.refusals += 1
            self._cluster.world.loop.trace("not-finalized", type(error).__name__)

    async def _refused_to_move(self, admin: Admin, target: tuple[int, ...]) -> None:
        """Whoever else fails has not done it either: the level rises by this operator's word alone."""
        try:
            told = await admin.alter_partition_reassignments({(TOPIC, 0): target}, timeout=CALL_S)
        except UnsupportedVersionError:
            return
        except KraftpyError as error:
            self._cluster.world.loop.trace("not-answered", type(error).__name__)
            return
        await self._settle_level(told)

    async def _settle_level(self, told: object) -> None:
        """A call to finalize that got no answer may have been carried out, and this one be the first to show it."""
        for _ in range(20):
            if self._cluster.witness.image.features == INITIAL_LEVELS:
                return
            await asyncio.sleep(0.1)
        raise Refuted(f"a partition could be moved before its level was finalized: {told}")

    async def _move(self, admin: Admin, target: tuple[int, ...]) -> None:
        try:
            for result in await admin.alter_partition_reassignments({(TOPIC, 0): target}, timeout=CALL_S):
                self._cluster.world.loop.trace("reassigned", result.error)
        except UnsupportedVersionError as error:
            raise Refuted(f"the level is finalized, and a partition cannot be moved: {error}") from None
        except KraftpyError as error:
            self._cluster.world.loop.trace("not-reassigned", type(error).__name__)

    async def _back(self, admin: Admin, deadline_us: int) -> None:
        """To all three again, as the judges want it."""
        everywhere = tuple(range(1, len(HOSTS) + 1))
        while not self._has_moved(everywhere):
            if self._cluster.world.loop.now_us > deadline_us:
                raise Refuted(f"{TOPIC}-0 did not move back to {everywhere} in {UPGRADE_MS // 1000} s")
            await self._move(admin, everywhere)
            await asyncio.sleep(PAUSE_S)

    def _has_moved(self, target: tuple[int, ...]) -> bool:
        topic = next(each for each in self._cluster.witness.image.topics.values() if each.name == TOPIC)
        state = topic.partitions[0]
        return state.replicas == target and not state.adding_replicas and not state.removing_replicas

    # --- words -------------------------------------------------------------------------------------------------------

    def check_words(self) -> int:
        """How many records there are that the old level had no words for; raises `Refuted` where one is too early."""
        return sum(self._check_host(host) for host in self._cluster.hosts)

    def _check_host(self, host: str) -> int:
        files = [
            (path, inode.read(0, inode.size))
            for path, inode in self._cluster.world.device(host).files()
            if path.split("/")[-2] == QUORUM_LOG
        ]
        log = [word for path, data in sorted(files) if path.endswith(".log") for word in words(data)]
        rises = any(word.finalizes > self._old_level for word in log)
        old = self._cluster.witness.image.features.get(METADATA_VERSION, self._old_level) == self._old_level
        level = self._old_level if rises or old else INITIAL_LEVELS[METADATA_VERSION]
        newer = 0
        for word in log:
            level = max(level, word.finalizes)
            newer += self._check_word(host, word, level)
        for path, data in files:
            if path.endswith(".checkpoint"):
                snapshot = list(words(data))
                level = max([self._old_level if not snapshot else 0, *[word.finalizes for word in snapshot]])
                newer += sum(self._check_word(f"a snapshot of {host}", word, level) for word in snapshot)
        return newer

    def _check_word(self, where: str, word: "Word", level: int) -> int:
        since = SINCE.get((word.kind, word.version), 1)
        if since > level:
            raise Refuted(
                f"{where} has a record {word.kind} of version {word.version}, which came with "
                f"{METADATA_VERSION}={since}, where {level} is finalized"
            )
        return since > self._old_level


@dataclass(frozen=True, slots=True)
class Word:
    """A metadata record as it is written."""

    kind: str
    version: int
    finalizes: int  # the metadata.version that it makes the cluster's, or 0


def words(data: bytes) -> Iterator[Word]:
    """The metadata records in a segment or a snapshot, up to what a crash has torn."""
    view = memoryview(written(data))
    for position, header in iterate_headers(view):
        if header.is_control:
            continue
        try:
            records = decode_batch(view, position)
        except CorruptRecordError:
            return
        for record in records:
            message = metadata_pb2.MetadataRecord.FromString(record.value or b"")
            feature = message.feature_level
            finalizes = feature.level if feature.name == METADATA_VERSION else 0
            yield Word(message.WhichOneof("record") or "", message.version, finalizes)


CLUSTER_UPGRADE = Scenario(
    name="cluster-upgrade",
    about="three brokers of an older release, upgraded one by one and then in their levels, and every usual fault",
    hosts=HOSTS,
    length_ms=LENGTH_MS,
    run=run,
    config=WorldConfig(time_limit_ms=600_000),
)
