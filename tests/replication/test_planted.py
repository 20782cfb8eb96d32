"""The chaos must notice: each defence is taken out once, and some seed of a few has to fail.

A defence whose loss nobody notices is either not needed, or not tested.
"""

from collections.abc import Callable
from typing import Any

import pytest

from broker.replication import leader, partition
from broker.replication.fetch_types import FetchedPartition
from broker.replication.follower import Follower
from broker.replication.leader import Leadership
from broker.replication.partition import Partition
from tests.replication.chaos import play_chaos

Patch = pytest.MonkeyPatch
SEEDS = range(322, 338)


def count_appended_ends(patch: Patch) -> None:
    """The leader counts its own records before they are durable."""
    advanced = Leadership.advanced

    def careless(self: Leadership, watermark: int, own_end: int, *rest: Any) -> int:
        return advanced(self, watermark, 1 << 60, *rest)

    patch.setattr(Leadership, "advanced", careless)


def promise_before_the_flush(patch: Patch) -> None:
    """A follower asks from its log's end before that is on its disk."""
    patch.setattr(Partition, "is_durable", property(lambda self: True))


def cut_at_the_high_watermark(patch: Patch) -> None:
    """What KIP-101 is about: a new follower trusts its own, old watermark."""
    follow = Partition.follow

    def careless(self: Partition, state: Any) -> None:
        if state.leader_epoch > self.state.leader_epoch:
            self.log.truncate(self.high_watermark)
        follow(self, state)

    patch.setattr(Partition, "follow", careless)


def never_cut(patch: Patch) -> None:
    patch.setattr(partition, "diverging_end", lambda *arguments: None)


def wait_for_the_proposed_set_only(patch: Patch) -> None:
    """The high watermark moves by a smaller set that the controller may never have committed."""
    patch.setattr("broker.replication.isr.InSyncSet.maximal", property(lambda self: self.proposed or self.committed))


def join_behind_the_watermark(patch: Patch) -> None:
    patch.setattr(leader, "has_caught_up", lambda follower, watermark, epoch_start: follower.end_offset >= 0)


def wait_for_no_followers(patch: Patch) -> None:
    patch.setattr(Leadership, "_end_of", lambda self, member: 1 << 60)


def believe_positions_of_former_epochs(patch: Patch) -> None:
    """Positions outlive the epoch that they were told in."""
    last_ends: dict[tuple[int, int], int] = {}
    fetched = Follower.fetched
    start = Follower.__init__

    def remember(self: Follower, offset: int, *rest: Any) -> None:
        last_ends[self.replica_id, 0] = offset
        fetched(self, offset, *rest)

    def remembered(self: Follower, replica_id: int, now_ms: int, in_sync: bool) -> None:
        start(self, replica_id, now_ms, in_sync)
        self.end_offset = last_ends.get((replica_id, 0), -1)

    patch.setattr(Follower, "fetched", remember)
    patch.setattr(Follower, "__init__", remembered)


def show_what_is_not_committed(patch: Patch) -> None:
    """Consumers read up to the log's end."""
    read = Partition.read

    def careless(self: Partition, target: Any, is_follower: bool, *rest: Any) -> FetchedPartition:
        return read(self, target, True, *rest)

    patch.setattr(Partition, "read", careless)


PLANTED: list[Callable[[Patch], None]] = [
    count_appended_ends,
    promise_before_the_flush,
    cut_at_the_high_watermark,
    never_cut,
    wait_for_the_proposed_set_only,
    join_behind_the_watermark,
    wait_for_no_followers,
    believe_positions_of_former_epochs,
    show_what_is_not_committed,
]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_noticed(plant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    plant(monkeypatch)
    for seed in SEEDS:
        try:
            play_chaos(seed)
        except AssertionError:
            return
    pytest.fail(f"{plant.__name__} went unnoticed in {len(SEEDS)} seeds")
