"""The judge of the chaos tests, judged: every kind of damage is planted once."""

from collections.abc import Callable

import pytest

from tests.cluster.ledger import Ledger, key_of, number_in, value_of


def healthy() -> Ledger:
    """Two keys in partition 0, three records each, sent and acknowledged in turn."""
    ledger = Ledger(2)
    for number in range(3):
        for key in range(2):
            assert number_in(ledger.send(key)) == number
            ledger.acknowledge(key, number, 0, 2 * number + key)
    return ledger


def see(ledger: Ledger, *records: tuple[int, int]) -> None:
    for offset, (key, number) in enumerate(records):
        ledger.see(0, offset, key_of(key), value_of(key, number))


ALL = ((0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2))


def test_a_healthy_history_is_clean() -> None:
    ledger = healthy()
    see(ledger, *ALL)
    assert ledger.judge() == []
    assert (ledger.sent, ledger.acknowledged, ledger.read, ledger.failed) == (6, 6, 6, 0)
    assert ledger.has_read_up_to({0: 6}) and not ledger.has_read_up_to({0: 7})


def test_a_record_that_was_not_acknowledged_may_be_missing_or_there() -> None:
    for is_there in (False, True):
        ledger = Ledger(1)
        ledger.send(0)
        ledger.fail(0, 0)
        if is_there:
            see(ledger, (0, 0))
        assert ledger.judge() == []


def test_an_answer_to_a_repetition_has_no_offset() -> None:
    ledger = Ledger(1)
    ledger.send(0)
    ledger.acknowledge(0, 0, 0, -1)
    see(ledger, (0, 0))
    assert ledger.judge() == []


def lose(ledger: Ledger) -> None:
    see(ledger, *ALL[:-1])


def repeat(ledger: Ledger) -> None:
    see(ledger, *ALL, (1, 2))


def swap(ledger: Ledger) -> None:
    see(ledger, (0, 1), (1, 0), (0, 0), *ALL[3:])


def skip_an_offset(ledger: Ledger) -> None:
    see(ledger, *ALL[:5])
    ledger.see(0, 6, key_of(1), value_of(1, 2))


def see_an_offset_again(ledger: Ledger) -> None:
    see(ledger, *ALL)
    ledger.see(0, 5, key_of(1), value_of(1, 2))


def change_a_byte(ledger: Ledger) -> None:
    see(ledger, *ALL[:5])
    ledger.see(0, 5, key_of(1), value_of(1, 2)[:-1] + b"!")


def invent(ledger: Ledger) -> None:
    see(ledger, *ALL, (1, 3))


def move_a_key(ledger: Ledger) -> None:
    see(ledger, *ALL[:5])
    ledger.see(1, 0, key_of(1), value_of(1, 2))


def show_something_else_later(ledger: Ledger) -> None:
    see(ledger, *ALL)
    ledger.confirm(0, 4, key_of(1), value_of(1, 2))


def acknowledge_again(ledger: Ledger) -> None:
    see(ledger, *ALL)
    ledger.acknowledge(0, 2, 0, 4)


def acknowledge_elsewhere(ledger: Ledger) -> None:
    ledger.send(0)
    ledger.acknowledge(0, 3, 0, 17)
    see(ledger, *ALL, (0, 3))


def acknowledge_backwards(ledger: Ledger) -> None:
    ledger.send(0)
    ledger.send(0)
    ledger.acknowledge(0, 4, 0, 7)
    ledger.acknowledge(0, 3, 0, 6)
    see(ledger, *ALL, (0, 3), (0, 4))


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (lose, "key 1: record 2, acknowledged at partition 0, offset 5, is lost"),
        (repeat, "key 1, record 2 was read at partition 0, offset 5 already"),
        (swap, "key 0, record 0 comes after 1"),
        (skip_an_offset, "offset 6 was read where 5 comes next"),
        (see_an_offset_again, "offset 5 was read where 6 comes next"),
        (change_a_byte, "nobody sent"),
        (invent, "nobody sent"),
        (move_a_key, "the key's others are in partition 0"),
        (show_something_else_later, "offset 4 read again"),
        (acknowledge_again, "key 0: record 2 was acknowledged twice"),
        (acknowledge_elsewhere, "acknowledged at partition 0, offset 17, lies at partition 0, offset 6"),
        (acknowledge_backwards, "key 0: record 3 was acknowledged after 4"),
    ],
)
def test_damage_is_found(damage: Callable[[Ledger], None], finding: str) -> None:
    ledger = healthy()
    damage(ledger)
    assert any(finding in found for found in ledger.judge()), ledger.findings
