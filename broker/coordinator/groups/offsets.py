"""Committed offsets of all groups of one coordinator, and those of transactions that have not ended. Durable.

Invariants
- Changes in `replay` and `end_transaction` only.
- What stands later in the log wins: an offset of a transaction, whose place is where it was written and not where the
  transaction ended, never replaces one that was committed after it.
- A deletion takes the offsets of open transactions with it.
"""

from collections.abc import Iterator
from typing import NamedTuple

from broker.coordinator.core import Producer
from broker.coordinator.groups.records import CommittedOffset, OffsetRecord

Place = tuple[str, int]
"""Topic and partition."""


class Numbered(NamedTuple):
    number: int
    """Of the record, in the order of the log."""
    value: CommittedOffset


class Offsets:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._committed: dict[str, dict[Place, Numbered]] = {}  # by group; none is empty
        self._pending: dict[int, dict[str, dict[Place, Numbered]]] = {}  # by producer id and group; none is empty
        self._pending_counts: dict[tuple[str, str, int], int] = {}  # how many producers: by group, topic, partition
        self._next_number = 0

    # --- the log -----------------------------------------------------------------------------------------------------

    def replay(self, record: OffsetRecord, producer: Producer | None) -> None:
        self._next_number += 1
        place = (record.topic, record.partition)
        if record.value is None:
            self._delete(record.group_id, place)
        elif producer is None:
            numbered = Numbered(self._next_number, record.value)
            self._committed.setdefault(record.group_id, {})[place] = numbered
        else:
            groups = self._pending.setdefault(producer.producer_id, {})
            places = groups.setdefault(record.group_id, {})
            if place not in places:
                key = (record.group_id, *place)
                self._pending_counts[key] = self._pending_counts.get(key, 0) + 1
            places[place] = Numbered(self._next_number, record.value)

    def end_transaction(self, producer_id: int, committed: bool) -> list[str]:
        """The groups that have offsets of it now."""
        groups = self._pending.pop(producer_id, {})
        for group_id, places in groups.items():
            for place, numbered in places.items():
                self._count_down((group_id, *place))
                known = self._committed.get(group_id, {}).get(place)
                if committed and (known is None or known.number < numbered.number):
                    self._committed.setdefault(group_id, {})[place] = numbered
        return list(groups) if committed else []

    def _delete(self, group_id: str, place: Place) -> None:
        places = self._committed.get(group_id, {})
        if places.pop(place, None) is not None and not places:
            del self._committed[group_id]
        if (group_id, *place) not in self._pending_counts:
            return
        for producer_id, groups in list(self._pending.items()):
            if groups.get(group_id, {}).pop(place, None) is None:
                continue
            self._count_down((group_id, *place))
            if not groups[group_id]:
                del groups[group_id]
            if not groups:
                del self._pending[producer_id]

    def _count_down(self, key: tuple[str, str, int]) -> None:
        self._pending_counts[key] -= 1
        if not self._pending_counts[key]:
            del self._pending_counts[key]

    # --- questions ---------------------------------------------------------------------------------------------------

    def group_ids(self) -> Iterator[str]:
        return iter(self._committed)

    def count(self, group_id: str) -> int:
        return len(self._committed.get(group_id, ()))

    def get(self, group_id: str, topic: str, partition: int) -> CommittedOffset | None:
        numbered = self._committed.get(group_id, {}).get((topic, partition))
        return None if numbered is None else numbered.value

    def of_group(self, group_id: str) -> Iterator[tuple[Place, CommittedOffset]]:
        """In the order in which their partitions were first committed."""
        for place, numbered in self._committed.get(group_id, {}).items():
            yield place, numbered.value

    def pending_of_group(self, group_id: str) -> Iterator[Place]:
        """Partitions of which open transactions say something. Costs by the number of open transactions."""
        for groups in self._pending.values():
            yield from groups.get(group_id, {})

    def is_unstable(self, group_id: str, topic: str, partition: int) -> bool:
        """Whether a transaction that has not ended says something about it."""
        return (group_id, topic, partition) in self._pending_counts
