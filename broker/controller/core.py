"""The controller: commands in, records and answers out. It decides and does nothing.

    activate(now, suspects)   a new epoch begins, with the committed image that the core was made of
    handle(command)           → Result(records, response, probes, facts); raises what refuses the command as a whole
    replay(records)           the only way in which metadata changes, called when the records are proposed
    tick(now)                 what time alone brings: lapsed sessions, looks for those who are late, rebalances

`handle` and `tick` look at the metadata and at the sessions of brokers. Sessions are soft: they change with every
heartbeat, are not in the log, and die with the epoch. The noun a file: `brokers`, `sessions`, `topics`, `placement`,
`isr_changes`, `elections`, `leaders`, `reassignments`, `settings`, `producer_ids`.

A response is worth nothing until its records are committed; with no records, or as a refusal, it may still rest on ones
that are not, so it waits for those proposed before it. Both is the shell's part.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from broker.controller import producer_ids
from broker.controller.brokers import Brokers
from broker.controller.cluster import Cluster
from broker.controller.commands import (
    AllocateProducerIds,
    AlterConfigs,
    AlterPartition,
    AlterPartitionReassignments,
    BrokerUnreachable,
    Command,
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    ElectLeaders,
    Heartbeat,
    RegisterBroker,
    ReportReplicas,
    UnregisterBroker,
    UpdateFeatures,
)
from broker.controller.config import ControllerConfig
from broker.controller.features import Features
from broker.controller.isr_changes import IsrChanges
from broker.controller.leaders import Leaders
from broker.controller.partition_index import PartitionIndex
from broker.controller.reassignments import Reassignments
from broker.controller.replica_reports import ReplicaReports
from broker.controller.result import ControllerStalled, Result
from broker.controller.sessions import NOBODY, Sessions
from broker.controller.settings import Settings
from broker.controller.topics import Topics
from broker.controller.turns import Turns
from broker.metadata.features import INITIAL_LEVELS
from broker.metadata.image import MetadataDelta, MetadataImage
from broker.metadata.records import FeatureLevelRecord, MetadataRecord
from broker.metadata.sizes import ENTRY_BYTES_MAX, about_bytes
from kraftpy.errors import PolicyViolationError

if TYPE_CHECKING:
    from random import Random

R = TypeVar("R")


class ControllerCore:
    """One epoch's controller; a later epoch makes another one.

    Invariants: `image` is what all records replayed so far build. Every live broker has a session.
    """

    def __init__(
        self,
        config: ControllerConfig,
        random: "Random",
        image: MetadataImage,
        epoch: int,
        now_ms: int,
        turns: Turns | None = None,
    ) -> None:
        """`turns` that an earlier one of this epoch has taken."""
        turns = turns or Turns(epoch)
        self._cluster = Cluster(config, image, epoch)
        self._sessions = Sessions(config)
        self._brokers = Brokers(self._cluster, self._sessions)
        self._replica_reports = ReplicaReports(self._cluster, turns)
        self._topics = Topics(self._cluster, random)
        self._isr_changes = IsrChanges(self._cluster, turns)
        self._leaders = Leaders(self._cluster, now_ms)
        self._settings = Settings(self._cluster)
        self._reassignments = Reassignments(self._cluster)
        self._features = Features(self._cluster)

    @property
    def image(self) -> MetadataImage:
        """The working image; ahead of what is committed."""
        return self._cluster.image

    @property
    def index(self) -> PartitionIndex:
        """The index over `image`."""
        return self._cluster.index

    def activate(self, now_ms: int, suspects: Mapping[int, int] = NOBODY) -> Result[None]:
        """Take over: fresh sessions for all, the first features of a new cluster, elections left undone.

        `suspects` are perhaps dead (the node of the last quorum leader, say), each with the ms for which it is known to
        have been silent; they are probed at once, and that silence counts against them.
        """
        image = self._cluster.image
        for broker_id, broker in image.brokers.items():
            if not broker.fenced:
                self._sessions.touch(broker_id, broker.epoch, now_ms)
        records: list[MetadataRecord] = []
        if not image.features:  # a new cluster; in an old one nobody but its operator raises or adds a feature
            records += [FeatureLevelRecord(name, level) for name, level in INITIAL_LEVELS.items()]
        repair = self._brokers.repair()
        for broker_id, silent_ms in suspects.items():
            self._sessions.count_silence(broker_id, silent_ms, now_ms)
        probes = self._brokers.probes(tuple(suspects), now_ms)
        return Result(None, [*records, *repair.records], atomic=False, probes=probes, facts=repair.facts)

    def handle(self, command: Command[R], now_ms: int) -> Result[R]:
        """Raises a `KraftpyError` where the command is refused as a whole; then nothing has happened."""
        result: Result[Any] = self._dispatch(command, now_ms)
        size_bytes = sum(map(about_bytes, result.together))
        if size_bytes > ENTRY_BYTES_MAX:
            raise PolicyViolationError(
                f"this request would change about {size_bytes} bytes of metadata at once, and {ENTRY_BYTES_MAX} are "
                "allowed: divide it"
            )
        return result

    def _dispatch(self, command: Command[Any], now_ms: int) -> Result[Any]:
        match command:
            case Heartbeat():
                return self._brokers.heartbeat(command, now_ms)
            case AlterPartition():
                return self._isr_changes.alter(command)
            case RegisterBroker():
                return self._brokers.register(command, now_ms)
            case BrokerUnreachable():
                return self._brokers.unreachable(command, now_ms)
            case ReportReplicas():
                return self._replica_reports.report(command)
            case UnregisterBroker():
                return self._brokers.unregister(command)
            case CreateTopics():
                return self._topics.create(command)
            case DeleteTopics():
                return self._topics.delete(command)
            case CreatePartitions():
                return self._topics.grow(command)
            case AlterConfigs():
                return self._settings.alter(command)
            case ElectLeaders():
                return self._leaders.elect(command)
            case AlterPartitionReassignments():
                return self._reassignments.alter(command)
            case UpdateFeatures():
                return self._features.update(command)
            case AllocateProducerIds():
                return producer_ids.allocate(self._cluster, command)
            case _:
                raise AssertionError(f"{command} is no command")

    def replay(self, records: Sequence[MetadataRecord], base_offset: int) -> MetadataDelta:
        """Apply records that were proposed to stand at `base_offset` and after."""
        return self._cluster.replay(records, base_offset)

    def skip(self) -> None:
        """A control entry of the quorum takes the next place in the log."""
        self._cluster.replay((), self._cluster.image.end_offset + 1)

    def next_deadline_ms(self) -> int | None:
        """When `tick` has something to do, if nothing happens before; None: never."""
        deadlines = (self._sessions.next_deadline_ms(), self._leaders.next_deadline_ms())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def tick(self, now_ms: int) -> Result[None]:
        """One thing that is due. Call it again, after replaying its records, while `next_deadline_ms` is not later."""
        stalled_ms = self._sessions.forgive_stall(now_ms)
        if stalled_ms:
            return Result(None, facts=(ControllerStalled(stalled_ms),))
        return (
            self._brokers.lapsed(now_ms)
            or self._brokers.unheard(now_ms)
            or self._leaders.rebalance(now_ms)
            or Result(None)
        )
