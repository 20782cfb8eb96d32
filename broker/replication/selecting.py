"""Which replica a consumer had better read from: one in its own rack (KIP-392). Pure."""

from collections.abc import Callable

from broker.replication.leader import Leadership

RackOf = Callable[[int], str | None]
"""The rack of a broker in service; None where it has none, or is out of service."""


def nearer_replica(leadership: Leadership, offset: int, rack: str, rack_of: RackOf) -> int | None:
    """The follower that a consumer in `rack` had better ask for `offset`; None: the leader serves it.

    Only members of the in-sync set that hold `offset`, as the leader knows them from their fetches; of several in the
    rack the one that has most. A leader in the rack serves for itself.
    """
    if not rack or rack_of(leadership.leader_id) == rack:
        return None
    candidates = [
        follower
        for replica_id in leadership.in_sync.committed
        if (follower := leadership.followers.get(replica_id)) is not None
        and follower.log_start_offset <= offset <= follower.end_offset
        and rack_of(replica_id) == rack
    ]
    if not candidates:
        return None
    return max(candidates, key=lambda each: (each.end_offset, -each.replica_id)).replica_id
