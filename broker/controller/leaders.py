"""Leaders are elected on demand (KIP-183, KIP-460), and preferred ones get their leaderships back from time to time."""

from collections.abc import Sequence

from broker.controller.brokers import unclean_facts
from broker.controller.cluster import Cluster
from broker.controller.commands import ElectedLeader, ElectLeaders, LeadersElected
from broker.controller.elections import Election, elect_preferred, elect_uncleanly, resettle
from broker.controller.result import LeadersRebalanced, Result
from broker.metadata.state import PartitionKey
from kraftpy.errors import (
    ElectionNotNeededError,
    EligibleLeadersNotAvailableError,
    InvalidRequestError,
    KraftpyError,
    PreferredLeaderNotAvailableError,
    UnknownTopicOrPartitionError,
)

_NEXT_SHARE_MS = 1_000
"""Until a rebalance that was cut short goes on."""


class Leaders:
    def __init__(self, cluster: Cluster, now_ms: int) -> None:
        self._cluster = cluster
        self._check_at_ms = now_ms + cluster.config.leader_imbalance_check_interval_seconds * 1_000

    # --- on demand ---

    def elect(self, command: ElectLeaders) -> Result[LeadersElected]:
        """Raises `InvalidRequestError` where the request names too many partitions."""
        if command.partitions is None:
            return self._elect_all(command.unclean)
        limit = self._cluster.config.items_per_request_max
        if len(command.partitions) > limit:
            raise InvalidRequestError(f"a request may name {limit} partitions, not {len(command.partitions)}")
        elections = []
        elected = []
        for topic, partition in dict.fromkeys(command.partitions):
            try:
                elections.append(self._elect(self._key(topic, partition), command.unclean))
                elected.append(ElectedLeader(topic, partition))
            except KraftpyError as error:
                elected.append(ElectedLeader(topic, partition, error))
        return self._result(elected, elections)

    def _elect_all(self, unclean: bool) -> Result[LeadersElected]:
        """Every partition that needs it; nothing is said of the others."""
        elections = []
        elected = []
        for key in self._cluster.index.without_leader() if unclean else self._displaced():
            topic = self._cluster.topic_name(key.topic_id)
            try:
                elections.append(self._elect(key, unclean))
                elected.append(ElectedLeader(topic, key.partition))
            except KraftpyError as error:
                elected.append(ElectedLeader(topic, key.partition, error))
        return self._result(elected, elections)

    def _result(self, elected: Sequence[ElectedLeader], elections: Sequence[Election]) -> Result[LeadersElected]:
        records = [election.record for election in elections]
        facts = unclean_facts(self._cluster, elections)
        return Result(LeadersElected(tuple(elected)), records, atomic=False, facts=facts)

    def _key(self, topic: str, partition: int) -> PartitionKey:
        image = self._cluster.image.topic(topic)
        if image is None or not 0 <= partition < len(image.partitions):
            raise UnknownTopicOrPartitionError(f"there is no partition {partition} of a topic {topic}")
        return PartitionKey(image.topic_id, partition)

    def _elect(self, key: PartitionKey, unclean: bool) -> Election:
        state = self._cluster.partition(key)
        if unclean:
            if state.has_leader:
                raise ElectionNotNeededError("the partition has a leader")
            can_serve = self._cluster.can_serve(key)
            election = resettle(key, state, can_serve, self._cluster.topic_rules().of(key.topic_id))
            if election is None or not (election.moved or election.unclean):
                election = elect_uncleanly(key, state, can_serve)
            if election is None:
                raise EligibleLeadersNotAvailableError(f"none of the replicas {list(state.replicas)} is live")
            return election
        if state.leader == state.preferred_leader:
            raise ElectionNotNeededError("the preferred leader leads")
        election = elect_preferred(key, state, self._cluster.can_serve(key))
        if election is None:
            raise PreferredLeaderNotAvailableError(
                f"the preferred leader {state.preferred_leader} is not live or not in sync yet"
            )
        return election

    def _displaced(self) -> list[PartitionKey]:
        index = self._cluster.index
        return [key for broker_id in sorted(self._cluster.image.brokers) for key in index.displaced_from(broker_id)]

    # --- by themselves ---

    def next_deadline_ms(self) -> int | None:
        return self._check_at_ms if self._cluster.config.auto_leader_rebalance_enable else None

    def rebalance(self, now_ms: int) -> Result[None] | None:
        """Give brokers back what they should lead, where too much of it is elsewhere; None: it is not time."""
        config = self._cluster.config
        if not config.auto_leader_rebalance_enable or now_ms < self._check_at_ms:
            return None
        elections = self._imbalanced()
        moved = elections[: config.leader_moves_max]
        pause_ms = config.leader_imbalance_check_interval_seconds * 1_000
        self._check_at_ms = now_ms + (_NEXT_SHARE_MS if len(elections) > len(moved) else pause_ms)
        facts = (LeadersRebalanced(len(moved)),) if moved else ()
        return Result(None, [election.record for election in moved], atomic=False, facts=facts)

    def _imbalanced(self) -> list[Election]:
        cluster = self._cluster
        percentage = cluster.config.leader_imbalance_per_broker_percentage
        elections = []
        for broker_id in sorted(cluster.image.brokers):
            elsewhere = cluster.index.displaced_count(broker_id)
            if not cluster.is_live(broker_id) or elsewhere * 100 <= percentage * cluster.index.preferred_count(
                broker_id
            ):
                continue
            for key in cluster.index.displaced_from(broker_id):
                election = elect_preferred(key, cluster.partition(key), cluster.can_serve(key))
                if election is not None:
                    elections.append(election)
        return elections
