"""Judges sends and polls of partitions: nothing lost, doubled, reordered, skipped or made up.

Values are unique, so every record that was acknowledged or read tells what stands at its offset. From all of that the
checker builds, for each partition, offset -> values, and then looks for what must not be (`Anomaly`). It works on what
clients saw alone, in O(n log n), as Jepsen's Kafka workload does.

A send of unknown outcome that was read has happened, at the latest when the first poll that showed it returned.
What it cannot see: that a log is short of records whose sends all ended unknown and that nobody read.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from simulation.checkers.history import End, Event, Outcome, Poll, Send, Tail, Value


class Anomaly(Enum):
    """What must not be, and what each means."""

    LOST = "a record that was acknowledged, or read before, is missing where everything around it was read"
    DUPLICATE = "one value stands at more than one offset"
    INCONSISTENT_OFFSET = "one offset held more than one value"
    REORDERED = "a producer's records of one partition stand in another order than it sent them"
    REAL_TIME_ORDER = "a record was sent after another was acknowledged, yet stands before it"
    SKIPPED = "a consumer's position went over a record that is there"
    NONMONOTONIC_POLL = "a consumer's position went back, or stood still"
    PHANTOM = "a value was read that nobody sent"
    ABORTED_READ = "a value was read whose send certainly failed (G1a)"
    FROM_THE_FUTURE = "a value was read before it was sent"
    RETRACTED_END = "a client was told of an end past which it had read already, or which the log did not reach at last"


@dataclass(frozen=True, slots=True)
class Finding:
    anomaly: Anomaly
    partition: str
    detail: str

    def __str__(self) -> str:
        return f"{self.anomaly.name.lower().replace('_', '-')} {self.partition}: {self.detail}"


@dataclass(frozen=True, slots=True)
class LogReport:
    """The verdict on a history. `unseen`: acknowledged, and nobody has read so far (no anomaly in itself)."""

    findings: tuple[Finding, ...]
    sends: int
    acknowledged: int
    read: int
    unseen: int

    @property
    def ok(self) -> bool:
        return not self.findings

    def __str__(self) -> str:
        counts = f"{self.sends} sends, {self.acknowledged} acknowledged, {self.read} read, {self.unseen} unseen"
        return "\n".join([counts, *map(str, self.findings)])


@dataclass(slots=True)
class _Partition:
    """What is known of one partition."""

    sends: list[Send] = field(default_factory=list)
    values: dict[int, list[Value]] = field(default_factory=dict)  # offset -> values, in the order of being seen
    offsets: dict[Value, list[int]] = field(default_factory=dict)
    read_at_us: dict[Value, int] = field(default_factory=dict)  # first completion of a poll that showed it
    covered: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)  # session -> lowest, highest read
    end: End | None = None
    read_at_last: dict[Value, None] = field(default_factory=dict)  # by the process of `end`
    tails: list[Tail] = field(default_factory=list)

    def place(self, offset: int, value: Value) -> None:
        values = self.values.setdefault(offset, [])
        if value not in values:
            values.append(value)
            self.offsets.setdefault(value, []).append(offset)


def check_log(events: Iterable[Event]) -> LogReport:
    """Judge a history; operations of other models in it are left alone."""
    events = list(events)
    polls = [event for event in events if isinstance(event, Poll)]
    sends = [event for event in events if isinstance(event, Send)]
    partitions = _collect(events)
    findings: list[Finding] = []
    sent = {send.value: send for send in sends}
    for name, partition in partitions.items():
        for check in (_inconsistent, _duplicates, _lost, _reordered, _real_time_order):
            findings += check(name, partition)
        findings += _wrongly_read(name, partition, sent)
        findings += _retracted_ends(name, partition, polls)
    findings += _duplicates_across(partitions)
    findings += _positions(polls, partitions)
    acknowledged = [send for send in sends if send.outcome is Outcome.OK]
    read = sum(len(partition.read_at_us) for partition in partitions.values())
    unseen = sum(send.value not in partitions[send.partition].read_at_us for send in acknowledged)
    return LogReport(tuple(findings), len(sends), len(acknowledged), read, unseen)


def _collect(events: Sequence[Event]) -> dict[str, _Partition]:
    partitions: defaultdict[str, _Partition] = defaultdict(_Partition)
    ends = {event.partition: event for event in events if isinstance(event, End)}
    for event in events:
        match event:
            case Send():
                partitions[event.partition].sends.append(event)
                if event.outcome is Outcome.OK and event.offset is not None:
                    partitions[event.partition].place(event.offset, event.value)
            case Poll():
                session = (event.process, event.session)
                for name, offset, value in event.records:
                    partition = partitions[name]
                    partition.place(offset, value)
                    if name in ends and event.process == ends[name].process:
                        partition.read_at_last[value] = None
                    low, high = partition.covered.get(session, (offset, offset))
                    partition.covered[session] = (min(low, offset), max(high, offset))
                    first = partition.read_at_us.get(value, event.completed_us)
                    partition.read_at_us[value] = min(first, event.completed_us)
            case End():
                partitions[event.partition].end = event
            case Tail():
                partitions[event.partition].tails.append(event)
    return dict(partitions)


# --- what stands where -----------------------------------------------------------------------------------------------


def _inconsistent(name: str, partition: _Partition) -> Iterator[Finding]:
    for offset, values in partition.values.items():
        if len(values) > 1:
            yield Finding(Anomaly.INCONSISTENT_OFFSET, name, f"offset {offset} held {values}")


def _duplicates(name: str, partition: _Partition) -> Iterator[Finding]:
    for value, offsets in partition.offsets.items():
        if len(offsets) > 1:
            yield Finding(Anomaly.DUPLICATE, name, f"{value!r} stands at offsets {sorted(offsets)}")


def _duplicates_across(partitions: dict[str, _Partition]) -> Iterator[Finding]:
    homes: dict[Value, str] = {}
    for name, partition in partitions.items():
        for value in partition.offsets:
            if homes.setdefault(value, name) != name:
                yield Finding(Anomaly.DUPLICATE, name, f"{value!r} stands in {homes[value]} too")


def _lost(name: str, partition: _Partition) -> Iterator[Finding]:
    """Not read, although one consumer's session went past it, or the log was read to its end."""
    ranges = _merged([*partition.covered.values()])
    end = partition.end
    if end is not None and end.process:
        for value, offsets in partition.offsets.items():
            if value not in partition.read_at_last and offsets[0] >= end.start_offset:
                extent = f"{end.process} read from {end.start_offset} to {end.end_offset}"
                yield Finding(Anomaly.LOST, name, f"{value!r}, known at offset {offsets[0]}; {extent}")
        return
    for send in partition.sends:
        offset = send.offset
        if send.outcome is not Outcome.OK or offset is None or send.value in partition.read_at_us:
            continue
        at = f"{send.value!r}, acknowledged at offset {offset}"
        if end is not None and offset >= end.start_offset:
            yield Finding(Anomaly.LOST, name, f"{at}; the log was read from {end.start_offset} to {end.end_offset}")
        elif end is None:
            index = bisect_right(ranges, (offset, 1 << 63)) - 1
            if index >= 0 and offset <= ranges[index][1]:
                yield Finding(Anomaly.LOST, name, f"{at}; offsets {ranges[index][0]} to {ranges[index][1]} were read")


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Inclusive ranges that overlap made one, in order."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def _wrongly_read(name: str, partition: _Partition, sent: dict[Value, Send]) -> Iterator[Finding]:
    for value, read_at_us in partition.read_at_us.items():
        send = sent.get(value)
        where = f"{value!r} at offset {partition.offsets[value][0]}"
        if send is None:
            yield Finding(Anomaly.PHANTOM, name, where)
        elif send.outcome is Outcome.FAILED:
            yield Finding(Anomaly.ABORTED_READ, name, f"{where}, sent by {send.process}")
        elif read_at_us < send.invoked_us:
            yield Finding(Anomaly.FROM_THE_FUTURE, name, f"{where}, read at {read_at_us}, sent at {send.invoked_us}")


def _retracted_ends(name: str, partition: _Partition, polls: list[Poll]) -> Iterator[Finding]:
    """What is shown as committed stays: for the client that saw it at once, for everybody at last.

    Between clients it may lag: a leader that does not know yet that it was replaced tells what it knows (as in Kafka).
    """
    for tail in partition.tails:
        if partition.end is not None and tail.end_offset > partition.end.end_offset:
            detail = f"{tail.process} was told {tail.end_offset}; at last the log ended at {partition.end.end_offset}"
            yield Finding(Anomaly.RETRACTED_END, name, detail)
    for process in dict.fromkeys(tail.process for tail in partition.tails):
        told = [(tail.invoked_us, tail.end_offset, True) for tail in partition.tails if tail.process == process]
        read = [
            (poll.completed_us, offset + 1, False)
            for poll in polls
            if poll.process == process
            for where, offset, _ in poll.records
            if where == name
        ]
        highest = 0
        for _, end_offset, is_told in sorted(told + read):
            if is_told and end_offset < highest:
                detail = f"{process} was told {end_offset} after it had read, or been told, up to {highest}"
                yield Finding(Anomaly.RETRACTED_END, name, detail)
            highest = max(highest, end_offset)


# --- order -----------------------------------------------------------------------------------------------------------


def _reordered(name: str, partition: _Partition) -> Iterator[Finding]:
    """In the order of each producer's sequence, the offsets must grow; unknown sends take part once they were read."""
    last: dict[str, tuple[int, Send]] = {}
    for send in sorted(partition.sends, key=lambda send: send.sequence):
        offsets = partition.offsets.get(send.value)
        if not offsets:
            continue
        offset = min(offsets)
        before = last.get(send.process)
        if before is not None and before[0] > offset:
            detail = f"{send.process} sent {before[1].value!r} before {send.value!r}: offsets {before[0]}, {offset}"
            yield Finding(Anomaly.REORDERED, name, detail)
        last[send.process] = (offset, send)


def _real_time_order(name: str, partition: _Partition) -> Iterator[Finding]:
    """Going down the offsets, remember who was appended first in time: nobody below may have been sent after that."""
    placed = []
    for send in partition.sends:
        offsets = partition.offsets.get(send.value)
        if offsets:
            times = [send.completed_us if send.outcome is Outcome.OK else None, partition.read_at_us.get(send.value)]
            placed.append((min(offsets), min(time for time in times if time is not None), send))
    placed.sort(key=lambda entry: entry[0], reverse=True)
    earliest: tuple[int, Send, int] | None = None
    for offset, appended_us, send in placed:
        if earliest is not None and earliest[0] < send.invoked_us and earliest[2] > offset:
            there = f"{earliest[1].value!r} (there by {earliest[0]}) at offset {earliest[2]}"
            detail = f"{send.value!r} (sent at {send.invoked_us}) at offset {offset}, before {there}"
            yield Finding(Anomaly.REAL_TIME_ORDER, name, detail)
        if earliest is None or appended_us < earliest[0]:
            earliest = (appended_us, send, offset)


# --- positions -------------------------------------------------------------------------------------------------------


def _positions(polls: list[Poll], partitions: dict[str, _Partition]) -> Iterator[Finding]:
    """In one session of a consumer, each offset of a partition is the next one that holds a record."""
    known = {name: sorted(partition.values) for name, partition in partitions.items()}
    ranks = {name: {offset: rank for rank, offset in enumerate(offsets)} for name, offsets in known.items()}
    last: dict[tuple[str, int, str], int] = {}
    for poll in sorted(polls, key=lambda poll: poll.invoked_us):
        for name, offset, value in poll.records:
            position = (poll.process, poll.session, name)
            before = last.get(position)
            last[position] = offset
            if before is None:
                continue
            if offset <= before:
                detail = f"{poll.process} read offset {offset} ({value!r}) after {before}"
                yield Finding(Anomaly.NONMONOTONIC_POLL, name, detail)
            elif ranks[name][offset] != ranks[name][before] + 1:
                between = known[name][ranks[name][before] + 1 : ranks[name][offset]][:5]
                detail = f"{poll.process} went from offset {before} to {offset}, over {between}"
                yield Finding(Anomaly.SKIPPED, name, detail)
