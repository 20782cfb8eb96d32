"""A member's next step from what it has to what it is to have (KIP-848). Pure.

| it is | and | it becomes |
|---|---|---|
| STABLE | its epoch is the target's | – |
| any | it has what it is not to have | UNREVOKED_PARTITIONS, in its epoch, until it says that it gave them up |
| any | it is to have what others have | UNRELEASED_PARTITIONS, in the target's epoch, with all that is free already |
| any | neither | STABLE, in the target's epoch, with all of its target |

So nobody is given a partition before the one who had it has said that it stopped, or is no member any more.
"""

from broker.coordinator.groups.consumer_group import ConsumerGroup, gathered, places
from broker.coordinator.groups.consumer_records import NO_PARTITIONS, CurrentAssignment, MemberState, Partitions


def next_assignment(
    group: ConsumerGroup, member_id: str, target: Partitions, owned: Partitions | None
) -> CurrentAssignment:
    """`target` is that of `group.target_epoch`. `owned`: what the member says that it has; None: it did not say."""
    current = group.current(member_id)
    if current.is_reconciled_to(group.target_epoch):
        return current
    if current.state is MemberState.UNREVOKED_PARTITIONS:
        if _owns_any(owned, current.revoking):
            return current
        # It goes on from the epoch after its own: the revocation that was asked of it in its own is done.
        return _step(group, member_id, current, current.epoch + 1, target, owned)
    return _step(group, member_id, current, current.epoch, target, owned)


def _step(
    group: ConsumerGroup,
    member_id: str,
    current: CurrentAssignment,
    epoch: int,
    target: Partitions,
    owned: Partitions | None,
) -> CurrentAssignment:
    wanted = frozenset(places(target))
    had = frozenset(places(current.assigned))
    kept = [place for place in places(current.assigned) if place in wanted]
    revoking = gathered(place for place in places(current.assigned) if place not in wanted)
    if revoking and _owns_any(owned, revoking):
        return CurrentAssignment(epoch, current.epoch, MemberState.UNREVOKED_PARTITIONS, gathered(kept), revoking)
    missing = [place for place in places(target) if place not in had]
    free = [place for place in missing if group.owner_of(place) in (None, member_id)]
    state = MemberState.STABLE if len(free) == len(missing) else MemberState.UNRELEASED_PARTITIONS
    return CurrentAssignment(group.target_epoch, current.epoch, state, gathered([*kept, *free]), NO_PARTITIONS)


def _owns_any(owned: Partitions | None, partitions: Partitions) -> bool:
    """A member that does not say what it has, has it still."""
    if owned is None:
        return True
    having = frozenset(places(owned))
    return any(place in having for place in places(partitions))
