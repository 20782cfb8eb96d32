"""The high watermark: the end of what no failover can take back.

Invariants
- It counts only what is durable: an end here is a *flushed* end, the leader's own too.
- It is the least end of the *maximal* in-sync set (KIP-497): the set that the controller committed, together with the
  one that is proposed and not yet answered, because either may be the set that the next leader comes from.
- It never goes back in one leader's epoch.
- It rests while the in-sync set is smaller than min.insync.replicas (KIP-966): otherwise one replica alone could
  commit records, lose them with its page cache, and be elected as though it had everything.

Pure functions over plain numbers; who asks, and when, is `partition`'s business.
"""

from collections.abc import Iterable

UNKNOWN_OFFSET = -1
"""The end of a follower that has not fetched in this epoch: nothing may be committed past it."""


def advanced_watermark(current: int, durable_ends: Iterable[int]) -> int:
    """The high watermark after looking at `durable_ends`, one exclusive end for each replica it must wait for.

    `durable_ends` holds the leader's at least. The answer is `current` or higher.
    """
    return max(current, min(durable_ends))


def follower_watermark(leader_watermark: int, own_end_offset: int) -> int:
    """What a follower may believe: the leader's high watermark, but never past its own log.

    It may be lower than what the follower believed before: it truncated, or the new leader starts from an older one.
    """
    return max(0, min(leader_watermark, own_end_offset))


def effective_min_isr(min_insync_replicas: int, replica_count: int) -> int:
    """min.insync.replicas, as far as the partition has that many replicas at all (as Kafka bounds it)."""
    return min(min_insync_replicas, replica_count)
