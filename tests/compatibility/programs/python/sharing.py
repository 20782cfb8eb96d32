"""What members of a group have to do, written once for all Python clients."""

from collections.abc import Callable, Sequence
from typing import Protocol

from tests.compatibility.programs.python.telling import check, check_equal, poll_until

PARTITIONS = {0, 1, 2}


class Member(Protocol):
    """A consumer in a group; polled in turn with the others, by one thread."""

    assignments: int
    """How often it was told its partitions."""

    def poll(self) -> Sequence[bytes]:
        """Values that have come, after a quarter of a second at most."""

    def partitions(self) -> set[int]:
        """What it is assigned now."""

    def commit(self) -> None:
        """Commit what it has polled, and wait for the answer."""

    def close(self) -> None: ...


def share(make: Callable[[], Member], produce: Callable[[Sequence[bytes]], None]) -> str:
    """Two members share the partitions; one leaves, the other takes over. The note tells of repeats."""
    first, second = make(), make()
    try:
        read: list[bytes] = []
        poll_until(lambda: _both_have_theirs(first, second, read), lambda: _who_has_what(first, second))
        early = [b"early-%03d" % number for number in range(90)]
        produce(early)
        poll_until(
            lambda: _poll(first, second, read) and set(read) >= set(early), lambda: f"{len(set(read))} of 90 read"
        )
        first.commit()
        second.commit()
    finally:
        second.close()
    try:
        after: list[bytes] = []
        poll_until(
            lambda: _poll_one(first, after) and first.partitions() == PARTITIONS, "the one that stays takes over"
        )
        late = [b"late-%03d" % number for number in range(30)]
        produce(late)
        poll_until(lambda: _poll_one(first, after) and set(after) >= set(late), lambda: f"{len(set(after))} of 30 read")
        check(not set(after) & set(early), "what was committed was read again")
    finally:
        first.close()
    repeats = len(read) + len(after) - 120
    return f"{repeats} repeated" if repeats else ""


def return_as_static(make: Callable[[str], Member]) -> str:
    """A static member closes and comes back: same partitions, and the other one notices nothing."""
    first, second = make("instance-1"), make("instance-2")
    try:
        poll_until(lambda: _both_have_theirs(first, second, []), lambda: _who_has_what(first, second))
        had, others, disturbances = first.partitions(), second.partitions(), second.assignments
        first.close()
        first = make("instance-1")
        poll_until(lambda: _poll(first, second, []) and bool(first.partitions()), "the member comes back")
        check_equal(first.partitions(), had, "its partitions")
        check_equal(second.partitions(), others, "the other one's partitions")
        check_equal(second.assignments, disturbances, "rebalances of the other one")
    finally:
        first.close()
        second.close()
    return ""


def _both_have_theirs(first: Member, second: Member, read: list[bytes]) -> bool:
    _poll(first, second, read)
    mine, yours = first.partitions(), second.partitions()
    return bool(mine) and bool(yours) and not mine & yours and mine | yours == PARTITIONS


def _who_has_what(first: Member, second: Member) -> str:
    return f"the members have {first.partitions()} and {second.partitions()}"


def _poll(first: Member, second: Member, read: list[bytes]) -> bool:
    return _poll_one(first, read) and _poll_one(second, read)


def _poll_one(member: Member, read: list[bytes]) -> bool:
    read.extend(member.poll())
    return True
