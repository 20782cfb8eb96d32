"""Who leads a partition next: pure functions of its state and of who is there.

| what happened                              | leader                             | ISR                              |
|--------------------------------------------|------------------------------------|----------------------------------|
| an ISR member that follows went away       | stays, no new epoch                | without it                       |
| the leader went away, another in-sync live | first live ISR member by order     | without the old leader           |
| … none of the ISR is live, an eligible is  | first live one of the ELR by order | it alone                         |
| the last ISR member went away              | none, or an unclean one            | empty; it is eligible            |
| … and its disk is another one              | none, or an unclean one            | empty; it is not                 |
| a broker came, the partition had no leader | first live of the ISR, of the ELR  | stays; or the one of the ELR     |
| unclean election (only where allowed)      | first live of `last_known_elr`,    | it alone; `recovering` is set    |
|                                            | else first live replica by order,  |                                  |
|                                            | one that is being added last       |                                  |

Order is that of the replicas, the preferred leader first. Only the ISR and the ELR (`eligible`) have everything that
was acknowledged, so only an unclean election can lose records. "Live" is registered, not fenced and not shutting down.

Without the feature `eligible.leader.replicas.version` there is no ELR, and the last member stays in the ISR for it.

An election inside a reassignment can be what completes it: then the two are one change.

A partition with a single replica waits for nobody else: that one leads again whatever it has, and as uncleanly as it
does where it may lack something. With its disk gone it does not, nor where a move of it was cancelled meanwhile: then
somebody must say so.
"""

from dataclasses import dataclass, replace

from broker.controller.eligible import IsLive, Loss, Rules, first_live, last_known, unclean_order
from broker.controller.reassignment import changed, completed
from broker.metadata.records import NO_LEADER, PartitionChangeRecord
from broker.metadata.state import PartitionKey, PartitionState

NO_RULES = Rules()


@dataclass(frozen=True, slots=True)
class Election:
    """A change of one partition, and what it means."""

    record: PartitionChangeRecord
    moved: bool = False  # another leader than before
    orphaned: bool = False  # no leader any more
    unclean: bool = False


def resettle(
    key: PartitionKey,
    state: PartitionState,
    is_live: IsLive,
    rules: Rules = NO_RULES,
    *,
    without: int | None = None,
    loss: Loss = Loss.NOTHING,
) -> Election | None:
    """What follows when `without` goes away (None: when someone came); None if nothing changes.

    `loss`: what `without` no longer has. It does not stay as the last member, nor eligible, without everything.
    """

    def is_there(broker_id: int) -> bool:
        return broker_id != without and is_live(broker_id)

    after = _without(state, without, rules, loss)
    after = _led_from_inside(state, after, is_there, rules, without if loss is not Loss.NOTHING else None)
    after = replace(after, last_known_elr=last_known(state, after, without, loss, rules))
    if not after.has_leader and (rules.unclean or _is_alone(after)):
        unclean = elect_uncleanly(key, after, is_there, since=state)
        if unclean is not None:
            return unclean
    after = completed(after, is_there, rules) or after
    record = changed(key, state, after)
    if record is None:
        return None
    return Election(
        record,
        moved=after.leader not in (state.leader, NO_LEADER),
        orphaned=not after.has_leader and state.has_leader,
    )


def elect_uncleanly(
    key: PartitionKey, state: PartitionState, is_live: IsLive, since: PartitionState | None = None
) -> Election | None:
    """Let a live replica lead whatever it has, for a partition of whose ISR and ELR nobody is live; None: nobody is.

    Whoever is live there leads cleanly, so this is not for partitions that have one. `since` is the state that the
    record changes, where `state` is not committed yet.
    """
    candidates = [broker_id for broker_id in unclean_order(state, state.last_known_elr) if is_live(broker_id)]
    if not candidates:
        return None
    leader = candidates[0]
    after = replace(state, leader=leader, isr=(leader,), recovering=True, eligible_replicas=(), last_known_elr=())
    after = completed(after, is_live, NO_RULES) or after
    record = changed(key, since or state, after, new_epoch=True)
    assert record is not None
    return Election(record, moved=True, unclean=True)


def elect_preferred(key: PartitionKey, state: PartitionState, is_live: IsLive) -> Election | None:
    """Let the preferred leader lead; None if it does already, or cannot because it is not live or not in the ISR."""
    preferred = state.preferred_leader
    if preferred == state.leader or preferred not in state.isr or not is_live(preferred):
        return None
    return Election(PartitionChangeRecord(key.topic_id, key.partition, leader=preferred), moved=True)


def _without(state: PartitionState, without: int | None, rules: Rules, loss: Loss) -> PartitionState:
    isr = tuple(broker_id for broker_id in state.isr if broker_id != without)
    if not isr and not rules.elr and loss is not Loss.ALL:
        isr = state.isr
    after = replace(state, isr=isr)
    return replace(after, eligible_replicas=rules.eligible(state, after, None if loss is Loss.NOTHING else without))


def _led_from_inside(
    state: PartitionState, after: PartitionState, is_live: IsLive, rules: Rules, lost: int | None
) -> PartitionState:
    """With the present leader if it may stay, else with a live member of the ISR, else with one of the ELR."""
    if after.leader in after.isr and is_live(after.leader):
        return after
    leader = first_live(after.isr, after, is_live)
    if leader == NO_LEADER:
        leader = first_live(after.eligible_replicas, after, is_live)
        if leader != NO_LEADER:
            after = replace(after, isr=(leader,))
            after = replace(after, eligible_replicas=rules.eligible(state, after, lost))
    return replace(after, leader=leader)


def _is_alone(state: PartitionState) -> bool:
    """Its only replica may lack something, and nobody else ever had it."""
    has_nobody = not state.isr and not state.eligible_replicas
    return has_nobody and len(state.replicas) == 1 and state.last_known_elr == state.replicas
