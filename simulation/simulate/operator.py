"""An operator in a simulated cluster: carries out what nodes, disks and links alone cannot, and repairs it afterwards.

Members of the quorum leave and come back, disks are lost or swapped and their nodes vote anew, partitions move, closed
segments rot. All of it stays within what three replicas promise: a disk goes only when every replica of every partition
is in sync, every node votes that should, and nobody's death is under way; until the cluster has heard of it nobody else
dies, and the next disk waits until all is whole again. A segment rots, or cannot be read, only where all replicas of
its partition are in sync; until it is whole again, or gone, no disk goes and nothing else rots.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from random import Random
from uuid import UUID

from broker.metadata.state import TopicImage
from kraftpy.aio import Admin
from kraftpy.client.admin_values import QuorumReplica
from kraftpy.errors import KraftpyError
from simulation import rot
from simulation.cluster import Cluster, make_data_directory
from simulation.fault_kinds import BY_FAULT, MENDED_BY_REPLICAS, Fault, Needs
from simulation.faults import Step, carry_out_alone
from simulation.hosts import node_id_of
from simulation.injection import Undo, makes_sense, start_again
from simulation.scenario import Refuted

NAME = "operator"
REPLICAS_MIN = 3  # of every partition, while a disk goes
PAUSE_S = 0.3
CALL_S = 4.0
STOPPED_MS = 15_000  # for a controlled shutdown before its disk is swapped
FINISH_MS = 120_000


class Operator:
    """`carry_out` is what `run_plan` asks; `finish` waits until everything that was begun is complete."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._life = cluster.world.open_life(NAME)
        self._lethal = 0  # faults under way that may end lives
        self._tasks: list[asyncio.Task[None]] = []
        self._change: asyncio.Task[None] | None = None  # of who votes
        self._swapping = False  # a node stops, to be given another disk
        self._waiting_for: str | None = None  # a host whose new disk the cluster has not heard of
        self._rotten: asyncio.Task[None] | None = None  # waits until what was damaged is whole again

    @property
    def voters(self) -> tuple[int, ...]:
        """Who votes while nothing is changed."""
        return tuple(range(1, self._cluster.config.nodes - self._cluster.config.observers + 1))

    def carry_out(self, step: Step) -> Undo | None:
        """Let a step begin; None where it makes no sense, or would be more than three replicas promise."""
        kind = BY_FAULT[step.fault]
        if kind.needs is Needs.CLUSTER or step.fault in MENDED_BY_REPLICAS:
            undo = self._carry_out(step)
            if undo is not None:
                self._world.count_fault(step.fault.value)
            return undo
        if not kind.is_lethal:
            return carry_out_alone(self._world, self._cluster.hosts, step)
        if self._disk_is_news() or not makes_sense(self._world, step):
            return None
        undo = carry_out_alone(self._world, self._cluster.hosts, step)
        self._lethal += 1
        return lambda: self._end_lethal(undo)

    async def finish(self) -> None:
        """Raises `Refuted` where something that was begun does not come to its end in a calm world."""
        for _ in range(0, FINISH_MS, 100):
            if all(task.done() for task in self._tasks):
                break
            await asyncio.sleep(0.1)
        begun = [task.get_name() for task in self._tasks if not task.done()]
        if begun:
            raise Refuted(f"not live: still under way {FINISH_MS // 1000} s after the last fault: {', '.join(begun)}")
        for task in self._tasks:
            task.result()
        await self._world.run_in(self._life, self._moves_complete())

    # --- what it does ------------------------------------------------------------------------------------------------

    def _carry_out(self, step: Step) -> Undo | None:
        node_id = node_id_of(step.target)
        match step.fault:
            case Fault.REASSIGNMENT:
                return self._move(Random(step.amount))
            case Fault.FLIPPED_BIT | Fault.STALE_BLOCK | Fault.MISDIRECTED_WRITE:
                return self._rot(step.target, step.fault.value)
            case Fault.FAILING_READ:
                return self._rot(step.target, rot.BAD_SECTOR)
            case Fault.MEMBERSHIP if self._may_change_voters(node_id):
                self._change = self._begin(f"{step.target} leaves and comes back", self._leave(node_id, step))
                return lambda: None
            case Fault.WIPED_DISK if self._may_lose_disk(node_id):
                self._world.crash(step.target, power=True)
                return self._lose(step.target)
            case Fault.DISK_SWAP if self._may_lose_disk(node_id):
                self._swapping = True
                self._world.stop(step.target)
                self._begin(f"{step.target} gets another disk", self._swap(step.target))
                return lambda: None
        return None

    def _move(self, random: Random) -> Undo | None:
        """Move a partition. There may be none: administrators delete topics, too."""
        image = self._cluster.witness.image
        places = [(topic.name, index) for topic in image.topics.values() for index in range(len(topic.partitions))]
        if not places:
            return None
        place = random.choice(sorted(places))
        node_ids = range(1, self._cluster.config.nodes + 1)
        target = None if random.random() < 0.2 else random.sample(node_ids, REPLICAS_MIN)
        self._begin(f"a move by {NAME}", self._reassign(place, target))
        return lambda: None

    def _rot(self, host: str, kind: str) -> Undo | None:
        """Damage a closed segment of one replica, which nobody but the node itself is to notice and mend. `kind`: of
        `rot.KINDS`."""
        if self._has_rot() or self._disk_is_news() or not self._world.is_alive(host):
            return None
        device, ends = self._world.device(host), self._cluster.servers[host].ends()
        closed = [
            path
            for data in self._cluster.config.log_dirs
            for path in rot.closed_segments(device, data, lambda log: self._may_rot_before(node_id_of(host), log, ends))
        ]
        if not closed:
            return None
        damaged = rot.damage(device, closed, kind, device.random)
        self._cluster.witness.rots(node_id_of(host), damaged.log)
        self._rotten = self._begin(f"{damaged.path} of {host} is mended", self._mended(host, damaged))
        return lambda: None

    async def _mended(self, host: str, damaged: rot.Damaged) -> None:
        """Until the segment is gone, or reads as it did, and its replica is in sync again or another's."""
        broker_id = node_id_of(host)
        while True:
            await asyncio.sleep(PAUSE_S)
            topic, index = self._topic_of(damaged.log)
            state = None if topic is None else topic.partitions[index]
            is_settled = state is None or broker_id not in state.replicas or broker_id in state.isr
            if is_settled and damaged.is_mended(self._world.device(host)):
                break
        self._cluster.witness.mended(broker_id, damaged.log)

    async def _swap(self, host: str) -> None:
        for _ in range(0, STOPPED_MS, 100):
            if not self._world.is_alive(host):
                break
            await asyncio.sleep(0.1)
        else:
            self._world.crash(host)
        self._lose(host)()
        self._swapping = False

    def _lose(self, host: str) -> Undo:
        """Its disk is gone; gives what starts it on a new one."""
        self._world.wipe(host)
        self._cluster.witness.loses_disk(node_id_of(host))
        for path in self._cluster.config.log_dirs:
            make_data_directory(self._world, host, path)
        self._waiting_for = host
        if node_id_of(host) in self.voters:
            self._change = self._begin(f"{host} votes anew", self._vote_anew(host))
        return lambda: start_again(self._world, host)

    async def _vote_anew(self, host: str) -> None:
        """Remove the voter on the lost disk, and add the one on the new."""
        node_id = node_id_of(host)
        lost = ""  # the directory on the old disk

        async def step(admin: Admin) -> bool:
            nonlocal lost
            quorum = await admin.describe_quorum(timeout=CALL_S)
            votes = next((each.directory_id for each in quorum.voters if each.node_id == node_id), "")
            lost = lost or votes
            if votes == lost:
                await admin.remove_raft_voter(node_id, directory_id=lost, timeout=CALL_S)
            fetches = _directory_heard_last(quorum.observers, node_id)
            if not votes and fetches not in ("", lost):
                await admin.add_raft_voter(node_id, directory_id=fetches, timeout=CALL_S)
            return votes not in ("", lost)

        await self._until(step)

    async def _leave(self, node_id: int, step: Step) -> None:
        async def leave(admin: Admin) -> bool:
            voters = [voter.node_id for voter in (await admin.describe_quorum(timeout=CALL_S)).voters]
            if node_id in voters:
                await admin.remove_raft_voter(node_id, timeout=CALL_S)
            return node_id not in voters

        async def come_back(admin: Admin) -> bool:
            voters = [voter.node_id for voter in (await admin.describe_quorum(timeout=CALL_S)).voters]
            if node_id not in voters:
                await admin.add_raft_voter(node_id, timeout=CALL_S)
            return node_id in voters

        await self._until(leave)
        await asyncio.sleep(step.duration_ms / 1000)
        await self._until(come_back)

    async def _until(self, step: Callable[[Admin], Coroutine[None, None, bool]]) -> None:
        """Try until it is done: what fails is tried again, perhaps with another node."""
        while True:
            async with self._cluster.admin(self._life) as admin:
                try:
                    if await step(admin):
                        return
                except KraftpyError as error:
                    self._world.loop.trace("not-changed", NAME, type(error).__name__)
            await asyncio.sleep(PAUSE_S)

    async def _reassign(self, place: tuple[str, int], target: list[int] | None) -> None:
        async with self._cluster.admin(self._life) as admin:
            try:
                for result in await admin.alter_partition_reassignments({place: target}, timeout=CALL_S):
                    self._world.loop.trace("reassigned", NAME, *place, str(target), result.error)
            except KraftpyError as error:
                self._world.loop.trace("not-reassigned", NAME, type(error).__name__)

    async def _moves_complete(self) -> None:
        moving = []
        async with self._cluster.admin(self._life) as admin:
            for _ in range(FINISH_MS // 500):
                try:
                    moving = await admin.list_partition_reassignments()
                    if not moving:
                        return
                except KraftpyError as error:
                    self._world.loop.trace("not-listed", NAME, type(error).__name__)
                await asyncio.sleep(0.5)
        still = ", ".join(f"{each.topic}-{each.partition}" for each in moving)
        raise Refuted(f"not live: still moving {FINISH_MS // 1000} s after the last fault: {still}")

    # --- what it may -------------------------------------------------------------------------------------------------

    def _may_change_voters(self, node_id: int) -> bool:
        """Not while another voter's disk is about to go: the two together can be a majority."""
        return node_id in self.voters and not self._swapping and (self._change is None or self._change.done())

    def _has_rot(self) -> bool:
        return self._rotten is not None and not self._rotten.done()

    def _may_rot_before(self, node_id: int, log: str, ends: Mapping[tuple[UUID, int], tuple[int, int]]) -> int:
        """Up to which offset all that is in the log is elsewhere, too; 0: nothing may rot. `ends` of that node.

        State topics are read whole by coordinators, which cannot wait for a mended replica: none of theirs is chosen.
        """
        topic, index = self._topic_of(log)
        if topic is None or log.startswith("__"):
            return 0
        state = topic.partitions[index]
        if len(state.isr) < max(REPLICAS_MIN, len(state.replicas)) or node_id not in state.isr:
            return 0
        return ends.get((topic.topic_id, index), (0, 0))[1]

    def _topic_of(self, log: str) -> tuple[TopicImage | None, int]:
        """The topic and the partition of a log by its name, if there is that partition."""
        name, _, index = log.rpartition("-")
        topic = self._cluster.witness.image.topic(name)
        return (None if topic is None or int(index) >= len(topic.partitions) else topic), int(index)

    def _may_lose_disk(self, node_id: int) -> bool:
        world, image = self._world, self._cluster.witness.image
        settled = (self._change is None or self._change.done()) and not self._has_rot()
        if self._lethal or not settled or self._disk_is_news() or node_id not in image.brokers:
            return False
        for host in self._cluster.hosts:
            if not world.is_alive(host) or self._cluster.servers[host].voter_ids() != self.voters:
                return False
        return all(
            len(state.isr) == len(state.replicas) >= REPLICAS_MIN and not state.is_reassigning
            for topic in image.topics.values()
            for state in topic.partitions
        )

    def _disk_is_news(self) -> bool:
        """Whether the cluster still counts on a disk that is gone."""
        host = self._waiting_for
        if host is not None and not self._cluster.witness.still_counts_on(node_id_of(host)):
            self._waiting_for = host = None
        return host is not None or self._swapping

    def _end_lethal(self, undo: Undo | None) -> None:
        self._lethal -= 1
        if undo is not None:
            undo()

    def _begin(self, what: str, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = self._world.run_in(self._life, work)
        task.set_name(what)
        self._tasks.append(task)
        return task


def _directory_heard_last(observers: Iterable[QuorumReplica], node_id: int) -> str:
    """The directory that a node fetches from; "" where it was not heard yet. For five minutes the quorum's leader lists
    those on the node's former disks, too."""
    heard = [each for each in observers if each.node_id == node_id and each.last_fetch_age_ms is not None]
    last = min(heard, key=lambda each: each.last_fetch_age_ms or 0, default=None)
    return "" if last is None else last.directory_id
