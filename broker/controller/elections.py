"""Who leads a partition next: pure functions of its state and of who is there.

| what happened                              | leader                          | ISR                               |
|--------------------------------------------|---------------------------------|-----------------------------------|
| an ISR member that follows went away       | stays, no new epoch             | without it                        |
| the leader went away, another in-sync live | first live ISR member by order  | without the old leader            |
| the last ISR member went away              | none, or an unclean one         | stays: it alone has everything    |
| … and its disk is another one              | none, or an unclean one         | empty; `last_known_elr` names it  |
| a broker came, the partition had no leader | first live ISR member by order  | stays                             |
| unclean election (only where allowed)      | first live replica by order     | it alone; `recovering` is set     |

Order is that of the replicas, the preferred leader first. Only members of the ISR have everything that was
acknowledged, so only an unclean election can lose records. "Live" is registered, not fenced and not shutting down.
"""

from collections.abc import Callable
from dataclasses import dataclass

from broker.controller.partition_index import PartitionKey
from broker.metadata.records import NO_LEADER, PartitionChangeRecord
from broker.metadata.state import PartitionState

IsLive = Callable[[int], bool]


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
    *,
    without: int | None = None,
    disk_lost: bool = False,
    unclean_allowed: Callable[[], bool] = lambda: False,
) -> Election | None:
    """What follows when `without` goes away (None: when someone came); None if nothing changes.

    `disk_lost`: `without` no longer has what it held, so it does not even stay as the last member.
    """
    isr = tuple(broker_id for broker_id in state.isr if broker_id != without)
    if not isr and not disk_lost:
        isr = state.isr
    leader = _leader_inside(state, isr, lambda broker_id: broker_id != without and is_live(broker_id))
    if leader == NO_LEADER and unclean_allowed():
        unclean = elect_uncleanly(key, state, lambda broker_id: broker_id != without and is_live(broker_id))
        if unclean is not None:
            return unclean
    if leader == state.leader and isr == state.isr:
        return None
    record = PartitionChangeRecord(
        key.topic_id,
        key.partition,
        leader=None if leader == state.leader else leader,
        isr=None if isr == state.isr else isr,
        last_known_elr=state.isr if not isr and state.isr else None,
    )
    return Election(
        record,
        moved=leader not in (state.leader, NO_LEADER),
        orphaned=leader == NO_LEADER and state.leader != NO_LEADER,
    )


def elect_uncleanly(key: PartitionKey, state: PartitionState, is_live: IsLive) -> Election | None:
    """Let the first live replica lead whatever it has, for a partition of whose ISR nobody is live; None: nobody is.

    An ISR member that is live leads cleanly, so this is not for partitions that have one. A replica in `last_known_elr`
    has lost its disk, and leads only if no other can.
    """
    live = [broker_id for broker_id in state.replicas if is_live(broker_id)]
    if not live:
        return None
    leader = next((broker_id for broker_id in live if broker_id not in state.last_known_elr), live[0])
    record = PartitionChangeRecord(
        key.topic_id,
        key.partition,
        leader=leader,
        isr=None if state.isr == (leader,) else (leader,),
        recovering=True,
        last_known_elr=() if state.last_known_elr else None,
    )
    return Election(record, moved=True, unclean=True)


def elect_preferred(key: PartitionKey, state: PartitionState, is_live: IsLive) -> Election | None:
    """Let the preferred leader lead; None if it does already, or cannot because it is not live or not in the ISR."""
    preferred = state.preferred_leader
    if preferred == state.leader or preferred not in state.isr or not is_live(preferred):
        return None
    return Election(PartitionChangeRecord(key.topic_id, key.partition, leader=preferred), moved=True)


def _leader_inside(state: PartitionState, isr: tuple[int, ...], is_live: IsLive) -> int:
    """The present leader if it may stay, else the first live member of `isr` by the order of replicas."""
    if state.leader in isr and is_live(state.leader):
        return state.leader
    return next((broker_id for broker_id in state.replicas if broker_id in isr and is_live(broker_id)), NO_LEADER)
