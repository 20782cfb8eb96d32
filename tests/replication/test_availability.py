"""What the controller hears of replicas that cannot be served, and in which order."""

from uuid import UUID

from broker.metadata.state import PartitionKey, Standing
from broker.replication.availability import REPLICAS_PER_REPORT_MAX, Availability

ONLINE, OFFLINE, LOST, DAMAGED = Standing


def key(partition: int) -> PartitionKey:
    return PartitionKey(UUID(int=1), partition)


def noted(*steps: tuple[int, Standing]) -> Availability:
    availability = Availability()
    for partition, standing in steps:
        availability.note(key(partition), standing)
    return availability


def test_only_changes_are_told() -> None:
    assert noted((0, ONLINE)).pending() == {}, "everything is, unless somebody says otherwise"
    assert noted((0, OFFLINE), (0, OFFLINE)).pending() == {key(0): OFFLINE}
    assert noted((0, OFFLINE), (0, ONLINE)).pending() == {key(0): ONLINE}, "the report of before may be under way"
    assert noted((0, LOST), (0, LOST)).pending() == {key(0): LOST}
    assert noted((0, LOST), (0, ONLINE)).pending() == {}, "it is made anew only where the controller knows"


def test_what_was_noted_while_a_report_was_under_way_is_told_next() -> None:
    availability = noted((0, OFFLINE), (1, OFFLINE))
    sent = availability.pending()
    availability.note(key(0), ONLINE)
    availability.told(sent)
    assert availability.pending() == {key(0): ONLINE}
    availability.told(availability.pending())
    assert availability.pending() == {}
    assert availability.is_offline(key(1)) and not availability.is_offline(key(0))


def test_a_replica_that_leaves_takes_its_mark_with_it() -> None:
    availability = noted((0, OFFLINE), (1, LOST), (2, OFFLINE))
    availability.told({key(2): OFFLINE})
    for partition in range(3):
        availability.forget(key(partition))
    assert availability.pending() == {key(0): ONLINE, key(2): ONLINE}


def test_news_are_told_of_at_once_and_in_bounded_reports() -> None:
    availability = Availability()
    heard: list[int] = []
    availability.on_news = lambda: heard.append(len(availability.pending()))
    for partition in range(REPLICAS_PER_REPORT_MAX + 1):
        availability.note(key(partition), OFFLINE)
    assert heard[0] == 1 and len(heard) == REPLICAS_PER_REPORT_MAX + 1
    assert len(availability.pending()) == REPLICAS_PER_REPORT_MAX
    availability.told(availability.pending())
    assert list(availability.pending()) == [key(REPLICAS_PER_REPORT_MAX)]


def test_that_a_replica_is_damaged_may_be_told_again_and_that_it_is_back_once() -> None:
    availability = Availability()
    for _ in range(2):
        availability.note(key(0), DAMAGED)
        assert availability.pending() == {key(0): DAMAGED}
        availability.told({key(0): DAMAGED})
    availability.note(key(0), OFFLINE)
    assert availability.pending() == {key(0): OFFLINE}, "its directory failed, too"
    availability.told({key(0): OFFLINE})
    availability.note(key(0), DAMAGED)
    availability.note(key(0), ONLINE)
    assert availability.pending() == {key(0): ONLINE}
    availability.told({key(0): ONLINE})
    availability.note(key(0), ONLINE)
    assert availability.pending() == {}
