"""Eligible leader replicas (ELR, KIP-966): who is out of sync and still has everything that is committed. Pure.

The high watermark rests while the in-sync set is smaller than min.insync.replicas. Whoever leaves the set from that
moment on misses nothing that is committed, so it may lead whenever it comes back: it is eligible. With the set back at
min.insync.replicas the watermark moves on, and nobody is eligible any more.

| the set is …        | a member that leaves it | who was eligible                            |
|---------------------|-------------------------|---------------------------------------------|
| large enough (then) | is out                  | is out                                      |
| too small (then)    | is eligible             | stays so, until it is in sync, or a loss    |

So three in-sync replicas that go one after the other leave: 2 in sync; 1 in sync and 1 eligible; 0 in sync and 2
eligible (min.insync.replicas=2). Either of the two may lead, not the one that went first.

A broker whose machine went down may have lost what was in its page cache only; a clean stop, or the death of nothing
but the process, loses nothing. That concerns the topics whose settings let appends count before they are flushed
(`flush.messages`): there it is eligible no longer, nor is who was away when that setting ended (`settings`). Everywhere
else everything that counted was on its disk, and a lost disk is told by its directory id.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from broker.metadata.records import NO_LEADER, PartitionChangeRecord
from broker.metadata.state import PartitionKey, PartitionState

IsLive = Callable[[int], bool]
"""Whether a broker may lead and be in ISRs."""


class Loss(Enum):
    """What a broker that went away may no longer have when it comes back."""

    NOTHING = "nothing"
    UNFLUSHED = "what was not flushed"
    ALL = "everything: its disk is another one"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings of a topic, and the features of the cluster, say about elections in it."""

    min_isr: int = 1  # min.insync.replicas
    unclean: bool = False  # unclean.leader.election.enable
    elr: bool = False  # eligible.leader.replicas.version: without it the last member stays in the ISR

    def enough(self, replication_factor: int) -> int:
        """The size from which an in-sync set commits: bounded as on leaders."""
        return min(self.min_isr, replication_factor)

    def eligible(self, before: PartitionState, after: PartitionState, lost: int | None = None) -> tuple[int, ...]:
        """The ELR that goes with `after`'s replicas and ISR; `lost` is a broker that lacks something."""
        if not self.elr or len(after.isr) >= self.enough(after.replication_factor):
            return ()
        return tuple(
            broker_id
            for broker_id in after.replicas
            if (broker_id in before.isr or broker_id in before.eligible_replicas)
            and broker_id not in after.isr
            and broker_id != lost
        )


def first_live(members: Sequence[int], state: PartitionState, is_live: IsLive) -> int:
    """The first live one of `members` by the order of replicas, or NO_LEADER."""
    return next((broker_id for broker_id in state.replicas if broker_id in members and is_live(broker_id)), NO_LEADER)


def last_known(
    before: PartitionState, after: PartitionState, without: int | None, loss: Loss, rules: Rules
) -> tuple[int, ...]:
    """Whom an unclean election should ask first: the last leader; but never one that is known to have lost its disk.

    Whoever loses its disk goes behind all others, so what earlier losses said stays true:
    replicas (1, 2, 3), known (1): 2 is lost → (1, 3); 1 is lost → (3, 2).
    """
    if after.has_leader:
        return ()
    known: Sequence[int] = before.last_known_elr
    if not known and before.has_leader and (rules.elr or not after.isr):
        known = (before.leader,)
    if loss is Loss.ALL and not after.isr:
        known = [broker_id for broker_id in unclean_order(before, known) if broker_id != without]
    return tuple(known)


def unclean_order(state: PartitionState, known: Sequence[int]) -> list[int]:
    """All replicas in the order in which an unclean election asks them: `known` ones, others, those being added."""
    adding = state.adding_replicas
    settled = [broker_id for broker_id in state.replicas if broker_id not in adding]
    return list(dict.fromkeys((*known, *settled, *adding)))


def difference(
    key: PartitionKey, before: PartitionState, after: PartitionState, *, new_epoch: bool = False
) -> PartitionChangeRecord | None:
    """The record that makes `after` of `before`, epochs aside; None: nothing differs. `new_epoch`: in any case."""

    def if_new(old: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...] | None:
        return None if old == new else new

    record = PartitionChangeRecord(
        key.topic_id,
        key.partition,
        leader=after.leader if new_epoch or after.leader != before.leader else None,
        isr=if_new(before.isr, after.isr),
        replicas=if_new(before.replicas, after.replicas),
        adding_replicas=if_new(before.adding_replicas, after.adding_replicas),
        removing_replicas=if_new(before.removing_replicas, after.removing_replicas),
        recovering=None if before.recovering == after.recovering else after.recovering,
        eligible_replicas=if_new(before.eligible_replicas, after.eligible_replicas),
        last_known_elr=if_new(before.last_known_elr, after.last_known_elr),
        original_replicas=if_new(before.original_replicas, after.original_replicas),
    )
    return None if record == PartitionChangeRecord(key.topic_id, key.partition) else record
