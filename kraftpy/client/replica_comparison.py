"""Do the replicas of a partition hold the same? Compared by checksums: pure.

First ranges of offsets, byte for byte. Where those differ, single records: which replicas have which record at each
offset, and where they do not agree. Neighbouring offsets about which the same replicas agree are one difference.

Logs that are or were compacted differ of themselves, each replica is as far as it is. There an offset that is missing
somewhere says nothing, and is only counted; what two replicas both keep must be the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Groups = tuple[tuple[int, ...], ...]


class Extent(NamedTuple):
    """What one replica holds; `end_offset` is exclusive: its high watermark."""

    start_offset: int
    end_offset: int


@dataclass(frozen=True, slots=True)
class ReplicaDifference:
    """Offsets `[start_offset, end_offset)` of a partition, where its replicas differ, and how.

    `groups`: brokers that agree with each other, the largest group first; one that has nothing there is in none.
    `damaged`: brokers that cannot read it, with the reason.
    """

    topic: str
    partition: int
    start_offset: int
    end_offset: int
    groups: Groups
    missing: tuple[int, ...]
    damaged: Mapping[int, str]

    def __str__(self) -> str:
        parts = [f"broker {broker} is damaged ({why})" for broker, why in sorted(self.damaged.items())]
        if len(self.groups) > 1:
            parts.append("brokers " + " and ".join(",".join(map(str, group)) for group in self.groups) + " differ")
        if self.missing:
            parts.append(f"missing on brokers {','.join(map(str, self.missing))}")
        return f"{self.topic}-{self.partition} offsets {self.start_offset} to {self.end_offset - 1}: {'; '.join(parts)}"


@dataclass(frozen=True, slots=True)
class VerifiedPartition:
    """One partition, compared in `[start_offset, end_offset)`, which all `replicas` hold.

    `compacted_differently`: offsets that some replicas have compacted away and others not yet; no difference.
    `unreachable`: replicas that could not be compared, with the reason.
    """

    topic: str
    partition: int
    replicas: tuple[int, ...]
    start_offset: int
    end_offset: int
    differences: tuple[ReplicaDifference, ...]
    compacted_differently: int
    unreachable: Mapping[int, str]

    @property
    def is_equal(self) -> bool:
        """All replicas were compared, and are the same."""
        return not self.differences and not self.unreachable


def common_extent(extents: Iterable[Extent]) -> Extent:
    """What all hold; empty where there is none."""
    listed = list(extents)
    start = max((each.start_offset for each in listed), default=0)
    return Extent(start, max(start, min((each.end_offset for each in listed), default=0)))


def differing_ranges(digests: Sequence[Mapping[int, tuple[int, int]]]) -> list[int]:
    """The starts of ranges that differ; each replica's digests are (batches, checksum) by start."""
    starts = sorted({start for each in digests for start in each})
    return [start for start in starts if len({each.get(start) for each in digests}) > 1]


def differing_records(
    topic: str,
    partition: int,
    records: Mapping[int, Mapping[int, int]],
    damaged: Mapping[int, Sequence[tuple[int, int, str]]],
    *,
    may_have_gaps: bool,
) -> tuple[list[ReplicaDifference], int]:
    """The differences, and how many offsets are only compacted differently.

    `records`: checksums by offset, by broker. `damaged`: (start, end, why) by broker.
    """
    found: list[ReplicaDifference] = []
    compacted_differently = 0
    offsets = {offset for each in records.values() for offset in each}
    offsets |= {offset for each in damaged.values() for start, end, _ in each for offset in range(start, end)}
    for offset in sorted(offsets):
        bad = {broker: why for broker, each in damaged.items() for start, end, why in each if start <= offset < end}
        agreeing: dict[int, list[int]] = {}
        missing: list[int] = []
        for broker in sorted(records):
            checksum = records[broker].get(offset)
            if broker in bad:
                continue
            if checksum is None:
                missing.append(broker)
            else:
                agreeing.setdefault(checksum, []).append(broker)
        groups = tuple(sorted(map(tuple, agreeing.values()), key=lambda group: (-len(group), group)))
        if may_have_gaps:
            compacted_differently += bool(missing and groups)
            missing = []
        if len(groups) > 1 or missing or (bad and groups):
            _add(found, ReplicaDifference(topic, partition, offset, offset + 1, groups, tuple(missing), bad))
    return found, compacted_differently


def range_difference(
    topic: str, partition: int, start_offset: int, end_offset: int, digests: Mapping[int, tuple[int, int] | None]
) -> list[ReplicaDifference]:
    """Of a whole range, where its batches differ and single records do not tell how; digests by broker."""
    agreeing: dict[tuple[int, int], list[int]] = {}
    for broker in sorted(digests):
        digest = digests[broker]
        if digest is not None:
            agreeing.setdefault(digest, []).append(broker)
    groups = tuple(sorted(map(tuple, agreeing.values()), key=lambda group: (-len(group), group)))
    missing = tuple(broker for broker in sorted(digests) if digests[broker] is None)
    if len(groups) < 2 and not missing:
        return []
    return [ReplicaDifference(topic, partition, start_offset, end_offset, groups, missing, {})]


def joined(differences: Iterable[ReplicaDifference]) -> list[ReplicaDifference]:
    """With neighbours of one kind as one."""
    found: list[ReplicaDifference] = []
    for each in differences:
        _add(found, each)
    return found


def _add(found: list[ReplicaDifference], new: ReplicaDifference) -> None:
    last = found[-1] if found else None
    if (
        last is not None
        and last.end_offset == new.start_offset
        and (last.groups, last.missing, last.damaged) == (new.groups, new.missing, new.damaged)
    ):
        found[-1] = ReplicaDifference(
            last.topic, last.partition, last.start_offset, new.end_offset, last.groups, last.missing, last.damaged
        )
    else:
        found.append(new)
