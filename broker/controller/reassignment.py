"""How replicas move from brokers to others (KIP-455): pure functions of one partition's state.

    replicas (1, 2, 3)
    → target (4, 2, 3):  replicas (4, 2, 3, 1), adding (4), removing (1), original (1, 2, 3)
    → 4 is in sync:      replicas (4, 2, 3)                                    complete
    or cancelled:        replicas (1, 2, 3)                                    exactly as before

A replica that is being added copies from the leader outside the ISR, and joins it as any other does. The move is
complete once every target replica is in sync: then, in the same change, the ISR is cut to them, and if the leader is
not among them another one leads. A replica that goes makes a new leader epoch, so that nobody listens to it any more.

Invariants: until it is complete, nobody who was a replica before goes, and what min.insync.replicas asks for is
counted without the ones that are being added; so a move never makes a partition refuse records. A cancellation or
another target lets those go that were being added and are not wanted any more: it is refused where that would leave
fewer in sync than min.insync.replicas.
"""

from collections.abc import Sequence
from dataclasses import replace

from broker.controller.eligible import IsLive, Rules, difference, first_live
from broker.metadata.records import NO_LEADER, PartitionChangeRecord
from broker.metadata.state import PartitionKey, PartitionState
from kraftpy.errors import InvalidReplicaAssignmentError, NoReassignmentInProgressError


def reassign(
    key: PartitionKey, state: PartitionState, target: Sequence[int], is_live: IsLive, rules: Rules
) -> PartitionChangeRecord | None:
    """Begin to move to `target` (the preferred leader first); None: the replicas are these already.

    It replaces a move that is under way. Raises `InvalidReplicaAssignmentError` where that would leave too few in sync.
    """
    original = state.original_replicas or state.replicas
    adding = tuple(broker_id for broker_id in target if broker_id not in original)
    removing = tuple(broker_id for broker_id in original if broker_id not in target)
    moves = bool(adding or removing)
    after = replace(
        state,
        replicas=(*target, *removing),
        adding_replicas=adding,
        removing_replicas=removing,
        original_replicas=original if moves else (),
    )
    after = _without_dropped(state, after, is_live, rules)
    return changed(key, state, completed(after, is_live, rules) or after)


def cancel(key: PartitionKey, state: PartitionState, is_live: IsLive, rules: Rules) -> PartitionChangeRecord | None:
    """Back to what was before.

    Raises `NoReassignmentInProgressError`; `InvalidReplicaAssignmentError` where too few of those are in sync.
    """
    if not state.is_reassigning:
        raise NoReassignmentInProgressError(
            "no reassignment of this partition is under way: there is nothing to cancel"
        )
    return reassign(key, state, state.original_replicas, is_live, rules)


def completed(state: PartitionState, is_live: IsLive, rules: Rules) -> PartitionState | None:
    """The state at the end of the move, if everything that it waits for is there; None: not yet, or nothing moves.

    Its epochs are still those of `state`.
    """
    target = state.target_replicas
    if not state.is_reassigning or any(broker_id not in state.isr for broker_id in target):
        return None
    after = replace(
        state,
        replicas=target,
        isr=tuple(broker_id for broker_id in state.isr if broker_id in target),
        adding_replicas=(),
        removing_replicas=(),
        original_replicas=(),
        last_known_elr=tuple(broker_id for broker_id in state.last_known_elr if broker_id in target),
    )
    after = replace(after, eligible_replicas=rules.eligible(state, after))
    return _with_leader(after, is_live)


def changed(
    key: PartitionKey, before: PartitionState, after: PartitionState, *, new_epoch: bool = False
) -> PartitionChangeRecord | None:
    """The record from `before` to `after`; a replica that goes makes a new leader epoch."""
    goes = any(broker_id not in after.replicas for broker_id in before.replicas)
    return difference(key, before, after, new_epoch=new_epoch or goes)


def _without_dropped(state: PartitionState, after: PartitionState, is_live: IsLive, rules: Rules) -> PartitionState:
    """Without those that were being added, and are not wanted any more."""
    isr = tuple(broker_id for broker_id in state.isr if broker_id in after.replicas)
    enough = min(rules.enough(after.replication_factor), len(state.isr))
    if len(isr) < enough:
        raise InvalidReplicaAssignmentError(
            f"of the replicas {list(after.replicas)} only {list(isr)} are in sync, and {enough} must be: without the "
            "ones that were being added acks=all would be refused, or records lost. Start the brokers that are "
            "missing, or let the move finish"
        )
    known = tuple(broker_id for broker_id in state.last_known_elr if broker_id in after.replicas)
    if len(after.replicas) == 1 < len(state.replicas):
        known = ()  # a place among others does not tell that it has anything: it waits for a word from the operator
    after = replace(after, isr=isr, last_known_elr=known)
    after = replace(after, eligible_replicas=rules.eligible(state, after))
    if (state.isr or state.eligible_replicas) and not (after.isr or after.eligible_replicas):
        raise InvalidReplicaAssignmentError(
            f"none of the replicas {list(after.replicas)} has everything that is committed, only "
            f"{list(state.isr or state.eligible_replicas)}: records would be lost. Start these brokers, and let the "
            "move finish"
        )
    return _with_leader(after, is_live)


def _with_leader(after: PartitionState, is_live: IsLive) -> PartitionState:
    if after.leader in after.isr or after.leader == NO_LEADER:
        return after
    return replace(after, leader=first_live(after.isr, after, is_live))
