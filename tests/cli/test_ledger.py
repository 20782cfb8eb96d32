"""The demo's judgement: planted losses, repeats and reorderings are found, each under its name, and nothing else."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.demo.access_log import Line
from cli.demo.ledger import EXAMPLES_MAX, Ledger, Reading, Verdict, id_header

LINES = [Line(b"%d.0.0.1" % (number % 3), b"%d.0.0.1 GET /%d" % (number % 3, number)) for number in range(7)]
PARTITIONS = 2
SENT = 40


class Stored(NamedTuple):
    """A record as it lies in the topic."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def stored(record_id: int) -> Stored:
    line = LINES[record_id % len(LINES)]
    return Stored(line.key[0] % PARTITIONS, line.key, line.value, tuple(id_header(record_id)))


def published(*, unacknowledged: tuple[int, ...] = ()) -> Ledger:
    ledger = Ledger(LINES)
    for _ in range(SENT):
        record_id, _line = ledger.send()
        if record_id not in unacknowledged:
            ledger.acknowledge(record_id)
    return ledger


def judged(ledger: Ledger, records: list[Stored]) -> Verdict:
    reading = Reading(ledger)
    for offset, record in enumerate(records):
        reading.see(record.partition, offset, record.key, record.value, record.headers)
    return reading.judge()


def whole() -> list[Stored]:
    return [stored(record_id) for record_id in range(SENT)]


def test_everything_as_it_was_sent_is_clean() -> None:
    verdict = judged(published(), whole())
    assert verdict == Verdict(SENT, 0, 0, 0, 0, 0, ()) and verdict.clean


def test_partitions_may_come_in_any_order() -> None:
    by_partition = sorted(whole(), key=lambda record: -record.partition)
    assert judged(published(), by_partition).clean


def test_what_was_not_acknowledged_may_be_there_or_not() -> None:
    ledger = published(unacknowledged=(3, 39))
    assert judged(ledger, whole()).clean
    assert judged(ledger, [record for number, record in enumerate(whole()) if number not in (3, 39)]).clean


def replaced(number: int, **fields: object) -> Callable[[list[Stored]], None]:
    def damage(records: list[Stored]) -> None:
        records[number] = records[number]._replace(**fields)  # type: ignore[arg-type]

    return damage


def swapped(first: int, second: int) -> Callable[[list[Stored]], None]:
    def damage(records: list[Stored]) -> None:
        records[first], records[second] = records[second], records[first]

    return damage


def removed(*numbers: int) -> Callable[[list[Stored]], None]:
    def damage(records: list[Stored]) -> None:
        for number in sorted(numbers, reverse=True):
            del records[number]

    return damage


def repeated(number: int, at: int) -> Callable[[list[Stored]], None]:
    return lambda records: records.insert(at, records[number])


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (removed(0), {"lost": 1}),
        (removed(39), {"lost": 1}),
        (removed(*range(40)), {"lost": 40}),
        (repeated(5, 6), {"duplicated": 1}),
        (repeated(5, 40), {"duplicated": 1}),
        (swapped(0, 3), {"out_of_order": 1}),  # lines 0 and 3 have one key
        (swapped(3, 14), {"out_of_order": 5}),  # 6, 7, 10, 13 and 3 itself come after 14, all of one key
        (swapped(0, 1), {}),  # two keys: no order between them
        (replaced(9, value=b"other"), {"damaged": 1}),
        (replaced(9, key=None), {"damaged": 1}),
        (replaced(9, partition=7), {"out_of_order": 1}),
        (replaced(9, headers=(("id", b"40"),)), {"foreign": 1, "lost": 1}),
        (replaced(9, headers=(("id", b"x"),)), {"foreign": 1, "lost": 1}),
        (replaced(9, headers=()), {"foreign": 1, "lost": 1}),
    ],
)
def test_planted_damage_is_found_under_its_name(damage: Callable[[list[Stored]], None], found: dict[str, int]) -> None:
    records = whole()
    damage(records)
    verdict = judged(published(), records)
    names = ("lost", "duplicated", "out_of_order", "damaged", "foreign")
    assert {name: getattr(verdict, name) for name in names} == {**dict.fromkeys(names, 0), **found}
    assert verdict.clean == (not found)
    assert bool(verdict.examples) == bool(found)
    assert len(verdict.examples) <= 2 * EXAMPLES_MAX


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, SENT - 1), max_size=60),
    st.frozensets(st.integers(0, SENT - 1)),
)
def test_the_judgement_agrees_with_a_dumb_twin(read: list[int], unacknowledged: frozenset[int]) -> None:
    ledger = published(unacknowledged=tuple(sorted(unacknowledged)))
    verdict = judged(ledger, [stored(record_id) for record_id in read])
    first_seen = list(dict.fromkeys(read))
    assert verdict.read == len(first_seen)
    assert verdict.duplicated == len(read) - len(first_seen)
    assert verdict.lost == len(
        [number for number in range(SENT) if number not in read and number not in unacknowledged]
    )
    late = [
        number
        for place, number in enumerate(first_seen)
        if any(stored(before).key == stored(number).key and before > number for before in first_seen[:place])
    ]
    assert verdict.out_of_order == len(late)
    assert verdict.damaged == verdict.foreign == 0
