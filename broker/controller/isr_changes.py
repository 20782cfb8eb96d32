"""A leader proposes another in-sync set (AlterPartition, KIP-497), and the controller checks what it cannot trust.

In this order, as Kafka does: the partition exists; the leader does not know more than this controller (NOT_CONTROLLER:
it is behind, another one leads); the leader epoch is the present one (FENCED_LEADER_EPOCH) and the caller leads in it;
the partition epoch is the present one (INVALID_UPDATE_VERSION: something changed meanwhile, look again); the set is one
that could be; and each member is of its present life (KIP-903), neither fenced nor shutting down (KIP-841), or else it
is an INELIGIBLE_REPLICA. The leader counts no more on a set that was refused so; an earlier try to propose it, which
only comes then, is refused for that (`turns`).

With the set goes what follows from it: who is eligible as a leader outside it (`eligible`), and a reassignment that is
complete now. The set may be the present one, to tell that an eligible replica lacks something. A leader whose
reassignment is complete is told NEW_LEADER_ELECTED, although its set was taken: there is a new epoch, or another set of
replicas, and the metadata tells it which.
"""

from dataclasses import replace

from broker.controller.cluster import Cluster
from broker.controller.commands import AlteredPartition, AlterPartition, IsrProposal, PartitionsAltered
from broker.controller.reassignment import changed, completed
from broker.controller.result import Fact, ReassignmentEnded, Result
from broker.controller.turns import Turns
from broker.metadata.records import PartitionChangeRecord
from broker.metadata.state import PartitionKey, PartitionState
from kraftpy.errors import (
    FencedLeaderEpochError,
    IneligibleReplicaError,
    InvalidRequestError,
    InvalidUpdateVersionError,
    KraftpyError,
    NewLeaderElectedError,
    NotControllerError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)

EPOCH_UNKNOWN = -1


class IsrChanges:
    def __init__(self, cluster: Cluster, turns: Turns) -> None:
        self._cluster = cluster
        self._turns = turns

    def alter(self, command: AlterPartition) -> Result[PartitionsAltered]:
        """Raises `StaleBrokerEpochError`, `BrokerIdNotRegisteredError`, `InvalidRequestError` (too many, or twice), and
        as `Turns.take`."""
        self._cluster.broker(command.broker_id, command.broker_epoch)
        self._check_request(command)
        self._turns.take(command)
        records = []
        altered = []
        facts: list[Fact] = []
        for proposal in command.partitions:
            try:
                record, state = self._alter(command.broker_id, proposal)
                if record is not None:
                    records.append(record)
                if record is not None and record.original_replicas == ():
                    topic = self._cluster.topic_name(proposal.topic_id)
                    facts.append(ReassignmentEnded(topic, proposal.partition, state.replicas))
                    raise NewLeaderElectedError("the partition has been reassigned; the metadata says to whom")
                altered.append(AlteredPartition(proposal.topic_id, proposal.partition, None, state))
            except KraftpyError as error:
                altered.append(AlteredPartition(proposal.topic_id, proposal.partition, error))
        return Result(PartitionsAltered(tuple(altered)), records, atomic=False, facts=tuple(facts))

    def _check_request(self, command: AlterPartition) -> None:
        limit = self._cluster.config.items_per_request_max
        if len(command.partitions) > limit:
            raise InvalidRequestError(f"a request may alter {limit} partitions, not {len(command.partitions)}")
        if len({(item.topic_id, item.partition) for item in command.partitions}) < len(command.partitions):
            raise InvalidRequestError("the request names a partition twice")

    def _alter(self, broker_id: int, proposal: IsrProposal) -> tuple[PartitionChangeRecord | None, PartitionState]:
        state = self._state(proposal)
        _check_epochs(broker_id, proposal, state)
        _check_set(broker_id, proposal, state)
        for member in proposal.isr:
            self._check_member(member.broker_id, member.broker_epoch, proposal)
        isr = tuple(member.broker_id for member in proposal.isr)
        tells_of_eligible = any(broker_id in state.eligible_replicas for broker_id in proposal.lacking)
        if isr == state.isr and proposal.recovering == state.recovering and not tells_of_eligible:
            return None, state
        key = PartitionKey(proposal.topic_id, proposal.partition)
        rules = self._cluster.topic_rules().of(proposal.topic_id)
        after = replace(state, isr=isr, recovering=proposal.recovering, last_known_elr=())
        eligible = [broker_id for broker_id in rules.eligible(state, after) if broker_id not in proposal.lacking]
        after = replace(after, eligible_replicas=tuple(eligible))
        after = completed(after, self._cluster.can_serve(key), rules) or after
        record = changed(key, state, after)
        return record, state if record is None else state.changed(record)

    def _state(self, proposal: IsrProposal) -> PartitionState:
        topic = self._cluster.image.topics.get(proposal.topic_id)
        if topic is None:
            raise UnknownTopicIdError(f"there is no topic with the id {proposal.topic_id}")
        if not 0 <= proposal.partition < len(topic.partitions):
            raise UnknownTopicOrPartitionError(f"topic {topic.name} has no partition {proposal.partition}")
        return topic.partitions[proposal.partition]

    def _check_member(self, broker_id: int, broker_epoch: int, proposal: IsrProposal) -> None:
        broker = self._cluster.image.brokers.get(broker_id)
        if broker is None:
            raise IneligibleReplicaError(f"broker {broker_id} is not registered")
        if broker_epoch not in (EPOCH_UNKNOWN, broker.epoch):
            raise IneligibleReplicaError(
                f"broker {broker_id} was seen with epoch {broker_epoch}; its present life has {broker.epoch}"
            )
        if not broker.is_active:
            raise IneligibleReplicaError(f"broker {broker_id} is {'fenced' if broker.fenced else 'shutting down'}")
        if not broker.serves(proposal.topic_id, proposal.partition):
            raise IneligibleReplicaError(f"the replica on broker {broker_id} is offline: its log directory failed")


def _check_epochs(broker_id: int, proposal: IsrProposal, state: PartitionState) -> None:
    if proposal.leader_epoch > state.leader_epoch or proposal.partition_epoch > state.partition_epoch:
        raise NotControllerError("the leader knows newer metadata than this controller: another one must be active")
    if proposal.leader_epoch < state.leader_epoch:
        raise FencedLeaderEpochError(
            f"leader epoch {proposal.leader_epoch} is over; the present one is {state.leader_epoch}"
        )
    if broker_id != state.leader:
        raise InvalidRequestError(f"broker {broker_id} does not lead the partition; {state.leader} does")
    if proposal.partition_epoch < state.partition_epoch:
        raise InvalidUpdateVersionError(
            f"partition epoch {proposal.partition_epoch} is over; the present one is {state.partition_epoch}"
        )


def _check_set(broker_id: int, proposal: IsrProposal, state: PartitionState) -> None:
    isr = [member.broker_id for member in proposal.isr]
    if len(dict.fromkeys(isr)) < len(isr):
        raise InvalidRequestError(f"the in-sync set {isr} names a broker twice")
    if any(member not in state.replicas for member in isr):
        raise InvalidRequestError(f"the in-sync set {isr} is not part of the replicas {list(state.replicas)}")
    if broker_id not in isr:
        raise InvalidRequestError(f"the in-sync set {isr} is without its leader {broker_id}")
    if proposal.recovering and not state.recovering:
        raise InvalidRequestError("a partition that has recovered cannot go back")
    if proposal.recovering and len(isr) > 1:
        raise InvalidRequestError("a partition that recovers from an unclean election has one member in sync")
