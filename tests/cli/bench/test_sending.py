"""What is sent and what is counted, without a cluster."""

import threading
import time
from typing import Any, cast

import pytest

from cli.bench import sending as sending_module
from cli.bench.door import Door, SenderSettings
from cli.bench.sending import WARM_UP, Load, Outgoing, Sending
from kraftpy.errors import CallTimeoutError, DeliveryTimeoutError, RecordTooLargeError
from tests.cli.bench.fake_door import FakeDoor, FakeSender

OVER_S = 60.0
FAST = 1e6  # records a second: they have numbers, and nobody waits


def sending(door: FakeDoor, load: Load, listener: Any = None) -> Sending:
    return Sending(cast(Door, door), "lines", SenderSettings(), load, lambda index: Outgoing(b"%d" % index), listener)


def run(door: FakeDoor, load: Load) -> Sending:
    made = sending(door, load)
    made.start()
    assert made.wait(OVER_S)
    return made


@pytest.mark.parametrize("rate", [0, 100_000])
def test_so_many_records_are_sent_in_order_and_told(rate: float) -> None:
    door = FakeDoor()
    made = run(door, Load(500, None, rate))
    assert door.made.sent == sorted(door.made.sent) and door.made.values == [b"%d" % index for index in range(500)]
    assert door.made.closed
    assert (made.sent, made.acknowledged, made.failed, made.unsent) == (500, 500, 0, 0)
    assert made.latencies.count == 500 and made.seconds > 0 and made.broken_by is None


def test_records_that_were_due_while_nothing_went_on_count_from_then() -> None:
    """One call stands still for 0.5 s; a closed loop would call that one slow record of 100."""
    stall_s = 0.5

    def handle(sender: FakeSender, index: int) -> None:
        if index == 20:
            time.sleep(stall_s)
        sender.answer(index)

    made = run(FakeDoor(handle), Load(100, None, 100))
    assert made.acknowledged == 100
    stalled_us = stall_s * 1e6
    assert made.latencies.most >= stalled_us
    # records 20, 21, 22, … were due 0, 10, 20, … ms into it and waited for what was left
    for late in (0, 10, 20, 30, 40):
        percentile = 100 - late
        assert made.latencies.at_percentile(percentile) >= stalled_us - late * 10_000 - 1_000


def test_records_due_in_the_time_are_sent_although_it_is_over() -> None:
    def handle(sender: FakeSender, index: int) -> None:
        if index == 0:
            time.sleep(0.4)
        sender.answer(index)

    made = run(FakeDoor(handle), Load(None, 0.2, 100))
    assert made.sent == made.acknowledged == 20


def test_whoever_ends_it_learns_what_was_due_and_never_sent() -> None:
    stalled, goes_on = threading.Event(), threading.Event()

    def handle(sender: FakeSender, index: int) -> None:
        if index == 5:
            stalled.set()
            goes_on.wait(OVER_S)
        sender.answer(index)

    made = sending(FakeDoor(handle), Load(None, 60, 1_000))
    made.start()
    assert stalled.wait(OVER_S)
    time.sleep(0.1)
    made.stop()
    goes_on.set()
    assert made.wait(OVER_S)
    assert made.sent == made.acknowledged == 6
    assert made.unsent >= 90


def test_failures_are_counted_and_the_first_is_kept() -> None:
    heard: list[tuple[str, int, int]] = []

    class Listener:
        def acknowledged(self, index: int, due_us: int, now_us: int, partition: int) -> None:
            heard.append(("acknowledged", index, partition))

        def failed(self, index: int, due_us: int, now_us: int, partition: int) -> None:
            heard.append(("failed", index, partition))

    def handle(sender: FakeSender, index: int) -> None:
        sender.answer(index, DeliveryTimeoutError(f"record {index}") if index in (1, 3) else None, partition=index)

    made = sending(FakeDoor(handle), Load(5, None, FAST), Listener())
    made.start()
    assert made.wait(OVER_S)
    assert (made.sent, made.acknowledged, made.failed) == (5, 3, 2)
    assert str(made.broken_by) == "record 1" and made.latencies.count == 3
    assert heard == [("failed" if at in (1, 3) else "acknowledged", at, at) for at in range(5)]


def test_a_record_that_cannot_be_sent_ends_it() -> None:
    def handle(sender: FakeSender, index: int) -> None:
        if index == 2:
            del sender.under_way[index]
            raise RecordTooLargeError
        sender.answer(index)

    made = run(FakeDoor(handle), Load(10, None, FAST))
    assert made.sent == made.acknowledged == 2 and isinstance(made.broken_by, RecordTooLargeError)


def test_what_is_never_answered_is_given_up_when_it_is_closed() -> None:
    made = sending(FakeDoor(lambda sender, index: None), Load(3, None, FAST))
    made.start()
    while made.sent < 3:
        assert not made.wait(0.01)
    made.close()
    assert made.wait(0) and (made.acknowledged, made.failed) == (0, 3)


def test_a_client_that_never_lets_go_does_not_hold_the_end_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SETTLE_S", "FLUSH_STEP_S", "CLOSE_S"):
        monkeypatch.setattr(sending_module, name, 0.05)
    goes_on = threading.Event()

    def stick(sender: FakeSender, tag: int) -> None:
        goes_on.wait(OVER_S)

    made = sending(FakeDoor(stick), Load(3, None, FAST))
    made.start()
    assert not made.wait(0.05)
    made.stop()
    time.sleep(0.2)
    assert made.wait(0)
    made.close()
    assert (made.sent, made.acknowledged, made.unsent) == (0, 0, 3)
    goes_on.set()


def test_a_warm_up_is_not_counted_and_its_error_is_raised() -> None:
    door = FakeDoor()
    made = sending(door, Load(1, None, 0))
    made.warm_up(3, Outgoing(b"x"), OVER_S)
    assert door.made.sent == [WARM_UP] * 3 and made.latencies.count == made.acknowledged == 0
    made.close()
    assert door.made.closed
    silent = sending(FakeDoor(lambda sender, tag: sender.under_way.clear()), Load(1, None, 0))
    with pytest.raises(CallTimeoutError):
        silent.warm_up(1, Outgoing(b"x"), 0.1)
    broken = sending(FakeDoor(lambda sender, index: sender.answer(index, DeliveryTimeoutError())), Load(1, None, 0))
    with pytest.raises(DeliveryTimeoutError):
        broken.warm_up(1, Outgoing(b"x"), OVER_S)
