"""Leader epochs: where each starts (KIP-101)."""

import pytest

from log_store.leader_epochs import EpochStart, LeaderEpochs


def epochs(*entries: tuple[int, int]) -> LeaderEpochs:
    return LeaderEpochs(EpochStart(*entry) for entry in entries)


def test_without_epochs_nothing_is_known() -> None:
    assert epochs().latest_epoch == -1
    assert epochs().epoch_at(7) == -1


def test_an_epoch_is_assigned_once() -> None:
    starts = epochs((1, 0))
    starts.assign(2, 5)
    starts.assign(2, 9)
    assert starts.entries == ((1, 0), (2, 5))
    assert starts.latest_epoch == 2


def test_an_epoch_without_records_is_dropped_by_the_next() -> None:
    starts = epochs((1, 0), (2, 5))
    starts.assign(3, 5)
    assert starts.entries == ((1, 0), (3, 5))


def test_an_epoch_that_goes_back_is_refused() -> None:
    with pytest.raises(ValueError, match="goes back"):
        epochs((4, 0)).assign(3, 5)


@pytest.mark.parametrize(
    ("end_offset", "left"),
    [(40, ((1, 10), (3, 20), (5, 30))), (30, ((1, 10), (3, 20))), (25, ((1, 10), (3, 20))), (10, ()), (0, ())],
)
def test_truncating_the_end(end_offset: int, left: tuple[tuple[int, int], ...]) -> None:
    starts = epochs((1, 10), (3, 20), (5, 30))
    starts.truncate_from(end_offset)
    assert starts.entries == left
    assert starts.latest_epoch == (left[-1][0] if left else -1)


@pytest.mark.parametrize(
    ("start_offset", "left"),
    [
        (5, ((1, 10), (3, 20), (5, 30))),
        (10, ((1, 10), (3, 20), (5, 30))),
        (15, ((1, 15), (3, 20), (5, 30))),
        (20, ((3, 20), (5, 30))),
        (99, ((5, 99),)),
    ],
)
def test_truncating_the_start(start_offset: int, left: tuple[tuple[int, int], ...]) -> None:
    starts = epochs((1, 10), (3, 20), (5, 30))
    starts.truncate_to(start_offset)
    assert starts.entries == left


def test_every_change_is_counted_and_nothing_else() -> None:
    starts = epochs((1, 10))
    starts.assign(1, 10)
    starts.truncate_from(20)
    starts.truncate_to(10)
    assert starts.changes == 0
    starts.assign(2, 20)
    starts.truncate_to(12)
    starts.truncate_from(20)
    starts.clear()
    assert starts.changes == 4


@pytest.mark.parametrize(("offset", "epoch"), [(9, -1), (10, 1), (19, 1), (20, 3), (99, 3)])
def test_the_epoch_of_an_offset(offset: int, epoch: int) -> None:
    assert epochs((1, 10), (3, 20)).epoch_at(offset) == epoch
