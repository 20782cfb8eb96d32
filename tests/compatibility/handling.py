"""What the members of a group have handled, and whether each repetition is one that a kill explains. Pure.

Who commits what it has handled repeats, after a kill -9, what was handled and not committed yet, and nothing else:

    commit  the bound of a kill
    sync    the member's last batch: it was handled, and its commit may have been on the way
    auto    what it handled within `auto.commit.interval.ms` and the time that a commit takes, before it died

A commit that comes in the midst of a rebalance may be refused; then its batch may come again, too. A record that comes
twice and lies in no tail of this kind came twice without a reason.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Place = tuple[int, int]
"""Partition and offset."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a member handled at once, before it committed."""

    time_ms: float
    records: tuple[tuple[Place, str], ...]
    """Places and values."""


@dataclass(slots=True)
class Diary:
    """A member's; grows by its lines."""

    batches: list[Batch] = field(default_factory=list)
    refused: list[Batch] = field(default_factory=list)
    """Those of `batches` whose commit came in the midst of a rebalance."""

    errors: list[str] = field(default_factory=list)
    """What reached the application."""

    notes: list[str] = field(default_factory=list)
    """What the client told while it recovered by itself."""

    killed_ms: float | None = None

    def read(self, line: str) -> None:
        """A line as `programs/python/member.py` writes it."""
        kind, time_ms, *fields = line.split("\t")
        match kind:
            case "batch":
                self.batches.append(Batch(float(time_ms), tuple(map(_record, fields[0].split(" ")))))
            case "refused":
                self.refused.append(self.batches[-1])
            case "lost":
                self.errors.append(": ".join(fields))
            case "note":
                self.notes.append(": ".join(fields))
            case _:
                raise ValueError(f"no line of a diary: {line!r}")


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
    """So many may be repeated: the sum of the tails of those that were killed, and of the batches that were refused."""

    unexplained: int
    """Repetitions of records that are in nobody's tail."""

    errors: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        return not (self.lost or self.doubled or self.unexplained or self.errors) and self.repeated <= self.bound


def judge(diaries: Sequence[Diary], acknowledged: Mapping[str, Place], window_ms: float | None) -> Judgement:
    """`window_ms` is that of automatic commits, None where a member commits every batch."""
    batches = sorted((batch for diary in diaries for batch in diary.batches), key=lambda batch: batch.time_ms)
    counts = Counter(place for batch in batches for place, _ in batch.records)
    places: dict[str, set[Place]] = {}
    for batch in batches:
        for place, value in batch.records:
            places.setdefault(value, set()).add(place)
    killed = [diary for diary in diaries if diary.killed_ms is not None]
    tails = Counter(place for diary in killed for place in _tail(diary, window_ms))
    tails.update(place for diary in diaries for batch in diary.refused for place, _ in batch.records)
    repeated = {place: count - 1 for place, count in counts.items() if count > 1}
    return Judgement(
        handled=counts.total(),
        lost=sum(place not in places.get(value, ()) for value, place in acknowledged.items()),
        doubled=sum(len(found) > 1 for found in places.values()),
        kills=len(killed),
        refused=sum(len(diary.refused) for diary in diaries),
        repeated=sum(repeated.values()),
        bound=tails.total(),
        unexplained=sum(max(0, times - tails[place]) for place, times in repeated.items()),
        errors=tuple(error for diary in diaries for error in diary.errors),
    )


def _tail(diary: Diary, window_ms: float | None) -> Iterable[Place]:
    """What a killed member may have handled without having committed it."""
    assert diary.killed_ms is not None
    if window_ms is None:
        late = diary.batches[-1:]
    else:
        late = [batch for batch in diary.batches if batch.time_ms >= diary.killed_ms - window_ms]
    return {place for batch in late for place, _ in batch.records}


def _record(text: str) -> tuple[Place, str]:
    partition, offset, value = text.split(":", 2)
    return (int(partition), int(offset)), value
