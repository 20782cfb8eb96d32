"""Judges transactions by what committed readers found: all or nothing, once, in order, and what was promised.

It works on what clients saw alone. Values are unique; a value names its producer and the number of its transaction.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol


class Seen(Protocol):
    """One transaction as its producer saw it."""

    @property
    def producer(self) -> str: ...

    @property
    def number(self) -> int: ...

    @property
    def values(self) -> Sequence[tuple[int, str]]: ...

    @property
    def must_be_there(self) -> bool:
        """It was told to be committed."""

    @property
    def may_be_there(self) -> bool:
        """Somebody asked for its commit."""


def check_transactions(
    transactions: Iterable[Seen],
    partitions: Mapping[int, Sequence[str]],
    seen_before: Iterable[str],
    offsets: Mapping[str, int],
) -> list[str]:
    """Sentences about what must not be; none: all is well.

    `partitions`: the values that a committed reader finds in the end, in order. `seen_before`: those that committed
    readers were given at any time. `offsets`: what each producer's group has committed, which is the number of its last
    transaction that counts (0: none does).
    """
    found = Counter((partition, value) for partition, values in partitions.items() for value in values)
    problems = [f"{place} is there {count} times" for place, count in found.items() if count > 1]
    known: dict[tuple[int, str], None] = {}
    last: dict[str, int] = {}
    for each in transactions:
        there = [place for place in each.values if place in found]
        known.update(dict.fromkeys(each.values))
        name = f"transaction {each.number} of {each.producer}"
        if there and len(there) < len(each.values):
            problems.append(f"of {name} there is only {there}")
        if there and not each.may_be_there:
            problems.append(f"{name} is there, and nobody committed it")
        if not there and each.must_be_there:
            problems.append(f"{name} was committed, and is not there")
        if there:
            last[each.producer] = max(each.number, last.get(each.producer, 0))
    problems += [f"{place} was written by nobody" for place in found if place not in known]
    problems += _order_problems(partitions)
    values = {value: None for _, value in found}
    problems += [
        f"{value} was given to a committed reader, and is gone" for value in seen_before if value not in values
    ]
    for producer, offset in offsets.items():
        if offset != last.get(producer, 0):
            problems.append(f"the group of {producer} is at {offset}, its last transaction is {last.get(producer, 0)}")
    return problems


def _order_problems(partitions: Mapping[int, Sequence[str]]) -> list[str]:
    problems = []
    for partition, values in partitions.items():
        newest: dict[str, int] = {}
        for value in values:
            producer, number = value.split("/")[0], int(value.split("/")[1])
            if number < newest.get(producer, 0):
                problems.append(f"partition {partition}: {value} stands after transaction {newest[producer]}")
            newest[producer] = max(number, newest.get(producer, 0))
    return problems
