"""Where two logs part, by leader epochs (KIP-101, KIP-279, KIP-320; told within the fetch: KIP-595).

A record is identified by (offset, leader epoch), and one epoch has one leader. So a follower tells with its fetch the
epoch of the last record that it has; the leader answers where that epoch, or the next lower one that it knows, ends in
its own log; the follower cuts at the lower of the two logs' ends of it and fetches again. With interleaved epochs that
takes several rounds, each at least one epoch lower. The high watermark has no say in it: a follower's is always old.

Worked example (KIP-279). Leader: epoch 0 → [0, 10), epoch 2 → [10, 12). Follower: epoch 0 → [0, 10), epoch 1 →
[10, 15). It fetches from 15 with epoch 1. The leader knows no epoch 1; the next lower is 0 and ends at 10: diverging
(0, 10). The follower's own end of epoch 0 is 10 too: it cuts at 10 and goes on with epoch 2.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

UNDEFINED_EPOCH = -1


class EpochEnd(NamedTuple):
    """Where an epoch ends in a log: the start of the next one, or the log's end."""

    epoch: int
    end_offset: int


def epoch_end(starts: Sequence[tuple[int, int]], log_end_offset: int, epoch: int) -> EpochEnd:
    """Where the highest epoch that is not above `epoch` ends in a log.

    `starts` holds (epoch, start offset) of each epoch that has records, both ascending. An epoch before all of them
    ends where the first one starts, and any epoch ends at the end of a log without records, under its own name:
    nothing that stands here can belong to it.
    """
    above = bisect_right(starts, epoch, key=itemgetter(0))
    end_offset = starts[above][1] if above < len(starts) else log_end_offset
    return EpochEnd(starts[above - 1][0] if above else epoch, end_offset)


def led_starts(
    starts: Sequence[tuple[int, int]], leader_epoch: int, epoch_start_offset: int
) -> Sequence[tuple[int, int]]:
    """The leader's `starts` with its own epoch, which begins with its leadership and not with its first record.

    Consumers know it from ListOffsets. Followers do not: they name epochs of records.
    """
    if starts and starts[-1][0] >= leader_epoch:
        return starts
    before = bisect_left(starts, epoch_start_offset, key=itemgetter(1))
    return (*starts[:before], (leader_epoch, epoch_start_offset))


def diverging_end(
    starts: Sequence[tuple[int, int]], log_end_offset: int, last_fetched_epoch: int, fetch_offset: int
) -> EpochEnd | None:
    """On the leader: where a reader that has `last_fetched_epoch` below `fetch_offset` must cut; None: logs agree."""
    if last_fetched_epoch == UNDEFINED_EPOCH:
        return None
    end = epoch_end(starts, log_end_offset, last_fetched_epoch)
    return end if end.epoch < last_fetched_epoch or end.end_offset < fetch_offset else None


def truncation_offset(starts: Sequence[tuple[int, int]], log_end_offset: int, leader: EpochEnd) -> int:
    """On the follower: the end that its log must be cut to, after the leader answered with `leader`.

    Never above `log_end_offset`. The next fetch shows whether the logs agree there, or diverge further down.
    """
    own = epoch_end(starts, log_end_offset, leader.epoch)
    if own.epoch != leader.epoch:
        # The leader's epoch is unknown here, so nothing past the next lower one can agree with it.
        return min(own.end_offset, log_end_offset)
    return min(own.end_offset, leader.end_offset, log_end_offset)
