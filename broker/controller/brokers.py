"""Brokers come, report, go: registration, heartbeats, fencing, controlled shutdown (KIP-631).

| state         | event                                     | next          | and                               |
|---------------|-------------------------------------------|---------------|-----------------------------------|
| any           | registers                                 | fenced        | leaves ISRs and leaderships       |
| fenced        | heartbeat, has applied its registration   | live          | leads what had no leader          |
| live          | silence, failed probe, wants to be fenced | fenced        | leaves ISRs and leaderships       |
| live          | heartbeat, wants to shut down             | shutting down | leaves ISRs and leaderships       |
| shutting down | heartbeat, the others know                | fenced        | is told to stop                   |
| fenced        | heartbeat, wants to shut down             | fenced        | is told to stop                   |

A new life is a new epoch. A restarted broker comes back before its old session lapses, so a new incarnation replaces
the old one at once if it has the same directory: the lock on the directory proves that the old process is gone. (Kafka
refuses until the session has lapsed.) From another directory it is refused while the old one lives, because then two
processes claim one id. All that the old life led goes to another ISR member, or to nobody until the new life is live:
in both cases with a higher leader epoch, so two lives of a leader never share one.

A broker that registers with another directory has lost its records. It leaves every ISR, even as the last member, and
every ELR: the partition is then offline until an unclean election, because electing it would lose everything silently.
That directory is the first of its log directories. Which of its replicas lay in others that it lost, or cannot read,
the broker knows, and reports it (`ReportReplicas`) before the heartbeat that unfences it: a lost one leaves the ISR and
the ELR, even as their last member; an offline one, whose records may be there, stays as the last, and leads nothing.
One whose last stop was not clean leaves the ISR and ELR of the partitions in which it may have lost what it had not
flushed (`Loss`).

Records are ordered so that a controller that dies in the middle leaves nothing wrong: partitions change before the
broker that they leave, and after the broker that joins.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from broker.controller.cluster import Cluster, TopicRules
from broker.controller.commands import (
    BrokerRegistered,
    BrokerUnreachable,
    Heartbeat,
    HeartbeatAnswer,
    RegisterBroker,
    UnregisterBroker,
)
from broker.controller.elections import Election, resettle
from broker.controller.eligible import IsLive, Loss
from broker.controller.result import (
    BrokerAppeared,
    BrokerFenced,
    BrokerShuttingDown,
    BrokerUnfenced,
    Fact,
    Probe,
    Result,
    UncleanElection,
)
from broker.controller.sessions import Session, Sessions
from broker.metadata.features import METADATA_VERSION, RELEASE_IN_REGISTRATIONS
from broker.metadata.records import (
    BrokerChangeRecord,
    ConfigRecord,
    MetadataRecord,
    RegisterBrokerRecord,
    UnregisterBrokerRecord,
    broker_resource,
)
from broker.metadata.state import BrokerImage, PartitionKey
from kraftpy.errors import (
    BrokerIdNotRegisteredError,
    DuplicateBrokerRegistrationError,
    InvalidRegistrationError,
    InvalidRequestError,
    StaleBrokerEpochError,
    UnsupportedVersionError,
)

R = TypeVar("R")

LIVE = HeartbeatAnswer(is_fenced=False, should_shut_down=False)
FENCED = HeartbeatAnswer(is_fenced=True, should_shut_down=False)
STOP = HeartbeatAnswer(is_fenced=True, should_shut_down=True)


class Brokers:
    """Registered brokers and their sessions."""

    def __init__(self, cluster: Cluster, sessions: Sessions) -> None:
        self._cluster = cluster
        self._sessions = sessions

    # --- registration ---

    def register(self, command: RegisterBroker, now_ms: int) -> Result[BrokerRegistered]:
        registration = replace(command.registration, fenced=True)
        if self._cluster.image.features.get(METADATA_VERSION, 0) < RELEASE_IN_REGISTRATIONS:
            registration = replace(registration, release="")
        self._check_registration(registration)
        broker_id = registration.broker_id
        old = self._cluster.image.brokers.get(broker_id)
        if old is not None and replace(old.registration, fenced=True) == registration:
            self._sessions.touch(broker_id, old.epoch, now_ms)
            return Result(BrokerRegistered(old.epoch))  # the same process asks again
        new_disk = old is None or old.registration.directory_id != registration.directory_id
        if old is not None and new_disk and self._sessions.is_valid(broker_id, old.epoch, now_ms):
            raise DuplicateBrokerRegistrationError(
                f"broker {broker_id} is live on another directory; stop that process, or give this one its own node.id"
            )
        if old is not None and old.epoch != command.replaced_epoch:
            raise StaleBrokerEpochError(
                f"broker {broker_id} wants to replace its registration {command.replaced_epoch}; the present one is "
                f"{old.epoch}"
            )
        was_clean = old is not None and command.previous_broker_epoch == old.epoch
        elections = self._leave(broker_id, Loss.ALL if new_disk else Loss.NOTHING if was_clean else Loss.UNFLUSHED)
        records = [*_records(elections), registration]
        broker_epoch = self._cluster.image.end_offset + len(records) - 1
        self._sessions.touch(broker_id, broker_epoch, now_ms)
        appeared = BrokerAppeared(broker_id, new_disk=new_disk and old is not None)
        facts = (appeared, *self._unclean(elections))
        return Result(BrokerRegistered(broker_epoch), records, atomic=False, facts=facts)

    def _check_registration(self, registration: RegisterBrokerRecord) -> None:
        if registration.broker_id < 0:
            raise InvalidRegistrationError(f"{registration.broker_id} is no broker id: they start at 0")
        if not registration.endpoints:
            raise InvalidRegistrationError(f"broker {registration.broker_id} names no endpoint")
        supported = {feature.name: feature for feature in registration.features}
        for name, level in self._cluster.image.features.items():
            feature = supported.get(name)
            if feature is None or not feature.min_level <= level <= feature.max_level:
                has = "does not know it" if feature is None else f"knows {feature.min_level} to {feature.max_level}"
                raise UnsupportedVersionError(
                    f"the cluster works with {name}={level}; broker {registration.broker_id} {has}"
                )

    def unregister(self, command: UnregisterBroker) -> Result[None]:
        """Its own settings go with it: nobody could unset them, and the next broker of this id would have them."""
        broker = self._cluster.image.brokers.get(command.broker_id)
        if broker is None:
            raise BrokerIdNotRegisteredError(f"broker {command.broker_id} is not registered")
        if not broker.fenced:
            raise InvalidRequestError(f"broker {command.broker_id} is live; stop it before it is unregistered")
        self._sessions.drop(command.broker_id)
        elections = self._leave(command.broker_id)
        resource = broker_resource(command.broker_id)
        records = [
            *_records(elections),
            UnregisterBrokerRecord(command.broker_id, broker.epoch),
            *[ConfigRecord(resource, name, None) for name in sorted(self._cluster.image.config(resource))],
        ]
        return Result(None, records, atomic=False, facts=self._unclean(elections))

    # --- heartbeats ---

    def heartbeat(self, command: Heartbeat, now_ms: int) -> Result[HeartbeatAnswer]:
        broker = self._cluster.broker(command.broker_id, command.broker_epoch)
        session = self._sessions.touch(command.broker_id, broker.epoch, now_ms)
        session.metadata_end_offset = max(session.metadata_end_offset, command.metadata_end_offset)
        unwell = command.want_fence or broker.registration.directory_id in command.failed_log_directories
        if broker.fenced:
            if command.want_shut_down:
                return Result(STOP)
            caught_up = command.metadata_end_offset > broker.epoch
            return self._unfence(broker) if caught_up and not unwell else Result(FENCED)
        if unwell:
            reason = "it asked to be" if command.want_fence else "the directory of its metadata failed"
            return self._fence(broker, reason, STOP if command.want_shut_down else FENCED)
        if command.want_shut_down:
            return self._shut_down(broker, session)
        return Result(LIVE)

    def _unfence(self, broker: BrokerImage) -> Result[HeartbeatAnswer]:
        broker_id = broker.registration.broker_id
        elections = self._elect_where_missing(also_live=broker_id)
        change = BrokerChangeRecord(broker_id, broker.epoch, fenced=False, in_controlled_shutdown=False)
        facts = (BrokerUnfenced(broker_id, len(elections)), *self._unclean(elections))
        return Result(LIVE, [change, *_records(elections)], atomic=False, facts=facts)

    def _shut_down(self, broker: BrokerImage, session: Session) -> Result[HeartbeatAnswer]:
        """Move leaderships away; once the others know about it, let the broker go."""
        broker_id = broker.registration.broker_id
        elections = self._leave(broker_id)
        records = _records(elections)
        if not broker.in_controlled_shutdown:
            records.append(BrokerChangeRecord(broker_id, broker.epoch, in_controlled_shutdown=True))
        if records or session.shutdown_offset is None:
            session.shutdown_offset = self._cluster.image.end_offset + len(records)
        facts: list[Fact] = list(self._unclean(elections))
        if records:
            facts.append(BrokerShuttingDown(broker_id, _moved(elections), _orphaned(elections)))
        if not self._others_know(broker_id, session.shutdown_offset):
            return Result(LIVE, records, atomic=False, facts=tuple(facts))
        records.append(BrokerChangeRecord(broker_id, broker.epoch, fenced=True))
        facts.append(BrokerFenced(broker_id, "it has shut down", 0, 0))
        return Result(STOP, records, atomic=False, facts=tuple(facts))

    def _others_know(self, broker_id: int, end_offset: int) -> bool:
        """Whether every other live broker has applied the metadata up to `end_offset`."""
        for other_id, other in self._cluster.image.brokers.items():
            if other_id == broker_id or other.fenced:
                continue
            session = self._sessions.get(other_id, other.epoch)
            if session is not None and session.metadata_end_offset < end_offset:
                return False
        return True

    # --- fencing ---

    def unreachable(self, command: BrokerUnreachable, now_ms: int) -> Result[None]:
        broker = self._cluster.image.brokers.get(command.broker_id)
        if broker is None or broker.epoch != command.broker_epoch or broker.fenced:
            return Result(None)
        if not command.confirmed:
            return Result(None, probes=self.probes([command.broker_id], now_ms))
        session = self._sessions.get(command.broker_id, broker.epoch)
        heard_at_ms = None if session is None else session.last_contact_ms
        if heard_at_ms is not None and command.probed_at_ms is not None and heard_at_ms > command.probed_at_ms:
            return Result(None)
        self._sessions.drop(command.broker_id)  # it need not be waited out by whoever takes the broker's place
        return self._fence(broker, "nobody listens there", None)

    def probes(self, broker_ids: Sequence[int], now_ms: int) -> tuple[Probe, ...]:
        """Probes of those that are not fenced, as far as their rate allows."""
        possible = self._probes_of_unfenced(broker_ids)
        return tuple(each for each in possible if self._sessions.may_probe(each.broker_id, each.broker_epoch, now_ms))

    def unheard(self, now_ms: int) -> Result[None] | None:
        """Look for those who should have been heard of, without waiting for a report; None: there are none.

        A process may die while no call of it waits anywhere, and a probe may be lost: nobody would report it again.
        """
        unheard = self._sessions.take_unheard(now_ms)
        return Result(None, probes=tuple(self._probes_of_unfenced(unheard))) if unheard else None

    def _probes_of_unfenced(self, broker_ids: Iterable[int]) -> Iterator[Probe]:
        for broker_id in broker_ids:
            broker = self._cluster.image.brokers.get(broker_id)
            if broker is not None and not broker.fenced:
                yield Probe(broker_id, broker.epoch)

    def lapsed(self, now_ms: int) -> Result[None] | None:
        """Fence the one broker that has been silent for longest beyond its time; None: nobody has."""
        broker_id = self._sessions.first_lapsed(now_ms)
        if broker_id is None:
            return None
        self._sessions.drop(broker_id)
        broker = self._cluster.image.brokers.get(broker_id)
        if broker is None or broker.fenced:
            return Result(None)
        return self._fence(broker, f"silent for {self._cluster.config.broker_session_timeout_ms} ms", None)

    def _fence(self, broker: BrokerImage, reason: str, response: R) -> Result[R]:
        broker_id = broker.registration.broker_id
        elections = self._leave(broker_id)
        records = [*_records(elections), BrokerChangeRecord(broker_id, broker.epoch, fenced=True)]
        fenced = BrokerFenced(broker_id, reason, _moved(elections), _orphaned(elections))
        return Result(response, records, atomic=False, facts=(fenced, *self._unclean(elections)))

    # --- partitions ---

    def repair(self) -> Result[None]:
        """What an earlier controller left half done: elections for a broker that joined."""
        elections = self._elect_where_missing()
        return Result(None, _records(elections), atomic=False, facts=self._unclean(elections))

    def _leave(self, broker_id: int, loss: Loss = Loss.NOTHING) -> list[Election]:
        """The broker leaves every ISR and leadership; leaderships first, because somebody waits for each of them.

        Without its disk it also goes to the end of those whom unclean elections ask.
        """
        index = self._cluster.index
        keys = [*index.led_by(broker_id), *index.in_sync_on(broker_id)]
        if loss is not Loss.NOTHING:
            keys += index.eligible_on(broker_id)
        if loss is Loss.ALL:
            keys += [key for key in index.without_leader() if broker_id in self._cluster.partition(key).replicas]
        return self._resettle(list(dict.fromkeys(keys)), without=broker_id, loss=loss)

    def _elect_where_missing(self, also_live: int | None = None) -> list[Election]:
        """Leaders for partitions that have none."""
        return self._resettle(self._cluster.index.without_leader(), also_live=also_live)

    def _resettle(
        self,
        keys: Sequence[PartitionKey],
        *,
        without: int | None = None,
        also_live: int | None = None,
        loss: Loss = Loss.NOTHING,
    ) -> list[Election]:
        elections: list[Election] = []
        rules = self._cluster.topic_rules()
        for key in keys:
            can_serve = self._cluster.can_serve(key, also_live)
            elections += settle(self._cluster, key, can_serve, rules, without=without, loss=loss)
        return elections

    def _unclean(self, elections: Sequence[Election]) -> tuple[Fact, ...]:
        return unclean_facts(self._cluster, elections)


def settle(
    cluster: Cluster, key: PartitionKey, is_there: IsLive, rules: TopicRules, *, without: int | None, loss: Loss
) -> Sequence[Election]:
    """What follows for one partition by `elections.resettle`, by the rules of its topic."""
    topic_id = key.topic_id
    lost = rules.loss(topic_id, without, loss)
    election = resettle(key, cluster.partition(key), is_there, rules.of(topic_id), without=without, loss=lost)
    return () if election is None else (election,)


def unclean_facts(cluster: Cluster, elections: Sequence[Election]) -> tuple[Fact, ...]:
    """What is told of the unclean ones among `elections`, which are not replayed yet."""
    facts: list[Fact] = []
    for election in elections:
        if election.unclean:
            record = election.record
            state = cluster.partition(PartitionKey(record.topic_id, record.partition))
            assert record.leader is not None
            name = cluster.topic_name(record.topic_id)
            facts.append(UncleanElection(name, record.partition, record.leader, (*state.isr, *state.eligible_replicas)))
    return tuple(facts)


def _records(elections: Sequence[Election]) -> list[MetadataRecord]:
    return [election.record for election in elections]


def _moved(elections: Sequence[Election]) -> int:
    return sum(election.moved for election in elections)


def _orphaned(elections: Sequence[Election]) -> int:
    return sum(election.orphaned for election in elections)
