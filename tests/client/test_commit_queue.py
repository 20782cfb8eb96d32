"""The order of commits, and what becomes of those that wait for partitions that are given up."""

from kraftpy.client.group.commit_queue import Commit, CommitQueue
from kraftpy.client.values import OffsetAndMetadata, TopicPartition
from kraftpy.errors import CommitFailedError, CoordinatorNotAvailableError, OffsetMetadataTooLargeError

A, B = TopicPartition("t", 0), TopicPartition("t", 1)
GONE, LATER = CommitFailedError("given up"), CoordinatorNotAvailableError("not now")


def commit(due_ms: int = 1_000, **offsets: int) -> Commit:
    places = {"a": A, "b": B}
    return Commit({places[name]: OffsetAndMetadata(offset) for name, offset in offsets.items()}, due_ms, None)


def numbers(sent: dict[TopicPartition, OffsetAndMetadata] | None) -> dict[TopicPartition, int]:
    assert sent is not None
    return {place: offset.offset for place, offset in sent.items()}


def test_what_gathers_goes_at_once_and_the_newest_word_counts() -> None:
    queue = CommitQueue()
    first, second, third = commit(a=1), commit(a=2, b=2), commit(a=3)
    queue.add(first)
    assert numbers(queue.begin()) == {A: 1}
    queue.add(second)
    queue.add(third)
    assert queue.begin() is None, "one request at a time"
    assert queue.succeeded({}) == [(first, None)]
    assert numbers(queue.begin()) == {A: 3, B: 2}
    refused = OffsetMetadataTooLargeError("too long")
    assert queue.succeeded({B: refused}) == [(second, refused), (third, None)]
    assert queue.is_empty


def test_what_is_repeated_does_not_overtake() -> None:
    queue = CommitQueue()
    late, patient = commit(due_ms=10, a=1), commit(b=1)
    queue.add(late)
    queue.add(patient)
    queue.begin()
    queue.add(commit(a=5, b=5))
    assert queue.failed(LATER, now_ms=20) == [(late, LATER)]
    assert numbers(queue.begin()) == {A: 5, B: 5}


def test_nothing_is_sent_for_a_partition_that_was_given_up() -> None:
    queue = CommitQueue()
    both, one = commit(a=1, b=1), commit(a=2)
    queue.add(both)
    queue.add(one)
    assert queue.give_up([A], GONE) == [(one, GONE)]
    assert numbers(queue.begin()) == {B: 1}
    assert queue.succeeded({}) == [(both, GONE)], "it was not all done"


def test_what_is_under_way_is_the_coordinators_to_judge_and_not_repeated() -> None:
    queue = CommitQueue()
    both, one = commit(a=1, b=1), commit(a=2)
    queue.add(both)
    queue.add(one)
    sent = queue.begin()
    assert queue.give_up([A], GONE) == []
    assert sent is not None and queue.given_up(sent) == {A: GONE}
    mine_again = commit(a=7)
    queue.add(mine_again)
    assert queue.failed(LATER, now_ms=0) == [(one, GONE)]
    assert numbers(queue.begin()) == {A: 7, B: 1}
    assert queue.given_up([A, B]) == {}
    assert queue.succeeded({}) == [(both, GONE), (mine_again, None)]


def test_an_answer_to_what_was_under_way_counts() -> None:
    queue = CommitQueue()
    one = commit(a=1)
    queue.add(one)
    queue.begin()
    queue.give_up([A], GONE)
    assert queue.succeeded({}) == [(one, None)]


def test_closing_gives_all_that_are_not_done() -> None:
    queue = CommitQueue()
    first, second = commit(a=1), commit(b=1)
    queue.add(first)
    queue.begin()
    queue.add(second)
    assert queue.close() == [first, second]
    assert queue.is_empty
