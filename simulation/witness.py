"""The witness of a simulated cluster: sees every node's metadata and every disk, and says what must never be seen.

Clients see little of a cluster. The witness is told of every image that a node publishes and of every leadership of the
quorum, and it looks at the disks whenever it is asked to. It remembers over lives and failovers, and reports the first
thing that must not be through `World.violated`:

- quorum: one leader an epoch; equal images at equal offsets; images of one life never go back;
- features: every registered broker can work with the finalized levels;
- partitions: one leader and one life of it a leader epoch; epochs never go back; the leader is in the ISR, the ISR in
  the replicas; nobody who is fenced is in an ISR of more than one; who is elected was in the ISR, or eligible, and no
  election is unclean but where somebody wanted it;
- logs begin at 0 where nobody limits what is kept;
- records: whatever is below any node's high watermark is durable, batch for batch, on every member of the ISR, and on
  every eligible leader outside it (KIP-966).

The last one is what the rest is for: any member may be elected next, and any of them may lose power now.

Invariant: what it does changes nothing in the simulated world.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from broker.metadata.delta import ConfigDelta, MetadataDelta
from broker.metadata.features import unsupported
from broker.metadata.image import MetadataImage
from broker.metadata.records import ConfigResource, ResourceType, topic_resource
from broker.metadata.state import PartitionState
from kraftpy.record import BatchHeader
from simulation.durable_logs import DurableLog, DurableLogs
from simulation.hosts import host_of
from simulation.metadata_changes import changes_between
from simulation.world import World


class Committed(NamedTuple):
    """One committed batch."""

    base_offset: int
    leader_epoch: int
    end_offset: int
    crc: int


class ReplicaSeen(NamedTuple):
    """What a node believes of a partition that it has a replica of."""

    topic_id: UUID
    partition: int
    log_start: int
    high_watermark: int


class Witness:
    """See the module's docstring. `data` are the log directories of every host; node 3 lives on host `n3`. `compacts`:
    nodes compact, each for itself, so that the batches of compacted topics differ."""

    def __init__(self, world: World, data: Sequence[str], *, compacts: bool = False) -> None:
        self._world = world
        self._compacts = compacts
        self._compacted: dict[str, None] = {}  # topics that are, or were
        self._limited: dict[ConfigResource, None] = {}  # topics that have, or had, a limit to what they keep
        self._disks = DurableLogs(data)
        self.image = MetadataImage.EMPTY
        """The newest that any node has published."""
        self.looks = 0
        self.committed_batches = 0
        self.unclean_elections: dict[tuple[str, int, int], int] = {}
        """Topic, partition and leader epoch of each that was seen, and who was elected."""
        self._may_lose: dict[str, None] = {}  # topics that an operator has elected uncleanly
        self._images: dict[int, MetadataImage] = {}
        self._leaders: dict[int, str] = {}  # of the quorum, by epoch
        self._leaderships: dict[tuple[UUID, int, int], tuple[int, int]] = {}  # (leader, broker epoch)
        self._published: dict[str, int] = {}  # the end offset that each life has reached
        self._extents: dict[tuple[UUID, int], tuple[int, int]] = {}  # the highest log start and watermark seen
        self._lost: dict[int, int] = {}  # the last broker epochs of those that lost their disks
        self._rotten: dict[tuple[int, str], None] = {}  # replicas (broker, log) that were damaged, and not mended yet
        self._committed: dict[tuple[UUID, int], dict[int, Committed]] = {}  # by base offset
        self._agreed: dict[tuple[int, str, UUID], tuple[DurableLog, int, int, int]] = {}
        """What was last found right of each replica (broker, log, topic): the log, which of its changes, the extent."""

    # --- told --------------------------------------------------------------------------------------------------------

    def leads(self, life: str, epoch: int) -> None:
        """A node has become the quorum's leader."""
        first = self._leaders.setdefault(epoch, life)
        self._world.loop.trace("quorum-leader", life, epoch)
        if first != life:
            self._world.violated(f"{first} and {life} both led the quorum in epoch {epoch}")

    def published(self, life: str, image: MetadataImage, delta: MetadataDelta) -> None:
        """A node acts by this image from now on."""
        before = self._published.get(life, 0)
        if image.end_offset < before:
            self._world.violated(f"{life} went back from metadata offset {before} to {image.end_offset}")
        self._published[life] = image.end_offset
        known = self._images.setdefault(image.end_offset, image)
        if known is not image and known != image:
            self._world.violated(f"{life} has other metadata than others at offset {image.end_offset}")
        for config in delta.configs:
            self._note_limits(config)
            self._note_compaction(config)
        if delta.features or delta.brokers:
            self._judge_features(image)
        if delta.brokers:
            self._judge_members(image)
        for change in delta.partitions():
            if change.new is not None:
                self._judge(f"{change.topic}-{change.partition}", change.topic_id, change.partition, change.new, image)
                if change.old is not None:
                    self._judge_step(f"{change.topic}-{change.partition}", change.old, change.new)
                    if change.new.recovering and not change.old.recovering:
                        self._unclean(change.topic, change.partition, change.new)
        if image.end_offset > self.image.end_offset:
            for kind, *details in changes_between(self.image, image, delta):
                self._world.loop.trace(kind, *details)
            self.image = image

    def expect_loss(self, topic: str) -> None:
        """Somebody elects whoever is there: from now on nothing is promised of what this topic held."""
        self._may_lose[topic] = None

    def _unclean(self, topic: str, partition: int, state: PartitionState) -> None:
        self.unclean_elections[topic, partition, state.leader_epoch] = state.leader
        if topic not in self._may_lose:
            self._world.violated(f"{topic}-{partition}: nobody wanted an unclean election, and there was one: {state}")

    def loses_disk(self, broker_id: int) -> None:
        """Its disk is empty from now on: until it registers anew, it only counts as a member."""
        self._lost[broker_id] = self.image.brokers[broker_id].epoch

    def still_counts_on(self, broker_id: int) -> bool:
        """Whether the cluster has yet to hear that this broker lost its disk."""
        return self._lost.get(broker_id) == self.image.brokers[broker_id].epoch

    def rots(self, broker_id: int, log: str) -> None:
        """Somebody damages that replica: until it is `mended` its disk says nothing."""
        self._rotten[broker_id, log] = None

    def mended(self, broker_id: int, log: str) -> None:
        """The replica has everything again."""
        self._rotten.pop((broker_id, log), None)

    def _judge_features(self, image: MetadataImage) -> None:
        for broker_id, broker in image.brokers.items():
            for problem in unsupported(image.features, broker.registration.features):
                self._world.violated(
                    f"broker {broker_id} cannot work with the metadata at {image.end_offset}: {problem}"
                )

    def _judge(self, name: str, topic_id: UUID, index: int, state: PartitionState, image: MetadataImage) -> None:
        if not set(state.isr) <= set(state.replicas) or len(set(state.isr)) != len(state.isr):
            self._world.violated(f"{name} has in-sync replicas that are none: {state}")
        if state.has_leader and state.leader not in state.isr:
            self._world.violated(f"{name} is led from outside of its in-sync set: {state}")
        self._judge_members_of(name, state, image)
        if state.has_leader:
            life = (state.leader, image.brokers[state.leader].epoch)
            first = self._leaderships.setdefault((topic_id, index, state.leader_epoch), life)
            if first != life:
                self._world.violated(
                    f"{name}: two lives lead in epoch {state.leader_epoch}, brokers with epochs {first} and {life}"
                )

    def _judge_members(self, image: MetadataImage) -> None:
        for topic in image.topics.values():
            for index, state in enumerate(topic.partitions):
                self._judge_members_of(f"{topic.name}-{index}", state, image)

    def _judge_members_of(self, name: str, state: PartitionState, image: MetadataImage) -> None:
        fenced = [broker for broker in state.isr if broker not in image.brokers or image.brokers[broker].fenced]
        if fenced and len(state.isr) > 1:
            self._world.violated(f"{name} counts the fenced {fenced} among {len(state.isr)} in sync: {state}")

    def _judge_step(self, name: str, old: PartitionState, new: PartitionState) -> None:
        if new.leader_epoch < old.leader_epoch or new.partition_epoch < old.partition_epoch:
            self._world.violated(f"{name}: an epoch went back, from {old} to {new}")
        if new.leader != old.leader and new.leader_epoch == old.leader_epoch:
            self._world.violated(f"{name}: another leader in the same epoch, from {old} to {new}")
        is_one_step = new.partition_epoch == old.partition_epoch + 1
        moved = new.isr if new.replicas != old.replicas else ()  # who joins may complete a move by it
        candidates = (*old.isr, *old.eligible_replicas, *moved)
        if is_one_step and new.has_leader and new.leader not in candidates and not new.recovering:
            self._world.violated(f"{name}: {new.leader} leads, and was neither in sync nor eligible: {old} to {new}")

    # --- looking -----------------------------------------------------------------------------------------------------

    def note(self, replicas: Sequence[ReplicaSeen]) -> None:
        """Remember how far partitions are committed, and from where on they are kept."""
        for seen in replicas:
            key = (seen.topic_id, seen.partition)
            log_start, end_offset = self._extents.get(key, (0, 0))
            if seen.log_start > log_start and self._keeps_all(seen.topic_id):
                where = f"{self.image.topics[seen.topic_id].name}-{seen.partition}"
                self._world.violated(f"{where} begins at {seen.log_start}, and nobody limits what it keeps")
            self._extents[key] = max(log_start, seen.log_start), max(end_offset, seen.high_watermark)

    def look(self, replicas: Sequence[ReplicaSeen]) -> None:
        """Compare the disks with what nodes hold for committed (`replicas`: of everybody who lives)."""
        self.looks += 1
        self.note(replicas)
        for (topic_id, index), (log_start, end_offset) in self._extents.items():
            topic = self.image.topics.get(topic_id)
            if (
                topic is None
                or log_start == end_offset
                or self.is_compacted(topic.name)
                or topic.name in self._may_lose
            ):
                continue
            name, known = f"{topic.name}-{index}", self._committed.setdefault((topic_id, index), {})
            state = topic.partitions[index]
            for broker_id in (*state.isr, *state.eligible_replicas):
                if self.still_counts_on(broker_id) or (broker_id, name) in self._rotten:
                    continue
                log = self._disks.log(self._world.devices[host_of(broker_id)], name)
                place, found = (broker_id, name, topic_id), (log, log.changes, log_start, end_offset)
                if self._agreed.get(place) != found:
                    violations = len(self._world.violations)
                    role = "in sync" if broker_id in state.isr else "eligible"
                    self._compare(f"{name} on n{broker_id}, which is {role}", log, known, log_start, end_offset)
                    if len(self._world.violations) == violations:
                        self._agreed[place] = found

    def extent(self, topic_id: UUID, partition: int) -> tuple[int, int]:
        """From where on a partition is kept, and how far it is committed, as far as anybody knew."""
        return self._extents.get((topic_id, partition), (0, 0))

    def log_starts(self) -> dict[str, int]:
        """From where on each partition is kept, by the name of its log."""
        topics = self.image.topics
        return {
            f"{topics[topic_id].name}-{index}": log_start
            for (topic_id, index), (log_start, _) in self._extents.items()
            if topic_id in topics
        }

    def is_compacted(self, topic: str) -> bool:
        """Whether replicas may hold other batches than each other: each compacts when it likes."""
        return topic in self._compacted

    def _note_compaction(self, config: ConfigDelta) -> None:
        is_topic = config.resource.type is ResourceType.TOPIC
        if self._compacts and is_topic and "compact" in config.new.get("cleanup.policy", ""):
            self._compacted[config.resource.name] = None

    def _note_limits(self, config: ConfigDelta) -> None:
        if any(name in ("retention.bytes", "retention.ms") and value != "-1" for name, value in config.new.items()):
            self._limited[config.resource] = None

    def _keeps_all(self, topic_id: UUID) -> bool:
        """Whether nobody may have deleted the beginning: records are deleted, too, only where retention is limited."""
        topic = self.image.topics.get(topic_id)
        if topic is None or topic.name in self._may_lose:
            return False
        return topic_resource(topic.name) not in self._limited

    def _compare(
        self, what: str, log: DurableLog, known: dict[int, Committed], log_start: int, end_offset: int
    ) -> None:
        """Whether a log holds all of [log_start, end_offset), and nothing else than what is known to stand there.

        What was deleted by an earlier start is no part of that, and replicas may differ in it: one that was away
        has what nobody will ask it for, or never heard of it. The leader's log, by which it is cut, begins later.
        What was found right once stays so: what is committed is never forgotten here, and a file that is changed
        otherwise than by growing is another `Segment`. So a log that has not changed need not be compared again.
        """
        position: int | None = None
        for segment in log.segments:
            first = 0
            if segment.agreed_with is known and segment.agreed and position in (None, segment.base_offset):
                if position is None and segment.base_offset > log_start:
                    self._begins_late(what, segment.base_offset, log_start)
                first = segment.agreed
                position = segment.headers[first - 1].end_offset
            for index in range(first, len(segment.headers)):
                header = segment.headers[index]
                if position is not None and header.base_offset != position:
                    self._world.violated(f"{what}: {header.base_offset} follows {position}")
                if header.end_offset > end_offset:
                    break
                if position is None and header.base_offset > log_start:
                    self._begins_late(what, header.base_offset, log_start)
                position = header.end_offset
                if position <= log_start:
                    segment.agreed_with, segment.agreed = known, index + 1
                    continue
                found = _committed(header)
                before = known.setdefault(header.base_offset, found)
                if before is found:
                    self.committed_batches += 1
                elif before != found:
                    self._world.violated(f"{what}: {found} where {before} is committed")
                    return
                segment.agreed_with, segment.agreed = known, index + 1
            else:
                continue
            break
        if position != end_offset:
            self._world.violated(f"{what}: {end_offset} is committed, but only {position or 0} is durable")

    def _begins_late(self, what: str, base_offset: int, log_start: int) -> None:
        self._world.violated(f"{what}: begins durably at {base_offset}, although {log_start} is kept")


def _committed(header: BatchHeader) -> Committed:
    return Committed(header.base_offset, header.leader_epoch, header.end_offset, header.crc)
