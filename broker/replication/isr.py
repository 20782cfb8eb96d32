"""The in-sync set, as its leader keeps it.

The controller commits the set; the leader proposes changes to it (AlterPartition, KIP-497), one at a time:

| state | event | next |
|---|---|---|
| committed | a member lags, or a caught-up replica may join | proposed: sent with the partition epoch it is based on |
| committed | who may be elected lacks what is committed | proposed: without it, which is perhaps the same set |
| proposed | accepted, or metadata with a higher partition epoch | committed, as the controller says |
| proposed | accepted, and nothing changed | committed, as before |
| proposed | refused because of a member (INELIGIBLE_REPLICA …) | committed, as before; the next check decides again |
| proposed | refused because its base is old (INVALID_UPDATE_VERSION …) | proposed, until metadata says more |
| proposed | no answer | proposed, sent again: it may have been committed |

Invariants
- While a proposal is out, the set in force may be the old or the new one: whoever counts, counts the union (`maximal`).
- The leader is always a member.
- A replica joins only when it has everything below the high watermark *and* below the start of the leader's epoch
  (KIP-966): before that the leader itself may not know what is committed.
- A replica joins only while its broker is unfenced (KIP-841) and is the incarnation that fetched (KIP-903), and not
  while its log directory has failed there (KIP-112).
- A replica joins only while it fetches: what it has is no reason to wait for it again and again, where nothing moves on
  without it. Kafka proposes on a fetch; here one that rests in its session counts, too.
- A proposal names the incarnations that it was decided by, however often it is sent: what another life of a member
  fetches meanwhile is no part of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from broker.replication.follower import UNKNOWN_BROKER_EPOCH, Follower


@dataclass(frozen=True, slots=True)
class BrokerLiveness:
    """What metadata says about the broker of a replica."""

    broker_epoch: int
    fenced: bool
    in_controlled_shutdown: bool
    serves: bool = True  # false: the replica's log directory failed there


@dataclass(frozen=True, slots=True)
class InSyncProposal:
    """What the leader asks of the controller for one partition: AlterPartition's item."""

    topic_id: UUID
    partition: int
    leader_epoch: int
    partition_epoch: int  # of the set that the proposal is based on
    isr: tuple[tuple[int, int], ...]  # (broker id, broker epoch; -1 unknown), sorted by id
    recovering: bool = False
    lacking: tuple[int, ...] = ()  # of those left out: who lacks something that is committed, and may not lead


@dataclass(frozen=True, slots=True)
class InSyncAnswer:
    """The controller's word on one proposal: the partition as it now stands, or why not (an error code's name)."""

    error: str | None  # Kafka's name; None: accepted
    leader: int = -1
    leader_epoch: int = -1
    partition_epoch: int = -1
    isr: tuple[int, ...] = ()


REFUSED_MEMBERS = frozenset({"INELIGIBLE_REPLICA", "OPERATION_NOT_ATTEMPTED"})
"""Refusals after which the committed set stands and another proposal may follow at once."""

OUTDATED_BASES = frozenset(
    {
        "FENCED_LEADER_EPOCH",
        "INVALID_REQUEST",
        "INVALID_UPDATE_VERSION",
        "NEW_LEADER_ELECTED",
        "NOT_LEADER_OR_FOLLOWER",
        "UNKNOWN_TOPIC_ID",
        "UNKNOWN_TOPIC_OR_PARTITION",
    }
)
"""Refusals that tell of metadata which has not arrived here yet: nothing is sent again before it does."""


@dataclass(frozen=True, slots=True)
class InSyncSet:
    """The set of one partition on its leader. Members are broker ids."""

    committed: tuple[int, ...]  # sorted
    partition_epoch: int  # >= 0, of `committed`
    proposed: tuple[int, ...] | None = None  # sorted; `committed` itself, to tell who lacks something
    broker_epochs: tuple[int, ...] = ()  # of each proposed one, as it was when that was decided; -1 unknown
    lacking: tuple[int, ...] = ()  # not proposed, because something is missing there that is committed

    @property
    def maximal(self) -> tuple[int, ...]:
        """Everybody who may be a member at this moment, sorted."""
        if self.proposed is None:
            return self.committed
        return tuple(sorted({*self.committed, *self.proposed}))

    def propose(
        self, members: Sequence[int], followers: Mapping[int, Follower], lacking: tuple[int, ...] = ()
    ) -> "InSyncSet":
        assert self.proposed is None, "one proposal at a time"
        proposed = tuple(sorted(members))
        broker_epochs = tuple(_epoch_of(each, followers) for each in proposed)
        return replace(self, proposed=proposed, broker_epochs=broker_epochs, lacking=lacking)

    def settled(self, members: Sequence[int], partition_epoch: int) -> "InSyncSet":
        """The controller's set at `partition_epoch`. An older word than what is known changes nothing."""
        if partition_epoch <= self.partition_epoch:
            return self
        return InSyncSet(tuple(sorted(members)), partition_epoch)

    def refused(self) -> "InSyncSet":
        """The proposal will never be committed: the old set stands."""
        return InSyncSet(self.committed, self.partition_epoch)


def lagging_members(
    members: Sequence[int],
    leader_id: int,
    followers: Mapping[int, Follower],
    leader_end: int,
    now_ms: int,
    lag_max_ms: int,
) -> tuple[int, ...]:
    """The members that have not been caught up for longer than `lag_max_ms`; never the leader."""
    return tuple(
        member
        for member in members
        if member != leader_id
        and (member not in followers or not followers[member].is_caught_up(leader_end, now_ms, lag_max_ms))
    )


def may_be_member(follower: Follower, broker: BrokerLiveness | None) -> bool:
    """Whether the controller could accept this replica's broker now (KIP-841, KIP-903, KIP-112)."""
    return (
        broker is not None
        and not broker.fenced
        and not broker.in_controlled_shutdown
        and broker.serves
        and follower.broker_epoch == broker.broker_epoch
    )


def has_caught_up(follower: Follower, high_watermark: int, epoch_start_offset: int) -> bool:
    """Whether nothing that is or may be committed is missing on the follower."""
    return follower.end_offset >= max(high_watermark, epoch_start_offset)


def _epoch_of(member: int, followers: Mapping[int, Follower]) -> int:
    """The incarnation that the leader heard from; -1 for one that has not fetched in this epoch, and for itself."""
    return followers[member].broker_epoch if member in followers else UNKNOWN_BROKER_EPOCH
