"""What a broker says of its own replicas: which it cannot serve, has lost, or can serve again (KIP-112, KIP-858).

| standing | the replica                                           | leads  | in the ISR                     |
|----------|-------------------------------------------------------|--------|--------------------------------|
| offline  | its directory failed: the records may still be there  | no     | leaves; is eligible, or stays  |
|          |                                                       |        | as the last one                |
| lost     | it was there once, and its records are gone           | no     | leaves, even as the last one,  |
|          |                                                       |        | and the ELR                    |
| damaged  | some of its records cannot be read any more           | as the | leaves, and the ELR, where     |
|          |                                                       | last   | another one leads then; else   |
|          |                                                       | resort | all stays as it is             |
| online   | can be served again                                   | may    | joins by catching up           |

That a replica is offline is in the metadata, because every controller must know it, and dies with the broker's life: a
new registration begins with none. That one is lost needs no memory: outside the ISR an empty replica is like any other.
A damaged replica is marked as offline once another leads without it. Until it says that it is online again, after its
leader has heard how far it still goes, nobody elects it, and no leader takes it back into the ISR for what it had. As
the last one that has everything it goes on as before; its broker refuses what it cannot read, and reports again when
something changes here.

What was appended to a directory and not flushed when it failed may be gone, whatever the page cache says afterwards: in
topics where that counted an offline replica is not eligible (`Loss.UNFLUSHED`).

A partition whose last ISR member is lost stays without a leader until an unclean election, as after a lost disk. To
elect the empty replica would drop what was acknowledged, and nobody would have been told.

A report may be repeated: what it says of each partition is looked at anew, whatever is marked already. One that comes
after a later one is refused (`turns`).
"""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from broker.controller.brokers import settle, unclean_facts
from broker.controller.cluster import Cluster, TopicRules
from broker.controller.commands import ReportReplicas
from broker.controller.elections import Election
from broker.controller.eligible import Loss
from broker.controller.result import ReplicasReported, Result
from broker.controller.turns import Turns
from broker.metadata.features import METADATA_VERSION, OFFLINE_REPLICAS
from broker.metadata.records import MetadataRecord, OfflineReplicasRecord
from broker.metadata.state import BrokerImage, PartitionKey, Standing
from kraftpy.errors import InvalidRequestError

Standings = Mapping[PartitionKey, Standing]

_LOSS: Final = {
    Standing.ONLINE: Loss.NOTHING,
    Standing.OFFLINE: Loss.UNFLUSHED,
    Standing.LOST: Loss.ALL,
    Standing.DAMAGED: Loss.ALL,
}
_MARKED: Final = (Standing.OFFLINE, Standing.DAMAGED)


class ReplicaReports:
    def __init__(self, cluster: Cluster, turns: Turns) -> None:
        self._cluster = cluster
        self._turns = turns

    def report(self, command: ReportReplicas) -> Result[None]:
        """Raises `StaleBrokerEpochError`, `BrokerIdNotRegisteredError`, `InvalidRequestError` (too many), and as
        `Turns.take`."""
        broker_id = command.broker_id
        broker = self._cluster.broker(broker_id, command.broker_epoch)
        limit = self._cluster.config.items_per_request_max
        if len(command.replicas) > limit:
            raise InvalidRequestError(f"a report may name {limit} replicas, not {len(command.replicas)}")
        self._turns.take(command)
        told = {PartitionKey(item.topic_id, item.partition): item.standing for item in command.replicas}
        # Nodes of an older release would stop at a mark. Until they are upgraded the leaders move, and may come back.
        may_mark = self._cluster.image.features.get(METADATA_VERSION, 0) >= OFFLINE_REPLICAS
        standings = {key: standing for key, standing in told.items() if self._exists(key)}
        rules = self._cluster.topic_rules()
        elections: list[Election] = []
        for key, standing in list(standings.items()):
            follows = self._follow(broker_id, key, standing, rules)
            if standing is Standing.DAMAGED and not (may_mark and self._is_led_without(broker_id, key, follows)):
                del standings[key]
            else:
                elections += follows
        # The marks stand first: a controller that dies in between leaves nothing that the next one would elect here.
        records: list[MetadataRecord] = [
            OfflineReplicasRecord(broker_id, broker.epoch, topic_id, partitions)
            for topic_id, partitions in _offline(broker, standings).items()
            if may_mark and partitions != broker.offline.get(topic_id, ())
        ]
        records += [election.record for election in elections]
        facts = (_fact(broker_id, standings, elections), *unclean_facts(self._cluster, elections)) if records else ()
        return Result(None, records, atomic=False, facts=facts)

    def _is_led_without(self, broker_id: int, key: PartitionKey, follows: Sequence[Election]) -> bool:
        """Whether somebody else, who has everything, leads when `follows` has happened."""
        state = self._cluster.partition(key)
        if any(election.unclean for election in follows):
            return False
        for election in follows:
            state = state.changed(election.record)
        return (
            state.has_leader and state.leader != broker_id and broker_id not in (*state.isr, *state.eligible_replicas)
        )

    def _exists(self, key: PartitionKey) -> bool:
        """A topic may have been deleted since the broker looked."""
        topic = self._cluster.image.topics.get(key.topic_id)
        return topic is not None and 0 <= key.partition < len(topic.partitions)

    def _follow(self, broker_id: int, key: PartitionKey, standing: Standing, rules: TopicRules) -> Sequence[Election]:
        """What follows for the partition itself: nothing, where the replica has moved away since the broker looked."""
        is_back = standing is Standing.ONLINE
        state = self._cluster.partition(key)
        if state.has_leader if is_back else broker_id not in state.replicas:
            return []
        others = self._cluster.can_serve(key)
        serves_here = is_back and self._cluster.is_live(broker_id)

        def is_there(other_id: int) -> bool:
            return serves_here if other_id == broker_id else others(other_id)

        without = None if is_back else broker_id
        return settle(self._cluster, key, is_there, rules, without=without, loss=_LOSS[standing])


def _offline(broker: BrokerImage, standings: Standings) -> dict[UUID, tuple[int, ...]]:
    """The partitions that are offline on the broker from now on, of the topics in `standings`."""
    offline: dict[UUID, dict[int, None]] = {}
    for key, standing in standings.items():
        numbers = offline.setdefault(key.topic_id, dict.fromkeys(broker.offline.get(key.topic_id, ())))
        if standing in _MARKED:
            numbers[key.partition] = None
        else:
            numbers.pop(key.partition, None)
    return {topic_id: tuple(sorted(numbers)) for topic_id, numbers in offline.items()}


def _fact(broker_id: int, standings: Standings, elections: list[Election]) -> ReplicasReported:
    told = list(standings.values())
    return ReplicasReported(
        broker_id,
        online=told.count(Standing.ONLINE),
        offline=told.count(Standing.OFFLINE),
        lost=told.count(Standing.LOST),
        damaged=told.count(Standing.DAMAGED),
        leaders_moved=sum(election.moved for election in elections),
        left_without_leader=sum(election.orphaned for election in elections),
    )
