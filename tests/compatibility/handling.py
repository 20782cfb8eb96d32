"""What the members of a group have handled, and whether each repetition is one that a kill explains. Pure.

Who commits what it has handled repeats, after a kill -9, what was handled and not confirmed as committed yet, and
nothing else: the last batch of a member that commits after each, or, with automatic commits, what it handled since the
last confirmed one. A commit that is refused in the midst of a rebalance leaves behind what it held; that may come
again, too, unless a later commit of the same member holds it. So may what a member had not committed when its group
had done without it for so long that its partitions were given away. Each of these explains one repetition of a record;
what comes twice beyond that came twice without a reason.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

Place = tuple[int, int]
"""Partition and offset."""

UNKNOWN_OFFSET = -1
"""Of a record that is acknowledged because a later one of its producer's sequence is ("implicitly acked")."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a member handled at once, before it committed."""

    time_ms: float
    records: tuple[tuple[Place, str], ...]
    """Places and values."""


class Diary:
    """A member's; grows by its lines."""

    def __init__(self, *, killed_ms: float | None = None) -> None:
        self.killed_ms = killed_ms
        self.batches: list[Batch] = []
        self.refused = 0
        """Commits, in the midst of a rebalance."""

        self.errors: list[str] = []
        """What reached the application."""

        self.notes: list[str] = []
        """What the client told while it recovered by itself."""

        self._uncommitted: set[Place] = set()
        self._left: set[Place] = set()  # by a commit that was refused, and not committed since
        self._came_again: Counter[Place] = Counter()  # to this member, after it had left it

    def read(self, line: str) -> None:
        """A line as `programs/python/member.py` writes it."""
        kind, time_ms, *fields = line.split("\t")
        match kind:
            case "batch":
                self._handled(Batch(float(time_ms), tuple(map(_record, fields[0].split(" ")))))
            case "committed":
                self._committed(dict(map(_position, fields[0].split(" "))))
            case "refused":
                self.refused += 1
                self._leave({int(partition) for partition in fields[1].split(" ")})
            case "revoked":
                self._leave({int(partition) for partition in fields[0].split(" ")})
            case "lost":
                self.errors.append(": ".join(fields))
            case "note":
                self.notes.append(": ".join(fields))
            case _:
                raise ValueError(f"no line of a diary: {line!r}")

    @property
    def tail(self) -> Counter[Place]:
        """How many more times each record may come, to whomever, for what this member handled and did not commit."""
        tail = Counter(self._left) + self._came_again
        if self.killed_ms is not None:
            tail.update(self._uncommitted)
        return tail

    def _handled(self, batch: Batch) -> None:
        self.batches.append(batch)
        places = {place for place, _ in batch.records}
        self._came_again.update(places & self._left)
        self._left -= places
        self._uncommitted |= places

    def _committed(self, positions: Mapping[int, int]) -> None:
        for places in (self._uncommitted, self._left):
            places -= {place for place in places if place[1] < positions.get(place[0], 0)}

    def _leave(self, partitions: Collection[int]) -> None:
        left = {place for place in self._uncommitted if place[0] in partitions}
        self._uncommitted -= left
        self._left |= left


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of one group."""

    handled: int
    """Records, repetitions included."""

    lost: int
    """Acknowledged to the producer, and handled by nobody."""

    doubled: int
    """Values that lie at more than one place: the producer's repetitions."""

    kills: int
    refused: int
    """Commits, in the midst of rebalances."""

    repeated: int
    bound: int
    """So many may be repeated: what members had handled and not committed, when they were killed or refused."""

    unexplained: int
    """Repetitions of records that are in nobody's tail."""

    errors: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        return not (self.lost or self.doubled or self.unexplained or self.errors) and self.repeated <= self.bound


def judge(diaries: Sequence[Diary], acknowledged: Mapping[str, Place]) -> Judgement:
    """The diaries of all members of one group, and what its producer knows of."""
    batches = sorted((batch for diary in diaries for batch in diary.batches), key=lambda batch: batch.time_ms)
    counts = Counter(place for batch in batches for place, _ in batch.records)
    places: dict[str, set[Place]] = {}
    for batch in batches:
        for place, value in batch.records:
            places.setdefault(value, set()).add(place)
    tails: Counter[Place] = Counter()
    for diary in diaries:
        tails.update(diary.tail)
    repeated = {place: count - 1 for place, count in counts.items() if count > 1}
    return Judgement(
        handled=counts.total(),
        lost=sum(not _is_among(place, places.get(value, ())) for value, place in acknowledged.items()),
        doubled=sum(len(found) > 1 for found in places.values()),
        kills=sum(diary.killed_ms is not None for diary in diaries),
        refused=sum(diary.refused for diary in diaries),
        repeated=sum(repeated.values()),
        bound=tails.total(),
        unexplained=sum(max(0, times - tails[place]) for place, times in repeated.items()),
        errors=tuple(error for diary in diaries for error in diary.errors),
    )


def _is_among(place: Place, found: Collection[Place]) -> bool:
    partition, offset = place
    return place in found or (offset == UNKNOWN_OFFSET and any(each == partition for each, _ in found))


def _record(text: str) -> tuple[Place, str]:
    partition, offset, value = text.split(":", 2)
    return (int(partition), int(offset)), value


def _position(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition(":")
    return int(partition), int(offset)
