"""The witness of a compacted topic: sees what every in-sync replica's disk holds of it, and says what may not be gone.

Each replica compacts for itself, so that they differ, and the witness of clusters compares none of them. This one knows
every record that was ever committed, with the outcome of its transaction, and looks at each replica for those that are
missing. One may be, if

- a later record of its key is committed, of no aborted transaction, and so is the replica's to keep;
- its transaction was aborted;
- it is a tombstone, or the marker of a transaction, and `delete.retention.ms` have passed since it was committed;
- the partition begins behind it, which it may only where `retention.ms` say so, not before they have passed.

So the last committed value of each key survives everywhere, all the time. And what stands at an offset never changes.

Times are exact: no clock of a broker may jump or drift. Looks are 400 ms apart, so a tombstone may go so much earlier.
"""

from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from kraftpy.record import ControlType, decode_batch, decode_control_batch, iterate_headers
from simulation.durable_logs import DurableLog, DurableLogs, Segment
from simulation.hosts import host_of
from simulation.witness import Witness
from simulation.world import World

LOOKS_APART_MS = 500
"""A little more than they are."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What a topic's settings say, milliseconds. `retention_ms` None: nothing goes because of its age."""

    delete_retention_ms: int
    retention_ms: int | None = None


class Seen(NamedTuple):
    """What stands at an offset."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    producer_id: int
    is_transactional: bool
    is_marker: bool
    commits: bool = False  # of a marker

    @property
    def goes_in_time(self) -> bool:
        return self.is_marker or self.value is None


@dataclass(slots=True)
class _Partition:
    """What is known of one that was ever committed."""

    records: dict[int, Seen] = field(default_factory=dict)
    since_ms: dict[int, int] = field(default_factory=dict)  # when each was first seen
    of_key: dict[bytes, list[int]] = field(default_factory=dict)
    markers: dict[int, list[int]] = field(default_factory=dict)  # their offsets, by producer
    may_be_gone: dict[int, None] = field(default_factory=dict)
    start: int = 0

    def learn(self, offset: int, seen: Seen, now_ms: int) -> None:
        self.records[offset] = seen
        self.since_ms[offset] = now_ms
        if seen.is_marker:
            insort(self.markers.setdefault(seen.producer_id, []), offset)
        elif seen.key is not None:
            insort(self.of_key.setdefault(seen.key, []), offset)

    def outcome(self, offset: int) -> bool | None:
        """Whether it counts; None: its transaction is open, as far as is known."""
        seen = self.records[offset]
        if not seen.is_transactional:
            return True
        markers = self.markers.get(seen.producer_id, [])
        at = bisect_right(markers, offset)
        return self.records[markers[at]].commits if at < len(markers) else None

    def is_outdone(self, offset: int, end_offset: int) -> bool:
        key = self.records[offset].key
        later = self.of_key[key] if key is not None else []
        return any(self.outcome(each) is True for each in later[bisect_right(later, offset) :] if each < end_offset)


class CompactionWitness:
    """See the module's docstring. Told to `look` by whoever looks at the cluster, after its witness."""

    def __init__(self, world: World, witness: Witness, data: Sequence[str], topic: str, promise: Promise) -> None:
        self._world = world
        self._witness = witness
        self._topic = topic
        self._promise = promise
        self._disks = DurableLogs(data, (".log", ".log.swap"))  # what is swapped in counts from the first name on
        self._partitions: dict[tuple[UUID, int], _Partition] = {}
        self._found: dict[tuple[int, str], tuple[DurableLog, int, int, int]] = {}  # right, by replica
        self._decoded: dict[Segment, tuple[int, dict[int, Seen]]] = {}
        self.gone: dict[tuple[str, str], int] = {}
        """By partition and host, how many records were compacted away there, at most at a time."""
        self.tombstones_gone: dict[tuple[str, int], None] = {}
        """Partition and offset of those that are missing somewhere, without a later record of their key."""

    def look(self, wall_ms: int) -> None:
        topic = self._witness.image.topic(self._topic)
        for index, state in enumerate(topic.partitions if topic is not None else ()):
            assert topic is not None
            name, key = f"{topic.name}-{index}", (topic.topic_id, index)
            partition = self._partitions.setdefault(key, _Partition())
            start, end_offset = self._witness.extent(*key)
            self._judge_start(name, partition, start, end_offset, wall_ms)
            for broker_id in (*state.isr, *state.eligible_replicas):
                log = self._disks.log(self._world.devices[host_of(broker_id)], name)
                found = (log, log.changes, start, end_offset)
                if self._found.get((broker_id, name)) != found and not self._witness.still_counts_on(broker_id):
                    self._judge(host_of(broker_id), name, partition, self._records(log), end_offset, wall_ms)
                    self._found[broker_id, name] = found

    def starts(self) -> list[int]:
        """From where on each partition is kept."""
        return [partition.start for partition in self._partitions.values()]

    def _judge_start(self, name: str, partition: _Partition, start: int, end_offset: int, wall_ms: int) -> None:
        """What may be gone anyway may have gone before, and a segment is as old as what is left in it."""
        retention_ms = self._promise.retention_ms
        for offset in range(partition.start, start):
            seen = partition.records.get(offset)
            if seen is None or offset in partition.may_be_gone:
                continue
            age_ms = wall_ms - seen.timestamp_ms
            is_old = retention_ms is not None and age_ms >= retention_ms
            if not is_old and not seen.is_marker and self._why_not(name, partition, offset, end_offset, wall_ms):
                self._world.violated(f"{name} begins at {start}: {offset} was {age_ms} ms old, and is to be kept")
                break
        partition.start = max(start, partition.start)

    def _judge(
        self, host: str, name: str, partition: _Partition, there: dict[int, Seen], end_offset: int, wall_ms: int
    ) -> None:
        for offset, seen in there.items():
            if offset < end_offset:
                if offset not in partition.records:
                    partition.learn(offset, seen, wall_ms)
                elif partition.records[offset] != seen:
                    known = partition.records[offset]
                    self._world.violated(f"{name} on {host}: {seen} stands at {offset}, where {known} stood")
        missing = [offset for offset in partition.records if offset >= partition.start and offset not in there]
        self.gone[name, host] = max(len(missing), self.gone.get((name, host), 0))
        for offset in missing:
            if offset not in partition.may_be_gone:
                problem = self._why_not(name, partition, offset, end_offset, wall_ms)
                if problem:
                    self._world.violated(f"{name} on {host} lacks {offset}, {partition.records[offset]}: {problem}")
                    return
                partition.may_be_gone[offset] = None

    def _why_not(self, name: str, partition: _Partition, offset: int, end_offset: int, wall_ms: int) -> str:
        """Why it may not be gone; empty: it may."""
        seen = partition.records[offset]
        if not seen.is_marker and (partition.outcome(offset) is False or partition.is_outdone(offset, end_offset)):
            return ""
        if not seen.goes_in_time:
            return "it is the last of its key that is committed"
        passed_ms = wall_ms - partition.since_ms[offset] + LOOKS_APART_MS
        if passed_ms < self._promise.delete_retention_ms:
            return f"it was to stay for {self._promise.delete_retention_ms} ms, and was there for {passed_ms} at most"
        if not seen.is_marker:
            self.tombstones_gone[name, offset] = None
        return ""

    def _records(self, log: DurableLog) -> dict[int, Seen]:
        found: dict[int, Seen] = {}
        for segment in log.segments:
            size, records = self._decoded.get(segment, (-1, {}))
            if size != len(segment.written):
                records = dict(_records_of(segment.written))
                self._decoded[segment] = (len(segment.written), records)
            found.update(records)
        return found


def _records_of(data: bytes) -> Iterator[tuple[int, Seen]]:
    for position, header in iterate_headers(data):
        if header.is_control:
            for control in decode_control_batch(memoryview(data)[position : position + header.size_bytes]):
                commits = control.type is ControlType.COMMIT
                yield header.base_offset, Seen(None, None, -1, header.producer_id, True, True, commits)
            continue
        for record in decode_batch(data, position):
            told = (record.key, record.value, record.timestamp_ms)
            yield record.offset, Seen(*told, header.producer_id, header.is_transactional, False)
