"""How fast the maintenance process may work: on average as told, and anew as soon as it is told anew."""

import threading
import time

import pytest

from broker.maintenance.pace import DEBT_S, Pace


class Paced:
    """A pace on a clock that moves only while somebody waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, bytes_per_second: float) -> None:
        self.now_s = 0.0
        self.pace = Pace(bytes_per_second, lambda: self.now_s)
        monkeypatch.setattr(self.pace._changed, "wait", self.wait)

    def wait(self, rest_s: float) -> None:
        assert rest_s > 0
        self.now_s += rest_s


def test_the_average_is_what_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    paced = Paced(monkeypatch, 1000)
    for _ in range(500):
        paced.pace.spend(37)
        assert paced.now_s <= 500 * 37 / 1000
    assert paced.now_s == pytest.approx(500 * 37 / 1000, abs=2 * DEBT_S)


def test_rest_is_not_saved_up(monkeypatch: pytest.MonkeyPatch) -> None:
    paced = Paced(monkeypatch, 1000)
    paced.pace.spend(1000)
    paced.now_s += 1_000_000
    before = paced.now_s
    for _ in range(10):
        paced.pace.spend(1000)
    assert paced.now_s - before == pytest.approx(10, abs=2 * DEBT_S)


def test_without_a_limit_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    from sys import float_info

    paced = Paced(monkeypatch, float_info.max)
    for _ in range(100):
        paced.pace.spend(1 << 30)
    assert paced.now_s == 0


def test_a_new_pace_wakes_who_waits() -> None:
    pace = Pace(1)
    spending = threading.Thread(target=pace.spend, args=(1 << 30,), daemon=True)  # for 34 years
    began = time.monotonic()
    spending.start()
    pace.limit(1e12)
    spending.join(20)
    assert not spending.is_alive()
    assert time.monotonic() - began < 20
